# A lakehouse for Acme alone: names, buckets, key, roles and grants are its own.
region        = "eu-central-1"
name          = "acme"
bucket_prefix = "example-corp-acme"
templates     = "../../examples/multi-tenant/tenants/acme"
tags          = { tenant = "acme" }

trust = {
  reader = { principals = ["arn:aws:iam::111122223333:role/acme-analysts"] }
  writer = { principals = ["arn:aws:iam::111122223333:role/acme-dagster"] }
}
