# What Python reads: lakehouse env --terraform terraform/aws

output "environment" {
  description = "The environment variables of the Python side. `lakehouse env --terraform terraform/aws` writes them to .env."
  value = merge({
    LAKEHOUSE_BACKEND     = "aws-${var.catalog_type}"
    LAKEHOUSE_WAREHOUSE   = module.storage.warehouse_location
    LAKEHOUSE_LANDING     = module.storage.landing_location
    AWS_REGION            = var.region
    GLUE_CATALOG_ID       = local.account_id
    LAKEHOUSE_READER_ROLE = module.iam.role_arns["reader"]
    LAKEHOUSE_WRITER_ROLE = module.iam.role_arns["writer"]
    LAKEHOUSE_ADMIN_ROLE  = module.iam.role_arns["admin"]
    # Soda scans as the pipelines' role.
    LAKEHOUSE_ATHENA_WORKGROUP = module.athena.workgroups["writer"]
    LAKEHOUSE_ATHENA_RESULTS   = module.athena.results_locations["writer"]
  }, [for nessie in module.nessie : nessie.environment]...)
}

output "athena" {
  description = "Role => its workgroup and where its results go."
  value = { for role, workgroup in module.athena.workgroups : role => {
    workgroup = workgroup
    results   = module.athena.results_locations[role]
  } }
}

output "buckets" {
  description = "Kind => name of the bucket."
  value       = module.storage.buckets
}

output "kms_key_arn" {
  description = "ARN of the key of warehouse, landing and results."
  value       = module.storage.kms_key_arn
}

output "tables" {
  description = "Table => the columns that the reader is granted."
  value       = merge([for table in module.table : table.reader_columns]...)
}

output "nessie" {
  description = "With catalog_type = \"nessie\": the load balancer, for nessie_host's record; the topic of the alarms; the private subnets and their VPC, for pipelines. Else null."
  value = one([for key, nessie in module.nessie : {
    load_balancer   = nessie.load_balancer
    alarm_topic_arn = nessie.alarm_topic_arn
    vpc_id          = module.network[key].vpc_id
    private_subnets = module.network[key].private_subnets
  }])
}
