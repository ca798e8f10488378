# What each variable of the workgroups does, and what is refused.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name           = "lakehouse"
  account_id     = "111122223333"
  results_bucket = "example-results"
  kms_key_arn    = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
}

run "workgroups_by_default" {
  command = plan

  module {
    source = "./modules/athena"
  }

  assert {
    condition = { for role, workgroup in aws_athena_workgroup.this : role => "${workgroup.name} ${one(workgroup.configuration).bytes_scanned_cutoff_per_query}" } == {
      reader = "lakehouse-reader 107374182400", writer = "lakehouse-writer 1099511627776", admin = "lakehouse-admin 1099511627776"
    }
    error_message = "a workgroup per role; the reader scans up to 100 GiB, the others 1 TiB"
  }

  assert {
    condition = alltrue([for role, workgroup in aws_athena_workgroup.this :
      one(one(workgroup.configuration).result_configuration).output_location == "s3://example-results/${role}/"
      && one(one(workgroup.configuration).result_configuration).expected_bucket_owner == "111122223333"
      && one(one(one(workgroup.configuration).result_configuration).encryption_configuration).kms_key_arn == var.kms_key_arn
      && one(workgroup.configuration).enforce_workgroup_configuration
    ])
    error_message = "results go, encrypted, to the role's own prefix, whatever the client asks for"
  }

  assert {
    condition     = alltrue([for workgroup in aws_athena_workgroup.this : workgroup.force_destroy == false])
    error_message = "a workgroup with saved queries must not be destroyed"
  }
}

run "workgroups_changed" {
  command = plan

  module {
    source = "./modules/athena"
  }

  variables {
    name                 = "other"
    bytes_scanned_cutoff = { reader = 10485760 }
  }

  assert {
    condition = { for role, workgroup in aws_athena_workgroup.this : role => "${workgroup.name} ${one(workgroup.configuration).bytes_scanned_cutoff_per_query}" } == {
      reader = "other-reader 10485760", writer = "other-writer 1099511627776", admin = "other-admin 1099511627776"
    }
    error_message = "name, bytes_scanned_cutoff"
  }
}

run "refuses_values_that_athena_has_not" {
  command = plan

  module {
    source = "./modules/athena"
  }

  variables {
    name                 = "x"
    account_id           = "1234"
    results_bucket       = "s3://example-results"
    kms_key_arn          = "arn:aws:kms:eu-central-1:111122223333:alias/lakehouse"
    bytes_scanned_cutoff = { reader = 10485759 }
  }

  expect_failures = [var.name, var.account_id, var.results_bucket, var.kms_key_arn, var.bytes_scanned_cutoff]
}

run "refuses_a_role_that_is_none" {
  command = plan

  module {
    source = "./modules/athena"
  }

  variables {
    bytes_scanned_cutoff = { analyst = 10485760 }
  }

  expect_failures = [var.bytes_scanned_cutoff]
}

run "refuses_a_part_of_a_byte" {
  command = plan

  module {
    source = "./modules/athena"
  }

  variables {
    bytes_scanned_cutoff = { reader = 10485760.5 }
  }

  expect_failures = [var.bytes_scanned_cutoff]
}
