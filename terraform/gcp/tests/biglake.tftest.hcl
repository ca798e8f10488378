# Catalog, namespaces, datasets, connection.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project             = "my-project"
  location            = "EU"
  name                = "lakehouse"
  warehouse_bucket    = "example-warehouse"
  namespaces          = ["shop", "web"]
  credentials         = "vended"
  deletion_protection = true
}

run "a_catalog_that_lends_credentials" {
  command = plan

  module {
    source = "./modules/biglake"
  }

  assert {
    condition = alltrue([
      google_biglake_iceberg_catalog.this.name == "example-warehouse",
      google_biglake_iceberg_catalog.this.catalog_type == "CATALOG_TYPE_GCS_BUCKET",
      google_biglake_iceberg_catalog.this.credential_mode == "CREDENTIAL_MODE_VENDED_CREDENTIALS",
    ])
    error_message = "the catalog has its bucket's name, which Google asks for"
  }

  assert {
    condition     = { for grant in google_storage_bucket_iam_member.catalog : grant.bucket => "${grant.role} ${grant.member}" } == { example-warehouse = "roles/storage.objectUser serviceAccount:catalog@example.iam.gserviceaccount.com" }
    error_message = "what it lends it has"
  }

  assert {
    condition     = { for key, namespace in google_biglake_iceberg_namespace.this : key => "${namespace.catalog} ${namespace.namespace_id}" } == { shop = "example-warehouse shop", web = "example-warehouse web" }
    error_message = "a namespace per namespace"
  }

  assert {
    condition     = { for key, dataset in google_bigquery_dataset.this : key => "${dataset.dataset_id} ${dataset.location} ${dataset.delete_contents_on_destroy}" } == { shop = "shop EU false", web = "web EU false" }
    error_message = "a dataset per namespace, where the bucket is, and never deleted with what is in it"
  }

  assert {
    condition     = google_bigquery_connection.warehouse.location == "eu" && output.connection == "projects/my-project/locations/eu/connections/lakehouse"
    error_message = "the connection, as Google writes it"
  }

  assert {
    condition     = "${google_storage_bucket_iam_member.connection.bucket} ${google_storage_bucket_iam_member.connection.role} ${google_storage_bucket_iam_member.connection.member}" == "example-warehouse roles/storage.objectViewer serviceAccount:connection@example.iam.gserviceaccount.com"
    error_message = "the connection only reads"
  }

  assert {
    condition = alltrue(concat(
      [google_biglake_iceberg_catalog.this.deletion_policy == "PREVENT"],
      [for namespace in google_biglake_iceberg_namespace.this : namespace.deletion_policy == "PREVENT"],
      [for dataset in google_bigquery_dataset.this : dataset.deletion_policy == "PREVENT"],
    ))
    error_message = "nothing of it goes by accident"
  }
}

run "own_credentials_and_no_protection" {
  command = plan

  module {
    source = "./modules/biglake"
  }

  variables {
    name                = "other"
    location            = "europe-west3"
    credentials         = "own"
    deletion_protection = false
  }

  assert {
    condition     = google_biglake_iceberg_catalog.this.credential_mode == "CREDENTIAL_MODE_END_USER" && length(google_storage_bucket_iam_member.catalog) == 0
    error_message = "the catalog lends nothing, and has no files"
  }

  assert {
    condition = alltrue(concat(
      [google_biglake_iceberg_catalog.this.deletion_policy == "DELETE"],
      [for namespace in google_biglake_iceberg_namespace.this : namespace.deletion_policy == "DELETE"],
      [for dataset in google_bigquery_dataset.this : dataset.deletion_policy == "DELETE"],
    ))
    error_message = "deletion_protection"
  }

  assert {
    condition     = output.connection == "projects/my-project/locations/europe-west3/connections/other"
    error_message = "name, location"
  }
}

run "refuses_credentials_that_are_none" {
  command = plan

  module {
    source = "./modules/biglake"
  }

  variables {
    credentials = "borrowed"
  }

  expect_failures = [var.credentials]
}
