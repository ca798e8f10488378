output "reader_columns" {
  description = "Table => the columns that the reader sees: those without the tag of restricted columns."
  value       = { for key, table in module.template.tables : key => table.readable_columns.reader }
}
