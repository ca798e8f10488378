# What each variable of the storage does, and what is refused.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name          = "lakehouse"
  bucket_prefix = "example"
  account_id    = "111122223333"
}

run "storage_by_default" {
  command = plan

  module {
    source = "./modules/storage"
  }

  assert {
    condition     = { for kind, bucket in aws_s3_bucket.this : kind => bucket.bucket } == { for kind in ["warehouse", "landing", "results", "logs"] : kind => "example-${kind}" }
    error_message = "bucket_prefix and the kind are a bucket's name"
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : bucket.force_destroy != true])
    error_message = "a bucket that holds anything must not be destroyed"
  }

  assert {
    condition     = aws_kms_alias.this.name == "alias/lakehouse"
    error_message = "name is the key's alias"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "the key rotates, and can be brought back for 30 days"
  }

  assert {
    condition = alltrue([for kind, encryption in aws_s3_bucket_server_side_encryption_configuration.this :
      one(one(encryption.rule).apply_server_side_encryption_by_default).sse_algorithm == (kind == "logs" ? "AES256" : "aws:kms")
    ])
    error_message = "every bucket is encrypted with the key, but the logs, to which S3 could not deliver"
  }

  assert {
    condition     = alltrue([for versioning in aws_s3_bucket_versioning.this : one(versioning.versioning_configuration).status == "Enabled"])
    error_message = "every bucket has versions"
  }

  assert {
    condition = alltrue([for block in aws_s3_bucket_public_access_block.this :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ]) && length(aws_s3_bucket_public_access_block.this) == 4
    error_message = "no bucket can be made public"
  }

  assert {
    condition = { for kind, lifecycle in aws_s3_bucket_lifecycle_configuration.this : kind => [for rule in lifecycle.rule : rule.id] } == {
      warehouse = ["clean-up", "infrequent-access"], landing = ["clean-up"], results = ["clean-up", "expire"], logs = ["clean-up", "expire"]
    }
    error_message = "S3 deletes no live file of a table, and no source file"
  }

  assert {
    condition     = { for kind, lifecycle in aws_s3_bucket_lifecycle_configuration.this : kind => one([for rule in lifecycle.rule : one(rule.expiration).days if rule.id == "expire"]) } == { warehouse = null, landing = null, results = 30, logs = 365 }
    error_message = "results go after 30 days, logs after 365"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this["warehouse"].rule : one(rule.transition).days if rule.id == "infrequent-access"] == [90]
    error_message = "files of tables move to infrequent access after 90 days"
  }

  assert {
    condition = alltrue([for lifecycle in aws_s3_bucket_lifecycle_configuration.this :
      one([for rule in lifecycle.rule : one(rule.noncurrent_version_expiration).noncurrent_days if rule.id == "clean-up"]) == 30
    ])
    error_message = "what was deleted can be brought back for 30 days"
  }

  assert {
    condition     = length(aws_cloudtrail.warehouse) == 0
    error_message = "data events are billed: only on request"
  }
}

run "storage_changed" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                     = "other"
    bucket_prefix            = "mine"
    kms_deletion_window_days = 7
    infrequent_access_days   = 60
    noncurrent_version_days  = 90
    landing_expiration_days  = 14
    results_expiration_days  = 3
    log_retention_days       = 730
    abort_upload_days        = 2
    data_events              = true
  }

  assert {
    condition     = aws_s3_bucket.this["warehouse"].bucket == "mine-warehouse" && aws_kms_alias.this.name == "alias/other" && aws_kms_key.this.deletion_window_in_days == 7
    error_message = "bucket_prefix, name, kms_deletion_window_days"
  }

  assert {
    condition     = { for kind, lifecycle in aws_s3_bucket_lifecycle_configuration.this : kind => one([for rule in lifecycle.rule : one(rule.expiration).days if rule.id == "expire"]) } == { warehouse = null, landing = 14, results = 3, logs = 730 }
    error_message = "landing_expiration_days, results_expiration_days, log_retention_days"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this["warehouse"].rule : one(rule.transition).days if rule.id == "infrequent-access"] == [60]
    error_message = "infrequent_access_days"
  }

  assert {
    condition = alltrue([for lifecycle in aws_s3_bucket_lifecycle_configuration.this :
      one([for rule in lifecycle.rule : "${one(rule.noncurrent_version_expiration).noncurrent_days} ${one(rule.abort_incomplete_multipart_upload).days_after_initiation}" if rule.id == "clean-up"]) == "90 2"
    ])
    error_message = "noncurrent_version_days, abort_upload_days"
  }

  assert {
    condition     = one(values(aws_cloudtrail.warehouse)).name == "other-warehouse" && one(values(aws_cloudtrail.warehouse)).enable_log_file_validation
    error_message = "data_events"
  }

  assert {
    condition     = [for statement in jsondecode(aws_kms_key.this.policy).Statement : statement.Sid] == ["Account", "TrailEncrypts", "TrailDescribes"]
    error_message = "with data_events CloudTrail may use the key"
  }

  assert {
    condition     = length(setintersection([for statement in jsondecode(aws_s3_bucket_policy.this["logs"].policy).Statement : statement.Sid], ["TrailReadsAcl", "TrailWrites"])) == 2
    error_message = "with data_events CloudTrail may deliver"
  }
}

run "files_never_move" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    infrequent_access_days = null
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this["warehouse"].rule : rule.id] == ["clean-up"]
    error_message = "null: no file of a table moves"
  }
}

run "refuses_too_little" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                     = "x"
    bucket_prefix            = "ab"
    account_id               = "1234"
    kms_deletion_window_days = 6
    infrequent_access_days   = 29
    noncurrent_version_days  = 0
    landing_expiration_days  = 0
    results_expiration_days  = 0
    log_retention_days       = 0
    abort_upload_days        = 0
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.account_id, var.kms_deletion_window_days, var.infrequent_access_days, var.noncurrent_version_days,
    var.landing_expiration_days, var.results_expiration_days, var.log_retention_days, var.abort_upload_days,
  ]
}

run "refuses_parts_of_a_day_and_long_names" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                     = "a-name-that-is-too-long"
    bucket_prefix            = "a-prefix-with-which-the-name-would-be-longer-than-63-x"
    account_id               = "1111222233334"
    kms_deletion_window_days = 7.5
    infrequent_access_days   = 30.5
    noncurrent_version_days  = 1.5
    landing_expiration_days  = 1.5
    results_expiration_days  = 1.5
    log_retention_days       = 1.5
    abort_upload_days        = 1.5
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.account_id, var.kms_deletion_window_days, var.infrequent_access_days, var.noncurrent_version_days,
    var.landing_expiration_days, var.results_expiration_days, var.log_retention_days, var.abort_upload_days,
  ]
}

run "refuses_nothing_where_a_number_is_needed" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                     = "Lakehouse"
    bucket_prefix            = "sthree-example"
    account_id               = "11112222333x"
    kms_deletion_window_days = null
    noncurrent_version_days  = null
    results_expiration_days  = null
    log_retention_days       = null
    abort_upload_days        = null
  }

  expect_failures = [
    var.name, var.bucket_prefix, var.account_id, var.kms_deletion_window_days, var.noncurrent_version_days, var.results_expiration_days,
    var.log_retention_days, var.abort_upload_days,
  ]
}

run "refuses_a_window_that_kms_has_not_and_names_that_s3_has_not" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    name                     = "lake_house"
    bucket_prefix            = "example-"
    kms_deletion_window_days = 31
  }

  expect_failures = [var.name, var.bucket_prefix, var.kms_deletion_window_days]
}
