# All that is per table, an instance per YAML, as on AWS. There is no resource of Google's: `lakehouse apply` makes the table,
# and registers it in BigQuery with the tags that its access levels say.

module "template" {
  source = "../../../modules/table_template"
  path   = var.path
}

# An edit of the YAML is seen in the plan, also where it changes nothing that is Terraform's.
resource "terraform_data" "template" {
  input = filesha256(var.path)
}
