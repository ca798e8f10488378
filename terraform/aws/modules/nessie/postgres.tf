# The version store for a catalog that grows. Its password is AWS's: neither Terraform nor its state ever holds it.

locals {
  postgres      = var.nessie_version_store == "postgres" ? { this = var.nessie_postgres } : {}
  database_logs = ["postgresql", "upgrade"]
}

resource "aws_db_subnet_group" "this" {
  for_each = local.postgres

  name       = local.name
  subnet_ids = values(var.private_subnets)
}

# RDS would make them itself, to be kept for ever.
resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(length(local.postgres) > 0 ? local.database_logs : [])

  name              = "/aws/rds/instance/${local.name}/${each.value}"
  retention_in_days = var.cloudwatch_retention_days
  kms_key_id        = var.logs_kms_key_arn
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_161: Nessie knows no tokens of IAM; its password is in Secrets Manager.
  #checkov:skip=CKV_AWS_118: Enhanced monitoring samples the machine below the database for a price; CPU and storage have alarms.
  #checkov:skip=CKV2_AWS_30: Statements are Nessie's own, by key; they say nothing that its log does not.
  #checkov:skip=CKV_AWS_353: AWS retires Performance Insights [D]; CPU and storage have alarms.
  #checkov:skip=CKV2_AWS_69: From version 15 on, which nessie_postgres asks for, RDS takes TLS only [D]; the server asks for it, too.
  #checkov:skip=CKV_AWS_157: nessie_postgres.multi_az, which is on by default.
  #checkov:skip=CKV_AWS_133: nessie_postgres.backup_days, which is at least 1.
  #checkov:skip=CKV_AWS_293: nessie_deletion_protection, which is on by default.
  for_each = local.postgres

  identifier     = local.name
  engine         = "postgres"
  engine_version = each.value.engine_version
  instance_class = each.value.instance_class
  db_name        = "nessie"
  username       = "nessie"

  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  allocated_storage     = each.value.storage_gb
  max_allocated_storage = each.value.max_storage_gb
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = each.value.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this[each.key].name
  vpc_security_group_ids = [aws_security_group.this["database"].id]
  publicly_accessible    = false

  backup_retention_period  = each.value.backup_days
  copy_tags_to_snapshot    = true
  delete_automated_backups = false
  deletion_protection      = var.nessie_deletion_protection
  skip_final_snapshot      = false
  # A name for each life: RDS refuses a second snapshot of the same one, and with it the destroy.
  final_snapshot_identifier = "${local.name}-${var.vpc_id}"

  auto_minor_version_upgrade      = true
  apply_immediately               = false
  enabled_cloudwatch_logs_exports = local.database_logs

  depends_on = [aws_cloudwatch_log_group.database]
}
