# The two tables of Nessie's version store, under the names and with the key that it looks for.

locals {
  table_prefix = replace(local.name, "-", "_")
  table_names  = { for table in ["refs", "objs"] : table => "${local.table_prefix}_${table}" if var.nessie_version_store == "dynamodb" }
  table_arns   = [for table in values(local.table_names) : "arn:${local.partition}:dynamodb:${local.region}:${var.account_id}:table/${table}"]
}

resource "aws_dynamodb_table" "this" {
  for_each = local.table_names

  name                        = each.value
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "k"
  deletion_protection_enabled = var.nessie_deletion_protection

  attribute {
    name = "k"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}
