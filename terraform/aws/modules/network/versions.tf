terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # What is tested. Version 6 renames attributes: raise it together with the tests.
      version = "~> 5.100"
    }
  }
}
