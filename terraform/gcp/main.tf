# From table-templates/*.yaml to a governed lakehouse on Google Cloud: buckets, catalog, datasets, roles, policy tags.
# BigQuery's entries of the tables are not Terraform's: `lakehouse apply` registers them, each restricted column with its tag.

locals {
  bucket_prefix = coalesce(var.bucket_prefix, "${var.name}-${var.project}")
  # An instance of modules/table reads each; here only the namespace is looked at, so that the plan stays linear.
  folder     = startswith(var.templates, "/") ? var.templates : "${path.root}/${var.templates}"
  templates  = { for file in fileset(local.folder, "*.yaml") : trimsuffix(file, ".yaml") => "${local.folder}/${file}" }
  namespaces = toset([for path in values(local.templates) : yamldecode(file(path)).namespace if can(regex("^[a-z][a-z0-9_]*$", yamldecode(file(path)).namespace))])

  apis = toset(concat(
    ["biglake", "bigquery", "bigqueryconnection", "bigquerydatapolicy", "cloudresourcemanager", "datacatalog", "iam", "iamcredentials", "logging", "storage"],
    var.cmek ? ["cloudkms"] : [],
  ))
}

resource "google_project_service" "this" {
  for_each = local.apis

  project = var.project
  service = "${each.value}.googleapis.com"
  # Others in the project may use it.
  disable_on_destroy = false
}

module "storage" {
  source = "./modules/storage"

  project                 = var.project
  location                = var.location
  name                    = var.name
  bucket_prefix           = local.bucket_prefix
  cmek                    = var.cmek
  key_rotation_days       = var.key_rotation_days
  key_destroy_days        = var.key_destroy_days
  nearline_days           = var.nearline_days
  noncurrent_version_days = var.noncurrent_version_days
  soft_delete_days        = var.soft_delete_days
  landing_expiration_days = var.landing_expiration_days
  log_retention_days      = var.log_retention_days
  data_access_logs        = var.data_access_logs

  depends_on = [google_project_service.this]
}

module "biglake" {
  source = "./modules/biglake"

  project             = var.project
  location            = var.location
  name                = var.name
  warehouse_bucket    = module.storage.buckets["warehouse"]
  namespaces          = local.namespaces
  credentials         = var.credentials
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.this]
}

module "iam" {
  source = "./modules/iam"

  project       = var.project
  location      = var.location
  name          = var.name
  trust         = var.trust
  credentials   = var.credentials
  buckets       = module.storage.buckets
  catalog       = module.biglake.catalog
  datasets      = module.biglake.datasets
  connection_id = module.biglake.connection_id
  masking       = var.masking

  depends_on = [google_project_service.this]
}

module "table" {
  source   = "./modules/table"
  for_each = local.templates

  path = each.value
}
