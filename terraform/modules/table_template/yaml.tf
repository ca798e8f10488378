# What YAML 1.1 and 1.2 read differently, and what yamldecode lets pass: lakehouse/yaml_reader.py refuses it by parsing.
# Here it is found in the text, line by line, which sees the forms that templates are written in; a file with a block
# scalar (| or >) is left to `lakehouse lint`, for its lines may look like anything.

locals {
  ambiguous = join("|", [
    "y|n|yes|no|on|off|=|<<",
    "[-+]?0b[01_]+|[-+]?0x[0-9a-f_]+|[-+]?0o[0-7_]+",
    "\\+[0-9][0-9_]*|-?0[0-9_]+|-0|[-+]?[0-9]+_[0-9_]*|-?[1-9][0-9]{18,}",
    "[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\\.[0-9_]*)?",
    "[-+]?\\.[0-9_]+(?:e[-+]?[0-9]+)?|[-+]?[0-9][0-9_]*\\.|[-+]?[0-9][0-9_]*(?:\\.[0-9_]*)?e[-+]?[0-9]+",
    "\\+[0-9][0-9_]*\\.[0-9_]*|-?0[0-9_]+\\.[0-9_]*|-?[0-9]+_[0-9_]*\\.[0-9_]*|-?[0-9]+\\.[0-9]*_[0-9_]*",
    "[-+]?\\.(?:inf|nan)",
    "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \\t][^,}\\]#]*)?",
  ])
  key = "(?:[A-Za-z0-9_.-]+|\"[^\"\\n]*\"|'[^'\\n]*')\\s*:[ \\t]+"
  # The start of a line in flow style, up to a place where a value or a key begins.
  flow = "^[ \\t-]*(?:${local.key})?[\\[{](?:(?:[^\"'#\\n]|\"[^\"\\n]*\"|'[^'\\n]*')*?[\\[{,:])?[ \\t]*"

  has_block_scalar = can(regex("(?m)(?::|-)[ \\t]+[|>][-+0-9]*[ \\t]*(?:#.*)?$", local.text))
  checked_text     = local.has_block_scalar ? "" : local.text

  ambiguous_values = distinct(flatten([
    regexall("(?mi)^(?:[ \\t]*-)*[ \\t]*(?:${local.key})?(${local.ambiguous})[ \\t]*(?:#.*)?$", local.checked_text),
    regexall("(?mi)${local.flow}(${local.ambiguous})[ \\t]*[,}\\]]", local.checked_text),
  ]))
  ambiguous_keys = distinct(flatten([
    regexall("(?mi)^(?:[ \\t]*-)*[ \\t]*(${local.ambiguous}|true|false|null|~|[0-9.]+):(?:[ \\t]|$)", local.checked_text),
    regexall("(?mi)${local.flow}(${local.ambiguous}|true|false|null|~|[0-9.]+):[ \\t]", local.checked_text),
  ]))
  references = distinct(flatten([
    regexall("(?m)^(?:[ \\t]*-)*[ \\t]*(?:${local.key})?([&*!][^ \\t\\n]*)", local.checked_text),
    regexall("(?m)${local.flow}([&*!][^ \\t\\n,}\\]]*)", local.checked_text),
  ]))

  # Of two equal keys yamldecode takes the last one. Keys of the file, of each list item in block style, of each flow mapping.
  blocks = concat(
    [flatten(regexall("(?m)^([A-Za-z_][A-Za-z0-9_.-]*)[ \\t]*:(?:[ \\t]|$)", local.checked_text))],
    [for item in regexall("(?m)^ *- +[a-z_]+:.*(?:\\n +[^ \\n-].*)*", local.checked_text) :
    flatten(regexall("(?m)^ *(?:- +)?([A-Za-z0-9_.-]+)[ \\t]*:(?:[ \\t]|$)", item))],
    [for mapping in flatten([for line in flatten(regexall("(?m)^[ \\t-]*(?:${local.key})?([\\[{].*)$", local.checked_text)) :
      regexall("\\{[^{}\"']*\\}", line)]) :
    flatten(regexall("[{,][ \\t]*([A-Za-z0-9_.-]+)[ \\t]*:", mapping))],
  )
  duplicate_keys = distinct(flatten([for keys in local.blocks : [for key in distinct(keys) : key if length([for other in keys : other if other == key]) > 1]]))

  yaml_problems = concat(
    local.parsed == null ? ["it is not valid YAML, or empty. See where: lakehouse lint"] : [],
    startswith(local.text, "\ufeff") ? ["it starts with a byte order mark. Save it as UTF-8 without BOM."] : [],
    can(regex("(?m)^(?:%|--- .*\\S|--- *\\n(?:.*\\n)*--- *$)", local.text)) ? ["a % directive or a second document is not allowed."] : [],
    [for value in local.ambiguous_values : "YAML readers disagree on the value `${value}`. Quote it if it is a string."],
    [for key in local.ambiguous_keys : "the key `${key}` is not a string to every YAML reader. Quote it."],
    [for reference in local.references : "the anchor, alias or tag `${reference}` is not allowed. Write the value out."],
    [for key in local.duplicate_keys : "the key `${key}` stands twice in one mapping. Remove one."],
  )
}
