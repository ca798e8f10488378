# The least that is needed, in an account of your own. terraform apply -var-file=examples/quickstart.tfvars
region = "eu-central-1"

# The account has no Lake Formation administrator yet: become one.
manage_lakeformation_settings = true

named_query_tables = ["event_stream"]
