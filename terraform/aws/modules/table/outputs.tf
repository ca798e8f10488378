output "names" {
  description = "The tables, as namespace.name: the template's, and its quarantine table if it has one."
  value       = keys(local.tables)
}

output "reader_columns" {
  description = "Table => the columns that the reader is granted."
  value       = local.reader_columns
}
