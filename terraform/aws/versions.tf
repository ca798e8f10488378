terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # What the tests run against. After a fork: `terraform providers lock`, and commit the .terraform.lock.hcl.
      version = "~> 5.100"
    }
  }

  # Without a backend the state is a file on your machine. For a team:
  # backend "s3" {
  #   bucket       = "<a bucket of its own, versioned>"
  #   key          = "lakehouse/terraform.tfstate"
  #   region       = "eu-central-1"
  #   encrypt      = true
  #   use_lockfile = true # Terraform 1.10 or newer
  # }
}

provider "aws" {
  region      = var.region
  max_retries = var.max_retries

  default_tags {
    tags = merge({ lakehouse = var.name, managed_by = "terraform" }, var.tags)
  }
}
