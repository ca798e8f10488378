# Where it is

variable "name" {
  type        = string
  description = "Prefix of every name, <name>-nessie."
}

variable "account_id" {
  type        = string
  description = "The 12 digits of the account."
}

variable "vpc_id" {
  type        = string
  description = "Id of the VPC."
}

variable "private_subnets" {
  type        = map(string)
  description = "Zone => id of a private subnet, for tasks, the database, and the load balancer where it is internal."
}

variable "private_cidrs" {
  type        = map(string)
  description = "Zone => addresses of its private subnet."
}

variable "public_subnets" {
  type        = map(string)
  description = "Zone => id of a public subnet, for the load balancer where it is public."
}

variable "prefix_lists" {
  type        = map(string)
  description = "Service (s3, dynamodb) => id of the list of its addresses."
}

variable "egress" {
  type        = string
  description = "How private subnets reach what is outside: nat, nat_per_zone, or endpoints, AWS's services only."
}

variable "interface_endpoints" {
  type        = set(string)
  description = "The services with an interface endpoint, where egress is endpoints."
}

variable "bucket_prefix" {
  type        = string
  description = "Prefix of the bucket of the load balancer's logs, <bucket_prefix>-nessie."
}

variable "warehouse_location" {
  type        = string
  description = "S3 URI of the warehouse, s3:// and its bucket."

  validation {
    condition     = can(regex("^s3://[a-z0-9.-]+$", var.warehouse_location))
    error_message = "warehouse_location is s3:// and a bucket."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of the key of the warehouse; it encrypts the version store as well."
}

variable "logs_kms_key_arn" {
  type        = string
  description = "ARN of a key that CloudWatch Logs may use for groups below /<name>/, and CloudWatch for the alarms' topic."
}

variable "log_retention_days" {
  type        = number
  description = "Days after which the load balancer's access logs are deleted."
}

variable "cloudwatch_retention_days" {
  type        = number
  description = "Days that CloudWatch keeps the server's log."
}

# The server

variable "nessie_image" {
  type        = string
  description = "The image, without a tag. Without a NAT it must be in ECR, since nothing else is reached."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+$", var.nessie_image))
    error_message = "nessie_image is a registry and a repository, without a tag, such as ghcr.io/projectnessie/nessie."
  }

  validation {
    condition     = var.egress != "endpoints" || can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/", var.nessie_image))
    error_message = "nessie_image must be in ECR with egress = \"endpoints\": without a NAT no other registry is reached. Copy the image to <account>.dkr.ecr.<region>.amazonaws.com/nessie, or set egress = \"nat\"."
  }
}

variable "nessie_image_tag" {
  type        = string
  description = "The image's tag: one version, so that a task that starts tomorrow is today's server."
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+[A-Za-z0-9._-]*$", var.nessie_image_tag))
    error_message = "nessie_image_tag is a version, such as 0.99.0; latest and the like are another server every week."
  }
}

variable "nessie_tasks" {
  type = object({
    cpu        = optional(number, 1024)
    memory     = optional(number, 2048)
    min        = optional(number, 2)
    max        = optional(number, 4)
    cpu_target = optional(number, 60)
  })
  description = "Size of a task, in Fargate's units (1024 is one CPU) and MiB; the fewest and the most tasks; the percentage of CPU that scaling aims at."
  nullable    = false

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = range(1024, 4097, 1024)
      "1024" = range(2048, 8193, 1024)
      "2048" = range(4096, 16385, 1024)
      "4096" = range(8192, 30721, 1024)
    }, coalesce(var.nessie_tasks.cpu, 0), []), coalesce(var.nessie_tasks.memory, 0))
    error_message = "nessie_tasks: Fargate has cpu 256 with memory 512, 1024 or 2048; 512 with 1024 to 4096; 1024 with 2048 to 8192; 2048 with 4096 to 16384; 4096 with 8192 to 30720, in steps of 1024."
  }

  validation {
    condition     = try(var.nessie_tasks.min >= 1 && var.nessie_tasks.min <= var.nessie_tasks.max && var.nessie_tasks.max <= 20 && alltrue([for count in [var.nessie_tasks.min, var.nessie_tasks.max] : floor(count) == count]), false)
    error_message = "nessie_tasks: min and max are whole numbers, 1 <= min <= max <= 20."
  }

  validation {
    condition     = try(var.nessie_tasks.cpu_target >= 10 && var.nessie_tasks.cpu_target <= 90, false)
    error_message = "nessie_tasks: cpu_target is 10 to 90 percent."
  }
}

variable "nessie_version_store" {
  type        = string
  description = "Where branches and commits are: dynamodb or postgres."
  nullable    = false

  validation {
    condition     = contains(["dynamodb", "postgres"], var.nessie_version_store)
    error_message = "nessie_version_store is dynamodb or postgres."
  }
}

variable "nessie_postgres" {
  type = object({
    engine_version = optional(string, "16")
    instance_class = optional(string, "db.t4g.small")
    storage_gb     = optional(number, 20)
    max_storage_gb = optional(number, 200)
    multi_az       = optional(bool, true)
    backup_days    = optional(number, 14)
  })
  description = "The database, with nessie_version_store = \"postgres\"."
  nullable    = false

  validation {
    condition     = can(regex("^1[5-9](\\.[0-9]+)?$", var.nessie_postgres.engine_version)) && can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.nessie_postgres.instance_class))
    error_message = "nessie_postgres: engine_version is 15 or newer, such as 16; instance_class is one of RDS's, such as db.t4g.small."
  }

  validation {
    condition     = try(var.nessie_postgres.storage_gb >= 20 && var.nessie_postgres.max_storage_gb >= var.nessie_postgres.storage_gb && var.nessie_postgres.max_storage_gb <= 65536, false)
    error_message = "nessie_postgres: 20 <= storage_gb <= max_storage_gb <= 65536."
  }

  validation {
    condition     = try(var.nessie_postgres.backup_days >= 1 && var.nessie_postgres.backup_days <= 35, false)
    error_message = "nessie_postgres: backup_days is 1 to 35; without backups a lost database is a lost catalog."
  }
}

variable "nessie_deletion_protection" {
  type        = bool
  description = "Whether AWS refuses to delete the version store and the load balancer. Without the version store nobody knows which files are which table."
  nullable    = false
}

# Who comes in

variable "certificate_arn" {
  type        = string
  description = "ARN of the certificate of nessie_host, in ACM. null: HTTP, in the VPC only."

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/[a-z0-9-]+$", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM: arn:aws:acm:REGION:ACCOUNT:certificate/ID."
  }

  validation {
    condition     = var.certificate_arn == null || try(split(":", var.certificate_arn)[3] == data.aws_region.current.name, true)
    error_message = "certificate_arn: the certificate is in another region than the load balancer."
  }
}

variable "nessie_host" {
  type        = string
  description = "With certificate_arn: the name that the certificate is for, and clients use. Point it at the load balancer."

  validation {
    condition     = var.nessie_host == null || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.nessie_host))
    error_message = "nessie_host is the name of a host, such as nessie.example.com."
  }

  validation {
    condition     = (var.nessie_host == null) == (var.certificate_arn == null)
    error_message = "nessie_host and certificate_arn go together: clients compare the one with the other."
  }
}

variable "nessie_public" {
  type        = bool
  description = "Whether the load balancer is on the internet, for nessie_allowed_cidrs."
  nullable    = false

  validation {
    condition     = !var.nessie_public || (var.certificate_arn != null && var.nessie_oidc != null)
    error_message = "nessie_public needs certificate_arn and nessie_oidc: on the internet nobody is let in without a token, and none is sent in the clear."
  }
}

variable "nessie_allowed_cidrs" {
  type        = set(string)
  description = "Addresses that may reach the load balancer. null: the private subnets."

  validation {
    condition     = var.nessie_allowed_cidrs == null || try(length(var.nessie_allowed_cidrs) > 0 && alltrue([for cidr in var.nessie_allowed_cidrs : can(cidrnetmask(cidr))]), false)
    error_message = "nessie_allowed_cidrs are IPv4 blocks, such as 10.1.0.0/16; leave it out for the private subnets."
  }

  validation {
    condition     = var.nessie_oidc != null || !try(contains(var.nessie_allowed_cidrs, "0.0.0.0/0"), false)
    error_message = "nessie_allowed_cidrs: everybody (0.0.0.0/0) only with nessie_oidc; without it, who reaches Nessie may do everything."
  }

  validation {
    condition     = !var.nessie_public || var.nessie_allowed_cidrs != null
    error_message = "nessie_allowed_cidrs: with nessie_public say who comes from the internet."
  }
}

variable "nessie_oidc" {
  type = object({
    issuer    = string
    client_id = string
    audience  = optional(string)
    token_uri = optional(string)
    scope     = optional(string)
  })
  description = "Who signs the tokens without which nobody is let in."

  validation {
    condition     = var.nessie_oidc == null || var.certificate_arn != null
    error_message = "nessie_oidc needs certificate_arn: whoever reads a token on its way has it."
  }

  validation {
    condition     = var.nessie_oidc == null || try(alltrue([for uri in compact([var.nessie_oidc.issuer, var.nessie_oidc.token_uri]) : can(regex("^https://[^/:\\s]+(/\\S*)?$", uri))]), false)
    error_message = "nessie_oidc: issuer and token_uri begin with https:// and have no port: tasks reach nothing but 443."
  }

  validation {
    condition     = var.nessie_oidc == null || try(length(var.nessie_oidc.client_id) > 0, false)
    error_message = "nessie_oidc: client_id is Nessie's own at the issuer."
  }
}

variable "nessie_authorization_rules" {
  type        = map(string)
  description = "Name => rule in CEL. With any, what no rule allows is denied."
  nullable    = false

  validation {
    condition     = length(var.nessie_authorization_rules) == 0 || var.nessie_oidc != null
    error_message = "nessie_authorization_rules need nessie_oidc: without it nobody has a name."
  }

  validation {
    condition     = alltrue([for id, rule in var.nessie_authorization_rules : can(regex("^[a-z][a-z0-9_]*$", id)) && try(length(trimspace(rule)) > 0, false)])
    error_message = "nessie_authorization_rules: names are lower-case letters, digits and _, rules are not empty."
  }
}

variable "nessie_vend_credentials" {
  type        = bool
  description = "Whether Nessie lends clients credentials for a table's files, so that they need none of their own."
  nullable    = false

  validation {
    condition     = !var.nessie_vend_credentials || var.nessie_oidc != null
    error_message = "nessie_vend_credentials needs nessie_oidc: without it, whoever reaches Nessie would get credentials for every file."
  }
}

# Who is told

variable "nessie_alarm_emails" {
  type        = set(string)
  description = "Addresses that get the alarms; AWS asks each to confirm."
  nullable    = false

  validation {
    condition     = alltrue([for address in var.nessie_alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "nessie_alarm_emails are e-mail addresses."
  }
}

variable "nessie_alarm_thresholds" {
  type = object({
    cpu       = optional(number, 85)
    memory    = optional(number, 85)
    errors    = optional(number, 5)
    throttles = optional(number, 0)
  })
  description = "What is too much: percent of CPU and of memory; answers with 5xx, and throttled calls of DynamoDB, per minute. Three minutes of five make an alarm."
  nullable    = false

  validation {
    condition     = try(alltrue([for percent in [var.nessie_alarm_thresholds.cpu, var.nessie_alarm_thresholds.memory] : percent >= 1 && percent <= 100]), false)
    error_message = "nessie_alarm_thresholds: cpu and memory are 1 to 100 percent."
  }

  validation {
    condition     = try(alltrue([for count in [var.nessie_alarm_thresholds.errors, var.nessie_alarm_thresholds.throttles] : count >= 0]), false)
    error_message = "nessie_alarm_thresholds: errors and throttles are numbers, 0 or more."
  }
}
