# What AWS would answer: the values whose form the provider or the code checks, and an account that has nothing yet.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "111122223333"
    arn        = "arn:aws:sts::111122223333:assumed-role/deployer/session"
  }
}

mock_data "aws_iam_session_context" {
  defaults = { issuer_arn = "arn:aws:iam::111122223333:role/deployer" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_region" {
  defaults = { name = "eu-central-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
}

mock_data "aws_lakeformation_data_lake_settings" {
  defaults = { admins = ["arn:aws:iam::111122223333:role/deployer", "arn:aws:iam::111122223333:role/lakehouse-admin", "arn:aws:iam::111122223333:role/other-admin"] }
}

mock_data "aws_s3_objects" {
  defaults = { common_prefixes = [] }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555" }
}

mock_resource "aws_s3_bucket" {
  defaults = {
    id  = "example-bucket"
    arn = "arn:aws:s3:::example-bucket"
  }
}

mock_resource "aws_athena_workgroup" {
  defaults = { arn = "arn:aws:athena:eu-central-1:111122223333:workgroup/example" }
}

mock_resource "aws_iam_role" {
  defaults = {
    id  = "example"
    arn = "arn:aws:iam::111122223333:role/example"
  }
}

mock_resource "aws_glue_catalog_table" {
  defaults = { catalog_id = "111122223333" }
}

mock_resource "aws_vpc" {
  defaults = { id = "vpc-0123456789abcdef0" }
}

mock_resource "aws_vpc_endpoint" {
  defaults = { prefix_list_id = "pl-01234567" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/example" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:111122223333:example" }
}

mock_resource "aws_ecs_cluster" {
  defaults = { id = "arn:aws:ecs:eu-central-1:111122223333:cluster/example" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/example:1" }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/example/0123456789abcdef"
    arn_suffix = "app/example/0123456789abcdef"
    dns_name   = "example.eu-central-1.elb.amazonaws.com"
    zone_id    = "Z215JYRZR1TBD5"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/example/0123456789abcdef"
    arn_suffix = "targetgroup/example/0123456789abcdef"
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    endpoint           = "example.rds.amazonaws.com:5432"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:example" }]
  }
}
