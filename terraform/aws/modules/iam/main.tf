# Three roles, and what Lake Formation must know of the warehouse. Grants on tables are modules/table's.
#
# main.tf           roles and who may assume them
# policies.tf       what IAM lets each role do
# lakeformation.tf  the warehouse's registration, administrators, grants on databases

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

# The role behind a session, which is what Lake Formation's list has.
data "aws_iam_session_context" "current" {
  arn = data.aws_caller_identity.current.arn
}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  roles = {
    reader = "Reads what the templates let every reader see, through Athena. Has no access to files."
    writer = "Runs the pipelines: reads source files, reads and commits tables."
    admin  = "Runs lakehouse apply and governance: creates and changes tables."
  }
  trust = { for role, description in local.roles : role => lookup(var.trust, role, { principals = [], services = [], external_id = null, oidc = null }) }
  # Glue's optimizers do to a table what a writer does.
  services = { for role, trust in local.trust : role => concat(trust.services, role == "writer" && var.optimizers ? ["glue.amazonaws.com"] : []) }
  principals = { for role, trust in local.trust : role => length(trust.principals) > 0 || length(trust.services) > 0 || trust.oidc != null ? trust.principals :
  ["arn:${local.partition}:iam::${var.account_id}:root"] }
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name                 = "${var.name}-${each.key}"
  description          = each.value
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      length(local.principals[each.key]) == 0 ? [] : [merge(
        { Effect = "Allow", Action = "sts:AssumeRole", Principal = { AWS = local.principals[each.key] } },
        local.trust[each.key].external_id == null ? {} : { Condition = { StringEquals = { "sts:ExternalId" = local.trust[each.key].external_id } } },
      )],
      [for service in local.services[each.key] : merge(
        { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = service } },
        # These two do not say for whom they act [D]; that a role may be passed to them is iam:PassRole's to allow.
        contains(["ec2.amazonaws.com", "lambda.amazonaws.com"], service) ? {} : { Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } } },
      )],
      [for oidc in [local.trust[each.key].oidc] : {
        Effect = "Allow", Action = "sts:AssumeRoleWithWebIdentity", Principal = { Federated = oidc.provider_arn }
        Condition = {
          StringEquals = { "${split("oidc-provider/", oidc.provider_arn)[1]}:aud" = oidc.audience }
          StringLike   = { "${split("oidc-provider/", oidc.provider_arn)[1]}:sub" = oidc.subjects }
        }
      } if oidc != null],
    )
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.policies

  name   = "lakehouse"
  role   = aws_iam_role.this[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
