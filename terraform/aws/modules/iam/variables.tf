variable "name" {
  type        = string
  description = "Prefix of the roles' names, <name>-<role>."
}

variable "account_id" {
  type        = string
  description = "The 12 digits of the account."
}

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
  description = "Role (reader, writer, admin) => who may assume it: ARNs of principals (with an external id), AWS services, subjects of an OIDC provider (CI). A role that is left out, or has none: principals of this account whose own policies allow it."
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.trust), ["reader", "writer", "admin"])) == 0
    error_message = "trust: the roles are reader, writer and admin."
  }

  validation {
    condition = alltrue(flatten([for trust in values(var.trust) : [for principal in trust.principals :
    can(regex("^(arn:[a-z-]+:(iam|sts)::[0-9]{12}:[^*]+|[0-9]{12})$", principal))]]))
    error_message = "trust: a principal is an ARN of IAM or STS without a wildcard, or an account's 12 digits."
  }

  validation {
    condition     = alltrue([for trust in values(var.trust) : trust.external_id == null || length(trust.principals) > 0])
    error_message = "trust: an external id is for principals; name some."
  }

  validation {
    condition = alltrue([for trust in values(var.trust) : trust.oidc == null || try(
      # A wildcard only after the owner's name: anybody can name a repository like this one.
      length(trust.oidc.subjects) > 0 && alltrue([for subject in trust.oidc.subjects : can(regex("^([^*?]+$|[^*?]*:[^*?:/]+[:/])", subject))])
    , false)])
    error_message = "trust: OIDC needs subjects, such as repo:my-org/my-repo:ref:refs/heads/main. A wildcard comes after the owner's name (repo:my-org/*): before it, it lets in everybody's CI."
  }
}

variable "databases" {
  type        = map(string)
  description = "Namespace => name of its database."
}

variable "bucket_arns" {
  type        = map(string)
  description = "Kind (warehouse, landing, results) => ARN of the bucket."
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of the key of the buckets."
}

variable "workgroup_arns" {
  type        = map(string)
  description = "Role => ARN of its Athena workgroup."
}

variable "optimizers" {
  type        = bool
  description = "Whether Glue's optimizers work on tables: they assume the writer's role."
}

variable "manage_lakeformation_settings" {
  type        = bool
  description = "Whether to make the caller, the admin role and lakeformation_admins administrators of Lake Formation, in the account's one list of them. Those who are in it stay."
}

variable "lakeformation_admins" {
  type        = set(string)
  description = "ARNs of further administrators of Lake Formation."

  validation {
    condition     = alltrue([for arn in var.lakeformation_admins : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "lakeformation_admins are ARNs of IAM roles or users."
  }
}
