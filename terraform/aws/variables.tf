# Values that a module can refuse are validated there: the error names the same variable.

variable "name" {
  type        = string
  description = "Prefix of the names of roles, workgroups and keys; 2 to 21 lower-case letters, digits and hyphens."
  default     = "lakehouse"
}

variable "region" {
  type        = string
  description = "The AWS region, e.g. eu-central-1."

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the name of an AWS region, such as eu-central-1."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, besides lakehouse and managed_by."
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:") && length(key) <= 128])
    error_message = "tags: keys have at most 128 characters and do not begin with aws:."
  }
}

variable "max_retries" {
  type        = number
  description = "How often the provider makes a call that fails; null: the provider's own default, 25."
  default     = null

  validation {
    condition     = var.max_retries == null || try(var.max_retries >= 1 && var.max_retries <= 100, false)
    error_message = "max_retries is 1 to 100: the provider takes 0 for its default."
  }
}

variable "templates" {
  type        = string
  description = "The folder with the templates; a relative one is below this root's folder."
  default     = "../../table-templates"

  validation {
    condition     = length(fileset(startswith(var.templates, "/") ? var.templates : "${path.root}/${var.templates}", "*.yaml")) > 0
    error_message = "There is no *.yaml in ${var.templates}. Name the folder with the templates: without one, every table would be dropped from the catalog."
  }
}

variable "retired_tables" {
  type        = set(string)
  description = "Tables, namespace.name, or whole namespaces, namespace.*, that have no YAML any more: their entries and grants go, their files stay."
  default     = []

  validation {
    condition     = alltrue([for table in var.retired_tables : can(regex("^[a-z][a-z0-9_]*\\.([a-z][a-z0-9_]*|\\*)$", table))])
    error_message = "retired_tables are namespace.name or namespace.*."
  }
}

# Storage

variable "bucket_prefix" {
  type        = string
  description = "Prefix of the buckets' names, which are shared by all AWS accounts: <prefix>-warehouse, -landing, -results, -logs. null: <name>-<account>-<region>. Once there are files, it cannot be changed: Terraform would replace the buckets."
  default     = null
}

variable "kms_deletion_window_days" {
  type        = number
  description = "Days between a destroy and the end of the key, in which it can be brought back; 7 to 30."
  default     = 30
}

variable "infrequent_access_days" {
  type        = number
  description = "Days after which a file of the warehouse moves to STANDARD_IA, at least 30; null: never."
  default     = 90
}

variable "noncurrent_version_days" {
  type        = number
  description = "Days that an overwritten or deleted object can be brought back."
  default     = 30
}

variable "landing_expiration_days" {
  type        = number
  description = "Days after which a source file is deleted; null: never."
  default     = null
}

variable "results_expiration_days" {
  type        = number
  description = "Days after which the result of an Athena query is deleted."
  default     = 30
}

variable "log_retention_days" {
  type        = number
  description = "Days after which access logs and CloudTrail's files are deleted."
  default     = 365
}

variable "data_events" {
  type        = bool
  description = "Whether CloudTrail records every read and write of an object in the warehouse. AWS bills each event."
  default     = false
}

# Catalog and queries

variable "encrypt_catalog" {
  type        = bool
  description = "Whether the account's Glue catalog is encrypted with the key. It is one setting for all databases of the account and region, also those of others."
  default     = false
}

variable "bytes_scanned_cutoff" {
  type        = map(number)
  description = "Role => the most bytes that one of its queries may scan before Athena cancels it, at least 10485760. Left out: 100 GiB for the reader, 1 TiB for the others."
  default     = {}
}

variable "named_query_tables" {
  type        = set(string)
  description = "Names of the templates for which Athena has saved queries: a sample, rows per partition, snapshots."
  default     = []

  validation {
    condition = alltrue([for name in var.named_query_tables :
    fileexists("${startswith(var.templates, "/") ? var.templates : "${path.root}/${var.templates}"}/${name}.yaml")])
    error_message = "named_query_tables are names of templates, without .yaml."
  }
}

variable "optimizers" {
  type        = set(string)
  description = "Glue's optimizers of every table: compaction, retention, orphan_file_deletion. AWS takes Iceberg tables only: switch them on after the first `lakehouse apply`."
  default     = []

  validation {
    condition     = length(setsubtract(var.optimizers, ["compaction", "retention", "orphan_file_deletion"])) == 0
    error_message = "optimizers: compaction, retention or orphan_file_deletion."
  }
}

# Roles

variable "trust" {
  type = map(object({
    principals  = optional(list(string), [])
    services    = optional(list(string), [])
    external_id = optional(string)
    oidc = optional(object({
      provider_arn = string
      audience     = optional(string, "sts.amazonaws.com")
      subjects     = list(string)
    }))
  }))
  description = "Role (reader, writer, admin) => who may assume it: ARNs of principals (with an external id), AWS services, subjects of an OIDC provider (CI). A role that is left out: principals of this account whose own policies allow it."
  default     = {}
}

variable "manage_lakeformation_settings" {
  type        = bool
  description = "Whether to make the caller, the admin role and lakeformation_admins administrators of Lake Formation, in the account's one list of them. Those who are in it stay."
  default     = false
}

variable "lakeformation_admins" {
  type        = set(string)
  description = "ARNs of further administrators of Lake Formation; with manage_lakeformation_settings."
  default     = []
}

# Nessie and its network, with catalog_type = "nessie". What each may be, modules/network and modules/nessie say.

variable "catalog_type" {
  type        = string
  description = "What commits go through: glue, or nessie, a server with branches. With either, readers' entries and grants are Glue's and Lake Formation's."
  default     = "glue"
  nullable    = false

  validation {
    condition     = contains(["glue", "nessie"], var.catalog_type)
    error_message = "catalog_type is glue or nessie."
  }
}

# Network

variable "vpc_cidr" {
  type        = string
  description = "Addresses of the VPC, a block of /16 to /22. Once there are servers it cannot be changed."
  default     = "10.0.0.0/16"
}

variable "availability_zones" {
  type        = list(string)
  description = "Two to four zones, in an order that stays. null: the region's first two."
  default     = null
}

variable "egress" {
  type        = string
  description = "How private subnets reach what is outside: nat, one NAT gateway; nat_per_zone, one for each zone; endpoints, AWS's services only, which wants nessie_image in ECR, and an OIDC issuer in the VPC."
  default     = "nat"
}

variable "interface_endpoints" {
  type        = set(string)
  description = "With egress = \"endpoints\": the services that private subnets reach. AWS bills each by the hour and zone. The defaults are Nessie's and the pipelines'."
  default     = ["athena", "ecr.api", "ecr.dkr", "glue", "lakeformation", "logs", "secretsmanager", "sns", "sts"]
}

variable "cloudwatch_retention_days" {
  type        = number
  description = "Days that CloudWatch keeps Nessie's log and the network's flow logs, one of CloudWatch's numbers."
  default     = 365
}

# The server

variable "nessie_image" {
  type        = string
  description = "The image, without a tag. With egress = \"endpoints\" it must be in ECR."
  default     = "ghcr.io/projectnessie/nessie"
}

variable "nessie_image_tag" {
  type        = string
  description = "The image's tag, a version."
  default     = "0.99.0"
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
  default     = {}
}

variable "nessie_version_store" {
  type        = string
  description = "Where branches and commits are. dynamodb: no server of its own, but a row of at most 400 KB, which large catalogs outgrow; Nessie's authors do not recommend it for Iceberg's REST catalog. postgres: RDS, what they recommend. A change begins an empty catalog: choose before the first table."
  default     = "dynamodb"
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
  default     = {}
}

variable "nessie_deletion_protection" {
  type        = bool
  description = "Whether AWS refuses to delete the version store and the load balancer. Set it to false and apply, before a destroy."
  default     = true
}

# Who comes in

variable "certificate_arn" {
  type        = string
  description = "ARN of the certificate of nessie_host, in ACM. null: HTTP, in the VPC only."
  default     = null
}

variable "nessie_host" {
  type        = string
  description = "With certificate_arn: the name that the certificate is for, and clients use. Point it at the output nessie.load_balancer."
  default     = null
}

variable "nessie_public" {
  type        = bool
  description = "Whether the load balancer is on the internet, for nessie_allowed_cidrs. Wants HTTPS and OIDC."
  default     = false
}

variable "nessie_allowed_cidrs" {
  type        = set(string)
  description = "Addresses that may reach Nessie. null: the private subnets, where pipelines run. Never those from which readers come."
  default     = null
}

variable "nessie_oidc" {
  type = object({
    issuer    = string
    client_id = string
    audience  = optional(string)
    token_uri = optional(string)
    scope     = optional(string)
  })
  description = "Who signs the tokens without which nobody is let in: the issuer's URL, Nessie's client id there, the audience that a token must be for (left out: any of the issuer's), and, for Python, the token endpoint and scope. null: who reaches Nessie may do everything. Wants HTTPS."
  default     = null
}

variable "nessie_authorization_rules" {
  type        = map(string)
  description = "Name => rule in CEL, such as role == 'svc-dagster'. With any, what no rule allows is denied. Wants OIDC."
  default     = {}
}

variable "nessie_vend_credentials" {
  type        = bool
  description = "Whether Nessie lends clients credentials for a table's files, so that they need none of their own. Wants OIDC."
  default     = false
}

# Who is told

variable "nessie_alarm_emails" {
  type        = set(string)
  description = "Addresses that get Nessie's alarms; AWS asks each to confirm. Others subscribe to the topic, output nessie.alarm_topic_arn."
  default     = []
}

variable "nessie_alarm_thresholds" {
  type = object({
    cpu       = optional(number, 85)
    memory    = optional(number, 85)
    errors    = optional(number, 5)
    throttles = optional(number, 0)
  })
  description = "What is too much: percent of CPU and of memory; answers with 5xx, and throttled calls of DynamoDB, per minute. Three minutes of five make an alarm."
  default     = {}
}
