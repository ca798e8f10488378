output "emails" {
  description = "Role => e-mail address of its service account."
  value       = local.emails
}

output "taxonomy" {
  description = "The taxonomy of the policy tags, as projects/…/taxonomies/…"
  value       = google_data_catalog_taxonomy.this.name
}

output "policy_tags" {
  description = "Access level (restricted, internal) => its policy tag, projects/…/policyTags/…"
  value       = { for level, tag in google_data_catalog_policy_tag.this : level => tag.name }
}
