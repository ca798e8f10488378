variable "path" {
  type        = string
  description = "The path of the template."
}

variable "databases" {
  type        = map(string)
  description = "Namespace => name of its database."
}

variable "warehouse_location" {
  type        = string
  description = "S3 URI of the warehouse, without a slash at the end."
}

variable "role_arns" {
  type        = object({ reader = string, writer = string, admin = string })
  description = "ARNs of the three roles."
}

variable "named_query_workgroups" {
  type        = map(string)
  description = "Role => workgroup in which queries on this table are saved; empty: none are."
}

variable "optimizers" {
  type        = set(string)
  description = "Glue's optimizers of this table: compaction, retention, orphan_file_deletion. The table must be an Iceberg table already."

  validation {
    condition     = length(setsubtract(var.optimizers, ["compaction", "retention", "orphan_file_deletion"])) == 0
    error_message = "optimizers: compaction, retention or orphan_file_deletion."
  }
}
