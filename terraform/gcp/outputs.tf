# What Python reads: lakehouse env --terraform terraform/gcp

output "environment" {
  description = "The environment variables of the Python side. `lakehouse env --terraform terraform/gcp` writes them to .env."
  value = {
    LAKEHOUSE_BACKEND               = "gcp"
    LAKEHOUSE_WAREHOUSE             = module.storage.warehouse_location
    LAKEHOUSE_LANDING               = module.storage.landing_location
    GOOGLE_CLOUD_PROJECT            = var.project
    GOOGLE_CLOUD_LOCATION           = var.location
    LAKEHOUSE_GCP_CREDENTIALS       = var.credentials
    LAKEHOUSE_BIGQUERY_CONNECTION   = module.biglake.connection
    LAKEHOUSE_POLICY_TAG_RESTRICTED = module.iam.policy_tags["restricted"]
    LAKEHOUSE_POLICY_TAG_INTERNAL   = module.iam.policy_tags["internal"]
    LAKEHOUSE_READER_ROLE           = module.iam.emails["reader"]
    LAKEHOUSE_WRITER_ROLE           = module.iam.emails["writer"]
    LAKEHOUSE_ADMIN_ROLE            = module.iam.emails["admin"]
  }
}

output "buckets" {
  description = "Kind => name of the bucket. The catalog has the warehouse's name."
  value       = module.storage.buckets
}

output "datasets" {
  description = "Namespace => its BigQuery dataset."
  value       = module.biglake.datasets
}

output "connection_service_account" {
  description = "The service account with which BigQuery reads the warehouse's files."
  value       = module.biglake.connection_service_account
}

output "service_accounts" {
  description = "Role => its service account. gcloud … --impersonate-service-account=…"
  value       = module.iam.emails
}

output "taxonomy" {
  description = "The taxonomy of the policy tags, as projects/…/taxonomies/…"
  value       = module.iam.taxonomy
}

output "kms_key" {
  description = "The key of the buckets, with cmek; else null."
  value       = module.storage.kms_key
}

output "tables" {
  description = "Table => the columns that the reader sees: those without the tag of restricted columns."
  value       = merge([for table in module.table : table.reader_columns]...)
}
