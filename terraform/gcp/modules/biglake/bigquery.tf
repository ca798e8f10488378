# Policy tags work on BigQuery's own entries only, not on what BigQuery sees of the catalog: readers query a dataset of the
# namespace's name, with an entry for each table that names the newest metadata file. `lakehouse apply` and commits keep it.

resource "google_bigquery_dataset" "this" {
  #checkov:skip=CKV_GCP_81: It holds no rows: its tables are files in the warehouse, which cmek encrypts.
  for_each = var.namespaces

  project     = var.project
  dataset_id  = each.value
  description = "Iceberg tables of the namespace ${each.value}, described by the templates."
  location    = var.location
  # What else is in it is somebody's.
  delete_contents_on_destroy = false
  deletion_policy            = local.deletion_policy
}

resource "google_bigquery_connection" "warehouse" {
  project       = var.project
  connection_id = var.name
  location      = local.connection_location
  description   = "Reads the warehouse's files for those who query a dataset."

  cloud_resource {}
}

locals {
  # As Google writes it back.
  connection_location = lower(var.location)
}

resource "google_storage_bucket_iam_member" "connection" {
  bucket = var.warehouse_bucket
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${google_bigquery_connection.warehouse.cloud_resource[0].service_account_id}"
}
