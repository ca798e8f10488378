# A lakehouse for Globex alone: names, buckets, service accounts and policy tags are its own.
project       = "example-corp-globex"
location      = "europe-west3"
name          = "globex"
bucket_prefix = "example-corp-globex"
templates     = "../../examples/multi-tenant/tenants/globex"
labels        = { tenant = "globex" }

trust = {
  reader = { members = ["group:globex-analysts@example.com"] }
  writer = { members = ["serviceAccount:dagster@example-corp-globex.iam.gserviceaccount.com"] }
}
