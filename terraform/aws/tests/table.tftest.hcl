# What a template becomes: entry, grants, saved queries, optimizers.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  path                   = "tests/templates/orders.yaml"
  databases              = { shop = "shop", web = "web" }
  warehouse_location     = "s3://example-warehouse"
  role_arns              = { for role in ["reader", "writer", "admin"] : role => "arn:aws:iam::111122223333:role/lakehouse-${role}" }
  named_query_workgroups = {}
  optimizers             = []
}

run "an_entry_with_columns_and_grants" {
  command = plan

  module {
    source = "./modules/table"
  }

  assert {
    condition     = { for key, entry in aws_glue_catalog_table.this : key => entry.storage_descriptor[0].location } == { "shop.orders" = "s3://example-warehouse/shop/orders", "shop.orders__quarantine" = "s3://example-warehouse/shop/orders__quarantine" }
    error_message = "the table, and its quarantine table, in the warehouse"
  }

  assert {
    condition = [for column in aws_glue_catalog_table.this["shop.orders"].storage_descriptor[0].columns : "${column.name} ${column.type}"] == [
      "order_id string", "ordered_at timestamp", "email string", "amount decimal(18,2)"
    ]
    error_message = "the columns, with Glue's types"
  }

  assert {
    condition     = aws_glue_catalog_table.this["shop.orders"].table_type == "EXTERNAL_TABLE" && aws_glue_catalog_table.this["shop.orders"].parameters == tomap({ table_type = "ICEBERG" })
    error_message = "a shell that `lakehouse apply` adopts"
  }

  assert {
    condition     = { for key, grant in aws_lakeformation_permissions.reader : key => toset(one(grant.table_with_columns).column_names) } == { "shop.orders" = toset(["order_id", "ordered_at", "amount"]) }
    error_message = "the reader reads what is not restricted, by name, and nothing of the quarantine"
  }

  assert {
    condition     = alltrue([for grant in aws_lakeformation_permissions.reader : join(",", grant.permissions) == "SELECT" && grant.principal == var.role_arns.reader])
    error_message = "the reader reads only"
  }

  assert {
    condition = { for key, grant in aws_lakeformation_permissions.writer : key => toset(grant.permissions) } == {
      for key in ["shop.orders", "shop.orders__quarantine"] : key => toset(["SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER"])
    }
    error_message = "the writer commits, and does not drop"
  }

  assert {
    condition     = { for key, grant in aws_lakeformation_permissions.admin : key => join(",", grant.permissions) } == { "shop.orders" = "ALL", "shop.orders__quarantine" = "ALL" }
    error_message = "the admin may do anything with a table"
  }

  assert {
    condition     = length(aws_athena_named_query.this) == 0 && length(aws_glue_catalog_table_optimizer.this) == 0
    error_message = "queries and optimizers only on request"
  }
}

run "nothing_for_the_reader_where_all_is_restricted" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    path                   = "tests/templates/passwords.yaml"
    named_query_workgroups = { reader = "readers", admin = "admins" }
  }

  assert {
    condition     = length(aws_lakeformation_permissions.reader) == 0 && length(aws_lakeformation_permissions.writer) == 1
    error_message = "no grant for the reader"
  }

  assert {
    condition     = [for key, query in aws_athena_named_query.this : key if query.workgroup == "readers"] == []
    error_message = "no query for the reader"
  }
}

run "saved_queries_per_role" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    named_query_workgroups = { reader = "readers", writer = "writers", admin = "admins" }
  }

  assert {
    condition = toset(keys(aws_athena_named_query.this)) == toset(concat(
      ["shop.orders/reader/sample", "shop.orders/reader/partitions"],
      flatten([for table in ["shop.orders", "shop.orders__quarantine"] : [for role in ["writer", "admin"] : [for query in ["sample", "partitions", "snapshots"] : "${table}/${role}/${query}"]]]),
    ))
    error_message = "a sample, partitions, snapshots"
  }

  assert {
    condition     = alltrue([for key, query in aws_athena_named_query.this : query.workgroup == "${split("/", key)[1]}s" && query.database == "shop"])
    error_message = "each in the workgroup of its role"
  }

  assert {
    condition     = [for key, query in aws_athena_named_query.this : key if query.workgroup == "readers" && length(regexall("\\$|email|quarantine", query.query)) > 0] == []
    error_message = "the reader has no query on metadata tables, restricted columns or the quarantine"
  }

  assert {
    condition = { for key, query in aws_athena_named_query.this : key => query.query if query.workgroup == "readers" } == {
      "shop.orders/reader/sample"     = "SELECT \"order_id\", \"ordered_at\", \"amount\" FROM \"shop\".\"orders\" LIMIT 10"
      "shop.orders/reader/partitions" = "SELECT date_trunc('day', \"ordered_at\"), count(*) AS record_count FROM \"shop\".\"orders\" GROUP BY date_trunc('day', \"ordered_at\")"
    }
    error_message = "the reader's queries"
  }

  assert {
    condition     = aws_athena_named_query.this["shop.orders/admin/snapshots"].query == "SELECT committed_at, snapshot_id, operation, summary FROM \"shop\".\"orders$snapshots\" ORDER BY committed_at DESC"
    error_message = "the snapshots are a metadata table"
  }
}

run "no_partitions_query_where_sql_cannot_name_them" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    path                   = "tests/templates/visits.yaml"
    named_query_workgroups = { reader = "readers" }
  }

  assert {
    condition     = keys(aws_athena_named_query.this) == ["web.visits/reader/sample"]
    error_message = "SQL has no expression for a bucket"
  }
}

run "optimizers" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    optimizers = ["compaction", "retention", "orphan_file_deletion"]
  }

  assert {
    condition     = keys(aws_glue_catalog_table_optimizer.this) == ["shop.orders/compaction", "shop.orders/orphan_file_deletion", "shop.orders/retention"]
    error_message = "of the template's table, not of its quarantine"
  }

  assert {
    condition = alltrue([for optimizer in aws_glue_catalog_table_optimizer.this :
      optimizer.table_name == "orders" && optimizer.database_name == "shop" && one(optimizer.configuration).enabled && one(optimizer.configuration).role_arn == var.role_arns.writer
    ])
    error_message = "as the writer"
  }

  assert {
    condition = { for key, value in one(one(one(aws_glue_catalog_table_optimizer.this["shop.orders/retention"].configuration).retention_configuration).iceberg_configuration) : key => tostring(value) } == {
      snapshot_retention_period_in_days = "2", number_of_snapshots_to_retain = "5", clean_expired_files = "true"
    }
    error_message = "the template's maintenance: 36 hours are two days"
  }

  assert {
    condition     = one(one(one(aws_glue_catalog_table_optimizer.this["shop.orders/orphan_file_deletion"].configuration).orphan_file_deletion_configuration).iceberg_configuration).orphan_file_retention_period_in_days == 7
    error_message = "a run of up to a week keeps its files"
  }
}

run "a_template_may_decline_optimizers" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    path       = "tests/templates/visits.yaml"
    optimizers = ["compaction", "retention", "orphan_file_deletion"]
  }

  assert {
    condition     = keys(aws_glue_catalog_table_optimizer.this) == ["web.visits/retention"]
    error_message = "compact: false, remove_orphans: false"
  }

  assert {
    condition     = one(one(one(aws_glue_catalog_table_optimizer.this["web.visits/retention"].configuration).retention_configuration).iceberg_configuration).clean_expired_files == false
    error_message = "remove_orphans: false keeps the files of expired snapshots, too"
  }
}

run "refuses_an_optimizer_that_glue_has_not" {
  command = plan

  module {
    source = "./modules/table"
  }

  variables {
    optimizers = ["vacuum"]
  }

  expect_failures = [var.optimizers]
}
