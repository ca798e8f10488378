variable "project" {
  type        = string
  description = "The id of the project."
}

variable "location" {
  type        = string
  description = "Where the buckets are: a region, or EU or US."
}

variable "name" {
  type        = string
  description = "Prefix of every name that is not a bucket's, such as the key ring's; for example \"lakehouse\"."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}[a-z0-9]$", var.name))
    error_message = "name is 2 to 21 characters: lower-case letters, digits and hyphens, it begins with a letter and does not end in a hyphen."
  }
}

variable "bucket_prefix" {
  type        = string
  description = "Prefix of the buckets' names: <bucket_prefix>-warehouse, -landing and -logs. All of Google Cloud shares the names: put something of your own into it."

  # Cloud Storage allows 63 characters, of which "-warehouse" takes 10. Dots would be a domain's.
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,51}[a-z0-9]$", var.bucket_prefix))
    error_message = "bucket_prefix is 3 to 53 characters: lower-case letters, digits and hyphens, with no hyphen at either end."
  }

  validation {
    condition     = !can(regex("^goog|google|g00gle", var.bucket_prefix))
    error_message = "bucket_prefix must not begin with goog or contain google: Cloud Storage reserves them."
  }
}

variable "cmek" {
  type        = bool
  description = "Whether the buckets are encrypted with a key of your own, in Cloud KMS, instead of Google's."
  nullable    = false
}

variable "key_rotation_days" {
  type        = number
  description = "With cmek: days after which the key gets a new version."

  validation {
    condition     = try(var.key_rotation_days >= 1 && floor(var.key_rotation_days) == var.key_rotation_days, false)
    error_message = "key_rotation_days is a whole number of at least 1."
  }
}

variable "key_destroy_days" {
  type        = number
  description = "With cmek: days between the destruction of a version of the key and its end."

  validation {
    condition     = try(var.key_destroy_days >= 1 && var.key_destroy_days <= 120 && floor(var.key_destroy_days) == var.key_destroy_days, false)
    error_message = "key_destroy_days is a whole number from 1 to 120, which are the limits of Cloud KMS."
  }
}

variable "nearline_days" {
  type        = number
  description = "Days after which a file of the warehouse moves to NEARLINE; null: never."

  validation {
    condition     = var.nearline_days == null || try(var.nearline_days >= 1 && floor(var.nearline_days) == var.nearline_days, false)
    error_message = "nearline_days is null or a whole number of at least 1."
  }
}

variable "noncurrent_version_days" {
  type        = number
  description = "Days that an overwritten or deleted object can be brought back, in warehouse and landing."

  validation {
    condition     = try(var.noncurrent_version_days >= 1 && floor(var.noncurrent_version_days) == var.noncurrent_version_days, false)
    error_message = "noncurrent_version_days is a whole number of at least 1."
  }
}

variable "soft_delete_days" {
  type        = number
  description = "Days in which a deleted version, or bucket, can be restored; 0: none."

  validation {
    condition     = try(var.soft_delete_days == 0 || var.soft_delete_days >= 7 && var.soft_delete_days <= 90 && floor(var.soft_delete_days) == var.soft_delete_days, false)
    error_message = "soft_delete_days is 0, or a whole number from 7 to 90, which are Cloud Storage's limits."
  }
}

variable "landing_expiration_days" {
  type        = number
  description = "Days after which a source file in the landing bucket is deleted; null: never."

  validation {
    condition     = var.landing_expiration_days == null || try(var.landing_expiration_days >= 1 && floor(var.landing_expiration_days) == var.landing_expiration_days, false)
    error_message = "landing_expiration_days is null or a whole number of at least 1."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days that audit logs are kept: no one can delete them before, and they are deleted then."

  validation {
    condition     = try(var.log_retention_days >= 1 && floor(var.log_retention_days) == var.log_retention_days, false)
    error_message = "log_retention_days is a whole number of at least 1."
  }
}

variable "abort_upload_days" {
  type        = number
  description = "Days after which the parts of an upload that was never completed are deleted, in every bucket. Longer than the longest upload."
  default     = 7

  validation {
    condition     = try(var.abort_upload_days >= 1 && floor(var.abort_upload_days) == var.abort_upload_days, false)
    error_message = "abort_upload_days is a whole number of at least 1."
  }
}

variable "data_access_logs" {
  type        = bool
  description = "Whether every read and write of files and of the catalog is logged, in the whole project. Google bills the volume."
  nullable    = false
}
