terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.44 is the first whose BigLake resources leave no difference behind.
      version = ">= 7.44, < 8"
    }
  }
}
