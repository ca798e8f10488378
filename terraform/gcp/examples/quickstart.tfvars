# The least that is needed, in a project of your own. terraform apply -var-file=examples/quickstart.tfvars
project  = "my-project"
location = "EU"
