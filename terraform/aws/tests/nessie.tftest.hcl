# What each variable of Nessie does, and what is refused. What its roles may and may not do is evaluated in
# tests/terraform/test_nessie_root.py.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name                       = "lakehouse"
  account_id                 = "111122223333"
  vpc_id                     = "vpc-0123456789abcdef0"
  private_subnets            = { eu-central-1a = "subnet-a", eu-central-1b = "subnet-b" }
  private_cidrs              = { eu-central-1a = "10.0.0.0/20", eu-central-1b = "10.0.16.0/20" }
  public_subnets             = { eu-central-1a = "subnet-pa", eu-central-1b = "subnet-pb" }
  prefix_lists               = { s3 = "pl-s3", dynamodb = "pl-dynamodb" }
  egress                     = "nat"
  interface_endpoints        = ["ecr.api", "ecr.dkr", "logs", "secretsmanager", "sts"]
  bucket_prefix              = "example"
  warehouse_location         = "s3://example-warehouse"
  kms_key_arn                = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
  logs_kms_key_arn           = "arn:aws:kms:eu-central-1:111122223333:key/99999999-2222-3333-4444-555555555555"
  log_retention_days         = 365
  cloudwatch_retention_days  = 365
  nessie_image               = "ghcr.io/projectnessie/nessie"
  nessie_image_tag           = "0.99.0"
  nessie_tasks               = {}
  nessie_version_store       = "dynamodb"
  nessie_postgres            = {}
  nessie_deletion_protection = true
  certificate_arn            = null
  nessie_host                = null
  nessie_public              = false
  nessie_allowed_cidrs       = null
  nessie_oidc                = null
  nessie_authorization_rules = {}
  nessie_vend_credentials    = false
  nessie_alarm_emails        = []
  nessie_alarm_thresholds    = {}
}

run "nessie_by_default" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].image == "ghcr.io/projectnessie/nessie:0.99.0"
    error_message = "nessie_image and nessie_image_tag"
  }

  assert {
    condition     = aws_ecs_task_definition.this.cpu == "1024" && aws_ecs_task_definition.this.memory == "2048" && aws_ecs_service.this.desired_count == 2 && aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 4
    error_message = "two tasks, one in each zone, up to four"
  }

  assert {
    condition     = one(aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration).target_value == 60
    error_message = "scaling aims at 60 percent of CPU"
  }

  assert {
    condition     = one(aws_ecs_service.this.network_configuration).assign_public_ip == false && toset(one(aws_ecs_service.this.network_configuration).subnets) == toset(["subnet-a", "subnet-b"])
    error_message = "tasks are in the private subnets"
  }

  assert {
    condition     = aws_ecs_service.this.wait_for_steady_state && one(aws_ecs_service.this.deployment_circuit_breaker).rollback
    error_message = "an apply ends when the server serves, or takes a bad version back"
  }

  assert {
    condition     = local.environment["nessie.version.store.type"] == "DYNAMODB2" && { for table, resource in aws_dynamodb_table.this : table => resource.name } == { for table in ["refs", "objs"] : table => "${local.environment["nessie.version.store.persist.dynamodb.table-prefix"]}_${table}" }
    error_message = "the tables have the names that the server looks for"
  }

  assert {
    condition     = alltrue([for table in aws_dynamodb_table.this : table.hash_key == "k" && table.billing_mode == "PAY_PER_REQUEST" && table.deletion_protection_enabled && one(table.point_in_time_recovery).enabled && one(table.server_side_encryption).kms_key_arn == var.kms_key_arn])
    error_message = "the tables are on demand, encrypted with the key, can be brought back, and are not deleted by accident"
  }

  assert {
    condition     = local.environment["quarkus.dynamodb.aws.region"] == "eu-central-1" && local.environment["nessie.catalog.service.s3.default-options.region"] == "eu-central-1"
    error_message = "the region, whose default is another"
  }

  assert {
    condition     = local.environment["nessie.catalog.warehouses.${local.environment["nessie.catalog.default-warehouse"]}.location"] == "s3://example-warehouse" && local.environment["nessie.catalog.service.s3.default-options.auth-type"] == "APPLICATION_GLOBAL"
    error_message = "the warehouse, with the task role"
  }

  assert {
    condition     = local.environment["nessie.server.authentication.enabled"] == "false" && local.environment["nessie.server.authorization.enabled"] == "false" && local.environment["nessie.catalog.service.s3.default-options.client-iam.enabled"] == "false"
    error_message = "no OIDC, no rules, no vending"
  }

  assert {
    condition     = length(aws_db_instance.this) + length(aws_db_subnet_group.this) + length(aws_cloudwatch_log_group.database) + length(aws_iam_role.vended) == 0 && keys(aws_security_group.this) == ["load_balancer", "tasks"]
    error_message = "no database, and nothing to vend"
  }

  assert {
    condition     = aws_lb.this.internal && aws_lb.this.enable_deletion_protection && aws_lb.this.drop_invalid_header_fields && toset(aws_lb.this.subnets) == toset(["subnet-a", "subnet-b"])
    error_message = "the load balancer is internal"
  }

  assert {
    condition     = one(aws_lb.this.access_logs).enabled && aws_s3_bucket.logs.bucket == "example-nessie" && one([for rule in aws_s3_bucket_lifecycle_configuration.logs.rule : one(rule.expiration).days]) == 365
    error_message = "access logs are kept for a year"
  }

  assert {
    condition     = one(aws_lb_listener.http.default_action).type == "forward" && length(aws_lb_listener.https) == 0 && startswith(output.environment.NESSIE_URI, "http://") && keys(output.environment) == ["NESSIE_URI"]
    error_message = "without a certificate: HTTP, in the VPC"
  }

  assert {
    condition     = one(aws_lb_target_group.this.health_check).port == "9000" && one(aws_lb_target_group.this.health_check).path == "/q/health/ready"
    error_message = "health is asked on the management port"
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.cidr_ipv4} ${rule.from_port}"]) == toset(["10.0.0.0/20 80", "10.0.16.0/20 80"])
    error_message = "only the private subnets reach the load balancer"
  }

  assert {
    condition     = { for name, rule in aws_vpc_security_group_ingress_rule.this : name => rule.from_port } == { load_balancer_to_server = 19120, load_balancer_to_health = 9000 } && alltrue([for rule in aws_vpc_security_group_ingress_rule.this : rule.cidr_ipv4 == null])
    error_message = "only the load balancer reaches the server"
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_egress_rule.https : "${rule.cidr_ipv4} ${rule.from_port}"] == ["0.0.0.0/0 443"]
    error_message = "tasks reach HTTPS through the NAT, and nothing else"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/lakehouse/nessie" && aws_cloudwatch_log_group.this.retention_in_days == 365 && aws_cloudwatch_log_group.this.kms_key_id == var.logs_kms_key_arn
    error_message = "the server's log"
  }

  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.metric_name} ${alarm.comparison_operator == "LessThanThreshold" ? "<" : ">"} ${alarm.threshold}" } == {
      none-healthy        = "HealthyHostCount < 1", unhealthy = "UnHealthyHostCount > 0"
      server-errors       = "HTTPCode_Target_5XX_Count > 5", balancer-errors = "HTTPCode_ELB_5XX_Count > 5"
      cpu                 = "CPUUtilization > 85", memory = "MemoryUtilization > 85"
      refs-read-throttles = "ReadThrottleEvents > 0", refs-write-throttles = "WriteThrottleEvents > 0"
      objs-read-throttles = "ReadThrottleEvents > 0", objs-write-throttles = "WriteThrottleEvents > 0"
    }
    error_message = "alarms, and from when on"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])]) && aws_cloudwatch_metric_alarm.this["none-healthy"].treat_missing_data == "breaching"
    error_message = "alarms go to the topic; that nothing is known of any task is one"
  }

  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.logs_kms_key_arn && length(aws_sns_topic_subscription.email) == 0
    error_message = "the topic is encrypted"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.task.policy, "dynamodb:UpdateItem") && !strcontains(aws_iam_role_policy.task.policy, "sts:AssumeRole") && !strcontains(aws_iam_role_policy.execution.policy, "ecr:") && !strcontains(aws_iam_role_policy.execution.policy, "secretsmanager:")
    error_message = "the roles may what this server needs"
  }
}

run "nessie_over_https_with_oidc" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    name                       = "other"
    certificate_arn            = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host                = "nessie.example.com"
    nessie_public              = true
    nessie_allowed_cidrs       = ["0.0.0.0/0"]
    nessie_oidc                = { issuer = "https://id.example.com/realms/lake", client_id = "nessie", audience = "lake", token_uri = "https://id.example.com/token", scope = "catalog" }
    nessie_authorization_rules = { allow_pipelines = "role=='svc-dagster'" }
    nessie_vend_credentials    = true
    nessie_deletion_protection = false
    nessie_image_tag           = "0.105.0"
    nessie_tasks               = { cpu = 2048, memory = 4096, min = 1, max = 8, cpu_target = 40 }
    nessie_alarm_emails        = ["data@example.com"]
    nessie_alarm_thresholds    = { cpu = 70, memory = 75, errors = 1, throttles = 10 }
    log_retention_days         = 30
    cloudwatch_retention_days  = 7
  }

  assert {
    condition     = aws_lb_listener.https["this"].port == 443 && aws_lb_listener.https["this"].ssl_policy == "ELBSecurityPolicy-TLS13-1-3-2021-06" && aws_lb_listener.https["this"].certificate_arn == var.certificate_arn
    error_message = "HTTPS, of TLS 1.3"
  }

  assert {
    condition     = one(aws_lb_listener.http.default_action).type == "redirect" && one(one(aws_lb_listener.http.default_action).redirect).status_code == "HTTP_301"
    error_message = "HTTP is redirected"
  }

  assert {
    condition     = output.environment == { NESSIE_URI = "https://nessie.example.com", NESSIE_OAUTH_URI = "https://id.example.com/token", NESSIE_SCOPE = "catalog" }
    error_message = "what Python must know"
  }

  assert {
    condition     = !aws_lb.this.internal && toset(aws_lb.this.subnets) == toset(["subnet-pa", "subnet-pb"]) && toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.cidr_ipv4} ${rule.from_port}"]) == toset(["0.0.0.0/0 80", "0.0.0.0/0 443"])
    error_message = "nessie_public, nessie_allowed_cidrs"
  }

  assert {
    condition = { for name, value in local.environment : name => value if strcontains(name, "oidc") || strcontains(name, "server.auth") } == {
      "nessie.server.authentication.enabled"              = "true"
      "nessie.server.authorization.enabled"               = "true"
      "nessie.server.authorization.rules.allow_pipelines" = "role=='svc-dagster'"
      "quarkus.oidc.auth-server-url"                      = "https://id.example.com/realms/lake"
      "quarkus.oidc.client-id"                            = "nessie"
      "quarkus.oidc.token.audience"                       = "lake"
    }
    error_message = "nessie_oidc, nessie_authorization_rules"
  }

  assert {
    condition     = local.environment["quarkus.http.proxy.proxy-address-forwarding"] == "true" && local.environment["quarkus.http.proxy.allow-x-forwarded"] == "true"
    error_message = "behind HTTPS the server answers with https:// addresses"
  }

  assert {
    condition     = local.environment["nessie.catalog.service.s3.default-options.client-iam.assume-role"] == "arn:aws:iam::111122223333:role/other-nessie-vended" && aws_iam_role.vended["this"].name == "other-nessie-vended" && strcontains(aws_iam_role_policy.task.policy, "sts:AssumeRole")
    error_message = "nessie_vend_credentials: the server lends a role of its own"
  }

  assert {
    condition     = jsondecode(local.environment["nessie.catalog.service.s3.default-options.client-iam.statements[0]"]).Action == ["kms:Decrypt", "kms:GenerateDataKey"]
    error_message = "what is vended may use the key"
  }

  assert {
    condition     = aws_ecs_task_definition.this.cpu == "2048" && aws_ecs_task_definition.this.memory == "4096" && aws_appautoscaling_target.this.min_capacity == 1 && aws_appautoscaling_target.this.max_capacity == 8 && one(aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration).target_value == 40
    error_message = "nessie_tasks"
  }

  assert {
    condition     = endswith(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].image, ":0.105.0")
    error_message = "nessie_image_tag"
  }

  assert {
    condition     = !aws_lb.this.enable_deletion_protection && alltrue([for table in aws_dynamodb_table.this : !table.deletion_protection_enabled])
    error_message = "nessie_deletion_protection"
  }

  assert {
    condition     = aws_sns_topic_subscription.email["data@example.com"].protocol == "email" && [for name in ["cpu", "memory", "server-errors", "refs-read-throttles"] : aws_cloudwatch_metric_alarm.this[name].threshold] == [70, 75, 1, 10]
    error_message = "nessie_alarm_emails, nessie_alarm_thresholds"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.retention_in_days == 7 && one([for rule in aws_s3_bucket_lifecycle_configuration.logs.rule : one(rule.expiration).days]) == 30
    error_message = "cloudwatch_retention_days, log_retention_days"
  }
}

run "nessie_on_postgres_without_a_nat" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_version_store = "postgres"
    nessie_postgres      = { engine_version = "17", instance_class = "db.m7g.large", storage_gb = 50, max_storage_gb = 500, multi_az = false, backup_days = 35 }
    egress               = "endpoints"
    nessie_image         = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/mirror/nessie"
  }

  assert {
    condition     = length(aws_dynamodb_table.this) == 0 && local.environment["nessie.version.store.type"] == "JDBC2" && !can(local.environment["quarkus.dynamodb.aws.region"])
    error_message = "no tables in DynamoDB"
  }

  assert {
    condition     = local.environment["quarkus.datasource.postgresql.jdbc.url"] == "jdbc:postgresql://example.rds.amazonaws.com:5432/nessie?sslmode=require"
    error_message = "the server finds its database, by TLS"
  }

  assert {
    condition     = aws_db_instance.this["this"].manage_master_user_password && aws_db_instance.this["this"].password == null && { for name, arn in local.secrets : name => arn } == { for field in ["username", "password"] : "quarkus.datasource.postgresql.${field}" => "arn:aws:secretsmanager:eu-central-1:111122223333:secret:example:${field}::" }
    error_message = "the password is in Secrets Manager, and nowhere else"
  }

  assert {
    condition     = aws_db_instance.this["this"].storage_encrypted && aws_db_instance.this["this"].kms_key_id == var.kms_key_arn && !aws_db_instance.this["this"].publicly_accessible && aws_db_instance.this["this"].deletion_protection && !aws_db_instance.this["this"].skip_final_snapshot
    error_message = "the database is encrypted, private, and leaves a snapshot"
  }

  assert {
    condition     = aws_db_instance.this["this"].engine_version == "17" && aws_db_instance.this["this"].instance_class == "db.m7g.large" && aws_db_instance.this["this"].allocated_storage == 50 && aws_db_instance.this["this"].max_allocated_storage == 500 && !aws_db_instance.this["this"].multi_az && aws_db_instance.this["this"].backup_retention_period == 35
    error_message = "nessie_postgres"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.this["server_to_database"].from_port == 5432 && aws_vpc_security_group_ingress_rule.this["server_to_database"].cidr_ipv4 == null
    error_message = "only the server reaches the database"
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.https : coalesce(rule.cidr_ipv4, rule.prefix_list_id)]) == toset(["10.0.0.0/20", "10.0.16.0/20", "pl-s3", "pl-dynamodb"])
    error_message = "tasks reach AWS's services, and nothing else"
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.execution.policy, "arn:aws:ecr:eu-central-1:111122223333:repository/mirror/nessie") && strcontains(aws_iam_role_policy.execution.policy, "secretsmanager:GetSecretValue") && !strcontains(aws_iam_role_policy.task.policy, "dynamodb:")
    error_message = "the roles may what this server needs"
  }

  assert {
    condition     = toset([for name in keys(aws_cloudwatch_metric_alarm.this) : name if startswith(name, "database") || endswith(name, "throttles")]) == toset(["database-cpu", "database-storage"])
    error_message = "alarms are the database's"
  }

  assert {
    condition     = keys(aws_cloudwatch_log_group.database) == ["postgresql", "upgrade"] && alltrue([for group in aws_cloudwatch_log_group.database : group.retention_in_days == 365])
    error_message = "the database's logs are not kept for ever"
  }
}

run "nessie_postgres_by_default" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_version_store = "postgres"
  }

  assert {
    condition     = aws_db_instance.this["this"].multi_az && aws_db_instance.this["this"].backup_retention_period == 14
    error_message = "two zones, and two weeks to come back from"
  }
}

run "nessie_refuses_an_image_that_is_not_reached" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    egress           = "endpoints"
    nessie_image_tag = "latest"
  }

  expect_failures = [var.nessie_image, var.nessie_image_tag]
}

run "nessie_refuses_endpoints_that_are_not_enough" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    egress               = "endpoints"
    nessie_image         = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/nessie"
    nessie_version_store = "postgres"
    interface_endpoints  = ["ecr.api", "ecr.dkr", "logs"]
  }

  expect_failures = [aws_ecs_task_definition.this]
}

run "nessie_refuses_vending_without_oidc" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_vend_credentials    = true
    nessie_authorization_rules = { everybody = "true" }
  }

  expect_failures = [var.nessie_vend_credentials, var.nessie_authorization_rules]
}

run "nessie_refuses_oidc_without_https" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_oidc = { issuer = "https://id.example.com", client_id = "nessie" }
  }

  expect_failures = [var.nessie_oidc]
}

run "nessie_refuses_the_internet_in_the_clear" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_public        = true
    nessie_allowed_cidrs = ["198.51.100.0/24"]
  }

  expect_failures = [var.nessie_public]
}

run "nessie_refuses_the_internet_without_a_token" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn      = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host          = "nessie.example.com"
    nessie_public        = true
    nessie_allowed_cidrs = ["198.51.100.0/24"]
  }

  expect_failures = [var.nessie_public]
}

run "nessie_refuses_everybody_without_a_token" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_allowed_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.nessie_allowed_cidrs]
}

run "nessie_refuses_to_be_public_for_nobody" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "nessie.example.com"
    nessie_oidc     = { issuer = "https://id.example.com", client_id = "nessie" }
    nessie_public   = true
  }

  expect_failures = [var.nessie_allowed_cidrs]
}

run "nessie_refuses_a_certificate_of_another_region" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "nessie.example.com"
  }

  expect_failures = [var.certificate_arn]
}

run "nessie_refuses_a_certificate_without_a_host" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
  }

  expect_failures = [var.nessie_host]
}

run "nessie_refuses_a_host_without_a_certificate" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_host = "nessie.example.com"
  }

  expect_failures = [var.nessie_host]
}

# Values that a variable refuses on its own: of two that refer to each other, Terraform reports one.

run "nessie_refuses_values_that_are_none" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_image            = "nessie"
    nessie_image_tag        = "newest"
    nessie_tasks            = { cpu = 1000, min = 3, max = 2, cpu_target = 100 }
    nessie_version_store    = "rocksdb"
    nessie_postgres         = { engine_version = "9", storage_gb = 10, backup_days = 0 }
    certificate_arn         = "my-certificate"
    nessie_alarm_emails     = ["nobody"]
    nessie_alarm_thresholds = { cpu = 0, errors = -1 }
  }

  expect_failures = [var.nessie_image, var.nessie_image_tag, var.nessie_tasks, var.nessie_version_store, var.nessie_postgres, var.certificate_arn, var.nessie_alarm_emails, var.nessie_alarm_thresholds]
}

run "nessie_refuses_a_host_that_is_a_url" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "https://nessie"
  }

  expect_failures = [var.nessie_host]
}

run "nessie_refuses_addresses_that_are_no_block" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_allowed_cidrs = ["10.0.0.1"]
  }

  expect_failures = [var.nessie_allowed_cidrs]
}

run "nessie_refuses_an_empty_list_of_addresses" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_allowed_cidrs = []
  }

  expect_failures = [var.nessie_allowed_cidrs]
}

run "nessie_refuses_an_issuer_in_the_clear" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "nessie.example.com"
    nessie_oidc     = { issuer = "http://id.example.com", client_id = "nessie" }
  }

  expect_failures = [var.nessie_oidc]
}

run "nessie_refuses_an_issuer_without_a_client" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "nessie.example.com"
    nessie_oidc     = { issuer = "https://id.example.com", client_id = "" }
  }

  expect_failures = [var.nessie_oidc]
}

run "nessie_refuses_rules_that_say_nothing" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn            = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host                = "nessie.example.com"
    nessie_oidc                = { issuer = "https://id.example.com", client_id = "nessie" }
    nessie_authorization_rules = { allow_all = " " }
  }

  expect_failures = [var.nessie_authorization_rules]
}

run "nessie_refuses_memory_that_fargate_does_not_have" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    nessie_tasks = { cpu = 1024, memory = 2000 }
  }

  expect_failures = [var.nessie_tasks]
}

run "nessie_refuses_an_issuer_on_another_port" {
  command = plan

  module {
    source = "./modules/nessie"
  }

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
    nessie_host     = "nessie.example.com"
    nessie_oidc     = { issuer = "https://id.example.com:8443/realms/lake", client_id = "nessie" }
  }

  expect_failures = [var.nessie_oidc]
}

# The root

run "nothing_of_nessie_with_glue" {
  command = plan

  variables {
    region    = "eu-central-1"
    templates = "tests/templates"
  }

  assert {
    condition     = length(module.nessie) + length(module.network) == 0 && output.nessie == null && !can(output.environment.NESSIE_URI)
    error_message = "neither a network nor a server"
  }
}

run "the_root_with_nessie" {
  command = plan

  variables {
    region       = "eu-central-1"
    templates    = "tests/templates"
    catalog_type = "nessie"
  }

  assert {
    condition     = output.environment.LAKEHOUSE_BACKEND == "aws-nessie" && output.environment.NESSIE_URI == "http://example.eu-central-1.elb.amazonaws.com" && output.environment.GLUE_CATALOG_ID == "111122223333"
    error_message = "what Python must know"
  }

  assert {
    condition     = join(" ", output.tables["shop.orders"]) == "order_id ordered_at amount" && module.glue.databases == { shop = "shop", web = "web" }
    error_message = "entries and grants of readers stay Glue's"
  }

  assert {
    condition     = toset(keys(output.nessie.private_subnets)) == toset(["eu-central-1a", "eu-central-1b"])
    error_message = "where pipelines run"
  }
}

run "refuses_another_catalog" {
  command = plan

  variables {
    region       = "eu-central-1"
    templates    = "tests/templates"
    catalog_type = "hive"
  }

  expect_failures = [var.catalog_type]
}
