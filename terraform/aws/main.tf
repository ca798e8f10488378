# From table-templates/*.yaml to a governed lakehouse on AWS: storage, catalog, queries, roles and grants.
# With catalog_type = "nessie" commits go through a server of one's own; readers still ask Glue.

data "aws_caller_identity" "current" {}

locals {
  account_id    = data.aws_caller_identity.current.account_id
  bucket_prefix = coalesce(var.bucket_prefix, "${var.name}-${local.account_id}-${var.region}")
  nessie        = toset(var.catalog_type == "nessie" ? ["this"] : [])

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

module "network" {
  source   = "./modules/network"
  for_each = local.nessie

  name                      = var.name
  account_id                = local.account_id
  vpc_cidr                  = var.vpc_cidr
  availability_zones        = var.availability_zones
  egress                    = var.egress
  interface_endpoints       = var.interface_endpoints
  public                    = var.nessie_public
  cloudwatch_retention_days = var.cloudwatch_retention_days
  kms_deletion_window_days  = var.kms_deletion_window_days
}

module "nessie" {
  source   = "./modules/nessie"
  for_each = local.nessie

  name                = var.name
  account_id          = local.account_id
  vpc_id              = module.network[each.key].vpc_id
  private_subnets     = module.network[each.key].private_subnets
  private_cidrs       = module.network[each.key].private_cidrs
  public_subnets      = module.network[each.key].public_subnets
  prefix_lists        = module.network[each.key].prefix_lists
  egress              = var.egress
  interface_endpoints = var.interface_endpoints
  bucket_prefix       = local.bucket_prefix
  # Known before there is a bucket: the first plan shows all that the server is told.
  warehouse_location         = "s3://${local.bucket_prefix}-warehouse"
  kms_key_arn                = module.storage.kms_key_arn
  logs_kms_key_arn           = module.network[each.key].logs_kms_key_arn
  log_retention_days         = var.log_retention_days
  cloudwatch_retention_days  = var.cloudwatch_retention_days
  nessie_image               = var.nessie_image
  nessie_image_tag           = var.nessie_image_tag
  nessie_tasks               = var.nessie_tasks
  nessie_version_store       = var.nessie_version_store
  nessie_postgres            = var.nessie_postgres
  nessie_deletion_protection = var.nessie_deletion_protection
  certificate_arn            = var.certificate_arn
  nessie_host                = var.nessie_host
  nessie_public              = var.nessie_public
  nessie_allowed_cidrs       = var.nessie_allowed_cidrs
  nessie_oidc                = var.nessie_oidc
  nessie_authorization_rules = var.nessie_authorization_rules
  nessie_vend_credentials    = var.nessie_vend_credentials
  nessie_alarm_emails        = var.nessie_alarm_emails
  nessie_alarm_thresholds    = var.nessie_alarm_thresholds
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
