# What S3 deletes on its own. A live object of the warehouse never: only Iceberg knows which files a table still needs.

locals {
  # A kind that is absent or null keeps its live objects for ever.
  expiration_days = {
    landing = var.landing_expiration_days
    results = var.results_expiration_days
    logs    = var.log_retention_days
  }

  infrequent_access_days = { warehouse = var.infrequent_access_days }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    id     = "clean-up"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = var.abort_upload_days
    }

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_version_days
    }

    # Deletes no object: only the marker that remains when the last noncurrent version of a deleted one is gone.
    expiration {
      expired_object_delete_marker = true
    }
  }

  # A rule of its own: S3 takes days and delete markers only in different rules.
  dynamic "rule" {
    for_each = [for days in [lookup(local.expiration_days, each.key, null)] : days if days != null]

    content {
      id     = "expire"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = [for days in [lookup(local.infrequent_access_days, each.key, null)] : days if days != null]

    content {
      id     = "infrequent-access"
      status = "Enabled"

      filter {}

      transition {
        days          = rule.value
        storage_class = "STANDARD_IA"
      }
    }
  }

  # Rules for noncurrent versions want versioning to be on [D].
  depends_on = [aws_s3_bucket_versioning.this]
}
