# Roles for people and machines, everything recorded and kept. Replace the account 111122223333 and the names.
region        = "eu-central-1"
bucket_prefix = "example-corp-lakehouse"
tags          = { environment = "production", cost_center = "data" }

trust = {
  reader = { principals = ["arn:aws:iam::111122223333:role/analysts"] }
  writer = { services = ["ecs-tasks.amazonaws.com"] }
  admin = {
    principals  = ["arn:aws:iam::444455556666:role/platform"]
    external_id = "lakehouse-admin"
    oidc = {
      provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
      subjects     = ["repo:example-corp/lakehouse:ref:refs/heads/main"]
    }
  }
}

# An administrator added the role that runs Terraform: the account's settings stay its own.
manage_lakeformation_settings = false

encrypt_catalog         = true
data_events             = true
infrequent_access_days  = 60
noncurrent_version_days = 90
log_retention_days      = 730
bytes_scanned_cutoff    = { reader = 53687091200 }
named_query_tables      = ["event_stream", "scd_type2", "feature_table"]
