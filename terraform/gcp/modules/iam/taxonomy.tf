# A restricted column carries the tag "Restricted", an internal one "Internal", from the very call that shows it to BigQuery. Only
# who is a fine-grained reader of the tag sees what is in it: owners of the project are not.

locals {
  tags = {
    restricted = { name = "Restricted", description = "Columns with access_level: restricted.", readers = ["writer", "admin"] }
    internal   = { name = "Internal", description = "Columns with access_level: internal.", readers = ["reader", "writer", "admin"] }
  }
  fine_grained_readers = merge([for key, tag in local.tags : { for role in tag.readers : "${key}/${role}" => { tag = key, role = role } }]...)
  masking              = { for key in ["restricted"] : key => var.masking if var.masking != null }
}

resource "google_data_catalog_taxonomy" "this" {
  project = var.project
  # BigQuery takes tags of a dataset's own location only, and this API writes it in lower case.
  region = lower(var.location)
  # All of an organization shares these names.
  display_name = "${var.name}-${var.project}"
  description  = "Who sees which columns of the tables that the templates describe."
  # Without it the tags hide nothing.
  activated_policy_types = ["FINE_GRAINED_ACCESS_CONTROL"]

  lifecycle {
    # With a taxonomy, or a tag, its columns' protection would go.
    prevent_destroy = true
  }
}

resource "google_data_catalog_policy_tag" "this" {
  for_each = local.tags

  taxonomy     = google_data_catalog_taxonomy.this.id
  display_name = each.value.name
  description  = each.value.description

  lifecycle {
    prevent_destroy = true
  }
}

# On each tag, never on the taxonomy, which would be on all its tags.
resource "google_data_catalog_policy_tag_iam_member" "fine_grained_reader" {
  for_each = local.fine_grained_readers

  policy_tag = google_data_catalog_policy_tag.this[each.value.tag].name
  role       = "roles/datacatalog.categoryFineGrainedReader"
  member     = local.members[each.value.role]
}

resource "google_data_catalog_taxonomy_iam_member" "viewer" {
  for_each = toset(["writer", "admin"])

  project  = var.project
  region   = google_data_catalog_taxonomy.this.region
  taxonomy = google_data_catalog_taxonomy.this.name
  role     = local.custom["tags_viewer"]
  member   = local.members[each.value]
}

# With a mask the reader's query of a restricted column has an answer, which is not the value.
resource "google_bigquery_datapolicy_data_policy" "mask" {
  for_each = local.masking

  project          = var.project
  location         = lower(var.location)
  data_policy_id   = "${replace(var.name, "-", "_")}_${each.key}"
  policy_tag       = google_data_catalog_policy_tag.this[each.key].name
  data_policy_type = "DATA_MASKING_POLICY"

  data_masking_policy {
    predefined_expression = each.value
  }
}

resource "google_bigquery_datapolicy_data_policy_iam_member" "masked_reader" {
  for_each = google_bigquery_datapolicy_data_policy.mask

  project        = each.value.project
  location       = each.value.location
  data_policy_id = each.value.data_policy_id
  role           = "roles/bigquerydatapolicy.maskedReader"
  member         = local.members["reader"]
}
