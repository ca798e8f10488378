# One list of administrators per account and region: only where asked for, and never without those who are in it.
data "aws_lakeformation_data_lake_settings" "current" {}

locals {
  caller = data.aws_iam_session_context.current.issuer_arn
  admins = data.aws_lakeformation_data_lake_settings.current.admins
}

resource "aws_lakeformation_data_lake_settings" "this" {
  for_each = var.manage_lakeformation_settings ? { this = local.caller } : {}

  admins = setunion(local.admins, var.lakeformation_admins, [each.value, aws_iam_role.this["admin"].arn])

  # The call replaces all settings: what others set is written back as it was found.
  read_only_admins                      = data.aws_lakeformation_data_lake_settings.current.read_only_admins
  trusted_resource_owners               = data.aws_lakeformation_data_lake_settings.current.trusted_resource_owners
  allow_external_data_filtering         = data.aws_lakeformation_data_lake_settings.current.allow_external_data_filtering
  external_data_filtering_allow_list    = data.aws_lakeformation_data_lake_settings.current.external_data_filtering_allow_list
  authorized_session_tag_value_list     = data.aws_lakeformation_data_lake_settings.current.authorized_session_tag_value_list
  allow_full_table_external_data_access = data.aws_lakeformation_data_lake_settings.current.allow_full_table_external_data_access
  # The others are AWS's to say.
  parameters = {
    for key, value in data.aws_lakeformation_data_lake_settings.current.parameters : key => value if key == "CROSS_ACCOUNT_VERSION"
  }

  dynamic "create_database_default_permissions" {
    for_each = data.aws_lakeformation_data_lake_settings.current.create_database_default_permissions

    content {
      permissions = create_database_default_permissions.value.permissions
      principal   = create_database_default_permissions.value.principal
    }
  }

  dynamic "create_table_default_permissions" {
    for_each = data.aws_lakeformation_data_lake_settings.current.create_table_default_permissions

    content {
      permissions = create_table_default_permissions.value.permissions
      principal   = create_table_default_permissions.value.principal
    }
  }

  lifecycle {
    # A destroy would empty the account's settings, its administrators first. To hand them back, also before a destroy:
    # terraform state rm 'module.iam.aws_lakeformation_data_lake_settings.this["this"]'; make aws-destroy does it.
    prevent_destroy = true
    # Somebody else's, also when they change later. Empty lists would be differences for ever.
    ignore_changes = [
      create_database_default_permissions, create_table_default_permissions, read_only_admins, trusted_resource_owners, parameters,
      allow_external_data_filtering, external_data_filtering_allow_list, authorized_session_tag_value_list, allow_full_table_external_data_access,
    ]
  }
}

# With credentials of this role Lake Formation opens files to those who hold a grant.
resource "aws_iam_role" "registration" {
  name        = "${var.name}-registration"
  description = "Lake Formation's own, to vend access to the warehouse's files."

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lakeformation.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "registration" {
  name = "warehouse"
  role = aws_iam_role.registration.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.may_write_warehouse, [
      {
        Sid       = "Key", Effect = "Allow", Resource = [var.kms_key_arn]
        Action    = ["kms:Decrypt", "kms:Encrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Condition = { StringEquals = { "kms:ViaService" = ["s3.${local.region}.amazonaws.com"] } }
      },
    ])
  })
}

resource "aws_lakeformation_resource" "warehouse" {
  arn                     = var.bucket_arns["warehouse"]
  role_arn                = aws_iam_role.registration.arn
  use_service_linked_role = false

  lifecycle {
    precondition {
      condition     = var.manage_lakeformation_settings || contains(local.admins, local.caller)
      error_message = "${local.caller} is no administrator of Lake Formation in this account and region, so that it can grant nothing. Have an administrator add it (Lake Formation, Administrative roles), or set manage_lakeformation_settings = true, which adds it to the account's list."
    }
  }

  depends_on = [aws_iam_role_policy.registration, aws_lakeformation_data_lake_settings.this]
}

# Lake Formation shows grants to administrators only, and lets only them revoke: lakehouse apply and governance run as this role.
check "admin_role_is_administrator" {
  assert {
    condition     = var.manage_lakeformation_settings || contains(local.admins, "arn:${local.partition}:iam::${var.account_id}:role/${var.name}-admin")
    error_message = "The role ${var.name}-admin is no administrator of Lake Formation: `lakehouse apply` cannot see whom columns are granted to, and refuses new restricted columns; `lakehouse governance` can neither look nor fix. Add it (Lake Formation, Administrative roles), or set manage_lakeformation_settings = true."
  }
}

locals {
  database_permissions = { reader = ["DESCRIBE"], writer = ["DESCRIBE"], admin = ["ALL"] }
  database_grants = { for pair in setproduct(keys(local.database_permissions), keys(var.databases)) : "${pair[0]}/${pair[1]}" => {
    role = pair[0], database = var.databases[pair[1]]
  } }
}

resource "aws_lakeformation_permissions" "database" {
  for_each = local.database_grants

  principal   = aws_iam_role.this[each.value.role].arn
  permissions = local.database_permissions[each.value.role]

  database {
    name = each.value.database
  }

  depends_on = [aws_lakeformation_data_lake_settings.this]
}

resource "aws_lakeformation_permissions" "location" {
  for_each = toset(["writer", "admin"])

  principal   = aws_iam_role.this[each.value].arn
  permissions = ["DATA_LOCATION_ACCESS"]

  data_location {
    arn = aws_lakeformation_resource.warehouse.arn
  }
}
