# All that is per table, an instance per YAML: a plan of 1,000 tables stays linear as long as no instance looks at the
# map of all of them.
#
# main.tf           the template, and its hash
# glue.tf           the catalog's entry, and Glue's optimizers
# lakeformation.tf  who may do what with it
# athena.tf         saved queries

module "template" {
  source = "../../../modules/table_template"
  path   = var.path
}

locals {
  tables = module.template.tables
}

# An edit of the YAML is seen in the plan, also where it changes nothing that is Terraform's.
resource "terraform_data" "template" {
  input = filesha256(var.path)
}
