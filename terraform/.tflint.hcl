# The terraform rules come with tflint itself, so that linting needs no network.
plugin "terraform" {
  enabled = true
  preset  = "all"
}
