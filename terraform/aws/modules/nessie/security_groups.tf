# Who reaches what. Clients reach the load balancer, from the allowed addresses only; only it reaches the server, and only
# the server its database. Roles mean nothing here: a reader has no way to Nessie because nothing that works for it,
# neither Athena nor what assumes its role, is let in by address.

locals {
  allowed_cidrs = var.nessie_allowed_cidrs == null ? values(var.private_cidrs) : tolist(var.nessie_allowed_cidrs)
  has_database  = var.nessie_version_store == "postgres"

  security_groups = merge(
    { load_balancer = "Nessie's load balancer.", tasks = "Nessie's tasks." },
    local.has_database ? { database = "Nessie's version store." } : {},
  )

  client_ports = toset(var.certificate_arn == null ? [80] : [80, 443])
  inside = {
    load_balancer_to_server = { from = "load_balancer", to = "tasks", port = local.port, what = "Requests" }
    load_balancer_to_health = { from = "load_balancer", to = "tasks", port = local.management_port, what = "Health checks" }
    server_to_database      = { from = "tasks", to = "database", port = 5432, what = "PostgreSQL" }
  }
  inside_rules = { for name, rule in local.inside : name => rule if rule.to != "database" || local.has_database }

  # HTTPS from the tasks: to anywhere through a NAT; without one to AWS's services, in the VPC and by the gateway endpoints.
  https_to = var.egress == "endpoints" ? merge(
    { for zone, cidr in var.private_cidrs : "endpoints in ${zone}" => { cidr = cidr, prefix_list = null } },
    { for service in ["s3", "dynamodb"] : service => { cidr = null, prefix_list = var.prefix_lists[service] } },
  ) : { anywhere = { cidr = "0.0.0.0/0", prefix_list = null } }
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5: They are the load balancer's, the service's and the database's, which that check does not find behind a for_each.
  for_each = local.security_groups

  name        = "${local.name}-${replace(each.key, "_", "-")}"
  description = each.value
  vpc_id      = var.vpc_id

  tags = { Name = "${local.name}-${replace(each.key, "_", "-")}" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  #checkov:skip=CKV_AWS_260: From nessie_allowed_cidrs; the whole internet is let in only with OIDC, and there is redirected to HTTPS.
  for_each = { for pair in setproduct(local.client_ports, local.allowed_cidrs) : "${pair[1]} ${pair[0]}" => { port = pair[0], cidr = pair[1] } }

  security_group_id = aws_security_group.this["load_balancer"].id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.inside_rules

  security_group_id            = aws_security_group.this[each.value.from].id
  description                  = each.value.what
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.inside_rules

  security_group_id            = aws_security_group.this[each.value.to].id
  description                  = each.value.what
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = local.https_to

  security_group_id = aws_security_group.this["tasks"].id
  description       = "HTTPS to ${each.key}"
  cidr_ipv4         = each.value.cidr
  prefix_list_id    = each.value.prefix_list
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
