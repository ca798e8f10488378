# Least privilege; tests/terraform/test_policies.py has the table of what each role may and may not do. IAM opens the
# catalog's actions, Lake Formation decides on which tables and columns they work.

locals {
  glue_arn = "arn:${local.partition}:glue:${local.region}:${var.account_id}"
  # default: Athena and Spark look there before they look where they were told [D].
  catalog_arns = concat(
    ["${local.glue_arn}:catalog", "${local.glue_arn}:database/default"],
    flatten([for database in values(var.databases) : ["${local.glue_arn}:database/${database}", "${local.glue_arn}:table/${database}/*"]]),
  )
  table_arns      = [for database in values(var.databases) : "${local.glue_arn}:table/${database}/*"]
  write_arns      = concat(["${local.glue_arn}:catalog"], [for database in values(var.databases) : "${local.glue_arn}:database/${database}"], local.table_arns)
  in_this_account = { StringEquals = { "aws:ResourceAccount" = var.account_id } }

  may_read_catalog = {
    Sid    = "Catalog"
    Effect = "Allow"
    Action = [
      "glue:GetCatalog", "glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables", "glue:GetTableVersion",
      "glue:GetTableVersions", "glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition",
    ]
    Resource = local.catalog_arns
  }
  # Has no resources: Lake Formation itself decides which data the credentials open.
  may_get_data = { Sid = "Data", Effect = "Allow", Action = ["lakeformation:GetDataAccess"], Resource = ["*"] }
  # S3 asks for the key in the role's name; Glue too, where the catalog is encrypted.
  may_use_key = {
    Sid      = "Key"
    Effect   = "Allow"
    Action   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"]
    Resource = [var.kms_key_arn]
    Condition = { StringEquals = { "kms:ViaService" = [
      "s3.${local.region}.amazonaws.com", "glue.${local.region}.amazonaws.com", "athena.${local.region}.amazonaws.com"
    ] } }
  }
  may_query = { for role, workgroup in var.workgroup_arns : role => [
    {
      Sid    = "Queries"
      Effect = "Allow"
      Action = [
        "athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution", "athena:BatchGetQueryExecution",
        "athena:GetQueryResults", "athena:GetQueryResultsStream", "athena:ListQueryExecutions", "athena:GetWorkGroup",
        "athena:GetNamedQuery", "athena:BatchGetNamedQuery", "athena:ListNamedQueries",
      ]
      Resource = [workgroup]
    },
    {
      Sid      = "DataCatalog"
      Effect   = "Allow"
      Action   = ["athena:GetDataCatalog", "athena:GetDatabase", "athena:ListDatabases", "athena:GetTableMetadata", "athena:ListTableMetadata"]
      Resource = ["arn:${local.partition}:athena:${local.region}:${var.account_id}:datacatalog/AwsDataCatalog"]
    },
    {
      Sid       = "ResultsBucket"
      Effect    = "Allow"
      Action    = ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
      Resource  = [var.bucket_arns["results"]]
      Condition = local.in_this_account
    },
    {
      Sid       = "ResultsList"
      Effect    = "Allow"
      Action    = ["s3:ListBucket"]
      Resource  = [var.bucket_arns["results"]]
      Condition = { StringLike = { "s3:prefix" = ["${role}/*", "${role}/"] } }
    },
    {
      Sid       = "Results"
      Effect    = "Allow"
      Action    = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
      Resource  = ["${var.bucket_arns["results"]}/${role}/*"]
      Condition = local.in_this_account
    },
  ] }

  may_read_landing = [
    {
      Sid = "LandingBucket", Effect = "Allow", Action = ["s3:GetBucketLocation", "s3:ListBucket"], Resource = [var.bucket_arns["landing"]]
    },
    { Sid = "Landing", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${var.bucket_arns["landing"]}/*"] },
  ]
  # Deleting: a run that did not commit removes its own files. Versioning keeps what is deleted for some days.
  may_write_warehouse = [
    {
      Sid    = "WarehouseBucket", Effect = "Allow", Resource = [var.bucket_arns["warehouse"]]
      Action = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    },
    {
      Sid    = "Warehouse", Effect = "Allow", Resource = ["${var.bucket_arns["warehouse"]}/*"]
      Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    },
  ]
  may_log = {
    Sid      = "OptimizerLogs", Effect = "Allow", Action = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    Resource = ["arn:${local.partition}:logs:${local.region}:${var.account_id}:log-group:/aws-glue/iceberg-*"]
  }

  policies = {
    reader = concat(local.may_query["reader"], [
      local.may_read_catalog, local.may_get_data, local.may_use_key,
      # Whatever else is attached to the role: it never reads files, where no column is hidden.
      {
        Sid = "NoFiles", Effect = "Deny", Action = ["s3:*"]
        Resource = concat(
          flatten([for kind in ["warehouse", "landing"] : [var.bucket_arns[kind], "${var.bucket_arns[kind]}/*"]]),
          # What those asked who see more.
          [for role in ["writer", "admin"] : "${var.bucket_arns["results"]}/${role}/*"],
        )
      },
    ])
    writer = concat(local.may_query["writer"], local.may_read_landing, local.may_write_warehouse, [
      local.may_read_catalog, local.may_get_data, local.may_use_key,
      # A commit. Neither creating nor dropping, for that pipelines have no reason.
      { Sid = "Commit", Effect = "Allow", Action = ["glue:UpdateTable"], Resource = local.write_arns },
    ], var.optimizers ? [local.may_log] : [])
    admin = concat(local.may_query["admin"], local.may_read_landing, local.may_write_warehouse, [
      local.may_read_catalog, local.may_get_data, local.may_use_key,
      {
        Sid    = "Tables", Effect = "Allow", Resource = local.write_arns
        Action = ["glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable", "glue:DeleteTableVersion", "glue:BatchDeleteTableVersion", "glue:UpdateDatabase"]
      },
      # lakehouse governance: what is granted, and revoking what is too much. These actions have no resources.
      {
        Sid = "Governance", Effect = "Allow", Resource = ["*"]
        Action = [
          "lakeformation:ListPermissions", "lakeformation:ListDataCellsFilter", "lakeformation:GetResourceLFTags",
          "lakeformation:GetLFTagExpression", "lakeformation:GrantPermissions", "lakeformation:RevokePermissions", "lakeformation:BatchGrantPermissions",
          "lakeformation:BatchRevokePermissions", "lakeformation:GetDataLakeSettings", "lakeformation:ListResources", "lakeformation:DescribeResource",
        ]
      },
      {
        Sid    = "ReaderPolicies", Effect = "Allow", Resource = [aws_iam_role.this["reader"].arn]
        Action = ["iam:GetRole", "iam:ListRolePolicies", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies"]
      },
      {
        Sid      = "AttachedPolicies", Effect = "Allow", Action = ["iam:GetPolicy", "iam:GetPolicyVersion"]
        Resource = ["arn:${local.partition}:iam::${var.account_id}:policy/*", "arn:${local.partition}:iam::aws:policy/*"]
      },
      { Sid = "WarehousePolicy", Effect = "Allow", Action = ["s3:GetBucketPolicy"], Resource = [var.bucket_arns["warehouse"]] },
    ])
  }
}
