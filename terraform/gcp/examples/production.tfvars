# Roles for people and machines, a key of one's own, everything recorded and kept. Replace the project, its number and the names.
project       = "example-corp-data"
location      = "europe-west3"
bucket_prefix = "example-corp-lakehouse"
labels        = { environment = "production", cost_center = "data" }

trust = {
  reader = { members = ["group:analysts@example.com"] }
  writer = { members = ["serviceAccount:dagster@example-corp-data.iam.gserviceaccount.com"] }
  admin = {
    members             = ["group:data-platform@example.com"]
    workload_identities = ["principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.repository/example-corp/lakehouse"]
  }
}

# Readers see that there is something in a restricted column, not what.
masking = "DEFAULT_MASKING_VALUE"

cmek                    = true
data_access_logs        = true
nearline_days           = 60
noncurrent_version_days = 90
soft_delete_days        = 14
log_retention_days      = 730
