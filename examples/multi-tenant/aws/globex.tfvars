# A lakehouse for Globex alone: names, buckets, key, roles and grants are its own.
region        = "eu-central-1"
name          = "globex"
bucket_prefix = "example-corp-globex"
templates     = "../../examples/multi-tenant/tenants/globex"
tags          = { tenant = "globex" }

trust = {
  reader = { principals = ["arn:aws:iam::111122223333:role/globex-analysts"] }
  writer = { principals = ["arn:aws:iam::111122223333:role/globex-dagster"] }
}
