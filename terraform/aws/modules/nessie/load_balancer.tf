# Where clients reach it: in the VPC, or, by nessie_public, on the internet.

locals {
  https = { for arn in compact([var.certificate_arn]) : "this" => arn }
  uri   = var.certificate_arn == null ? "http://${aws_lb.this.dns_name}" : "https://${coalesce(var.nessie_host, "unknown")}"
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150: nessie_deletion_protection, which is on by default.
  #checkov:skip=CKV2_AWS_20: With a certificate the HTTP listener redirects; without one there is nothing to redirect to.
  #checkov:skip=CKV2_AWS_28: A firewall of rules for web pages sees little in this API; who may come at all, the security group says.
  name                       = local.name
  load_balancer_type         = "application"
  internal                   = !var.nessie_public
  subnets                    = values(var.nessie_public ? var.public_subnets : var.private_subnets)
  security_groups            = [aws_security_group.this["load_balancer"].id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.nessie_deletion_protection
  # A commit to a large catalog takes its time.
  idle_timeout = 120

  access_logs {
    enabled = true
    bucket  = aws_s3_bucket.logs.id
  }

  # The load balancer checks that it may deliver when it is told to.
  depends_on = [aws_s3_bucket_policy.logs]
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378: TLS ends at the load balancer; behind it are private subnets, and tasks that only it reaches.
  name                 = local.name
  port                 = local.port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  deregistration_delay = 60

  # Ready is: it reaches its version store and the warehouse's bucket.
  health_check {
    port                = tostring(local.management_port)
    path                = "/q/health/ready"
    protocol            = "HTTP"
    matcher             = "200"
    interval            = 15
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 4
  }
}

resource "aws_lb_listener" "http" {
  #checkov:skip=CKV_AWS_2: With a certificate it only redirects; without one it is HTTP in the VPC, which nessie_public does not allow.
  #checkov:skip=CKV_AWS_103: It has no TLS; the other listener has.
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = var.certificate_arn == null ? "forward" : "redirect"
    target_group_arn = var.certificate_arn == null ? aws_lb_target_group.this.arn : null

    dynamic "redirect" {
      for_each = local.https

      content {
        port        = "443"
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  for_each = local.https

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-3-2021-06"
  certificate_arn   = each.value

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
