# Saved queries to begin with. The reader has none on the metadata tables ("table$snapshots"), which Lake Formation's
# column grants do not cover: they tell of files and partitions.

locals {
  queries = merge([for key, table in local.tables : merge(
    {
      for role in ["reader", "writer", "admin"] : "${key}/${role}/sample" => {
        role = role, table = table, description = "Ten rows.",
        sql  = "SELECT ${join(", ", [for name in table.readable_columns[role] : "\"${name}\""])} FROM ${local.sql_names[key]} LIMIT 10"
      } if length(table.readable_columns[role]) > 0
    },
    {
      for role in ["reader"] : "${key}/${role}/partitions" => {
        role = role, table = table, description = "Rows of each partition.",
        sql = join(" ", [
          "SELECT ${join(", ", local.partition_expressions[key])}, count(*) AS record_count FROM ${local.sql_names[key]}",
          "GROUP BY ${join(", ", local.partition_expressions[key])}",
        ])
      } if length(local.partition_expressions[key]) > 0
    },
    {
      for role in ["writer", "admin"] : "${key}/${role}/partitions" => {
        role = role, table = table, description = "Rows and files of each partition.",
        sql  = "SELECT ${length(table.partition_fields) > 0 ? "partition, " : ""}record_count, file_count FROM ${trimsuffix(local.sql_names[key], "\"")}$partitions\""
      }
    },
    {
      for role in ["writer", "admin"] : "${key}/${role}/snapshots" => {
        role = role, table = table, description = "Every snapshot, the newest first.",
        sql  = "SELECT committed_at, snapshot_id, operation, summary FROM ${trimsuffix(local.sql_names[key], "\"")}$snapshots\" ORDER BY committed_at DESC"
      }
    },
  )]...)
  # Of buckets and truncated values SQL has no expression.
  partition_expressions = { for key, table in local.tables : key => [for field in table.partition_fields :
    field.transform == "identity" ? "\"${field.column}\"" : "date_trunc('${field.transform}', \"${field.column}\")"
  if contains(["identity", "year", "month", "day", "hour"], field.transform)] }
  sql_names = { for key, table in local.tables : key => "\"${table.namespace}\".\"${table.name}\"" }
}

resource "aws_athena_named_query" "this" {
  for_each = { for key, query in local.queries : key => query if contains(keys(var.named_query_workgroups), query.role) }

  name        = each.key
  description = each.value.description
  workgroup   = var.named_query_workgroups[each.value.role]
  database    = var.databases[each.value.table.namespace]
  query       = each.value.sql
}
