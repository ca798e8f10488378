# A workgroup per role: what a role may scan, and where its results go, is not the client's choice.

locals {
  bytes_scanned_cutoff = merge(
    {
      reader = 100 * pow(1024, 3)
      writer = pow(1024, 4)
      admin  = pow(1024, 4)
    },
    var.bytes_scanned_cutoff,
  )

  results_locations = { for role in keys(local.bytes_scanned_cutoff) : role => "s3://${var.results_bucket}/${role}/" }
}

resource "aws_athena_workgroup" "this" {
  for_each = local.bytes_scanned_cutoff

  name        = "${var.name}-${each.key}"
  description = "Queries of the role ${each.key}."

  # With it, a destroy would take the queries that people saved in the workgroup, and the history of who asked what.
  # Without it, AWS refuses to delete a workgroup that holds any of them: whoever means it runs
  # `aws athena delete-work-group --recursive-delete-option` first.
  force_destroy = false

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = each.value

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location       = local.results_locations[each.key]
      expected_bucket_owner = var.account_id

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}
