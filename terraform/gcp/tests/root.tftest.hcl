# What the root itself decides. That each variable reaches its resource is in tests/terraform/test_gcp_root.py.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project   = "my-project"
  location  = "EU"
  templates = "../aws/tests/templates"
}

run "every_template_of_the_folder" {
  command = plan

  assert {
    condition = { for table, columns in output.tables : table => join(" ", columns) } == {
      "shop.orders" = "order_id ordered_at amount", "shop.orders__quarantine" = "", "web.visits" = "visitor pages", "web.passwords" = ""
    }
    error_message = "what the reader sees, by table"
  }

  assert {
    condition = output.environment == {
      LAKEHOUSE_BACKEND               = "gcp"
      LAKEHOUSE_WAREHOUSE             = "gs://lakehouse-my-project-warehouse"
      LAKEHOUSE_LANDING               = "gs://lakehouse-my-project-landing"
      GOOGLE_CLOUD_PROJECT            = "my-project"
      GOOGLE_CLOUD_LOCATION           = "EU"
      LAKEHOUSE_GCP_CREDENTIALS       = "vended"
      LAKEHOUSE_BIGQUERY_CONNECTION   = "projects/my-project/locations/eu/connections/lakehouse"
      LAKEHOUSE_POLICY_TAG_RESTRICTED = "projects/my-project/locations/eu/taxonomies/1/policyTags/2"
      LAKEHOUSE_POLICY_TAG_INTERNAL   = "projects/my-project/locations/eu/taxonomies/1/policyTags/2"
      LAKEHOUSE_READER_ROLE           = "lakehouse-reader@my-project.iam.gserviceaccount.com"
      LAKEHOUSE_WRITER_ROLE           = "lakehouse-writer@my-project.iam.gserviceaccount.com"
      LAKEHOUSE_ADMIN_ROLE            = "lakehouse-admin@my-project.iam.gserviceaccount.com"
    }
    error_message = "what Python needs to know"
  }

  assert {
    condition     = output.datasets == { shop = "shop", web = "web" }
    error_message = "a dataset per namespace"
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
    project  = "My Project"
    location = "eu"
    labels   = { Team = "data" }
  }

  expect_failures = [var.project, var.location, var.labels]
}

run "refuses_values_beyond_the_limits" {
  command = plan

  variables {
    project  = "short"
    location = "europe"
    labels   = { team = "a value that has blanks" }
  }

  expect_failures = [var.project, var.location, var.labels]
}
