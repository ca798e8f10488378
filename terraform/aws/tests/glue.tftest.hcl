# What each variable of the catalog does.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  namespaces         = ["shop", "web"]
  warehouse_location = "s3://example-warehouse"
  encrypt_catalog    = false
  kms_key_arn        = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
}

run "a_database_per_namespace" {
  command = plan

  module {
    source = "./modules/glue"
  }

  assert {
    condition     = { for database in aws_glue_catalog_database.this : database.name => database.location_uri } == { shop = "s3://example-warehouse/shop", web = "s3://example-warehouse/web" }
    error_message = "a database per namespace, in the warehouse"
  }

  assert {
    condition     = length(aws_glue_data_catalog_encryption_settings.this) == 0
    error_message = "the account's catalog is left alone"
  }
}

run "encrypts_the_catalog_on_request" {
  command = plan

  module {
    source = "./modules/glue"
  }

  variables {
    encrypt_catalog = true
  }

  assert {
    condition     = one(one(aws_glue_data_catalog_encryption_settings.this["this"].data_catalog_encryption_settings).encryption_at_rest).sse_aws_kms_key_id == var.kms_key_arn
    error_message = "encrypt_catalog, with the key"
  }

  assert {
    condition     = one(one(aws_glue_data_catalog_encryption_settings.this["this"].data_catalog_encryption_settings).encryption_at_rest).catalog_encryption_mode == "SSE-KMS"
    error_message = "encrypt_catalog"
  }
}
