# Bucket policies: TLS only, and who may deliver logs. AWS itself refuses TLS below 1.2.

locals {
  access_logged = { for kind, bucket in aws_s3_bucket.this : kind => bucket if kind != "logs" }

  log_delivery = concat(
    [for kind, bucket in local.access_logged : {
      Sid       = "AccessLogsOf${title(kind)}"
      Effect    = "Allow"
      Principal = { Service = "logging.s3.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.this["logs"].arn}/${local.access_log_prefixes[kind]}*"
      Condition = {
        ArnLike      = { "aws:SourceArn" = bucket.arn }
        StringEquals = { "aws:SourceAccount" = var.account_id }
      }
    }],
    [for statement in [
      {
        Sid       = "TrailReadsAcl"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:GetBucketAcl"
        Resource  = aws_s3_bucket.this["logs"].arn
        Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
      },
      {
        Sid       = "TrailWrites"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.this["logs"].arn}/${local.trail_prefix}/AWSLogs/${var.account_id}/*"
        Condition = {
          StringEquals = {
            "aws:SourceArn" = local.trail_arn
            "s3:x-amz-acl"  = "bucket-owner-full-control"
          }
        }
      },
    ] : statement if var.data_events],
  )
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = [each.value.arn, "${each.value.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for statement in local.log_delivery : statement if each.key == "logs"],
    )
  })

  # S3 refuses two changes of one bucket's access at the same time (OperationAborted) [D].
  depends_on = [aws_s3_bucket_public_access_block.this]
}
