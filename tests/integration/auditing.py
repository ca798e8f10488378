"""An audited event stream for tests, and what its tests look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from lakehouse.audit import Audit, open_audit, publish
from lakehouse.ledger import Ledger
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

EVENTS = """\
    name: events
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
    partition_spec: [{column: at, transform: day}]
    publish: audited
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
"""


def events(lakehouse: Lakehouse, text: str = EVENTS) -> TableTemplate:
    """The table ``lake.events``."""
    return lakehouse.template(text)


def land(lakehouse: Lakehouse, name: str, *ids: int) -> None:
    """A source file with events of these ids, on a day each."""
    lines = (json.dumps({"id": id_, "at": f"2024-01-{1 + id_ % 28:02}T00:00:00Z"}) for id_ in ids)
    lakehouse.land(f"{name}.jsonl", "\n".join(lines))


def ids(lakehouse: Lakehouse, table: str = "lake.events") -> list[int]:
    """What readers see."""
    return sorted(lakehouse.rows(table)["id"].to_pylist())


def audited_ids(lakehouse: Lakehouse, table: str = "lake.events") -> list[int]:
    """What would be seen, were the open audit published."""
    found = lakehouse.table(table).scan(snapshot_id=audit_of(lakehouse, table).snapshot_id).to_arrow()
    return sorted(found["id"].to_pylist())


def audit_of(lakehouse: Lakehouse, table: str = "lake.events") -> Audit:
    """The open audit."""
    found = open_audit(lakehouse.table(table))
    assert found is not None
    return found


def main_of(lakehouse: Lakehouse, table: str = "lake.events") -> dict[str, Any]:
    """All that readers and runs see of main: its snapshot, bytes of its manifest list, the properties, the ledger."""
    live = lakehouse.table(table)
    snapshot = live.current_snapshot()
    return {
        "snapshot": snapshot.model_dump_json() if snapshot else None,
        "manifests": live.io.new_input(snapshot.manifest_list).open().read() if snapshot else None,
        "log": [entry.snapshot_id for entry in live.metadata.snapshot_log],
        "properties": live.properties,
        "taken": Ledger(live, "").entries.to_pylist(),
        "schema": live.schema(),
    }


def data_files(lakehouse: Lakehouse, table: str = "lake.events") -> set[str]:
    """Every data file below the table's folder, whether the table knows of it or not."""
    scheme, _, path = lakehouse.table(table).location().partition("://")
    if scheme == "file":
        return {str(found) for found in Path(path).rglob("*.parquet")}
    bucket, _, prefix = path.partition("/")
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return {f"{bucket}/{entry['Key']}" for entry in found if entry["Key"].endswith(".parquet")}


def publish_open(lakehouse: Lakehouse, table: str = "lake.events") -> None:
    """Publishes the open audit."""
    publish(lakehouse.table(table), audit_of(lakehouse, table).snapshot_id, timeout=10)
