# The buckets. No force_destroy: a bucket that holds anything is not destroyed.

locals {
  bucket_names = { for kind in ["warehouse", "landing", "results", "logs"] : kind => "${var.bucket_prefix}-${kind}" }
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144: Replication to another region doubles the cost of storage; versioning covers deletions. Whoever needs it adds it.
  #checkov:skip=CKV2_AWS_62: Nothing waits for events: pipelines list the landing bucket on their schedule.
  for_each = local.bucket_names

  bucket = each.value

  # So that a destroy takes the key last: where a bucket is not empty it stops there, and the data can still be read.
  depends_on = [aws_kms_key.this]
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    # S3 does not deliver access logs to a bucket whose default is SSE-KMS [D].
    apply_server_side_encryption_by_default {
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : aws_kms_key.this.arn
    }

    # KMS is asked now and then for a key of the bucket, not for each object.
    bucket_key_enabled = each.key != "logs"
  }
}
