# A key of one's own, on request. Cloud Storage itself encrypts and decrypts with it: who reads files needs no right to it.

locals {
  cmek = toset(var.cmek ? ["this"] : [])
  # Cloud KMS calls the multi-regions otherwise.
  key_location = lookup({ EU = "europe", US = "us" }, var.location, var.location)
}

data "google_storage_project_service_account" "this" {
  for_each = local.cmek

  project = var.project
}

# A key ring cannot be deleted, and its name is taken for ever.
resource "google_kms_key_ring" "this" {
  for_each = local.cmek

  project  = var.project
  name     = var.name
  location = local.key_location

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key" "this" {
  #checkov:skip=CKV_GCP_43: 90 days by default, a sum that checkov does not work out.
  for_each = local.cmek

  name                       = "${var.name}-buckets"
  key_ring                   = google_kms_key_ring.this[each.key].id
  rotation_period            = "${var.key_rotation_days * local.day}s"
  destroy_scheduled_duration = "${var.key_destroy_days * local.day}s"

  lifecycle {
    # Without the key the files are lost, those that can still be restored, too.
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "storage" {
  for_each = local.cmek

  crypto_key_id = google_kms_crypto_key.this[each.key].id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this[each.key].member
}
