# Keys, kinds of values, allowed values: what pydantic checks on the Python side, from a schema that is generated from
# its models (make generate). Each value is a token, <model>.<key>=<kind>, and sets of tokens are compared: that is fast.

locals {
  schema = jsondecode(file("${path.module}/schema.json"))
  # The first character of a value's JSON tells its kind; any other is a digit's.
  kinds = { "\"" = "text", "[" = "list", "{" = "mapping", "t" = "bool", "f" = "bool", "n" = "null" }

  pipeline_models = { event_stream = "EventStreamPipeline", scd_type2 = "ScdType2Pipeline", feature_table = "FeatureTablePipeline" }
  pipeline_model  = lookup(local.pipeline_models, try(tostring(local.raw_pipeline.pattern), ""), "")
  raw_sources = concat(
    try([{ where = "source.", value = { for key, value in local.document.source : key => value } }], []),
    try([{ where = "pipeline.source.", value = { for key, value in local.raw_pipeline.source : key => value } }], []),
  )

  # Every mapping of the file that a model describes.
  mappings = concat(
    [{ where = "", model = "TableTemplate", value = local.document }],
    [for index, value in local.raw_columns : { where = "columns[${index}] `${local.column_names[index]}`: ", model = "Column", value = value }],
    [for index, value in local.raw_partitions : { where = "partition_spec[${index}].", model = "PartitionField", value = value }],
    [for index, value in local.raw_sorts : { where = "sort_order[${index}].", model = "SortField", value = value }],
    local.pipeline_model == "" ? [] : [{ where = "pipeline.", model = local.pipeline_model, value = local.raw_pipeline }],
    [for source in local.raw_sources : { where = source.where, model = "Source", value = source.value }],
    flatten([for source in local.raw_sources : try([{
      where = "${source.where}csv_options.", model = "CsvOptions", value = { for key, value in source.value.csv_options : key => value }
    }], [])]),
    try([{ where = "pipeline.partitions.", model = "FeaturePartitions", value = { for key, value in local.raw_pipeline.partitions : key => value } }], []),
    try([{ where = "checks.", model = "Checks", value = { for key, value in local.document.checks : key => value } }], []),
    try([{ where = "maintenance.", model = "Maintenance", value = { for key, value in local.document.maintenance : key => value } }], []),
  )

  # Keys that are not there, or whose values are none of what is allowed; then what is in lists and mappings.
  wrong_entries = flatten([for mapping in local.mappings : [for key, value in mapping.value : {
    where = "${mapping.where}${key}", known = contains(local.schema.keys[mapping.model], key), token = "${mapping.model}.${key}="
    } if !can(local.schema.allowed[join("", [mapping.model, ".", key, "=",
      contains(local.schema.chosen, key) && can(tostring(value)) ? coalesce(try(tostring(value), null), "null") :
      lookup(local.kinds, substr(try(jsonencode(value), "0"), 0, 1), "number")
  ])])]])
  wrong_items = flatten([for mapping in local.mappings : [for key, value in mapping.value : [for item in try([for item in value : item], []) : {
    where = "${mapping.where}${key}", token = "${mapping.model}.${key}[]="
  } if !can(local.schema.allowed["${mapping.model}.${key}[]=${lookup(local.kinds, substr(jsonencode(item), 0, 1), "number")}"])]]])

  schema_problems = concat(
    local.parsed != null && local.document == {} ? ["it is not a mapping of keys to values."] : [],
    [for entry in local.wrong_entries : "${entry.where}: there is no such key. See docs/template-reference.md." if !entry.known],
    [for entry in local.wrong_entries : "${entry.where}: it must be ${join(" or ", [
      for token in keys(local.schema.allowed) : trimprefix(token, entry.token) if startswith(token, entry.token)])}." if entry.known
    ],
    [for entry in distinct(local.wrong_items) : "${entry.where}: what is in it must be ${join(" or ", [
      for token in keys(local.schema.allowed) : trimprefix(token, entry.token) if startswith(token, entry.token)])}."
    if anytrue([for token in keys(local.schema.allowed) : startswith(token, entry.token)])],
    flatten([for mapping in local.mappings : [for key in setsubtract(local.schema.required[mapping.model], keys(mapping.value)) :
    "${mapping.where}${key}: the key is missing."]]),
    flatten([for mapping in local.mappings : [for key, pattern in local.schema.patterns[mapping.model] :
      "${mapping.where}${key}: `${try(tostring(mapping.value[key]), "")}` does not match ${pattern}."
    if try(tostring(mapping.value[key]), null) != null && !can(regex(pattern, mapping.value[key]))]]),
    flatten([for mapping in local.mappings : [for key, minimum in local.schema.minimums[mapping.model] :
      "${mapping.where}${key}: it must be a whole number, at least ${minimum}."
    if try(mapping.value[key] < minimum || floor(mapping.value[key]) != mapping.value[key], false)]]),
    flatten([for mapping in local.mappings : [for key in local.schema.nonempty[mapping.model] : "${mapping.where}${key}: it is empty."
    if try(length(mapping.value[key]) == 0, false)]]),
    local.pipeline_model == "" && try(jsonencode(local.document.pipeline), "null") != "null" ? ["pipeline.pattern: it must be event_stream, scd_type2 or feature_table."] : [],
  )
}
