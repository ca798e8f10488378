# Terraform's reader of one template: the path of a YAML in, normalised objects out. It needs no provider.
# lakehouse/normalise.py gives the same objects for the same file; tests/terraform/test_conformance.py compares the two.
#
# main.tf      reads, and normalises
# types.tf     type strings
# schema.tf    keys, kinds, allowed values: from schema.json, which is generated from the Python model
# rules.tf     what names, columns and layout must observe
# yaml.tf      what two YAML readers would take differently

locals {
  text     = file(var.path)
  parsed   = try(yamldecode(local.text), null)
  document = try({ for key, value in local.parsed : key => value }, {})

  # A value of the wrong kind is reported by schema.tf; here it is nothing, so that the rest can still be judged.
  raw_columns    = try([for column in local.document.columns : { for key, value in column : key => value }], [])
  raw_partitions = try([for field in local.document.partition_spec : { for key, value in field : key => value }], [])
  raw_sorts      = try([for field in local.document.sort_order : { for key, value in field : key => value }], [])
  raw_pipeline   = try({ for key, value in local.document.pipeline : key => value }, {})

  name      = try(coalesce(tostring(local.document.name)), "")
  namespace = try(coalesce(tostring(local.document.namespace)), "")
  owner     = try(coalesce(tostring(local.document.owner)), "")
  tags      = try({ for key, value in local.document.tags : key => tostring(value) }, {})

  columns = [for index, column in local.raw_columns : {
    name         = try(coalesce(tostring(column.name)), "")
    type         = local.type_strings[index]
    glue_type    = local.glue_types[index]
    required     = try(tobool(column.required), false)
    description  = try(coalesce(tostring(column.description)), "")
    pii          = try(tobool(column.pii), false)
    access_level = try(coalesce(tostring(column.access_level)), "public")
    renamed_from = try([for name in column.renamed_from : tostring(name)], [])
  }]
  column_names = local.columns[*].name

  # Under a former name of a restricted column the live table may still have that column.
  restricted_names = toset(flatten([for index, column in local.raw_columns : [
    local.columns[index].name, try([for name in column.renamed_from : tostring(name)], [])
  ] if local.columns[index].access_level == "restricted"]))

  partition_fields = [for field in local.raw_partitions : {
    column    = try(tostring(field.column), "")
    transform = try(tostring(field.transform), "identity")
    # As Iceberg's builders name it: event_timestamp_day, user_id_bucket, name_trunc.
    name = join("", [
      try(tostring(field.column), ""),
      lookup({ identity = "", truncate = "_trunc" }, split("[", try(tostring(field.transform), "identity"))[0],
      "_${split("[", try(tostring(field.transform), "identity"))[0]}"),
    ])
  }]

  sort_fields = [for field in local.raw_sorts : {
    column    = try(tostring(field.column), "")
    direction = try(tostring(field.direction), "asc")
    null_order = try(
      coalesce(tostring(field.null_order)),
      try(tostring(field.direction), "asc") == "asc" ? "nulls_first" : "nulls_last"
    )
  }]

  keep_snapshots = try(regex("^([1-9][0-9]*)([mhdw])$", local.document.maintenance.keep_snapshots), ["7", "d"])
  maintenance = {
    compact = try(tobool(local.document.maintenance.compact), true)
    # Part of a day counts as one.
    keep_snapshots_days = ceil(tonumber(local.keep_snapshots[0]) * { m = 1 / 1440, h = 1 / 24, d = 1, w = 7 }[local.keep_snapshots[1]])
    keep_at_least       = try(tonumber(local.document.maintenance.keep_at_least), 20)
    remove_orphans      = try(tobool(local.document.maintenance.remove_orphans), true)
    retention           = try(coalesce(tostring(local.document.maintenance.retention)), "")
  }
  # How old rows may become, and by which column; no column where there is no retention.
  retention = try(regex("^([1-9][0-9]*[mhdw]) on ([a-z][a-z0-9_]*)$", local.maintenance.retention), ["", ""])

  table = {
    namespace        = "${var.namespace_prefix}${local.namespace}"
    name             = local.name
    description      = try(coalesce(tostring(local.document.description)), "")
    owner            = local.owner
    tags             = local.tags
    columns          = local.columns
    identifier       = try([for name in local.document.identifier : tostring(name)], [])
    partition_fields = local.partition_fields
    sort_order       = local.sort_fields
    properties       = try({ for key, value in local.document.properties : key => tostring(value) }, {})
    maintenance      = local.maintenance
    readable_columns = {
      reader = [for name in local.column_names : name if !contains(local.restricted_names, name)]
      writer = local.column_names
      admin  = local.column_names
    }
  }

  # Rows that do not fit, as they came: only those who may see everything may see them.
  quarantine_columns = [for column in [
    { name = "source_file", type = "string", required = true, description = "The file the row came from." },
    { name = "source_row", type = "long", required = true, description = "The row's number in it, from 1." },
    { name = "reason", type = "string", required = true, description = "Why the row does not fit." },
    { name = "record", type = "string", required = false, description = "The row as JSON, or its text where it could not be read." },
    { name = "batch_id", type = "string", required = true, description = "The batch that found it." },
    { name = "quarantined_at", type = "timestamptz", required = true, description = "When." },
    ] : merge(column, {
      glue_type    = lookup({ long = "bigint", timestamptz = "timestamp" }, column.type, column.type)
      pii          = false
      access_level = "restricted"
      renamed_from = []
  })]
  quarantine = {
    namespace        = local.table.namespace
    name             = "${local.name}__quarantine"
    description      = "Rows that do not fit ${local.table.namespace}.${local.name}, with the reason."
    owner            = local.owner
    tags             = local.tags
    columns          = local.quarantine_columns
    identifier       = []
    partition_fields = []
    sort_order       = []
    properties       = {}
    maintenance      = merge(local.maintenance, { retention = local.retention[1] == "" ? "" : "${local.retention[0]} on quarantined_at" })
    readable_columns = {
      reader = []
      writer = local.quarantine_columns[*].name
      admin  = local.quarantine_columns[*].name
    }
  }
  has_quarantine = try(local.raw_pipeline.on_bad_rows == "quarantine", false)
}
