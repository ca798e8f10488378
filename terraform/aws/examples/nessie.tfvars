# Commits through Nessie, a catalog with branches: PostgreSQL, HTTPS, tokens. Replace the account 111122223333 and the names.
region        = "eu-central-1"
bucket_prefix = "example-corp-branches"

catalog_type = "nessie"

# Two zones, each with its own way out; pipelines run in the private subnets (output nessie).
vpc_cidr           = "10.20.0.0/16"
availability_zones = ["eu-central-1a", "eu-central-1b"]
egress             = "nat_per_zone"

# Before the first table: a change of the version store begins an empty catalog.
nessie_version_store = "postgres"
nessie_postgres      = { instance_class = "db.m7g.large" }
nessie_tasks         = { min = 2, max = 6 }

# nessie_host's record in your DNS: an alias of the output nessie.load_balancer.
certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/11111111-2222-3333-4444-555555555555"
nessie_host     = "nessie.example.com"

nessie_oidc = {
  issuer    = "https://id.example.com/realms/data"
  client_id = "nessie"
  token_uri = "https://id.example.com/realms/data/protocol/openid-connect/token"
  scope     = "catalog"
}

# What no rule allows is denied. Readers have no token: they ask Athena.
nessie_authorization_rules = {
  pipelines = "role == 'service-account-dagster'"
  people    = "op in ['VIEW_REFERENCE', 'LIST_COMMIT_LOG', 'READ_ENTRIES', 'READ_CONTENT_KEY', 'READ_ENTITY_VALUE'] && role.startsWith('data-')"
}

nessie_alarm_emails = ["data-on-call@example.com"]

trust = {
  writer = { services = ["ecs-tasks.amazonaws.com"] }
}
