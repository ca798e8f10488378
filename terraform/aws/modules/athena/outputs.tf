output "workgroups" {
  description = "Role => name of its workgroup."
  value       = { for role, workgroup in aws_athena_workgroup.this : role => workgroup.name }
}

output "workgroup_arns" {
  description = "Role => ARN of its workgroup."
  value       = { for role, workgroup in aws_athena_workgroup.this : role => workgroup.arn }
}

output "results_locations" {
  description = "Role => S3 URI of its query results, with a slash at the end."
  value       = local.results_locations
}
