# One key for the data, the landed files and the query results.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  trail_name = "${var.name}-warehouse"
  # Not the trail's own attribute: the trail needs the key, and the key's policy names the trail.
  trail_arn = "arn:${data.aws_partition.current.partition}:cloudtrail:${data.aws_region.current.name}:${var.account_id}:trail/${local.trail_name}"
}

resource "aws_kms_key" "this" {
  description             = "Encrypts the buckets of ${var.name}."
  deletion_window_in_days = var.kms_deletion_window_days
  enable_key_rotation     = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          # Lets IAM policies of the account grant the key's use; without it a lost role would lock the key for good.
          Sid       = "Account"
          Effect    = "Allow"
          Principal = { AWS = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root" }
          Action    = "kms:*"
          Resource  = "*"
        },
      ],
      [for statement in [
        {
          Sid       = "TrailEncrypts"
          Effect    = "Allow"
          Principal = { Service = "cloudtrail.amazonaws.com" }
          Action    = "kms:GenerateDataKey*"
          Resource  = "*"
          Condition = {
            StringEquals = {
              "aws:SourceArn"                            = local.trail_arn
              "kms:EncryptionContext:aws:cloudtrail:arn" = local.trail_arn
            }
          }
        },
        {
          Sid       = "TrailDescribes"
          Effect    = "Allow"
          Principal = { Service = "cloudtrail.amazonaws.com" }
          Action    = "kms:DescribeKey"
          Resource  = "*"
          Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
        },
      ] : statement if var.data_events],
    )
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
