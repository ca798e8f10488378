# People and machines by role, everything recorded and kept.
project       = "example-corp-data-prod"
location      = "europe-west3"
name          = "lakehouse-prod"
bucket_prefix = "example-corp-lakehouse-prod"
labels        = { environment = "prod", cost_center = "data" }

trust = {
  reader = { members = ["group:analysts@example.com"] }
  writer = { members = ["serviceAccount:dagster@example-corp-data-prod.iam.gserviceaccount.com"] }
  admin = {
    workload_identities = ["principalSet://iam.googleapis.com/projects/111122223333/locations/global/workloadIdentityPools/github/attribute.repository/example-corp/lakehouse"]
  }
}

masking                 = "DEFAULT_MASKING_VALUE"
cmek                    = true
data_access_logs        = true
nearline_days           = 60
noncurrent_version_days = 90
soft_delete_days        = 14
log_retention_days      = 730
