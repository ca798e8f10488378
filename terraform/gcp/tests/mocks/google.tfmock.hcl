# What Google would answer: the values that others are made of.

mock_data "google_storage_project_service_account" {
  defaults = { member = "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" }
}

mock_resource "google_biglake_iceberg_catalog" {
  defaults = { biglake_service_account = "catalog@example.iam.gserviceaccount.com" }
}

mock_resource "google_bigquery_connection" {
  defaults = { cloud_resource = { service_account_id = "connection@example.iam.gserviceaccount.com" } }
}

mock_resource "google_data_catalog_taxonomy" {
  defaults = {
    id   = "projects/my-project/locations/eu/taxonomies/1"
    name = "projects/my-project/locations/eu/taxonomies/1"
  }
}

mock_resource "google_data_catalog_policy_tag" {
  defaults = { name = "projects/my-project/locations/eu/taxonomies/1/policyTags/2" }
}

mock_resource "google_logging_project_sink" {
  defaults = { writer_identity = "serviceAccount:sink@example.iam.gserviceaccount.com" }
}

mock_resource "google_kms_crypto_key" {
  defaults = { id = "projects/my-project/locations/europe/keyRings/lakehouse/cryptoKeys/lakehouse-buckets" }
}
