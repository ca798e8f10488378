"""Soda's ``configuration.yaml`` for each kind of data source. No secret is in it: credentials are those of the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings

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


def write_configuration(path: Path, configuration: dict[str, Any], name: str = DATA_SOURCE) -> Path:
    """Writes the file, which only its owner reads, and returns its path."""
    path.touch(mode=0o600)
    # JSON is YAML in which no text can be taken for anything else.
    path.write_text(json.dumps({f"data_source {name}": configuration}, indent=2) + "\n", encoding="utf-8")
    return path


def _required(value: str | None, variable: str) -> str:
    if not value:
        raise SettingsError(f"{variable} is not set, which Soda's data source needs. Set it: lakehouse env --terraform terraform/<cloud>")
    return value
