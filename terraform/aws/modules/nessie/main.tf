# Nessie on ECS Fargate: a catalog with branches, whose tables are files of the warehouse.
#
# main.tf             cluster, task, service, scaling
# environment.tf      what the server is told
# iam.tf              what it may do
# load_balancer.tf    where clients reach it
# security_groups.tf  who can
# dynamodb.tf         the version store, or
# postgres.tf         the other one
# logs.tf             what it and the load balancer write down, and the key of that
# alarms.tf           when somebody is told

data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  # Also of what is not Nessie's alone in the account: names say whose it is.
  name            = "${var.name}-nessie"
  port            = 19120
  management_port = 9000
  endpoints_needed = concat(
    ["ecr.api", "ecr.dkr", "logs"],
    var.nessie_version_store == "postgres" ? ["secretsmanager"] : [],
    var.nessie_vend_credentials ? ["sts"] : [],
  )
}

resource "aws_ecs_cluster" "this" {
  name = local.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_336: Java unpacks libraries below /tmp, and a volume there would be root's, which the server is not.
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.nessie_tasks.cpu
  memory                   = var.nessie_tasks.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  # What ECS fills in itself is said, and in its order: otherwise it would be a difference for ever.
  container_definitions = jsonencode([{
    name           = "nessie"
    image          = "${var.nessie_image}:${var.nessie_image_tag}"
    essential      = true
    cpu            = 0
    environment    = [for variable in sort(keys(local.environment)) : { name = variable, value = local.environment[variable] }]
    secrets        = [for variable in sort(keys(local.secrets)) : { name = variable, valueFrom = local.secrets[variable] }]
    mountPoints    = []
    volumesFrom    = []
    systemControls = []
    portMappings   = [for port in [local.port, local.management_port] : { containerPort = port, hostPort = port, protocol = "tcp" }]
    # Requests that are under way are finished.
    stopTimeout = 60
    logConfiguration = {
      logDriver = "awslogs"
      options   = { "awslogs-group" = local.log_group, "awslogs-region" = local.region, "awslogs-stream-prefix" = "nessie" }
    }
  }])

  lifecycle {
    precondition {
      condition     = var.egress != "endpoints" || length(setsubtract(local.endpoints_needed, var.interface_endpoints)) == 0
      error_message = "interface_endpoints: without a NAT Nessie needs ${join(", ", local.endpoints_needed)}."
    }
  }
}

resource "aws_ecs_service" "this" {
  name            = local.name
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = var.nessie_tasks.min
  propagate_tags  = "SERVICE"

  # A new version serves before an old one goes; one that does not start is taken back.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 180
  # So that what follows an apply, `lakehouse apply` above all, finds a server.
  wait_for_steady_state = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = values(var.private_subnets)
    security_groups  = [aws_security_group.this["tasks"].id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "nessie"
    container_port   = local.port
  }

  lifecycle {
    # Scaling's, after the first apply.
    ignore_changes = [desired_count]
  }

  # A task that may do nothing yet, or is behind no listener, never gets healthy.
  depends_on = [
    aws_iam_role_policy.task, aws_iam_role_policy.execution, aws_lb_listener.http, aws_lb_listener.https, aws_dynamodb_table.this,
    aws_vpc_security_group_ingress_rule.this, aws_vpc_security_group_egress_rule.this, aws_cloudwatch_log_group.this,
  ]
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.nessie_tasks.min
  max_capacity       = var.nessie_tasks.max
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${local.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.nessie_tasks.cpu_target
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
