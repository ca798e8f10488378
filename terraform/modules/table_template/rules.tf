# Lint rules that HCL can hold; the name in front of each is lakehouse's (docs/template-reference.md). What needs SQL, a
# calendar or other templates is lakehouse's alone.

locals {
  name_pattern = "^[a-z][a-z0-9_]*$"
  hidden_names = toset([for column in local.columns : column.name if column.pii || column.access_level == "restricted"])

  # https://iceberg.apache.org/spec/#partition-transforms; float and double make no certain partitions.
  transform_types = {
    identity = ["boolean", "int", "long", "decimal", "date", "time", "timestamp", "timestamptz", "string", "uuid", "fixed", "binary"]
    year     = ["date", "timestamp", "timestamptz"]
    month    = ["date", "timestamp", "timestamptz"]
    day      = ["date", "timestamp", "timestamptz"]
    hour     = ["timestamp", "timestamptz"]
    bucket   = ["int", "long", "decimal", "date", "time", "timestamp", "timestamptz", "string", "uuid", "fixed", "binary"]
    truncate = ["int", "long", "decimal", "string", "binary"]
  }

  # Where a template names its own columns.
  column_references = concat(
    [for index, name in local.table.identifier : { where = "identifier[${index}]", name = name }],
    [for index, field in local.partition_fields : { where = "partition_spec[${index}].column", name = field.column }],
    [for index, field in local.sort_fields : { where = "sort_order[${index}].column", name = field.column }],
    [for index, name in try([for key in local.raw_pipeline.key : tostring(key)], []) : { where = "pipeline.key[${index}]", name = name }],
    [for name in compact([local.retention[1]]) : { where = "maintenance.retention", name = name }],
  )
  former_names = flatten([for index, column in local.raw_columns : [for name in try([for name in column.renamed_from : tostring(name)], []) :
  { where = "columns[${index}] `${local.column_names[index]}`: renamed_from", name = name, column = local.column_names[index] }]])

  name_problems = concat(
    [for name in local.column_names : "the column `${name}` is not a name: lower-case letters, digits and _, starting with a letter."
    if !can(regex(local.name_pattern, name))],
    [for name in distinct(local.column_names) : "the column `${name}` stands twice."
    if length([for other in local.column_names : other if other == name]) > 1],
    strcontains(local.name, "__") ? ["name: `${local.name}` has two underscores in a row, which mark derived tables."] : [],
    "${local.name}.yaml" != basename(var.path) ? ["name: the table is `${local.name}`, the file `${basename(var.path)}`."] : [],
    [for key, value in local.tags : "tags.${key}: 1 to 63 letters, digits, _, . or - make a tag."
    if !can(regex("^[A-Za-z0-9_.-]{1,63}$", key)) || !can(regex("^[A-Za-z0-9_.-]{0,63}$", value))],
    # Glue's limits.
    length(local.table.description) > 2048 ? ["description: it has more than 2,048 characters."] : [],
    [for column in local.columns : "the description of `${column.name}` has more than 255 characters, or several lines."
    if length(column.description) > 255 || can(regex("[\r\n]", column.description))],
    [for former in local.former_names : "${former.where}: `${former.name}` is not a name." if !can(regex(local.name_pattern, former.name))],
    [for former in local.former_names : "${former.where}: it is renamed from itself." if former.name == former.column],
    [for name in distinct(local.former_names[*].name) : "renamed_from: `${name}` stands twice."
    if length([for former in local.former_names : former if former.name == name]) > 1],
  )

  layout_problems = concat(
    [for reference in local.column_references : "${reference.where}: there is no column `${reference.name}`."
    if !contains(local.column_names, reference.name)],
    [for name in distinct(local.table.identifier) : "identifier: `${name}` stands twice."
    if length([for other in local.table.identifier : other if other == name]) > 1],
    [for column in local.columns : "identifier: `${column.name}` may be null, or is not of a primitive type that compares exactly."
      if contains(local.table.identifier, column.name) &&
    !(column.required && contains(local.primitive_columns, column.name) && !contains(["float", "double"], column.type))],
    [for index, field in local.partition_fields : "partition_spec[${index}]: `${field.transform}` does not take `${field.column}`."
      if contains(local.column_names, field.column) && !(contains(local.primitive_columns, field.column) &&
    contains(try(local.transform_types[split("[", field.transform)[0]], []), try(local.base_types[field.column][0], "")))],
    [for index, field in local.partition_fields : "partition_spec[${index}]: `${field.column}` is pii or restricted; its values would show in paths."
    if contains(local.hidden_names, field.column)],
    [for name in distinct(local.partition_fields[*].name) : "partition_spec: two fields would be named `${name}`."
    if length([for field in local.partition_fields : field if field.name == name]) > 1],
    [for index, field in local.partition_fields : "partition_spec[${index}]: its name `${field.name}` is a column's."
    if field.transform != "identity" && contains(local.column_names, field.name)],
    [for name in distinct(local.sort_fields[*].column) : "sort_order: `${name}` stands twice."
    if length([for field in local.sort_fields : field if field.column == name]) > 1],
    [for index, field in local.sort_fields : "sort_order[${index}]: `${field.column}` is nested."
    if contains(local.column_names, field.column) && !contains(local.primitive_columns, field.column)],
  )

  retention_problems = concat(
    [for name in compact([local.retention[1]]) : "maintenance.retention: `${name}` is no date, timestamp or timestamptz."
      if contains(local.column_names, name) && !(contains(local.primitive_columns, name) &&
    contains(["date", "timestamp", "timestamptz"], try(local.base_types[name][0], "")))],
    local.pipeline_model == "ScdType2Pipeline" && !contains(["", "valid_to"], local.retention[1]) ?
    ["maintenance.retention: by `${local.retention[1]}`, versions that still hold would be deleted. Write valid_to."] : [],
  )

  property_problems = concat(
    [for key in keys(local.table.properties) : "properties.${key}: it is set by the project."
    if contains(["commit.retry.num-retries", "format-version", "location"], key) || startswith(key, "lakehouse.")],
    flatten([for prefix, off in { "write.metadata.metrics.column." = "none", "write.parquet.stats-enabled.column." = "false" } : [
      for key, value in local.table.properties : "properties.${key}: it would write bounds of a pii or restricted column into metadata."
    if startswith(key, prefix) && value != off && contains(local.hidden_names, split(".", trimprefix(key, prefix))[0])]]),
    [for key, value in local.table.properties : "properties.${key}: `${value}` is not a codec." if key == "write.parquet.compression-codec" &&
    !contains(["uncompressed", "snappy", "gzip", "lz4", "zstd", "brotli"], value)],
    [for key, value in local.table.properties : "properties.${key}: `${value}` is not a whole number that it can be."
      if can(regex("^(?:write|commit|history)\\..+-(?:bytes|limit|level|max|ms|to-keep|to-merge)$", key)) && !can(regex(
    can(regex("(?:-bytes|-group-limit|-row-limit)$", key)) ? "^0*[1-9][0-9]{0,17}$" : "^-?[0-9]{1,18}$", value))],
  )

  pipeline_problems = concat(
    local.pipeline_model != "" && try(jsonencode(local.document.source), "null") != "null" ? ["source: there is a `pipeline` too."] : [],
    try(local.document.publish == "audited", false) && local.pipeline_model == "" && try(jsonencode(local.document.source), "null") == "null" ?
    ["publish: the table has no pipeline, so nothing would check its rows and publish them. Add one, or use direct."] : [],
    flatten([for source in local.raw_sources : try(jsonencode(source.value.csv_options), "null") != "null" && try(source.value.format, "csv") != "csv" ?
    ["${source.where}csv_options: the format is ${try(tostring(source.value.format), "another")}."] : []]),
    flatten([for source in local.raw_sources : strcontains(replace(try(tostring(source.value.path), ""), "/\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}/", ""), "$") ?
    ["${source.where}path: it has a $ that starts no variable."] : []]),
  )

  problems = concat(
    local.yaml_problems, local.schema_problems, local.name_problems, local.type_problems, local.layout_problems,
    local.retention_problems, local.property_problems, local.pipeline_problems,
  )
}
