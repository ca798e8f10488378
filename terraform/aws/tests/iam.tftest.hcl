# What each variable of the roles and of Lake Formation does, and what is refused. What the policies allow and deny is
# evaluated in tests/terraform/test_policies.py.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name                          = "lakehouse"
  account_id                    = "111122223333"
  trust                         = {}
  databases                     = { shop = "shop", web = "web" }
  bucket_arns                   = { for kind in ["warehouse", "landing", "results"] : kind => "arn:aws:s3:::example-${kind}" }
  kms_key_arn                   = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
  workgroup_arns                = { for role in ["reader", "writer", "admin"] : role => "arn:aws:athena:eu-central-1:111122223333:workgroup/lakehouse-${role}" }
  optimizers                    = false
  manage_lakeformation_settings = false
  lakeformation_admins          = []
}

run "roles_by_default" {
  command = plan

  module {
    source = "./modules/iam"
  }

  assert {
    condition     = { for role, iam_role in aws_iam_role.this : role => iam_role.name } == { for role in ["reader", "writer", "admin"] : role => "lakehouse-${role}" }
    error_message = "name and the role are a role's name"
  }

  assert {
    condition = alltrue([for role in aws_iam_role.this : jsondecode(role.assume_role_policy).Statement == [
      { Effect = "Allow", Action = "sts:AssumeRole", Principal = { AWS = ["arn:aws:iam::111122223333:root"] } }
    ]])
    error_message = "a role that trust leaves out: whom this account's own policies allow"
  }

  assert {
    condition     = length(aws_lakeformation_data_lake_settings.this) == 0
    error_message = "the account's list of administrators is left alone"
  }

  assert {
    condition     = aws_lakeformation_resource.warehouse.arn == "arn:aws:s3:::example-warehouse" && aws_lakeformation_resource.warehouse.use_service_linked_role == false
    error_message = "Lake Formation opens the warehouse, with a role of its own that has the key"
  }

  assert {
    condition = { for key, grant in aws_lakeformation_permissions.database : key => join(",", grant.permissions) } == {
      "reader/shop" = "DESCRIBE", "reader/web" = "DESCRIBE", "writer/shop" = "DESCRIBE", "writer/web" = "DESCRIBE", "admin/shop" = "ALL", "admin/web" = "ALL"
    }
    error_message = "readers and writers see the databases, admins change them"
  }

  assert {
    condition     = toset(keys(aws_lakeformation_permissions.location)) == toset(["writer", "admin"])
    error_message = "a reader creates nothing in the warehouse"
  }
}

run "principals_with_an_external_id" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    name  = "other"
    trust = { admin = { principals = ["arn:aws:iam::444455556666:role/platform", "777788889999"], external_id = "secret" } }
  }

  assert {
    condition     = aws_iam_role.this["admin"].name == "other-admin"
    error_message = "name"
  }

  assert {
    condition = jsondecode(aws_iam_role.this["admin"].assume_role_policy).Statement == [{
      Effect    = "Allow", Action = "sts:AssumeRole", Principal = { AWS = ["arn:aws:iam::444455556666:role/platform", "777788889999"] }
      Condition = { StringEquals = { "sts:ExternalId" = "secret" } }
    }]
    error_message = "these principals, and with the external id only; the account itself no more"
  }

  assert {
    condition     = jsondecode(aws_iam_role.this["reader"].assume_role_policy).Statement[0].Principal == { AWS = ["arn:aws:iam::111122223333:root"] }
    error_message = "the trust of one role is that of no other"
  }
}

run "services" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { writer = { services = ["ecs-tasks.amazonaws.com"] } }
  }

  assert {
    condition = jsondecode(aws_iam_role.this["writer"].assume_role_policy).Statement == [{
      Effect    = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = "111122223333" } }
    }]
    error_message = "this service, and for this account only"
  }
}

run "oidc" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = {
      provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
      subjects     = ["repo:example-corp/lakehouse:ref:refs/heads/main"]
    } } }
  }

  assert {
    condition = jsondecode(aws_iam_role.this["admin"].assume_role_policy).Statement == [{
      Effect    = "Allow", Action = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com" }
      Condition = {
        StringEquals = { "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com" }
        StringLike   = { "token.actions.githubusercontent.com:sub" = ["repo:example-corp/lakehouse:ref:refs/heads/main"] }
      }
    }]
    error_message = "CI, with this audience and these subjects only"
  }
}

run "optimizers_are_the_writer" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    optimizers = true
  }

  assert {
    condition = { for role, iam_role in aws_iam_role.this : role => flatten([
      for statement in jsondecode(iam_role.assume_role_policy).Statement : try(statement.Principal.Service, [])
    ]) } == { reader = [], writer = ["glue.amazonaws.com"], admin = [] }
    error_message = "Glue assumes the writer's role"
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role.this["writer"].assume_role_policy).Statement : statement.Principal if can(statement.Principal.AWS)] == [
      { AWS = ["arn:aws:iam::111122223333:root"] }
    ]
    error_message = "beside those who could before"
  }

  assert {
    condition     = { for role, policy in aws_iam_role_policy.this : role => contains([for statement in jsondecode(policy.policy).Statement : statement.Sid], "OptimizerLogs") } == { reader = false, writer = true, admin = false }
    error_message = "and writes its log"
  }
}

run "a_caller_who_may_not_grant_is_told_so" {
  command = plan

  module {
    source = "./modules/iam"
  }

  override_data {
    target = data.aws_lakeformation_data_lake_settings.current
    values = { admins = ["arn:aws:iam::111122223333:role/somebody-else"] }
  }

  expect_failures = [aws_lakeformation_resource.warehouse, check.admin_role_is_administrator]
}

run "administrators_are_added_and_none_is_dropped" {
  command = plan

  module {
    source = "./modules/iam"
  }

  override_data {
    target = data.aws_lakeformation_data_lake_settings.current
    values = {
      admins                  = ["arn:aws:iam::111122223333:role/somebody-else"]
      read_only_admins        = ["arn:aws:iam::111122223333:role/auditor"]
      trusted_resource_owners = ["444455556666"]
    }
  }

  override_resource {
    target          = aws_iam_role.this["admin"]
    override_during = plan
    values          = { arn = "arn:aws:iam::111122223333:role/lakehouse-admin" }
  }

  variables {
    manage_lakeformation_settings = true
    lakeformation_admins          = ["arn:aws:iam::111122223333:role/platform"]
  }

  assert {
    condition = toset(aws_lakeformation_data_lake_settings.this["this"].admins) == toset([for name in ["somebody-else", "deployer", "lakehouse-admin", "platform"] :
      "arn:aws:iam::111122223333:role/${name}"
    ])
    error_message = "who is in the list, the caller, the admin role, and lakeformation_admins"
  }

  assert {
    condition = (
      toset(aws_lakeformation_data_lake_settings.this["this"].read_only_admins) == toset(["arn:aws:iam::111122223333:role/auditor"])
      && toset(aws_lakeformation_data_lake_settings.this["this"].trusted_resource_owners) == toset(["444455556666"])
    )
    error_message = "the account's other settings stay"
  }
}

run "refuses_a_role_that_is_none" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust                = { analyst = { principals = ["444455556666"] } }
    lakeformation_admins = ["arn:aws:sts::111122223333:assumed-role/deployer/session"]
  }

  expect_failures = [var.trust, var.lakeformation_admins]
}

run "refuses_everybody" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { reader = { principals = ["*"] } }
  }

  expect_failures = [var.trust]
}

run "refuses_a_wildcard_in_a_principal" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { reader = { principals = ["arn:aws:iam::444455556666:role/*"] } }
  }

  expect_failures = [var.trust]
}

run "refuses_an_external_id_for_nobody" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { reader = { services = ["ecs-tasks.amazonaws.com"], external_id = "secret" } }
  }

  expect_failures = [var.trust]
}

run "refuses_oidc_without_subjects" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com", subjects = [] } } }
  }

  expect_failures = [var.trust]
}

run "refuses_oidc_for_everybodys_ci" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com", subjects = ["repo:*"] } } }
  }

  expect_failures = [var.trust]
}

run "refuses_oidc_for_everybodys_repository_of_this_name" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com", subjects = ["repo:*/lakehouse:ref:refs/heads/main"] } } }
  }

  expect_failures = [var.trust]
}

run "refuses_oidc_for_owners_whose_names_begin_alike" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com", subjects = ["repo:example-corp/lakehouse:*", "repo:example-*"] } } }
  }

  expect_failures = [var.trust]
}

run "oidc_for_all_of_an_owner" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    trust = { admin = { oidc = { provider_arn = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com", subjects = ["repo:example-corp/*", "organization:example-corp:project:*", "system:serviceaccount:ci:deployer"] } } }
  }

  assert {
    condition     = length(jsondecode(aws_iam_role.this["admin"].assume_role_policy).Statement[0].Condition.StringLike["token.actions.githubusercontent.com:sub"]) == 3
    error_message = "a wildcard after the owner's name, and names without any"
  }
}
