# A YAML that goes takes the table's entry in the catalog with it, and the grants. So that this is never an accident:
# what has files in the warehouse has a YAML, or is named in retired_tables.

# The folders of the warehouse. Known names, so that the first plan, without a bucket yet, can be made.
data "aws_s3_objects" "namespaces" {
  bucket    = module.storage.buckets["warehouse"]
  delimiter = "/"
  max_keys  = 100000
}

data "aws_s3_objects" "tables" {
  for_each = local.namespaces

  bucket    = module.storage.buckets["warehouse"]
  prefix    = "${each.value}/"
  delimiter = "/"
  max_keys  = 100000
}

locals {
  tables = flatten([for table in module.table : table.names])
  # Folders whose names no table has are somebody else's; _lakehouse/ has the ledgers.
  lost_namespaces = [
    for prefix in data.aws_s3_objects.namespaces.common_prefixes : "${trimsuffix(prefix, "/")}.*"
    if can(regex("^[a-z][a-z0-9_]*/$", prefix)) && !contains(local.namespaces, trimsuffix(prefix, "/"))
  ]
  lost_tables = flatten([for found in data.aws_s3_objects.tables : [
    for prefix in found.common_prefixes : join(".", slice(split("/", prefix), 0, 2))
    if can(regex("^[a-z][a-z0-9_]*/[a-z][a-z0-9_]*/$", prefix)) && !contains(local.tables, join(".", slice(split("/", prefix), 0, 2)))
  ]])
  lost = setsubtract(concat(local.lost_namespaces, local.lost_tables), var.retired_tables)
}

resource "terraform_data" "no_table_is_lost" {
  lifecycle {
    precondition {
      condition     = length(local.lost) == 0
      error_message = "Tables with files in the warehouse and without a template: ${join(", ", local.lost)}. Bring their YAML files back; or, to drop their entries and grants from the catalog (the files stay), name them in retired_tables."
    }
  }
}
