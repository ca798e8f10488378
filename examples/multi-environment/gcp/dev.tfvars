# A project of its own for development: small, cheap, may be destroyed.
project       = "example-corp-data-dev"
location      = "europe-west3"
name          = "lakehouse-dev"
bucket_prefix = "example-corp-lakehouse-dev"
labels        = { environment = "dev", cost_center = "data" }

deletion_protection     = false
nearline_days           = null
noncurrent_version_days = 7
soft_delete_days        = 7
log_retention_days      = 30
