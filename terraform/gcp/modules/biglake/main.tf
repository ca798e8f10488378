# The Iceberg REST catalog of the warehouse, through which every commit goes. Its tables are `lakehouse apply`'s.
#
# main.tf      catalog and namespaces
# bigquery.tf  where readers look: a dataset per namespace, and the connection that opens the files for them

locals {
  deletion_policy = var.deletion_protection ? "PREVENT" : "DELETE"
  vended          = toset(var.credentials == "vended" ? ["this"] : [])
}

resource "google_biglake_iceberg_catalog" "this" {
  project      = var.project
  catalog_type = "CATALOG_TYPE_GCS_BUCKET"
  # A catalog of this type has its bucket's name.
  name            = var.warehouse_bucket
  credential_mode = var.credentials == "vended" ? "CREDENTIAL_MODE_VENDED_CREDENTIALS" : "CREDENTIAL_MODE_END_USER"
  deletion_policy = local.deletion_policy
}

# What it lends to others it must have itself.
resource "google_storage_bucket_iam_member" "catalog" {
  for_each = local.vended

  bucket = var.warehouse_bucket
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_biglake_iceberg_catalog.this.biglake_service_account}"
}

# Its properties are the catalog's to say: it adds the location.
resource "google_biglake_iceberg_namespace" "this" {
  for_each = var.namespaces

  project         = var.project
  catalog         = google_biglake_iceberg_catalog.this.name
  namespace_id    = each.value
  deletion_policy = local.deletion_policy

  depends_on = [google_storage_bucket_iam_member.catalog]
}
