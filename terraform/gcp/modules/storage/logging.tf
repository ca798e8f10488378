# Who did what: audit logs of the services that the lakehouse consists of, in a bucket from which nobody can delete them for
# some time. Administration, and each query in BigQuery, is always logged; reads and writes of files and of the catalog on request.

locals {
  audited_services = ["biglake", "bigquery", "bigqueryconnection", "bigquerydatapolicy", "cloudkms", "datacatalog", "iam", "iamcredentials", "storage"]
}

resource "google_logging_project_sink" "audit" {
  project     = var.project
  name        = "${var.name}-audit"
  description = "Audit logs of the lakehouse's services."
  destination = "storage.googleapis.com/${google_storage_bucket.this["logs"].name}"
  # But not of the logs themselves: each delivery would be another entry to deliver.
  filter = join(" AND ", [
    "logName:\"cloudaudit.googleapis.com\"",
    "protoPayload.serviceName=(${join(" OR ", [for service in local.audited_services : "\"${service}.googleapis.com\""])})",
    "NOT protoPayload.resourceName:\"projects/_/buckets/${local.bucket_names["logs"]}\"",
  ])
  unique_writer_identity = true
}

resource "google_storage_bucket_iam_member" "sink" {
  bucket = google_storage_bucket.this["logs"].name
  role   = "roles/storage.objectCreator"
  member = google_logging_project_sink.audit.writer_identity
}

# One setting per service and project: whatever else is set for these services is replaced.
resource "google_project_iam_audit_config" "this" {
  for_each = toset(var.data_access_logs ? ["biglake", "storage"] : [])

  project = var.project
  service = "${each.value}.googleapis.com"

  dynamic "audit_log_config" {
    for_each = toset(["DATA_READ", "DATA_WRITE"])

    content {
      log_type = audit_log_config.value
    }
  }
}
