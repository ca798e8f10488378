"""DuckDB, as merges, features and lint use it: private to the process, in UTC, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

GLOB = frozenset("*?[]{}")  # in a path that is given to DuckDB: it would read every file whose path matches
_MEMORY_OF_A_THREAD = 128 * 1024 * 1024


@contextmanager
def connect(memory: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory database. What does not fit into ``memory`` bytes waits in a folder of its own on local disk."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-duckdb-") as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory // 1024}KiB",
            "temp_directory": folder,
            # Each thread holds rows of its own: on a machine with many cores they would need more than there is.
            "threads": max(1, min(os.cpu_count() or 1, memory // _MEMORY_OF_A_THREAD)),
            "preserve_insertion_order": False,  # else results are held to be put in order
            "autoinstall_known_extensions": False,  # nothing is downloaded
        }
        with duckdb.connect(config=config) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.execute("set enable_progress_bar = false")  # it goes to standard output
            yield connection


def quoted(name: str) -> str:
    """A name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(value: str) -> str:
    """A text as a SQL string."""
    return "'" + value.replace("'", "''") + "'"
