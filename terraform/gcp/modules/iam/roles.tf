# Least privilege. The reader has what a query needs, and no more: with a right to the catalog it would be lent the files, with
# one to the connection it could make an entry of them without tags, and in files no column is hidden.

locals {
  # Where Google's own roles would open more.
  custom_roles = {
    # A commit of the writer: neither creating nor deleting, for that pipelines have no reason. setCategory, since who changes an
    # entry says its columns' tags again.
    tables_mover = {
      title       = "Point BigQuery's tables at what was committed"
      permissions = ["bigquery.tables.setCategory", "bigquery.tables.update"]
    }
    tables_admin = {
      title = "Register and change BigQuery's tables"
      permissions = [
        "bigquery.datasets.get", "bigquery.datasets.getIamPolicy", "bigquery.tables.create", "bigquery.tables.delete", "bigquery.tables.get",
        "bigquery.tables.getData", "bigquery.tables.getIamPolicy", "bigquery.tables.list", "bigquery.tables.setCategory", "bigquery.tables.update",
      ]
    }
    # Google's editor makes, registers and drops tables, and the catalog itself. getIamPolicy is for the drift sensor.
    committer = {
      title = "Commit to tables of the catalog"
      permissions = [
        "biglake.catalogs.get", "biglake.catalogs.getIamPolicy", "biglake.namespaces.get", "biglake.namespaces.list", "biglake.tables.get",
        "biglake.tables.getData", "biglake.tables.list", "biglake.tables.update", "biglake.tables.updateData",
      ]
    }
    # An entry opens files with the connection's rights. Only who has these can hand them on.
    connection_user = {
      title       = "Use a connection for tables"
      permissions = ["bigquery.connections.delegate", "bigquery.connections.get", "bigquery.connections.use"]
    }
    tags_viewer = {
      title       = "See policy tags, and who sees what they hide"
      permissions = ["datacatalog.taxonomies.get", "datacatalog.taxonomies.getIamPolicy", "datacatalog.taxonomies.list"]
    }
    # `lakehouse governance`, and the pipelines' drift sensor, look for rights that come from elsewhere.
    auditor = {
      title       = "See who may do what"
      permissions = ["bigquery.connections.getIamPolicy", "resourcemanager.projects.get", "resourcemanager.projects.getIamPolicy"]
    }
  }
  # Names that are known before the roles are there.
  custom = { for key, role in google_project_iam_custom_role.this : key => "projects/${role.project}/roles/${role.role_id}" }

  project_roles = {
    reader = ["roles/bigquery.jobUser"]
    writer = ["roles/bigquery.jobUser", "roles/serviceusage.serviceUsageConsumer", local.custom["auditor"]]
    admin  = ["roles/bigquery.jobUser", "roles/serviceusage.serviceUsageConsumer", local.custom["auditor"]]
  }
  # All who may do anything with a dataset: Google lets in everybody who may read, or write, the project, and who made it.
  dataset_roles = {
    "roles/bigquery.dataOwner"     = ["projectOwners"]
    "roles/bigquery.dataEditor"    = []
    "roles/bigquery.dataViewer"    = [local.members["reader"], local.members["writer"]]
    (local.custom["tables_mover"]) = [local.members["writer"]]
    (local.custom["tables_admin"]) = [local.members["admin"]]
  }
  catalog_roles = { writer = local.custom["committer"], admin = "roles/biglake.admin" }
  # The legacy role is what lets a client look whether there is a bucket. Deleting: a run that did not commit removes its own
  # files; versions keep them for some days.
  bucket_roles = {
    landing = {
      writer = ["roles/storage.objectViewer", "roles/storage.legacyBucketReader"]
      admin  = ["roles/storage.objectViewer", "roles/storage.legacyBucketReader"]
    }
    warehouse = {
      writer = var.credentials == "own" ? ["roles/storage.objectUser"] : []
      # Who makes a table must have it [D].
      admin = ["roles/storage.admin"]
    }
  }

  project_bindings = merge([for role, names in local.project_roles : { for name in names : "${role}/${basename(name)}" => { role = role, name = name } }]...)
  dataset_bindings = merge([for namespace, dataset in var.datasets : {
    for name, members in local.dataset_roles : "${namespace}/${basename(name)}" => { dataset = dataset, name = name, members = members }
  }]...)
  bucket_bindings = merge(flatten([for kind, roles in local.bucket_roles : [for role, names in roles :
    { for name in names : "${kind}/${role}/${basename(name)}" => { bucket = var.buckets[kind], role = role, name = name } }
  ]])...)
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.custom_roles

  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_${each.key}"
  title       = "${var.name}: ${each.value.title}"
  permissions = each.value.permissions
}

resource "google_project_iam_member" "this" {
  for_each = local.project_bindings

  project = var.project
  role    = each.value.name
  member  = local.members[each.value.role]
}

# Authorized views go with each change of these: give them datasets of their own.
resource "google_bigquery_dataset_iam_binding" "this" {
  for_each = local.dataset_bindings

  project    = var.project
  dataset_id = each.value.dataset
  role       = each.value.name
  members    = each.value.members
}

resource "google_bigquery_connection_iam_member" "this" {
  for_each = toset(["writer", "admin"])

  project       = var.project
  location      = lower(var.location)
  connection_id = var.connection_id
  role          = local.custom["connection_user"]
  member        = local.members[each.value]
}

# On this catalog, not on the project: there may be others.
resource "google_biglake_iceberg_catalog_iam_member" "this" {
  for_each = local.catalog_roles

  project = var.project
  name    = var.catalog
  role    = each.value
  member  = local.members[each.key]
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = local.bucket_bindings

  bucket = each.value.bucket
  role   = each.value.name
  member = local.members[each.value.role]
}

# What the catalog lends opens a table's own files. Ledgers and changelogs are beside the tables.
resource "google_storage_managed_folder" "lakehouse" {
  for_each = toset(var.credentials == "vended" ? ["_lakehouse/"] : [])

  bucket = var.buckets["warehouse"]
  name   = each.value
}

resource "google_storage_managed_folder_iam_member" "lakehouse" {
  for_each = google_storage_managed_folder.lakehouse

  bucket         = each.value.bucket
  managed_folder = each.value.name
  role           = "roles/storage.objectUser"
  member         = local.members["writer"]
}
