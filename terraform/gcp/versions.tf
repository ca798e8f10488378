terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.44 is the first whose BigLake resources leave no difference behind. After a fork: `terraform providers lock`, and commit
      # the .terraform.lock.hcl.
      version = ">= 7.44, < 8"
    }
  }

  # Without a backend the state is a file on your machine. For a team:
  # backend "gcs" {
  #   bucket = "<a bucket of its own, versioned>"
  #   prefix = "lakehouse"
  # }
}

provider "google" {
  project = var.project
  # Some of these APIs ask whose quota a call is, which credentials of a person do not say [D].
  user_project_override = true
  billing_project       = var.project

  default_labels = merge({ lakehouse = var.name, managed_by = "terraform" }, var.labels)
}
