output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "private_subnets" {
  description = "Zone => id of its private subnet."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
  # What starts in a subnet reaches the outside at once.
  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.gateway, aws_vpc_endpoint.interface]
}

output "private_cidrs" {
  description = "Zone => addresses of its private subnet."
  value       = local.private_cidrs
}

output "public_subnets" {
  description = "Zone => id of its public subnet; empty where nothing is public."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
  depends_on  = [aws_route.internet, aws_route_table_association.public]
}

output "prefix_lists" {
  description = "Service (s3, dynamodb) => id of the list of its addresses, for rules of security groups."
  value       = { for service, endpoint in aws_vpc_endpoint.gateway : service => endpoint.prefix_list_id }
}

output "logs_kms_key_arn" {
  description = "ARN of the key of logs, whose names begin with /<name>/, and of alarms."
  value       = aws_kms_key.logs.arn
}
