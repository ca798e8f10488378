output "buckets" {
  description = "Kind (warehouse, landing, results, logs) => name of the bucket."
  value       = { for kind, bucket in aws_s3_bucket.this : kind => bucket.id }
}

output "bucket_arns" {
  description = "Kind (warehouse, landing, results, logs) => ARN of the bucket."
  value       = { for kind, bucket in aws_s3_bucket.this : kind => bucket.arn }
}

output "warehouse_location" {
  description = "S3 URI of the warehouse, without a slash at the end."
  value       = "s3://${aws_s3_bucket.this["warehouse"].id}"
}

output "landing_location" {
  description = "S3 URI of the source files, without a slash at the end."
  value       = "s3://${aws_s3_bucket.this["landing"].id}"
}

output "kms_key_arn" {
  description = "ARN of the key of the warehouse, landing and results buckets."
  value       = aws_kms_key.this.arn
}
