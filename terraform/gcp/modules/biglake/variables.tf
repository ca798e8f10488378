variable "project" {
  type        = string
  description = "The id of the project."
}

variable "location" {
  type        = string
  description = "Where the datasets are, as the buckets: a region, or EU or US."
}

variable "name" {
  type        = string
  description = "The connection's name."
}

variable "warehouse_bucket" {
  type        = string
  description = "Name of the warehouse's bucket, which is the catalog's."
}

variable "namespaces" {
  type        = set(string)
  description = "The templates' namespaces: a dataset, and a namespace of the catalog, each."
}

variable "credentials" {
  type        = string
  description = "With what Python opens a table's files: vended, what the catalog lends for that table; own, what the role itself may open."

  validation {
    condition     = try(contains(["vended", "own"], var.credentials), false)
    error_message = "credentials is vended or own."
  }
}

variable "deletion_protection" {
  type        = bool
  description = "Whether Terraform refuses to delete catalog, namespaces and datasets."
  nullable    = false
}
