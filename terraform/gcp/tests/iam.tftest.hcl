# Roles, policy tags and masks. That the reader has nothing else is looked for in whole plans, in tests/terraform/test_gcp_root.py.

mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project       = "my-project"
  location      = "EU"
  name          = "lake-house"
  trust         = {}
  credentials   = "vended"
  buckets       = { for kind in ["warehouse", "landing", "logs"] : kind => "example-${kind}" }
  catalog       = "example-warehouse"
  datasets      = { shop = "shop", web = "web" }
  connection_id = "lake-house"
  masking       = null
}

run "roles_by_default" {
  command = plan

  module {
    source = "./modules/iam"
  }

  assert {
    condition     = output.emails == { for role in ["reader", "writer", "admin"] : role => "lake-house-${role}@my-project.iam.gserviceaccount.com" }
    error_message = "name and the role are an account's name"
  }

  assert {
    condition = toset([for grant in google_project_iam_member.this : "${split("@", grant.member)[0]} ${grant.role}"]) == toset([
      "serviceAccount:lake-house-reader roles/bigquery.jobUser",
      "serviceAccount:lake-house-writer roles/bigquery.jobUser",
      "serviceAccount:lake-house-writer roles/serviceusage.serviceUsageConsumer",
      "serviceAccount:lake-house-writer projects/my-project/roles/lake_house_auditor",
      "serviceAccount:lake-house-admin roles/bigquery.jobUser",
      "serviceAccount:lake-house-admin roles/serviceusage.serviceUsageConsumer",
      "serviceAccount:lake-house-admin projects/my-project/roles/lake_house_auditor",
    ])
    error_message = "on the project: jobs, quota, looking"
  }

  assert {
    condition = { for key, grant in google_bigquery_dataset_iam_binding.this : "${grant.dataset_id} ${grant.role}" => join(" ", sort([for member in grant.members : split("@", member)[0]])) } == merge([for dataset in ["shop", "web"] : {
      "${dataset} roles/bigquery.dataOwner"                          = "projectOwners"
      "${dataset} roles/bigquery.dataEditor"                         = ""
      "${dataset} roles/bigquery.dataViewer"                         = "serviceAccount:lake-house-reader serviceAccount:lake-house-writer"
      "${dataset} projects/my-project/roles/lake_house_tables_mover" = "serviceAccount:lake-house-writer"
      "${dataset} projects/my-project/roles/lake_house_tables_admin" = "serviceAccount:lake-house-admin"
    }]...)
    error_message = "on each dataset, and nobody else"
  }

  assert {
    condition = google_project_iam_custom_role.this["tables_mover"].permissions == toset(["bigquery.tables.setCategory", "bigquery.tables.update"]) && alltrue([
      for role in google_project_iam_custom_role.this : length([for permission in role.permissions : permission if endswith(permission, "setIamPolicy")]) == 0
    ])
    error_message = "the writer moves tables, and neither makes nor deletes them; nobody gives rights away"
  }

  assert {
    condition     = { for role, grant in google_biglake_iceberg_catalog_iam_member.this : role => "${grant.name} ${grant.role}" } == { writer = "example-warehouse projects/my-project/roles/lake_house_committer", admin = "example-warehouse roles/biglake.admin" }
    error_message = "on the catalog"
  }

  assert {
    condition = google_project_iam_custom_role.this["committer"].permissions == toset([
      "biglake.catalogs.get", "biglake.catalogs.getIamPolicy", "biglake.namespaces.get", "biglake.namespaces.list", "biglake.tables.get",
      "biglake.tables.getData", "biglake.tables.list", "biglake.tables.update", "biglake.tables.updateData",
    ])
    error_message = "the writer commits, and neither makes, registers nor drops a table, a namespace or the catalog"
  }

  assert {
    condition = google_project_iam_custom_role.this["auditor"].permissions == toset([
      "bigquery.connections.getIamPolicy", "resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy",
    ])
    error_message = "governance and the drift sensor look at nothing else by it"
  }

  assert {
    condition     = { for role, grant in google_bigquery_connection_iam_member.this : role => "${grant.location} ${grant.connection_id} ${grant.role}" } == { for role in ["writer", "admin"] : role => "eu lake-house projects/my-project/roles/lake_house_connection_user" }
    error_message = "on the connection"
  }

  assert {
    condition = toset([for grant in google_storage_bucket_iam_member.this : "${grant.bucket} ${split("@", grant.member)[0]} ${grant.role}"]) == toset([
      "example-warehouse serviceAccount:lake-house-admin roles/storage.admin",
      "example-landing serviceAccount:lake-house-admin roles/storage.objectViewer",
      "example-landing serviceAccount:lake-house-admin roles/storage.legacyBucketReader",
      "example-landing serviceAccount:lake-house-writer roles/storage.objectViewer",
      "example-landing serviceAccount:lake-house-writer roles/storage.legacyBucketReader",
    ])
    error_message = "on the buckets: the catalog lends the writer what it needs of the warehouse"
  }

  assert {
    condition = { for folder, grant in google_storage_managed_folder_iam_member.lakehouse : "${grant.bucket}/${folder}" => "${split("@", grant.member)[0]} ${grant.role}" } == {
      "example-warehouse/_lakehouse/" = "serviceAccount:lake-house-writer roles/storage.objectUser"
    }
    error_message = "but for the folder that belongs to no table"
  }

  assert {
    condition     = length(google_service_account_iam_member.trust) == 0
    error_message = "a role that trust leaves out: whom the project's own policies allow"
  }
}

run "own_credentials" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    credentials = "own"
  }

  assert {
    condition     = [for grant in google_storage_bucket_iam_member.this : grant.role if grant.bucket == "example-warehouse" && startswith(grant.member, "serviceAccount:lake-house-writer@")] == ["roles/storage.objectUser"] && length(google_storage_managed_folder.lakehouse) == 0
    error_message = "the writer opens files itself"
  }
}

run "tags_by_default" {
  command = plan

  module {
    source = "./modules/iam"
  }

  assert {
    condition     = google_data_catalog_taxonomy.this.region == "eu" && tolist(google_data_catalog_taxonomy.this.activated_policy_types) == tolist(["FINE_GRAINED_ACCESS_CONTROL"])
    error_message = "where the datasets are, and enforced"
  }

  assert {
    condition     = google_data_catalog_taxonomy.this.display_name == "lake-house-my-project"
    error_message = "a name that no other project of the organization has"
  }

  assert {
    condition     = { for level, tag in google_data_catalog_policy_tag.this : level => tag.display_name } == { restricted = "Restricted", internal = "Internal" }
    error_message = "a tag for each access level that hides"
  }

  assert {
    condition = toset([for key, grant in google_data_catalog_policy_tag_iam_member.fine_grained_reader : "${split("/", key)[0]} ${split("@", grant.member)[0]} ${grant.role}"]) == toset([
      "restricted serviceAccount:lake-house-writer roles/datacatalog.categoryFineGrainedReader",
      "restricted serviceAccount:lake-house-admin roles/datacatalog.categoryFineGrainedReader",
      "internal serviceAccount:lake-house-reader roles/datacatalog.categoryFineGrainedReader",
      "internal serviceAccount:lake-house-writer roles/datacatalog.categoryFineGrainedReader",
      "internal serviceAccount:lake-house-admin roles/datacatalog.categoryFineGrainedReader",
    ])
    error_message = "restricted columns are writer's and admin's"
  }

  assert {
    condition     = length(google_bigquery_datapolicy_data_policy.mask) == 0 && length(google_bigquery_datapolicy_data_policy_iam_member.masked_reader) == 0
    error_message = "no mask"
  }
}

run "masked" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    masking = "SHA256"
  }

  assert {
    condition = { for level, mask in google_bigquery_datapolicy_data_policy.mask : level => "${mask.location} ${mask.data_policy_id} ${mask.data_policy_type} ${mask.data_masking_policy[0].predefined_expression}" } == {
      restricted = "eu lake_house_restricted DATA_MASKING_POLICY SHA256"
    }
    error_message = "a mask for the restricted"
  }

  assert {
    condition = { for level, grant in google_bigquery_datapolicy_data_policy_iam_member.masked_reader : level => "${split("@", grant.member)[0]} ${grant.role}" } == {
      restricted = "serviceAccount:lake-house-reader roles/bigquerydatapolicy.maskedReader"
    }
    error_message = "which the reader sees"
  }
}

run "trusted" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = {
      reader = { members = ["group:analysts@example.com", "user:me@example.com"] }
      writer = { members = ["serviceAccount:dagster@my-project.iam.gserviceaccount.com"] }
      admin = { workload_identities = [
        "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/repo:example-corp/lakehouse:ref:refs/heads/main",
        "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.repository/example-corp/lakehouse",
      ] }
    }
  }

  assert {
    condition = toset([for key, grant in google_service_account_iam_member.trust : "${split("/", key)[0]} ${grant.member} ${grant.role}"]) == toset([
      "reader group:analysts@example.com roles/iam.serviceAccountTokenCreator",
      "reader user:me@example.com roles/iam.serviceAccountTokenCreator",
      "writer serviceAccount:dagster@my-project.iam.gserviceaccount.com roles/iam.serviceAccountTokenCreator",
      "admin principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/subject/repo:example-corp/lakehouse:ref:refs/heads/main roles/iam.workloadIdentityUser",
      "admin principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.repository/example-corp/lakehouse roles/iam.workloadIdentityUser",
    ])
    error_message = "each for its role only"
  }
}

run "refuses_everybody" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust   = { reader = { members = ["allAuthenticatedUsers"] } }
    masking = "MASK"
  }

  expect_failures = [var.trust, var.masking]
}

run "refuses_a_domain" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust   = { reader = { members = ["domain:example.com"] } }
    masking = ""
  }

  expect_failures = [var.trust, var.masking]
}

run "refuses_all_of_a_pool" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { workload_identities = ["principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/*"] } }
  }

  expect_failures = [var.trust]
}

run "refuses_a_wildcard_in_an_attribute" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { workload_identities = ["principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/github/attribute.repository/*"] } }
  }

  expect_failures = [var.trust]
}

run "refuses_a_role_that_is_none" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { owner = { members = ["user:me@example.com"] } }
  }

  expect_failures = [var.trust]
}
