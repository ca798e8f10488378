variable "namespaces" {
  type        = set(string)
  description = "The templates' namespaces: a database each."
}

variable "warehouse_location" {
  type        = string
  description = "S3 URI of the warehouse, without a slash at the end."
}

variable "encrypt_catalog" {
  type        = bool
  description = "Whether the account's Glue catalog is encrypted with the key. It is one setting for all databases of the account and region."
  nullable    = false
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of the key that encrypts the catalog."
}
