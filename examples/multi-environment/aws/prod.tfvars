# People and machines by role, everything recorded and kept.
region        = "eu-central-1"
name          = "lakehouse-prod"
bucket_prefix = "example-corp-lakehouse-prod"
tags          = { environment = "prod", cost_center = "data" }

trust = {
  reader = { principals = ["arn:aws:iam::111122223333:role/analysts"] }
  writer = { services = ["ecs-tasks.amazonaws.com"] }
  admin = {
    oidc = {
      provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
      subjects     = ["repo:example-corp/lakehouse:environment:prod"]
    }
  }
}

encrypt_catalog         = true
data_events             = true
infrequent_access_days  = 60
noncurrent_version_days = 90
log_retention_days      = 730
bytes_scanned_cutoff    = { reader = 53687091200 }
named_query_tables      = ["event_stream", "scd_type2", "feature_table"]
