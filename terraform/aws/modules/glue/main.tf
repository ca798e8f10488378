# A database per namespace, and the catalog's encryption. Tables are modules/table's.
#
# New databases and tables are open to everyone with IAM permissions, if the account's settings say so, which is AWS's default.
# create_table_default_permission cannot say otherwise: the provider does not send an empty one. `lakehouse governance --fix` closes them.

resource "aws_glue_catalog_database" "this" {
  for_each = var.namespaces

  name         = each.value
  description  = "Iceberg tables of the namespace ${each.value}, described by the templates."
  location_uri = "${var.warehouse_location}/${each.value}"
}

# There is one per account and region: it encrypts the metadata of every other database of the account as well.
resource "aws_glue_data_catalog_encryption_settings" "this" {
  for_each = var.encrypt_catalog ? { this = var.kms_key_arn } : {}

  data_catalog_encryption_settings {
    encryption_at_rest {
      catalog_encryption_mode = "SSE-KMS"
      sse_aws_kms_key_id      = each.value
    }

    connection_password_encryption {
      return_connection_password_encrypted = true
      aws_kms_key_id                       = each.value
    }
  }
}
