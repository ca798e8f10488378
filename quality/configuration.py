"""Soda's ``configuration.yaml`` for each kind of data source. No secret is in it: credentials are those of the environment.

    python -m quality.configuration --terraform terraform/aws

writes one for whoever runs ``soda scan`` by hand on a cloud, with a data source for each namespace.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lakehouse.cli_output import ERR, OUT
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.lint import load_templates
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings
from lakehouse.terraform import terraform_environment

DATA_SOURCE = "lakehouse"
# Of the memory that is given, each of DuckDB's threads holds rows of its own.
_MEMORY_OF_A_THREAD = 256 * 1024 * 1024


def duckdb_configuration(database: Path, memory: int, temp: Path) -> dict[str, Any]:
    """DuckDB on a database file.

    Args:
        memory: bytes that DuckDB may hold; what does not fit waits in files below ``temp``.
    """
    threads = max(1, min(4, memory // _MEMORY_OF_A_THREAD))
    settings = {
        "memory_limit": f"{memory // 1024}KiB",
        "temp_directory": str(temp / "spill"),
        "threads": str(threads),
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
    }
    return {"type": "duckdb", "path": str(database), "read_only": True, "configuration": settings}


def athena_configuration(settings: LakehouseSettings, namespace: str) -> dict[str, Any]:
    """Athena, by the writer's workgroup, in which results are encrypted and scans limited. Raises SettingsError for what is not set."""
    return {
        "type": "athena",
        "region_name": _required(settings.aws_region, "AWS_REGION"),
        "catalog": "AwsDataCatalog",
        "schema": namespace,
        "work_group": _required(settings.athena_workgroup, "LAKEHOUSE_ATHENA_WORKGROUP"),
        "staging_dir": _required(settings.athena_results, "LAKEHOUSE_ATHENA_RESULTS"),
    }


def bigquery_configuration(settings: LakehouseSettings, namespace: str) -> dict[str, Any]:
    """BigQuery, with Google's application default credentials. Raises SettingsError for what is not set."""
    location = {"location": settings.google_location} if settings.google_location else {}
    return {
        "type": "bigquery",
        "project_id": _required(settings.google_project, "GOOGLE_CLOUD_PROJECT"),
        "dataset": namespace,
        "use_context_auth": True,
        **location,
    }


_CLOUDS: Mapping[str, Callable[[LakehouseSettings, str], dict[str, Any]]] = {
    "aws-glue": athena_configuration,
    "gcp": bigquery_configuration,
}


def cloud_configurations(settings: LakehouseSettings) -> dict[str, dict[str, Any]]:
    """A data source for each namespace of the templates, by its name. Raises SettingsError where the backend has none."""
    if settings.backend not in _CLOUDS:
        raise SettingsError(
            f"The backend {settings.backend} is scanned by DuckDB, over a snapshot that only lives as long as its scan: run make quality."
        )
    templates = load_templates(settings.templates, settings.variables)
    return {name: _CLOUDS[settings.backend](settings, name) for name in sorted({template.namespace for template in templates})}


def write_configuration(path: Path, configuration: dict[str, Any]) -> Path:
    """Writes the file with one data source, ``lakehouse``, and returns its path."""
    return write_configurations(path, {DATA_SOURCE: configuration})


def write_configurations(path: Path, configurations: Mapping[str, dict[str, Any]]) -> Path:
    """Writes the file, and the folder, with some data sources, by name; only its owner reads it. Returns its path.

    Raises SettingsError where it cannot be written.
    """
    # JSON is YAML in which no text can be taken for anything else.
    sources = {f"data_source {name}": configuration for name, configuration in configurations.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)  # also where it was there
        path.write_text(json.dumps(sources, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"Soda's configuration {path} cannot be written: {error.strerror}. Free the place, or name another.") from None
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the configuration of an applied Terraform root. Returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m quality.configuration",
        description="Write Soda's configuration of a cloud from Terraform's outputs.",
        epilog="Example: python -m quality.configuration --terraform terraform/aws. "
        "Then: soda scan -d lakehouse -c quality/configuration.yaml quality/soda_checks/event_stream_checks.yaml",
    )
    parser.add_argument("--terraform", type=Path, required=True, help="the applied Terraform root")
    parser.add_argument("--output", type=Path, default=PROJECT_ROOT / "quality" / "configuration.yaml", help="the file to write")
    options = parser.parse_args(arguments)
    try:
        found = cloud_configurations(LakehouseSettings.load(**terraform_environment(options.terraform)))
        write_configurations(options.output, found)
    except LakehouseError as error:
        ERR.print(f"error: {error}", style="red", markup=False)
        return 1
    OUT.print(f"{options.output} has the data sources {', '.join(found)}.", markup=False)
    return 0


def _required(value: str | None, variable: str) -> str:
    if not value:
        raise SettingsError(f"{variable} is not set, which Soda's data source needs. Set it: lakehouse env --terraform terraform/<cloud>")
    return value


if __name__ == "__main__":
    sys.exit(main())
