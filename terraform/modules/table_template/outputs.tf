output "tables" {
  description = "The template's table and, where the pipeline says `on_bad_rows: quarantine`, its quarantine table, normalised, by namespace.name."
  value = {
    for table in concat([local.table], local.has_quarantine ? [local.quarantine] : []) : "${table.namespace}.${table.name}" => table
  }

  precondition {
    condition     = length(local.problems) == 0
    error_message = join("\n", [for problem in local.problems : "${var.path}: ${problem}"])
  }
}
