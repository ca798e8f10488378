# What the root itself decides. That each variable reaches its resource is in tests/terraform/test_root.py.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  region    = "eu-central-1"
  templates = "tests/templates"
}

run "every_template_of_the_folder" {
  command = plan

  assert {
    condition = { for table, columns in output.tables : table => join(" ", columns) } == {
      "shop.orders" = "order_id ordered_at amount", "shop.orders__quarantine" = "", "web.visits" = "visitor pages", "web.passwords" = ""
    }
    error_message = "what the reader is granted, by table"
  }

  assert {
    condition     = output.environment.AWS_REGION == "eu-central-1" && output.environment.GLUE_CATALOG_ID == "111122223333" && output.environment.LAKEHOUSE_BACKEND == "aws-glue"
    error_message = "what Python needs to know"
  }

  assert {
    condition     = module.glue.databases == { shop = "shop", web = "web" }
    error_message = "a database per namespace"
  }
}

run "the_templates_folder_is_that_of_the_repository_by_default" {
  command = plan

  variables {
    templates = "../../table-templates"
  }

  assert {
    condition     = contains(keys(output.tables), "lakehouse.event_stream")
    error_message = "templates"
  }
}

run "refuses_an_empty_folder" {
  command = plan

  variables {
    templates = "tests/mocks"
  }

  expect_failures = [var.templates]
}

run "refuses_values_that_are_none" {
  command = plan

  variables {
    region             = "Frankfurt"
    tags               = { "aws:owner" = "me" }
    max_retries        = 0
    retired_tables     = ["orders"]
    named_query_tables = ["invoices"]
    optimizers         = ["vacuum"]
  }

  expect_failures = [var.region, var.tags, var.max_retries, var.retired_tables, var.named_query_tables, var.optimizers]
}

run "refuses_values_beyond_the_limits" {
  command = plan

  variables {
    tags           = { "a-key-of-129-characters-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" = "" }
    max_retries    = 101
    retired_tables = ["*.*"]
  }

  expect_failures = [var.tags, var.max_retries, var.retired_tables]
}

run "files_of_a_table_without_a_template" {
  command = plan

  override_data {
    target = data.aws_s3_objects.tables["shop"]
    values = { common_prefixes = ["shop/orders/", "shop/orders__quarantine/", "shop/invoices/"] }
  }

  expect_failures = [terraform_data.no_table_is_lost]
}

run "files_of_a_retired_table" {
  command = plan

  variables {
    retired_tables = ["shop.invoices"]
  }

  override_data {
    target = data.aws_s3_objects.tables["shop"]
    values = { common_prefixes = ["shop/orders/", "shop/orders__quarantine/", "shop/invoices/"] }
  }

  assert {
    condition     = length(local.lost) == 0
    error_message = "it is named in retired_tables"
  }
}

run "files_of_a_namespace_without_a_template" {
  command = plan

  variables {
    retired_tables = ["old.invoices"]
  }

  override_data {
    target = data.aws_s3_objects.namespaces
    values = { common_prefixes = ["_lakehouse/", "old/", "shop/", "web/"] }
  }

  expect_failures = [terraform_data.no_table_is_lost]
}

run "files_of_a_retired_namespace" {
  command = plan

  variables {
    retired_tables = ["old.*"]
  }

  override_data {
    target = data.aws_s3_objects.namespaces
    values = { common_prefixes = ["_lakehouse/", "old/", "shop/", "web/"] }
  }

  assert {
    condition     = length(local.lost) == 0
    error_message = "it is named in retired_tables, and _lakehouse/ is no namespace"
  }
}

run "the_ledgers_are_no_namespace" {
  command = plan

  override_data {
    target = data.aws_s3_objects.namespaces
    values = { common_prefixes = ["_lakehouse/", "shop/", "web/"] }
  }

  assert {
    condition     = length(local.lost) == 0
    error_message = "_lakehouse/ has the ledgers"
  }
}
