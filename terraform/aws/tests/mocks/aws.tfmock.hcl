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
