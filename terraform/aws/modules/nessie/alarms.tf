# When somebody is told, through a topic. Averages over minutes: one slow request wakes nobody.

locals {
  balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  targets  = merge(local.balancer, { TargetGroup = aws_lb_target_group.this.arn_suffix })
  service  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.this.name }
  limits   = var.nessie_alarm_thresholds

  alarms = merge(
    {
      # Tasks that do not start are in no target group: then none is unhealthy, and none healthy.
      none-healthy    = { text = "No task of Nessie answers.", space = "AWS/ApplicationELB", metric = "HealthyHostCount", of = local.targets, statistic = "Maximum", below = 1, missing = "breaching" }
      unhealthy       = { text = "A task of Nessie is not healthy.", space = "AWS/ApplicationELB", metric = "UnHealthyHostCount", of = local.targets, statistic = "Maximum", above = 0 }
      server-errors   = { text = "Nessie answers with 5xx.", space = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", of = local.targets, statistic = "Sum", above = local.limits.errors }
      balancer-errors = { text = "Nessie's load balancer answers with 5xx.", space = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", of = local.balancer, statistic = "Sum", above = local.limits.errors }
      cpu             = { text = "Nessie is short of CPU.", space = "AWS/ECS", metric = "CPUUtilization", of = local.service, statistic = "Average", above = local.limits.cpu }
      memory          = { text = "Nessie is short of memory.", space = "AWS/ECS", metric = "MemoryUtilization", of = local.service, statistic = "Average", above = local.limits.memory }
    },
    merge([for table, name in local.table_names : { for kind in ["Read", "Write"] : "${table}-${lower(kind)}-throttles" => {
      text = "DynamoDB throttles Nessie's table ${name}.", space = "AWS/DynamoDB", metric = "${kind}ThrottleEvents"
      of   = { TableName = name }, statistic = "Sum", above = local.limits.throttles
    } }]...),
    merge([for database in aws_db_instance.this : {
      database-cpu     = { text = "Nessie's database is short of CPU.", space = "AWS/RDS", metric = "CPUUtilization", of = { DBInstanceIdentifier = database.identifier }, statistic = "Average", above = local.limits.cpu }
      database-storage = { text = "Nessie's database has less than 2 GiB left.", space = "AWS/RDS", metric = "FreeStorageSpace", of = { DBInstanceIdentifier = database.identifier }, statistic = "Minimum", below = 2 * pow(1024, 3) }
    }]...),
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.space
  metric_name         = each.value.metric
  dimensions          = each.value.of
  statistic           = each.value.statistic
  comparison_operator = can(each.value.above) ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.above, each.value.below)
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = try(each.value.missing, "notBreaching")
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = var.logs_kms_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${var.account_id}:alarm:${local.name}-*" }
      }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.nessie_alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}
