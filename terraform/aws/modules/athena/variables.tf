variable "name" {
  description = "Prefix of the workgroups' names, <name>-<role>; for example \"lakehouse\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "name is 2 to 21 characters: lower-case letters, digits and hyphens, and it begins with a letter."
  }
}

variable "account_id" {
  description = "The 12 digits of the AWS account that owns the results bucket: Athena writes no result into a bucket of another account."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is 12 digits, as a string: a leading zero counts."
  }
}

variable "results_bucket" {
  description = "Name of the bucket for query results; each role has its own prefix, <role>/."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.results_bucket))
    error_message = "results_bucket is the name of a bucket, without s3:// and without a path."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts query results."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not of an alias."
  }
}

variable "bytes_scanned_cutoff" {
  description = "Role (reader, writer, admin) => the most bytes that one of its queries may scan before Athena cancels it. Left out: 100 GiB for the reader, 1 TiB for the others."
  type        = map(number)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.bytes_scanned_cutoff), ["reader", "writer", "admin"])) == 0
    error_message = "bytes_scanned_cutoff: the roles are reader, writer and admin."
  }

  validation {
    condition     = alltrue([for bytes in values(var.bytes_scanned_cutoff) : try(bytes >= 10485760 && floor(bytes) == bytes, false)])
    error_message = "bytes_scanned_cutoff: each value is a whole number of bytes, at least 10485760 (10 MiB), which is Athena's minimum."
  }
}
