# A lakehouse for Acme alone: names, buckets, service accounts and policy tags are its own.
project       = "example-corp-acme"
location      = "europe-west3"
name          = "acme"
bucket_prefix = "example-corp-acme"
templates     = "../../examples/multi-tenant/tenants/acme"
labels        = { tenant = "acme" }

trust = {
  reader = { members = ["group:acme-analysts@example.com"] }
  writer = { members = ["serviceAccount:dagster@example-corp-acme.iam.gserviceaccount.com"] }
}
