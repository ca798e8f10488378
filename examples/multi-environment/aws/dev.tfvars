# An account of its own for development: small, cheap, may be destroyed.
region        = "eu-central-1"
name          = "lakehouse-dev"
bucket_prefix = "example-corp-lakehouse-dev"
tags          = { environment = "dev", cost_center = "data" }

# Nobody else uses Lake Formation in this account.
manage_lakeformation_settings = true

infrequent_access_days  = null
noncurrent_version_days = 7
log_retention_days      = 30
bytes_scanned_cutoff    = { reader = 10737418240, writer = 107374182400 }
named_query_tables      = ["event_stream", "scd_type2", "feature_table"]
