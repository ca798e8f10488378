"""What `lakehouse tables` and `lakehouse show` print for people."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from lakehouse.cli_output import OUT, print_grid, size_text

_CELL = 60


def print_tables(found: list[dict[str, Any]]) -> None:
    """The tables as ``inspect.summarise`` gives them."""
    rows = [
        [table["name"], f"{table['rows']:,}", f"{table['files']:,}", size_text(table["bytes"]), table["snapshot_id"], table["committed_at"]]
        for table in found
    ]
    columns = ["table", "rows", "files", "size", "snapshot", "committed at"]
    print_grid(f"{len(found)} {'table' if len(found) == 1 else 'tables'}", columns, rows, right=("rows", "files", "size"))


def print_details(details: dict[str, Any]) -> None:
    """A table as ``inspect.describe`` gives it, with ``first_rows``."""
    OUT.print(Text(details["name"], style="bold").append(f"  {details['description']}", style="not bold"))
    OUT.print(f"{details['rows']:,} rows in {details['files']:,} files, {size_text(details['bytes'])}, at {details['location']}")
    if not details["managed"]:
        OUT.print(Text("No template describes this table: all values are masked.", style="yellow"))
    columns = ["id", "column", "type", "required", "access", "readable by", "pii", "description"]
    fields = [
        [found["id"], found["name"], found["type"], "yes" if found["required"] else "", found["access_level"],
         ", ".join(found["readable_by"] or []), "pii" if found["pii"] else "", found["description"]]
        for found in details["columns"]
    ]  # fmt: skip
    print_grid("Columns", columns, fields, right=("id",))
    for title in ("identifier", "partitions", "sort_order"):
        OUT.print(f"{title.replace('_', ' ')}: {', '.join(details[title]) or 'none'}")
    snapshots = [
        [found["snapshot_id"], found["committed_at"], found["operation"], f"{found['added_rows']:,}", f"{found['total_rows']:,}"]
        for found in details["snapshots"][-10:]
    ]
    print_grid(
        "Snapshots", ["snapshot", "committed at", "operation", "added rows", "total rows"], snapshots, right=("added rows", "total rows")
    )
    if details["audit"] is not None:
        OUT.print(f"There are rows that are not published: lakehouse audit show {details['name']}")
    rows = details["first_rows"]
    if rows:
        print_grid("First rows", list(rows[0]), [[_shortened(value) for value in row.values()] for row in rows])


def _shortened(value: Any) -> str | None:
    text = None if value is None else str(value)
    return text if text is None or len(text) <= _CELL else text[: _CELL - 1] + "…"
