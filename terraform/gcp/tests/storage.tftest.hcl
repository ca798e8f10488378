# What each variable of the storage does, and what is refused.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project                 = "my-project"
  location                = "EU"
  name                    = "lakehouse"
  bucket_prefix           = "example"
  cmek                    = false
  key_rotation_days       = 90
  key_destroy_days        = 30
  nearline_days           = 90
  noncurrent_version_days = 30
  soft_delete_days        = 7
  landing_expiration_days = null
  log_retention_days      = 365
  data_access_logs        = false
}

run "storage_by_default" {
  command = plan

  module {
    source = "./modules/storage"
  }

  assert {
    condition     = { for kind, bucket in google_storage_bucket.this : kind => "${bucket.name} ${bucket.location}" } == { for kind in ["warehouse", "landing", "logs"] : kind => "example-${kind} EU" }
    error_message = "bucket_prefix and the kind are a bucket's name"
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.uniform_bucket_level_access && bucket.public_access_prevention == "enforced" && !bucket.force_destroy])
    error_message = "no bucket can be made public, no object has a list of its own, and a bucket that holds anything is not destroyed"
  }

  assert {
    condition     = { for kind, bucket in google_storage_bucket.this : kind => bucket.versioning[0].enabled } == { warehouse = true, landing = true, logs = false }
    error_message = "what is overwritten or deleted can be brought back"
  }

  assert {
    condition     = { for kind, bucket in google_storage_bucket.this : kind => [for policy in bucket.retention_policy : "${policy.retention_period} ${policy.is_locked}"] } == { warehouse = [], landing = [], logs = ["31536000 false"] }
    error_message = "a log cannot be deleted for a year"
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.soft_delete_policy[0].retention_duration_seconds == 604800 && length(bucket.encryption) == 0])
    error_message = "seven days of soft delete; Google's keys"
  }

  assert {
    condition = { for kind, bucket in google_storage_bucket.this : kind => [for rule in bucket.lifecycle_rule :
      join(" ", compact([one(rule.action).type, one(rule.action).storage_class, one(rule.condition).with_state, one(rule.condition).age, one(rule.condition).days_since_noncurrent_time]))
      ] } == {
      warehouse = ["AbortIncompleteMultipartUpload ANY 7", "Delete ARCHIVED 30", "SetStorageClass NEARLINE LIVE 90"]
      landing   = ["AbortIncompleteMultipartUpload ANY 7", "Delete ARCHIVED 30"]
      logs      = ["AbortIncompleteMultipartUpload ANY 7", "Delete ARCHIVED 30", "Delete LIVE 365"]
    }
    error_message = "Cloud Storage deletes no live file of a table, and no source file"
  }

  assert {
    condition = alltrue([
      google_logging_project_sink.audit.destination == "storage.googleapis.com/example-logs",
      google_logging_project_sink.audit.unique_writer_identity,
      strcontains(google_logging_project_sink.audit.filter, "NOT protoPayload.resourceName:\"projects/_/buckets/example-logs\""),
      google_storage_bucket_iam_member.sink.bucket == "example-logs",
      google_storage_bucket_iam_member.sink.role == "roles/storage.objectCreator",
    ])
    error_message = "audit logs go to their bucket, to which the sink can only add"
  }

  assert {
    condition     = length(google_project_iam_audit_config.this) == 0 && length(google_kms_key_ring.this) == 0 && output.kms_key == null
    error_message = "data access logs, and a key of one's own, only on request"
  }
}

run "storage_changed" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    location                = "europe-west3"
    name                    = "other"
    bucket_prefix           = "mine"
    cmek                    = true
    key_rotation_days       = 30
    key_destroy_days        = 7
    nearline_days           = 60
    noncurrent_version_days = 90
    soft_delete_days        = 14
    landing_expiration_days = 14
    log_retention_days      = 730
    abort_upload_days       = 2
    data_access_logs        = true
  }

  assert {
    condition = { for kind, bucket in google_storage_bucket.this : kind => [for rule in bucket.lifecycle_rule :
      join(" ", compact([one(rule.action).type, one(rule.condition).age, one(rule.condition).days_since_noncurrent_time]))
      ] } == {
      warehouse = ["AbortIncompleteMultipartUpload 2", "Delete 90", "SetStorageClass 60"]
      landing   = ["AbortIncompleteMultipartUpload 2", "Delete 90", "Delete 14"]
      logs      = ["AbortIncompleteMultipartUpload 2", "Delete 90", "Delete 730"]
    }
    error_message = "abort_upload_days, noncurrent_version_days, nearline_days, landing_expiration_days, log_retention_days"
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.soft_delete_policy[0].retention_duration_seconds == 1209600 && bucket.location == "europe-west3"])
    error_message = "soft_delete_days, location"
  }

  assert {
    condition     = google_storage_bucket.this["logs"].retention_policy[0].retention_period == "63072000"
    error_message = "log_retention_days"
  }

  assert {
    condition     = google_kms_key_ring.this["this"].name == "other" && google_kms_key_ring.this["this"].location == "europe-west3"
    error_message = "the key is where the buckets are"
  }

  assert {
    condition     = google_kms_crypto_key.this["this"].rotation_period == "2592000s" && google_kms_crypto_key.this["this"].destroy_scheduled_duration == "604800s"
    error_message = "key_rotation_days, key_destroy_days"
  }

  assert {
    condition     = alltrue([for bucket in google_storage_bucket.this : bucket.encryption[0].default_kms_key_name == google_kms_crypto_key.this["this"].id])
    error_message = "every bucket is encrypted with the key"
  }

  assert {
    condition     = google_kms_crypto_key_iam_member.storage["this"].member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" && google_kms_crypto_key_iam_member.storage["this"].role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    error_message = "Cloud Storage, and nobody else, may use it"
  }

  assert {
    condition = { for service, config in google_project_iam_audit_config.this : config.service => join(" ", sort([for log in config.audit_log_config : log.log_type])) } == {
      "biglake.googleapis.com" = "DATA_READ DATA_WRITE", "storage.googleapis.com" = "DATA_READ DATA_WRITE"
    }
    error_message = "data_access_logs"
  }
}

run "a_multi_regions_key_and_files_that_stay" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    cmek             = true
    nearline_days    = null
    soft_delete_days = 0
  }

  assert {
    condition     = google_kms_key_ring.this["this"].location == "europe"
    error_message = "Cloud KMS calls EU europe"
  }

  assert {
    condition     = !anytrue([for rule in google_storage_bucket.this["warehouse"].lifecycle_rule : one(rule.action).type == "SetStorageClass"]) && google_storage_bucket.this["warehouse"].soft_delete_policy[0].retention_duration_seconds == 0
    error_message = "null: no file of a table moves; 0: no soft delete"
  }
}

run "refuses_too_little" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                    = "x"
    bucket_prefix           = "ab"
    key_rotation_days       = 0
    key_destroy_days        = 0
    nearline_days           = 0
    noncurrent_version_days = 0
    soft_delete_days        = 6
    landing_expiration_days = 0
    log_retention_days      = 0
    abort_upload_days       = 0
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.key_rotation_days, var.key_destroy_days, var.nearline_days, var.noncurrent_version_days, var.soft_delete_days,
    var.landing_expiration_days, var.log_retention_days, var.abort_upload_days,
  ]
}

run "refuses_parts_of_a_day_and_long_names" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                    = "a-name-that-is-too-long"
    bucket_prefix           = "a-prefix-with-which-the-name-would-be-longer-than-63-x"
    key_rotation_days       = 1.5
    key_destroy_days        = 7.5
    nearline_days           = 30.5
    noncurrent_version_days = 1.5
    soft_delete_days        = 7.5
    landing_expiration_days = 1.5
    log_retention_days      = 1.5
    abort_upload_days       = 1.5
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.key_rotation_days, var.key_destroy_days, var.nearline_days, var.noncurrent_version_days, var.soft_delete_days,
    var.landing_expiration_days, var.log_retention_days, var.abort_upload_days,
  ]
}

run "refuses_nothing_where_a_number_is_needed_and_names_that_google_has_not" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                    = "lakehouse-"
    bucket_prefix           = "goog-example"
    key_rotation_days       = null
    key_destroy_days        = 121
    noncurrent_version_days = null
    soft_delete_days        = 91
    log_retention_days      = null
    abort_upload_days       = null
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.key_rotation_days, var.key_destroy_days, var.noncurrent_version_days, var.soft_delete_days, var.log_retention_days,
    var.abort_upload_days,
  ]
}
