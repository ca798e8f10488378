# As production, with less history: what passes here passes there.
project       = "example-corp-data-staging"
location      = "europe-west3"
name          = "lakehouse-staging"
bucket_prefix = "example-corp-lakehouse-staging"
labels        = { environment = "staging", cost_center = "data" }

trust = {
  writer = { members = ["serviceAccount:dagster@example-corp-data-staging.iam.gserviceaccount.com"] }
  admin = {
    workload_identities = ["principalSet://iam.googleapis.com/projects/222233334444/locations/global/workloadIdentityPools/github/attribute.repository/example-corp/lakehouse"]
  }
}

masking                 = "DEFAULT_MASKING_VALUE"
cmek                    = true
data_access_logs        = true
noncurrent_version_days = 14
log_retention_days      = 90
