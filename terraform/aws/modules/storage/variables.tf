variable "name" {
  description = "Prefix of every name that is not a bucket's, such as the key's alias; for example \"lakehouse\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "name is 2 to 21 characters: lower-case letters, digits and hyphens, and it begins with a letter."
  }
}

variable "bucket_prefix" {
  description = "Prefix of the buckets' names: <bucket_prefix>-warehouse, -landing, -results and -logs. The names are shared by all AWS accounts: put something of your own into it."
  type        = string

  # S3 allows 63 characters, of which "-warehouse" takes 10. Dots would be allowed, but break TLS host names.
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,51}[a-z0-9]$", var.bucket_prefix))
    error_message = "bucket_prefix is 3 to 53 characters: lower-case letters, digits and hyphens, with no hyphen at either end."
  }

  validation {
    condition     = !can(regex("^(xn--|sthree-|amzn-s3-demo-)", var.bucket_prefix))
    error_message = "bucket_prefix must not begin with xn--, sthree- or amzn-s3-demo-: S3 reserves them."
  }
}

variable "account_id" {
  description = "The 12 digits of the AWS account that owns the buckets and the key."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is 12 digits, as a string: a leading zero counts."
  }
}

variable "kms_deletion_window_days" {
  description = "Days between a destroy and the end of the key, in which it can be brought back. Without the key the data is lost."
  type        = number
  default     = 30

  validation {
    condition     = try(var.kms_deletion_window_days >= 7 && var.kms_deletion_window_days <= 30 && floor(var.kms_deletion_window_days) == var.kms_deletion_window_days, false)
    error_message = "kms_deletion_window_days is a whole number from 7 to 30."
  }
}

variable "infrequent_access_days" {
  description = "Days after which a file of the warehouse moves to STANDARD_IA, which stores for less and reads for more; null: never. Files below 128 KB stay."
  type        = number
  default     = 90

  validation {
    condition     = var.infrequent_access_days == null || try(var.infrequent_access_days >= 30 && floor(var.infrequent_access_days) == var.infrequent_access_days, false)
    error_message = "infrequent_access_days is null or a whole number of at least 30, which is S3's minimum."
  }
}

variable "noncurrent_version_days" {
  description = "Days that an overwritten or deleted object can be brought back, in every bucket."
  type        = number
  default     = 30

  validation {
    condition     = try(var.noncurrent_version_days >= 1 && floor(var.noncurrent_version_days) == var.noncurrent_version_days, false)
    error_message = "noncurrent_version_days is a whole number of at least 1."
  }
}

variable "landing_expiration_days" {
  description = "Days after which a source file in the landing bucket is deleted; null: never."
  type        = number
  default     = null

  validation {
    condition     = var.landing_expiration_days == null || try(var.landing_expiration_days >= 1 && floor(var.landing_expiration_days) == var.landing_expiration_days, false)
    error_message = "landing_expiration_days is null or a whole number of at least 1."
  }
}

variable "results_expiration_days" {
  description = "Days after which the result of an Athena query is deleted."
  type        = number
  default     = 30

  validation {
    condition     = try(var.results_expiration_days >= 1 && floor(var.results_expiration_days) == var.results_expiration_days, false)
    error_message = "results_expiration_days is a whole number of at least 1."
  }
}

variable "log_retention_days" {
  description = "Days after which access logs and CloudTrail's files are deleted."
  type        = number
  default     = 365

  validation {
    condition     = try(var.log_retention_days >= 1 && floor(var.log_retention_days) == var.log_retention_days, false)
    error_message = "log_retention_days is a whole number of at least 1."
  }
}

variable "abort_upload_days" {
  description = "Days after which the parts of an upload that was never completed are deleted, in every bucket. Longer than the longest upload."
  type        = number
  default     = 7

  validation {
    condition     = try(var.abort_upload_days >= 1 && floor(var.abort_upload_days) == var.abort_upload_days, false)
    error_message = "abort_upload_days is a whole number of at least 1."
  }
}

variable "data_events" {
  description = "Whether CloudTrail records every read and write of an object in the warehouse. AWS bills each event."
  type        = bool
  default     = false
  nullable    = false
}
