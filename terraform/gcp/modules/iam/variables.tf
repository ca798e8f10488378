variable "project" {
  type        = string
  description = "The id of the project."
}

variable "location" {
  type        = string
  description = "Where the datasets, and so taxonomy and connection, are: a region, or EU or US."
}

variable "name" {
  type        = string
  description = "Prefix of the service accounts' names, <name>-<role>, and of the names of taxonomy and custom roles."
}

variable "trust" {
  type = map(object({
    members             = optional(set(string), [])
    workload_identities = optional(set(string), [])
  }))
  description = "Role (reader, writer, admin) => who may act as its service account: members (user:, group:, serviceAccount:), and workload identities (principal:// or principalSet:// of a pool)."
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.trust), ["reader", "writer", "admin"])) == 0
    error_message = "trust: the roles are reader, writer and admin."
  }

  validation {
    condition = alltrue(flatten([for trust in values(var.trust) : [for member in trust.members :
    can(regex("^(user|group|serviceAccount):[^@*:\\s]+@[^@*:\\s]+$", member))]]))
    error_message = "trust: a member is user:, group: or serviceAccount: and an e-mail address. Everybody, a domain, or all of a project is too many."
  }

  validation {
    # All of a pool is everybody's CI where the pool's issuer is.
    condition = alltrue(flatten([for trust in values(var.trust) : [for identity in trust.workload_identities :
      can(regex("^principal://iam\\.googleapis\\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/subject/[^*]+$", identity)) ||
      can(regex("^principalSet://iam\\.googleapis\\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/(group|attribute\\.[a-z0-9_]+)/[^*]+$", identity))
    ]]))
    error_message = "trust: a workload identity is principal://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/subject/…, or principalSet://… with /group/… or /attribute.NAME/…; a wildcard would let in all of the pool."
  }
}

variable "credentials" {
  type        = string
  description = "With what Python opens a table's files: vended, what the catalog lends for that table; own, what the role itself may open."
}

variable "buckets" {
  type        = map(string)
  description = "Kind (warehouse, landing) => name of the bucket."
}

variable "catalog" {
  type        = string
  description = "Name of the catalog."
}

variable "datasets" {
  type        = map(string)
  description = "Namespace => its BigQuery dataset."
}

variable "connection_id" {
  type        = string
  description = "The connection's name in its location."
}

variable "masking" {
  type        = string
  description = "What a reader sees of a restricted column instead of an error; null: the error."

  validation {
    condition = var.masking == null || contains([
      "ALWAYS_NULL", "DEFAULT_MASKING_VALUE", "SHA256", "LAST_FOUR_CHARACTERS", "FIRST_FOUR_CHARACTERS", "EMAIL_MASK", "DATE_YEAR_MASK"
    ], coalesce(var.masking, "-"))
    error_message = "masking is null, ALWAYS_NULL, DEFAULT_MASKING_VALUE, SHA256, LAST_FOUR_CHARACTERS, FIRST_FOUR_CHARACTERS, EMAIL_MASK or DATE_YEAR_MASK."
  }
}
