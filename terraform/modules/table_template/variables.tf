variable "path" {
  type        = string
  description = "The path of one template, table-templates/<table>.yaml."

  validation {
    condition     = endswith(var.path, ".yaml") && fileexists(var.path)
    error_message = "There is no template ${var.path}. A template is a file that ends in .yaml."
  }
}

variable "namespace_prefix" {
  type        = string
  description = "Put in front of the template's namespace, e.g. dev_, so that two deployments can share a catalog."
  default     = ""

  validation {
    condition     = can(regex("^([a-z][a-z0-9_]*)?$", var.namespace_prefix))
    error_message = "A prefix has lower-case letters, digits and _, and starts with a letter."
  }
}
