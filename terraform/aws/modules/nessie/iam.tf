# Three roles: ECS starts a task with one, the server works with another, and lends a third one, in pieces, to clients.

locals {
  warehouse_arn = "arn:${local.partition}:s3:::${trimprefix(var.warehouse_location, "s3://")}"
  # Not the role's own attribute: the server is told it in the first plan, too.
  vended_role_name = "${local.name}-vended"
  vended_role_arn  = "arn:${local.partition}:iam::${var.account_id}:role/${local.vended_role_name}"
  ecr              = try(regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.amazonaws\\.com(?:\\.cn)?/(?P<repository>.+)$", var.nessie_image), null)

  trust_ecs = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${local.region}:${var.account_id}:*" }
      }
    }]
  })

  may_use_files = [
    { Sid = "WarehouseBucket", Effect = "Allow", Action = ["s3:ListBucket", "s3:GetBucketLocation"], Resource = [local.warehouse_arn] },
    { Sid = "Warehouse", Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], Resource = ["${local.warehouse_arn}/*"] },
    {
      Sid       = "FilesKey", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn]
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
    },
  ]
}

resource "aws_iam_role" "task" {
  name               = local.name
  description        = "Nessie: files of the warehouse, and its version store."
  assume_role_policy = local.trust_ecs
}

resource "aws_iam_role_policy" "task" {
  name = "nessie"
  role = aws_iam_role.task.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.may_use_files,
      [for statement in [
        {
          Sid    = "VersionStore", Effect = "Allow", Resource = local.table_arns
          Action = ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem"]
        },
        {
          Sid       = "VersionStoreKey", Effect = "Allow", Resource = [var.kms_key_arn]
          Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
          Condition = { StringEquals = { "kms:ViaService" = "dynamodb.${local.region}.amazonaws.com" } }
        },
      ] : statement if var.nessie_version_store == "dynamodb"],
      [for arn in [local.vended_role_arn] : { Sid = "Vend", Effect = "Allow", Action = ["sts:AssumeRole"], Resource = [arn] } if var.nessie_vend_credentials],
    )
  })
}

resource "aws_iam_role" "execution" {
  name               = "${local.name}-execution"
  description        = "ECS, to start Nessie: its image, its log, its database's password."
  assume_role_policy = local.trust_ecs
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "Log", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = ["${aws_cloudwatch_log_group.this.arn}:*"] }],
      [for statement in [
        # Has no resources: the token is for all that the role may pull.
        { Sid = "Registry", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
        {
          Sid      = "Image", Effect = "Allow", Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          Resource = [try("arn:${local.partition}:ecr:${local.ecr.region}:${local.ecr.account}:repository/${local.ecr.repository}", "")]
        },
      ] : statement if local.ecr != null],
      flatten([for database in aws_db_instance.this : [
        { Sid = "Password", Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = [database.master_user_secret[0].secret_arn] },
        {
          Sid       = "PasswordKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn]
          Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.region}.amazonaws.com" } }
        },
      ]]),
    )
  })
}

# Clients get its credentials for an hour at most, narrowed by Nessie to the files of one table.
resource "aws_iam_role" "vended" {
  for_each = var.nessie_vend_credentials ? { this = local.vended_role_name } : {}

  name        = each.value
  description = "What Nessie vends to clients that it has authorized, table by table."

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { AWS = aws_iam_role.task.arn } }]
  })
}

resource "aws_iam_role_policy" "vended" {
  for_each = aws_iam_role.vended

  name   = "warehouse"
  role   = each.value.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.may_use_files })
}
