# Values that a module can refuse are validated there: the error names the same variable.

variable "project" {
  type        = string
  description = "The id of the Google Cloud project, not its number: it owns, and is billed for, all this."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the id of a project: 6 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "location" {
  type        = string
  description = "Where buckets and datasets are: a region, such as europe-west3, or EU or US. Once there are files, it cannot be changed."

  validation {
    condition     = can(regex("^(EU|US|[a-z]+-[a-z]+[0-9]+)$", var.location))
    error_message = "location is a region, such as europe-west3, or one of BigQuery's multi-regions, EU and US, in capitals."
  }
}

variable "name" {
  type        = string
  description = "Prefix of the names of service accounts, connection and keys; 2 to 21 lower-case letters, digits and hyphens."
  default     = "lakehouse"
}

variable "labels" {
  type        = map(string)
  description = "Labels of every resource that takes some, besides lakehouse and managed_by."
  default     = {}

  validation {
    condition = alltrue([for key, value in var.labels :
    can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "labels: keys and values have at most 63 lower-case letters, digits, _ and -; keys begin with a letter."
  }
}

variable "templates" {
  type        = string
  description = "The folder with the templates; a relative one is below this root's folder."
  default     = "../../table-templates"

  validation {
    condition     = length(fileset(startswith(var.templates, "/") ? var.templates : "${path.root}/${var.templates}", "*.yaml")) > 0
    error_message = "There is no *.yaml in ${var.templates}. Name the folder with the templates: without one, every namespace would be dropped."
  }
}

# Storage

variable "bucket_prefix" {
  type        = string
  description = "Prefix of the buckets' names, which all of Google Cloud shares: <prefix>-warehouse, -landing, -logs. null: <name>-<project>. Once there are files, it cannot be changed: Terraform would replace the buckets."
  default     = null
}

variable "cmek" {
  type        = bool
  description = "Whether the buckets are encrypted with a key of your own, in Cloud KMS, instead of Google's. It cannot be taken back: the key has prevent_destroy."
  default     = false
}

variable "key_rotation_days" {
  type        = number
  description = "With cmek: days after which the key gets a new version. Old ones still decrypt."
  default     = 90
}

variable "key_destroy_days" {
  type        = number
  description = "With cmek: days between the destruction of a version of the key and its end, in which it can be brought back; 1 to 120. Once made, it cannot be changed."
  default     = 30
}

variable "nearline_days" {
  type        = number
  description = "Days after which a file of the warehouse moves to NEARLINE, which stores for less and reads for more, at least 1; null: never."
  default     = 90
}

variable "noncurrent_version_days" {
  type        = number
  description = "Days that an overwritten or deleted object can be brought back."
  default     = 30
}

variable "soft_delete_days" {
  type        = number
  description = "Days after that in which a deleted version, or bucket, can still be restored, 7 to 90; 0: none."
  default     = 7
}

variable "landing_expiration_days" {
  type        = number
  description = "Days after which a source file is deleted; null: never."
  default     = null
}

variable "log_retention_days" {
  type        = number
  description = "Days that audit logs are kept: no one can delete them before, and they are deleted then."
  default     = 365
}

variable "data_access_logs" {
  type        = bool
  description = "Whether every read and write of files and of the catalog is logged, in the whole project. Google bills the volume. BigQuery logs its own always."
  default     = false
}

# Catalog

variable "credentials" {
  type        = string
  description = "With what Python opens a table's files: vended, what the catalog lends for that table; own, what the role itself may open."
  default     = "vended"
}

variable "deletion_protection" {
  type        = bool
  description = "Whether Terraform refuses to delete catalog, namespaces and datasets. Set it to false and apply, before a destroy and before a namespace's last template goes."
  default     = true
}

# Roles

variable "trust" {
  type = map(object({
    members             = optional(set(string), [])
    workload_identities = optional(set(string), [])
  }))
  description = "Role (reader, writer, admin) => who may act as its service account: members (user:, group:, serviceAccount:), and workload identities (principal:// or principalSet:// of a pool: CI, other clouds, Kubernetes). A role that is left out: whom the project's own policies allow."
  default     = {}
}

variable "masking" {
  type        = string
  description = "What a reader sees of a restricted column instead of an error: ALWAYS_NULL, DEFAULT_MASKING_VALUE, SHA256, LAST_FOUR_CHARACTERS, FIRST_FOUR_CHARACTERS, EMAIL_MASK or DATE_YEAR_MASK. All but the first two suit only some types. null: the error."
  default     = null
}
