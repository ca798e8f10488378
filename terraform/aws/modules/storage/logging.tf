# Who did what: S3's access logs of the three data buckets, and on request CloudTrail's data events of the warehouse.

locals {
  access_log_prefixes = { for kind, bucket in local.bucket_names : kind => "s3/${bucket}/" if kind != "logs" }
  trail_prefix        = "cloudtrail"
}

resource "aws_s3_bucket_logging" "this" {
  for_each = local.access_logged

  bucket        = each.value.id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = local.access_log_prefixes[each.key]

  # S3 checks that it may deliver at the moment that logging is switched on.
  depends_on = [aws_s3_bucket_policy.this]
}

resource "aws_cloudtrail" "warehouse" {
  #checkov:skip=CKV_AWS_67: A bucket's data events occur in its own region; an account's trail of management events is not this module's.
  #checkov:skip=CKV_AWS_252: The trail is evidence to read when needed; nothing acts on each file that arrives.
  #checkov:skip=CKV2_AWS_10: The files can be queried with Athena; a copy in CloudWatch Logs would be billed per event once more.
  for_each = var.data_events ? { this = aws_s3_bucket.this["warehouse"].arn } : {}

  name                          = local.trail_name
  s3_bucket_name                = aws_s3_bucket.this["logs"].id
  s3_key_prefix                 = local.trail_prefix
  kms_key_id                    = aws_kms_key.this.arn
  enable_log_file_validation    = true
  include_global_service_events = false

  advanced_event_selector {
    name = "Objects of the warehouse"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }

    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }

    field_selector {
      field       = "resources.ARN"
      starts_with = ["${aws_s3_bucket.this["warehouse"].arn}/"]
    }
  }

  # CloudTrail checks that it may deliver when the trail is created.
  depends_on = [aws_s3_bucket_policy.this]
}
