output "buckets" {
  description = "Kind (warehouse, landing, logs) => name of the bucket."
  value       = { for kind, bucket in google_storage_bucket.this : kind => bucket.name }
}

output "warehouse_location" {
  description = "URI of the warehouse, gs://…, without a slash at the end."
  value       = "gs://${google_storage_bucket.this["warehouse"].name}"
}

output "landing_location" {
  description = "URI of the source files, gs://…, without a slash at the end."
  value       = "gs://${google_storage_bucket.this["landing"].name}"
}

output "kms_key" {
  description = "The key of the buckets, with cmek; else null."
  value       = one([for key in google_kms_crypto_key.this : key.id])
}
