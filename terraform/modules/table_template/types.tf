# HCL cannot recurse: a type string is normalised by rewriting its text, and checked by reducing it from the inside out,
# list<@> to #, as often as types may be nested. Words are marked first (·long·), so that a struct's field named `long`
# is never taken for a type.

locals {
  nested = "/·list·<[@#]>|·map·<@,[@#]>|·struct·<[a-z][a-z0-9_]*:[@#](?:,[a-z][a-z0-9_]*:[@#])*>/"

  written_types = [for column in local.raw_columns : try(tostring(column.type), "")]
  # Blanks between two words would join them.
  marked = [for type in local.written_types : replace(replace(
    can(regex("[A-Za-z0-9_]\\s+[A-Za-z0-9_]", type)) ? "" : type, "/\\s+/", ""), "/([A-Za-z0-9_]+)/", "·$1·"
  )]
  unmarked_names   = [for type in local.marked : replace(type, "/·([a-z][a-z0-9_]*)·:/", "$1:")]
  unmarked_numbers = [for type in local.unmarked_names : replace(type, "/·0*([0-9]+)·/", "$1")]

  # As lakehouse.types.type_string writes them.
  type_strings = [for type in local.unmarked_numbers : replace(replace(replace(replace(
  type, "·", ""), ",", ", "), "/(decimal\\([0-9]+), /", "$1,"), ":", ": ")]

  # As PyIceberg writes them into Glue, so that a commit does not change them.
  glue_types = [for type in local.unmarked_numbers : replace(replace(replace(replace(replace(replace(replace(type,
    "·long·", "bigint"),
    "/·(?:time|uuid)·/", "string"),
    "·timestamptz·", "timestamp"),
    "/·fixed·\\[[0-9]+\\]/", "binary"),
    "·list·", "array"),
  "·", ""), " ", "")]

  # @ is a primitive type, # a nested one; a map's key must be primitive.
  reduced_1 = [for type in local.unmarked_numbers : replace(type,
    "/·(?:boolean|int|long|float|double|date|time|timestamp|timestamptz|string|uuid|binary)·|·decimal·\\((?:[1-9]|[12][0-9]|3[0-8]),(?:[0-9]|[12][0-9]|3[0-8])\\)|·fixed·\\[[1-9][0-9]{0,8}\\]/",
  "@")]
  # Five levels a line.
  reduced_6  = [for type in local.reduced_1 : type == "@" ? "@" : replace(replace(replace(replace(replace(type, local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#")]
  reduced_11 = [for type in local.reduced_6 : length(type) == 1 ? type : replace(replace(replace(replace(replace(type, local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#")]
  reduced    = [for type in local.reduced_11 : length(type) == 1 ? type : replace(replace(replace(replace(replace(type, local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#"), local.nested, "#")]

  primitive_columns = toset([for index, type in local.reduced : local.column_names[index] if type == "@"])
  # The kind of a column's type: decimal of decimal(18,2), list of list<long>.
  base_types = { for index, type in local.type_strings : local.column_names[index] => try(regex("^[a-z]+", type), "")... }

  type_problems = concat(
    [for index, type in local.reduced : "columns[${index}] `${local.column_names[index]}`: `${local.written_types[index]}` is not a type."
    if !contains(["@", "#"], type)],
    [for index, type in local.unmarked_numbers : "columns[${index}] `${local.column_names[index]}`: the scale of a decimal is larger than its precision."
    if anytrue([for pair in regexall("·decimal·\\(([0-9]{1,9}),([0-9]{1,9})\\)", type) : tonumber(pair[1]) > tonumber(pair[0])])],
  )
}
