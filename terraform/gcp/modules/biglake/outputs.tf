output "catalog" {
  description = "Name of the catalog, which is its bucket's."
  value       = google_biglake_iceberg_catalog.this.name
}

output "datasets" {
  description = "Namespace => its BigQuery dataset."
  value       = { for namespace, dataset in google_bigquery_dataset.this : namespace => dataset.dataset_id }
}

output "connection_id" {
  description = "The connection's name in its location."
  value       = google_bigquery_connection.warehouse.connection_id
}

output "connection" {
  description = "The connection, projects/…/locations/…/connections/…"
  value       = "projects/${var.project}/locations/${google_bigquery_connection.warehouse.location}/connections/${google_bigquery_connection.warehouse.connection_id}"
}

output "connection_service_account" {
  description = "The service account with which BigQuery reads the warehouse's files."
  value       = google_bigquery_connection.warehouse.cloud_resource[0].service_account_id
}
