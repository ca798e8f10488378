# Three service accounts, what each may do, and the policy tags that hide columns from the reader.
#
# main.tf      service accounts and who may act as them
# roles.tf     what each may do
# taxonomy.tf  policy tags, who sees what they hide, masking

locals {
  roles = {
    reader = "Queries the datasets. Has no access to catalog, connection and files, where no column is hidden."
    writer = "Runs the pipelines: reads source files, reads and commits tables, points BigQuery at what it committed."
    admin  = "Runs lakehouse apply and governance: creates and changes tables."
  }
  # Made of what is known before there is an account, so that a plan says whom each binding names.
  emails  = { for role, account in google_service_account.this : role => "${account.account_id}@${account.project}.iam.gserviceaccount.com" }
  members = { for role, email in local.emails : role => "serviceAccount:${email}" }

  trusted = merge([for role, trust in var.trust : merge(
    { for member in trust.members : "${role}/${member}" => { role = role, member = member, may = "roles/iam.serviceAccountTokenCreator" } },
    { for member in trust.workload_identities : "${role}/${member}" => { role = role, member = member, may = "roles/iam.workloadIdentityUser" } },
  )]...)
}

resource "google_service_account" "this" {
  for_each = local.roles

  project      = var.project
  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name} ${each.key}"
  description  = each.value
}

# Nobody gets a key: people and machines act as an account for an hour at a time.
resource "google_service_account_iam_member" "trust" {
  for_each = local.trusted

  service_account_id = google_service_account.this[each.value.role].name
  role               = each.value.may
  member             = each.value.member
}
