variable "path" {
  type        = string
  description = "The path of the template."
}
