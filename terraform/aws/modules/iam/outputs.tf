output "role_arns" {
  description = "Role => its ARN."
  value       = { for role, iam_role in aws_iam_role.this : role => iam_role.arn }
  # Grants on tables need an administrator of Lake Formation, too.
  depends_on = [aws_lakeformation_resource.warehouse]
}

output "registration_role_arn" {
  description = "ARN of the role with which Lake Formation opens the warehouse."
  value       = aws_iam_role.registration.arn
}
