# The network of what runs all the time: two or more zones, private subnets for servers and pipelines, public ones only
# where something needs them.
#
# main.tf       VPC, subnets, routes, NAT
# endpoints.tf  ways to AWS's services that leave the internet out
# logs.tf       who talked to whom, and the key of all logs in the network

data "aws_region" "current" {}

# Local zones and the like are left out: they offer neither Fargate nor load balancers everywhere.
data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394: Only the first two are taken, in the order of their letters, and availability_zones pins them.
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones        = coalesce(var.availability_zones, slice(data.aws_availability_zones.available.names, 0, 2))
  zone_numbers = { for number, zone in local.zones : zone => number }

  # Sixteenths of the network: the lower half is private.
  private_cidrs = { for zone, number in local.zone_numbers : zone => cidrsubnet(var.vpc_cidr, 4, number) }
  public_cidrs  = { for zone, number in local.zone_numbers : zone => cidrsubnet(var.vpc_cidr, 4, 8 + number) if var.public || local.nat_is_wanted }

  nat_is_wanted = var.egress != "endpoints"
  # Zone => the zone of the NAT gateway that it leaves through.
  nat_of_zone = { for zone in local.zones : zone => var.egress == "nat_per_zone" ? zone : local.zones[0] if local.nat_is_wanted }
  nat_zones   = toset(values(local.nat_of_zone))
  # An internet gateway only where there is something public.
  internet = length(local.public_cidrs) > 0 ? { this = aws_vpc.this.id } : {}
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = var.name }
}

# Without a rule: what names no group of its own can neither be reached nor reach anything.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-closed" }
}

resource "aws_subnet" "private" {
  for_each = local.private_cidrs

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_subnet" "public" {
  for_each = local.public_cidrs

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_internet_gateway" "this" {
  for_each = local.internet

  vpc_id = each.value

  tags = { Name = var.name }
}

resource "aws_route_table" "public" {
  for_each = local.internet

  vpc_id = each.value

  tags = { Name = "${var.name}-public" }
}

resource "aws_route" "internet" {
  for_each = local.internet

  route_table_id         = aws_route_table.public[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[each.key].id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public["this"].id
}

resource "aws_eip" "nat" {
  #checkov:skip=CKV2_AWS_19: It is the NAT gateway's, which that check does not look for behind a for_each.
  for_each = local.nat_zones

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }

  # An address that is still in use when the gateway goes cannot be given back.
  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_route.internet]
}

resource "aws_route_table" "private" {
  for_each = local.private_cidrs

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route" "nat" {
  for_each = local.nat_of_zone

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[each.value].id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[each.key].id
}
