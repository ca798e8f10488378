output "environment" {
  description = "What Python must know: where Nessie is, and how to get a token."
  value = { for name, value in {
    NESSIE_URI       = local.uri
    NESSIE_OAUTH_URI = try(var.nessie_oidc.token_uri, null)
    NESSIE_SCOPE     = try(var.nessie_oidc.scope, null)
  } : name => value if value != null }
  # Who asks next asks a server that runs.
  depends_on = [aws_ecs_service.this]
}

output "load_balancer" {
  description = "Name and hosted zone of the load balancer, for nessie_host's record."
  value       = { dns_name = aws_lb.this.dns_name, zone_id = aws_lb.this.zone_id }
}

output "alarm_topic_arn" {
  description = "ARN of the topic of the alarms."
  value       = aws_sns_topic.alarms.arn
}
