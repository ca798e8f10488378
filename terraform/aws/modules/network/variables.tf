variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "account_id" {
  type        = string
  description = "The 12 digits of the account."
}

variable "vpc_cidr" {
  type        = string
  description = "Addresses of the VPC, a block of /16 to /22. Once there are servers it cannot be changed: Terraform would replace the network."
  nullable    = false

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("/(1[6-9]|2[0-2])$", var.vpc_cidr)) && try(cidrsubnet(var.vpc_cidr, 0, 0) == var.vpc_cidr, false)
    error_message = "vpc_cidr is an IPv4 block of /16 to /22 that begins at its first address, such as 10.0.0.0/16."
  }
}

variable "availability_zones" {
  type        = list(string)
  description = "Two to four zones, in an order that stays: a zone's place gives its addresses. null: the region's first two."

  validation {
    condition     = var.availability_zones == null || try(length(var.availability_zones) >= 2 && length(var.availability_zones) <= 4 && length(distinct(var.availability_zones)) == length(var.availability_zones), false)
    error_message = "availability_zones are two to four different zones, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

variable "egress" {
  type        = string
  description = "How private subnets reach what is outside: nat, one NAT gateway; nat_per_zone, one for each zone; endpoints, AWS's services only."
  nullable    = false

  validation {
    condition     = contains(["nat", "nat_per_zone", "endpoints"], var.egress)
    error_message = "egress is nat, nat_per_zone or endpoints."
  }
}

variable "interface_endpoints" {
  type        = set(string)
  description = "With egress = \"endpoints\": the services that private subnets reach, such as glue or ecr.api. S3 and DynamoDB are always reached."
  nullable    = false

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z][a-z0-9.-]*$", service)) && !contains(["s3", "dynamodb"], service)])
    error_message = "interface_endpoints are names of services as in com.amazonaws.<region>.<name>, but for s3 and dynamodb, which have gateway endpoints."
  }
}

variable "public" {
  type        = bool
  description = "Whether something in public subnets serves the internet. NAT gateways need public subnets in any case."
  nullable    = false
}

variable "cloudwatch_retention_days" {
  type        = number
  description = "Days that CloudWatch keeps the flow logs."
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.cloudwatch_retention_days)
    error_message = "cloudwatch_retention_days is one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "kms_deletion_window_days" {
  type        = number
  description = "Days between a destroy and the end of the key of the logs; 7 to 30."
}
