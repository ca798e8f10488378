# What the server is told. The names are Nessie's own, with dots: in capitals (NESSIE_CATALOG_…_S3_…), which Quarkus
# takes as well, the whole group of S3's options is ignored in silence.

locals {
  s3 = "nessie.catalog.service.s3.default-options"

  environment = merge(
    {
      "nessie.catalog.default-warehouse"             = "lakehouse"
      "nessie.catalog.warehouses.lakehouse.location" = var.warehouse_location
      "${local.s3}.region"                           = local.region
      "${local.s3}.auth-type"                        = "APPLICATION_GLOBAL" # the task role
      "${local.s3}.request-signing-enabled"          = "false"
      "quarkus.http.proxy.proxy-address-forwarding"  = "true" # else it answers with http:// addresses behind HTTPS,
      "quarkus.http.proxy.allow-x-forwarded"         = "true" # which clients then use
      "quarkus.http.proxy.allow-forwarded"           = "false"
      "quarkus.otel.sdk.disabled"                    = "true"
      "quarkus.http.port"                            = tostring(local.port)
      "quarkus.management.port"                      = tostring(local.management_port)
      "nessie.server.authentication.enabled"         = tostring(var.nessie_oidc != null)
      "nessie.server.authorization.enabled"          = tostring(length(var.nessie_authorization_rules) > 0)
      "${local.s3}.client-iam.enabled"               = tostring(var.nessie_vend_credentials)
    },
    local.stores[var.nessie_version_store],
    { for name, value in {
      "quarkus.oidc.auth-server-url" = try(var.nessie_oidc.issuer, null)
      "quarkus.oidc.client-id"       = try(var.nessie_oidc.client_id, null)
      "quarkus.oidc.token.audience"  = try(var.nessie_oidc.audience, null)
    } : name => value if value != null },
    { for id, rule in var.nessie_authorization_rules : "nessie.server.authorization.rules.${id}" => rule },
    { for name, value in {
      "${local.s3}.client-iam.assume-role" = local.vended_role_arn
      # Nessie narrows what it vends to a table's files, and forgets the key that they are encrypted with. The role has
      # the narrow statement: both have to allow it.
      "${local.s3}.client-iam.statements[0]" = jsonencode({ Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = "*" })
    } : name => value if var.nessie_vend_credentials },
  )

  stores = {
    dynamodb = {
      "nessie.version.store.type"                          = "DYNAMODB2"
      "nessie.version.store.persist.dynamodb.table-prefix" = local.table_prefix
      "quarkus.dynamodb.aws.region"                        = local.region # the server's own default is us-west-2
    }
    postgres = {
      "nessie.version.store.type"                    = "JDBC2"
      "nessie.version.store.persist.jdbc.datasource" = "postgresql"
      "quarkus.datasource.postgresql.jdbc.url"       = one([for database in aws_db_instance.this : "jdbc:postgresql://${database.endpoint}/${database.db_name}?sslmode=require"])
    }
  }

  secrets = merge([for database in aws_db_instance.this : {
    "quarkus.datasource.postgresql.username" = "${database.master_user_secret[0].secret_arn}:username::"
    "quarkus.datasource.postgresql.password" = "${database.master_user_secret[0].secret_arn}:password::"
  }]...)
}
