# From table-templates/*.yaml to a governed lakehouse on AWS: storage, catalog, queries, roles and grants.
# Where more goes: modules/network and modules/nessie, for LAKEHOUSE_BACKEND=aws-nessie.

data "aws_caller_identity" "current" {}

locals {
  account_id    = data.aws_caller_identity.current.account_id
  bucket_prefix = coalesce(var.bucket_prefix, "${var.name}-${local.account_id}-${var.region}")

  # An instance of modules/table reads each; here only the namespace is looked at, so that the plan stays linear.
  folder     = startswith(var.templates, "/") ? var.templates : "${path.root}/${var.templates}"
  templates  = { for file in fileset(local.folder, "*.yaml") : trimsuffix(file, ".yaml") => "${local.folder}/${file}" }
  namespaces = toset([for path in values(local.templates) : yamldecode(file(path)).namespace if can(regex("^[a-z][a-z0-9_]*$", yamldecode(file(path)).namespace))])
}

module "storage" {
  source = "./modules/storage"

  name                     = var.name
  bucket_prefix            = local.bucket_prefix
  account_id               = local.account_id
  kms_deletion_window_days = var.kms_deletion_window_days
  infrequent_access_days   = var.infrequent_access_days
  noncurrent_version_days  = var.noncurrent_version_days
  landing_expiration_days  = var.landing_expiration_days
  results_expiration_days  = var.results_expiration_days
  log_retention_days       = var.log_retention_days
  data_events              = var.data_events
}

module "glue" {
  source = "./modules/glue"

  namespaces         = local.namespaces
  warehouse_location = module.storage.warehouse_location
  encrypt_catalog    = var.encrypt_catalog
  kms_key_arn        = module.storage.kms_key_arn
}

module "athena" {
  source = "./modules/athena"

  name                 = var.name
  account_id           = local.account_id
  results_bucket       = module.storage.buckets["results"]
  kms_key_arn          = module.storage.kms_key_arn
  bytes_scanned_cutoff = var.bytes_scanned_cutoff
}

module "iam" {
  source = "./modules/iam"

  name                          = var.name
  account_id                    = local.account_id
  trust                         = var.trust
  databases                     = module.glue.databases
  bucket_arns                   = module.storage.bucket_arns
  kms_key_arn                   = module.storage.kms_key_arn
  workgroup_arns                = module.athena.workgroup_arns
  optimizers                    = length(var.optimizers) > 0
  manage_lakeformation_settings = var.manage_lakeformation_settings
  lakeformation_admins          = var.lakeformation_admins
}

module "table" {
  source   = "./modules/table"
  for_each = local.templates

  path                   = each.value
  databases              = module.glue.databases
  warehouse_location     = module.storage.warehouse_location
  role_arns              = module.iam.role_arns
  named_query_workgroups = contains(var.named_query_tables, each.key) ? module.athena.workgroups : {}
  optimizers             = var.optimizers
}
