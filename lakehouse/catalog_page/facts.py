"""How a table is filled, laid out and kept, in words, from its template."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cronsim import CronSim

from lakehouse.catalog_page.lineage import path_of, pattern_of, source_of
from lakehouse.inspect import partition_texts, sort_texts
from lakehouse.pipelines import VALIDITY
from lakehouse.template import TableTemplate

Fact = tuple[str, list[str]]
_PATTERNS = {
    "event_stream": "appends each new source file once",
    "scd_type2": "keeps every version of a key",
    "feature_table": "computes each day from other tables",
}


def facts_of(template: TableTemplate, quarantine_of: str) -> list[Fact]:
    """Label and texts of each fact, in the order in which they are shown. What does not apply is left out.

    Args:
        quarantine_of: the table whose rows that do not fit this one has; empty for any other table.
    """
    schema = template.iceberg_schema
    facts = [
        ("Filled by", [f"rows that do not fit {quarantine_of}"] if quarantine_of else _pattern(template)),
        ("Source", _source(template)),
        *_of_pattern(template),
        ("Schedule", _schedule(template)),
        ("Rows that do not fit", _bad_rows(template)),
        ("Published", ["after its checks pass"] if template.publish == "audited" else []),
        ("Freshness", [f"newest row at most {template.freshness} old"] if template.freshness else []),
        ("A row is unique by", _in_one(template.identifier)),
        ("Partitioned by", _in_one(partition_texts(schema, template.iceberg_partition_spec(schema)))),
        ("Sorted by", _in_one(sort_texts(schema, template.iceberg_sort_order(schema)))),
        ("Maintenance", _maintenance(template)),
    ]
    return [(label, texts) for label, texts in facts if texts]


def _in_one(texts: Sequence[str]) -> list[str]:
    return [", ".join(texts)] if texts else []


def _pattern(template: TableTemplate) -> list[str]:
    pattern = pattern_of(template)
    return [f"{pattern}: {_PATTERNS[pattern]}"] if pattern else []


def _source(template: TableTemplate) -> list[str]:
    source = source_of(template)
    return [f"{path_of(source)} ({source.format})"] if source else []


def _of_pattern(template: TableTemplate) -> list[Fact]:
    if (versions := template.scd_type2) is not None:
        return [("Versions", [f"of {', '.join(versions.key)}, by {versions.effective_at}: {', '.join(VALIDITY)}"])]
    if (features := template.feature_table) is not None:
        days = f"daily from {features.partitions.start}" + (f" to {features.partitions.end}" if features.partitions.end else "")
        sees = "all rows up to the day's end" if features.window is None else f"the {features.window} up to the day's end"
        return [("Days", [f"{days}; the last {features.lookback} again for late data"]), ("Sees", [f"{sees}, by {features.sql}"])]
    return []


def _bad_rows(template: TableTemplate) -> list[str]:
    if source_of(template) is None:
        return []
    return [f"go to {quarantine.table_name}" if (quarantine := template.quarantine) else "fail the run"]


def _schedule(template: TableTemplate) -> list[str]:
    pipeline = template.event_stream or template.pipeline
    if pipeline is None:
        return []
    if pipeline.cron is None:
        return ["by hand"]
    # Lint has seen to it that it is one.
    words = CronSim(pipeline.cron, datetime(2024, 1, 1, tzinfo=UTC)).explain()
    return [f"{words}, UTC ({pipeline.cron})"]


def _maintenance(template: TableTemplate) -> list[str]:
    if not template.is_maintained:
        return []
    found = template.maintenance
    kept = f"snapshots are kept for {found.keep_snapshots}, {found.keep_at_least} at least"
    return [kept, *([f"rows older than {found.retention.replace(' on ', ' by ')} are deleted"] if found.retention else [])]
