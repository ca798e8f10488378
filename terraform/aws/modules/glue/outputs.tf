output "databases" {
  description = "Namespace => name of its database."
  value       = { for namespace, database in aws_glue_catalog_database.this : namespace => database.name }
}
