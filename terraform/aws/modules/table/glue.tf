# A shell: an entry with columns and location, so that grants can name its columns on the day of the first apply.
# `lakehouse apply` turns it into an Iceberg table; from then on Iceberg's commits change it, and Terraform does not.
resource "aws_glue_catalog_table" "this" {
  for_each = local.tables

  database_name = var.databases[each.value.namespace]
  name          = each.value.name
  description   = each.value.description
  owner         = each.value.owner == "" ? null : each.value.owner
  table_type    = "EXTERNAL_TABLE"
  parameters    = { table_type = "ICEBERG" }

  storage_descriptor {
    location = "${var.warehouse_location}/${each.value.namespace}/${each.value.name}"

    dynamic "columns" {
      for_each = each.value.columns

      content {
        name    = columns.value.name
        type    = columns.value.glue_type
        comment = columns.value.description
      }
    }
  }

  lifecycle {
    # Terraform would take away what Iceberg wrote.
    ignore_changes = [parameters, storage_descriptor, description, owner, partition_keys, table_type, open_table_format_input]
  }
}

locals {
  # What others name an entry by. A reference from resource to resource would be compared for every pair of this module's
  # instances: half the time of a plan of 1,000 tables.
  entries = { for key, entry in aws_glue_catalog_table.this : key => {
    catalog_id = entry.catalog_id, database_name = entry.database_name, name = entry.name
  } }
  # Glue lists former columns, too, and marks them. Terraform's state has the live entry's columns, whatever is ignored.
  live_columns = {
    for key, entry in aws_glue_catalog_table.this : key => [
      for column in entry.storage_descriptor[0].columns : column.name
      if lookup(coalesce(column.parameters, {}), "iceberg.field.current", "true") != "false"
    ]
  }

  # The writer's role, since it may do to a table what an optimizer does. Only the template's own table, not the quarantine, and
  # nothing that its `maintenance` declines.
  optimized = { for pair in setproduct([for key, table in local.tables : key if !endswith(key, "__quarantine")], var.optimizers) :
    "${pair[0]}/${pair[1]}" => { table = local.tables[pair[0]], type = pair[1] }
    if(pair[1] != "compaction" || local.tables[pair[0]].maintenance.compact) && (pair[1] != "orphan_file_deletion" || local.tables[pair[0]].maintenance.remove_orphans)
  }
}

resource "aws_glue_catalog_table_optimizer" "this" {
  for_each = local.optimized

  catalog_id    = local.entries["${each.value.table.namespace}.${each.value.table.name}"].catalog_id
  database_name = var.databases[each.value.table.namespace]
  table_name    = each.value.table.name
  type          = each.value.type

  configuration {
    enabled  = true
    role_arn = var.role_arns.writer

    dynamic "retention_configuration" {
      for_each = each.value.type == "retention" ? [each.value.table.maintenance] : []

      content {
        iceberg_configuration {
          snapshot_retention_period_in_days = retention_configuration.value.keep_snapshots_days
          number_of_snapshots_to_retain     = retention_configuration.value.keep_at_least
          clean_expired_files               = retention_configuration.value.remove_orphans
        }
      }
    }

    # A week, AWS's default is three days: a run that takes longer would lose the files that it is still to commit.
    dynamic "orphan_file_deletion_configuration" {
      for_each = each.value.type == "orphan_file_deletion" ? [7] : []

      content {
        iceberg_configuration {
          orphan_file_retention_period_in_days = orphan_file_deletion_configuration.value
        }
      }
    }
  }

  depends_on = [aws_lakeformation_permissions.writer]
}
