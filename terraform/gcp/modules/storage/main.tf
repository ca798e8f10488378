# The buckets. No force_destroy: a bucket that holds anything is not destroyed.
#
# main.tf     buckets, and what Cloud Storage deletes on its own
# kms.tf      a key of one's own, on request
# logging.tf  audit logs, and how long they stay

locals {
  bucket_names = { for kind in ["warehouse", "landing", "logs"] : kind => "${var.bucket_prefix}-${kind}" }
  day          = 86400

  # A live object of the warehouse never: only Iceberg knows which files a table still needs. A kind that is null keeps its
  # objects for ever.
  expiration_days = { warehouse = null, landing = var.landing_expiration_days, logs = var.log_retention_days }
  nearline_days   = { warehouse = var.nearline_days, landing = null, logs = null }
  # Cloud Storage takes versions or a retention, not both [D]; a log can be neither overwritten nor deleted.
  retention_days = { warehouse = null, landing = null, logs = var.log_retention_days }
}

resource "google_storage_bucket" "this" {
  #checkov:skip=CKV_GCP_62: Usage logs have less than audit logs, and want a group of Google's in the bucket's policy; logging.tf keeps audit logs.
  #checkov:skip=CKV_GCP_78: All have versions, but the logs, which have a retention instead.
  #checkov:skip=CKV2_GCP_4: A lock can never be taken back, and holds the whole project: whoever must have it locks the bucket by hand.
  for_each = local.bucket_names

  project                     = var.project
  name                        = each.value
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  versioning {
    enabled = local.retention_days[each.key] == null
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * local.day
  }

  dynamic "retention_policy" {
    for_each = [for days in [local.retention_days[each.key]] : days if days != null]

    content {
      retention_period = retention_policy.value * local.day
      is_locked        = false
    }
  }

  dynamic "encryption" {
    for_each = google_kms_crypto_key.this

    content {
      default_kms_key_name = encryption.value.id
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    # The state is said each time, since the provider would read it back otherwise than it is by default.
    condition {
      age        = var.abort_upload_days
      with_state = "ANY"
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = var.noncurrent_version_days
      with_state                 = "ARCHIVED"
    }
  }

  dynamic "lifecycle_rule" {
    for_each = [for days in [local.expiration_days[each.key]] : days if days != null]

    content {
      action {
        type = "Delete"
      }

      condition {
        age        = lifecycle_rule.value
        with_state = "LIVE"
      }
    }
  }

  dynamic "lifecycle_rule" {
    for_each = [for days in [local.nearline_days[each.key]] : days if days != null]

    content {
      action {
        type          = "SetStorageClass"
        storage_class = "NEARLINE"
      }

      condition {
        age                   = lifecycle_rule.value
        matches_storage_class = ["STANDARD"]
        with_state            = "LIVE"
      }
    }
  }

  # Cloud Storage refuses a key that it may not use.
  depends_on = [google_kms_crypto_key_iam_member.storage]
}
