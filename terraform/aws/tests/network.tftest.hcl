# What each variable of the network does, and what is refused.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name                      = "lakehouse"
  account_id                = "111122223333"
  vpc_cidr                  = "10.0.0.0/16"
  availability_zones        = null
  egress                    = "nat"
  interface_endpoints       = ["ecr.api", "glue"]
  public                    = false
  cloudwatch_retention_days = 365
  kms_deletion_window_days  = 30
}

run "network_with_one_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1a = "10.0.0.0/20", eu-central-1b = "10.0.16.0/20" }
    error_message = "private subnets in the region's first two zones"
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == { eu-central-1a = "10.0.128.0/20", eu-central-1b = "10.0.144.0/20" }
    error_message = "public subnets, in the other half"
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : !subnet.map_public_ip_on_launch])
    error_message = "nothing gets a public address by itself"
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"] && length(aws_route.nat) == 2 && length(aws_internet_gateway.this) == 1
    error_message = "both zones leave through one NAT gateway"
  }

  assert {
    condition     = keys(aws_vpc_endpoint.gateway) == ["dynamodb", "s3"] && alltrue([for endpoint in aws_vpc_endpoint.gateway : endpoint.vpc_endpoint_type == "Gateway"])
    error_message = "S3 and DynamoDB are reached without the NAT"
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoints) == 0
    error_message = "with a NAT there are no interface endpoints to pay for"
  }

  assert {
    condition     = aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "names resolve"
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.retention_in_days == 365 && aws_cloudwatch_log_group.flow.kms_key_id == aws_kms_key.logs.arn
    error_message = "flow logs of all traffic, encrypted, for a year"
  }

  assert {
    condition     = aws_kms_key.logs.enable_key_rotation && aws_kms_key.logs.deletion_window_in_days == 30
    error_message = "the key of the logs rotates"
  }
}

run "network_with_a_nat_per_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    name                      = "other"
    vpc_cidr                  = "172.16.0.0/20"
    availability_zones        = ["eu-central-1c", "eu-central-1a", "eu-central-1b"]
    egress                    = "nat_per_zone"
    cloudwatch_retention_days = 30
    kms_deletion_window_days  = 7
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1c = "172.16.0.0/24", eu-central-1a = "172.16.1.0/24", eu-central-1b = "172.16.2.0/24" }
    error_message = "a zone's place in availability_zones gives its addresses"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && local.nat_of_zone == { eu-central-1a = "eu-central-1a", eu-central-1b = "eu-central-1b", eu-central-1c = "eu-central-1c" }
    error_message = "each zone leaves through its own"
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow.name == "/other/vpc-flow" && aws_cloudwatch_log_group.flow.retention_in_days == 30 && aws_kms_key.logs.deletion_window_in_days == 7 && aws_kms_alias.logs.name == "alias/other-logs"
    error_message = "name, cloudwatch_retention_days, kms_deletion_window_days"
  }
}

run "network_without_a_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    egress = "endpoints"
  }

  assert {
    condition     = length(aws_nat_gateway.this) + length(aws_eip.nat) + length(aws_internet_gateway.this) + length(aws_subnet.public) + length(aws_route.nat) == 0
    error_message = "no way to the internet"
  }

  assert {
    condition     = { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.service_name } == { "ecr.api" = "com.amazonaws.eu-central-1.ecr.api", glue = "com.amazonaws.eu-central-1.glue" }
    error_message = "interface_endpoints"
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && length(endpoint.subnet_ids) > 0])
    error_message = "the services' usual names lead to them"
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.endpoints : "${rule.cidr_ipv4} ${rule.from_port}-${rule.to_port}"] == ["10.0.0.0/20 443-443", "10.0.16.0/20 443-443"]
    error_message = "private subnets reach them, by HTTPS"
  }
}

run "network_with_something_public_and_no_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    egress = "endpoints"
    public = true
  }

  assert {
    condition     = length(aws_subnet.public) == 2 && length(aws_internet_gateway.this) == 1 && length(aws_nat_gateway.this) == 0 && length(aws_route.nat) == 0
    error_message = "public subnets are on the internet, private ones are not"
  }
}

run "network_refuses_values_that_are_none" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    vpc_cidr                  = "10.0.0.0/8"
    availability_zones        = ["eu-central-1a"]
    egress                    = "proxy"
    interface_endpoints       = ["s3"]
    cloudwatch_retention_days = 100
  }

  expect_failures = [var.vpc_cidr, var.availability_zones, var.egress, var.interface_endpoints, var.cloudwatch_retention_days]
}

run "network_refuses_a_block_that_begins_inside" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    vpc_cidr           = "10.0.1.0/16"
    availability_zones = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.vpc_cidr, var.availability_zones]
}
