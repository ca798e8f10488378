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
