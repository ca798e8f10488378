# As production, with less history: what passes here passes there.
region        = "eu-central-1"
name          = "lakehouse-staging"
bucket_prefix = "example-corp-lakehouse-staging"
tags          = { environment = "staging", cost_center = "data" }

trust = {
  writer = { services = ["ecs-tasks.amazonaws.com"] }
  admin = {
    oidc = {
      provider_arn = "arn:aws:iam::222233334444:oidc-provider/token.actions.githubusercontent.com"
      subjects     = ["repo:example-corp/lakehouse:environment:staging"]
    }
  }
}

encrypt_catalog         = true
data_events             = true
noncurrent_version_days = 14
log_retention_days      = 90
bytes_scanned_cutoff    = { reader = 53687091200 }
named_query_tables      = ["event_stream", "scd_type2", "feature_table"]
