# S3 and DynamoDB by gateway endpoints, always: they cost nothing, and what tables consist of does not pass a NAT, which
# bills each byte. Other services by interface endpoints where there is no NAT.

locals {
  interface_endpoints = toset(var.egress == "endpoints" ? var.interface_endpoints : [])
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = toset(["s3", "dynamodb"])

  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${data.aws_region.current.name}.${each.value}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]

  tags = { Name = "${var.name}-${each.value}" }
}

resource "aws_security_group" "endpoints" {
  #checkov:skip=CKV2_AWS_5: It is the endpoints', which that check does not find behind a for_each.
  for_each = length(local.interface_endpoints) > 0 ? { this = aws_vpc.this.id } : {}

  name        = "${var.name}-endpoints"
  description = "Interface endpoints of AWS services."
  vpc_id      = each.value

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = length(local.interface_endpoints) > 0 ? local.private_cidrs : {}

  security_group_id = aws_security_group.endpoints["this"].id
  description       = "HTTPS from the private subnet of ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints["this"].id]
  private_dns_enabled = true

  tags = { Name = "${var.name}-${each.value}" }
}
