"""What changed in the templates between two revisions of a git repository, by the comparison of `plan`. No live table is needed.

The older template stands for a table that it made, and that holds rows: what would break such a table is breaking.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import load_file_io
from pyiceberg.table import Table
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import LakehouseError
from lakehouse.plan import BREAKING, CHANGES, FAILED, NOTHING
from lakehouse.renames import consumed_names, former_names_property, match_columns
from lakehouse.revisions import Templates, of_revision, of_working_tree, without
from lakehouse.schema_plan import Change, Kind, Level, worst_level
from lakehouse.settings import LakehouseSettings
from lakehouse.table_plan import TablePlan
from lakehouse.template import TableTemplate

WORKING_TREE = "working tree"


@dataclass(frozen=True)
class TableChanges:
    """What changed about one table.

    Attributes:
        action: create, where only the newer revision has a template of it; drop, where only the older has; change.
    """

    table: str
    action: Literal["create", "change", "drop"]
    changes: list[Change] = field(default_factory=list[Change])

    @property
    def level(self) -> Level:
        """The worst level of its changes."""
        return worst_level(self.changes) or "safe"

    def as_dict(self) -> dict[str, Any]:
        """The form of ``lakehouse changelog --json``."""
        return {"table": self.table, "action": self.action, "level": self.level, "changes": [asdict(change) for change in self.changes]}


@dataclass(frozen=True)
class Changelog:
    """What changed.

    Attributes:
        before, after: the revisions as they were given; WORKING_TREE for that.
        tables: those that changed, by name.
        warnings: what of a revision cannot be read any more, and so is not compared; a sentence or two each.
        not_compared: the tables of which nothing could be compared, for one of the two revisions of it cannot be read or stand beside
            the other.
    """

    before: str
    after: str
    tables: list[TableChanges]
    warnings: list[str]
    not_compared: list[str] = field(default_factory=list[str])

    @property
    def exit_code(self) -> int:
        """As that of `plan`: 0 no change, 2 changes, 3 breaking changes among them, 1 a table that could not be compared."""
        if self.not_compared:
            return FAILED
        if any(table.level == "breaking" for table in self.tables):
            return BREAKING
        return CHANGES if self.tables else NOTHING

    def as_dict(self) -> dict[str, Any]:
        """The form of ``lakehouse changelog --json``: that of ``lakehouse plan``, with the revisions and the warnings."""
        tables = [table.as_dict() for table in self.tables]
        return {
            "version": 1,
            "before": self.before,
            "after": self.after,
            "tables": tables,
            "warnings": self.warnings,
            "not_compared": self.not_compared,
        }


def changelog(settings: LakehouseSettings, before: str, after: str | None = None) -> Changelog:
    """Compares the templates of a git revision with those of another, or of the working tree.

    Raises:
        RevisionError: there is no git, no repository around the templates, or no such revision in it.
        TemplateError: the working tree has templates that lint refuses. Those of revisions are compared as far as they can be read.
    """
    folder = settings.templates
    new = of_working_tree(folder, settings.variables) if after is None else of_revision(folder, after)
    old = of_revision(folder, before)
    warnings, tables = [*old.warnings, *new.warnings], list[TableChanges]()
    not_compared = sorted({*old.unreadable, *new.unreadable})
    for name in sorted(old.by_table.keys() | new.by_table.keys()):
        try:
            tables += _compare(name, old, new)
        except (LakehouseError, ValueError) as error:  # PyIceberg's are ValueErrors
            warnings.append(f"{name} is not compared: {error}")
            not_compared.append(name)
    return Changelog(before, WORKING_TREE if after is None else after, tables, warnings, not_compared)


def _compare(name: str, old: Templates, new: Templates) -> list[TableChanges]:
    """A table and its quarantine table. Raises what `plan` does where the two cannot be compared."""
    not_read = old.not_read.get(name, set()) | new.not_read.get(name, set())
    before, after = (
        without(found.by_table[name], not_read) if not_read and name in found.by_table else found.by_table.get(name) for found in (old, new)
    )
    rest = [] if before is None or after is None else [*_rest(before, after), *_sql(name, old, new)]
    quarantine = _compare_table(before and before.quarantine, after and after.quarantine, [])
    return [*_compare_table(before, after, rest), *quarantine]


def _compare_table(before: TableTemplate | None, after: TableTemplate | None, rest: list[Change]) -> Iterator[TableChanges]:
    if before is None and after is not None:
        yield TableChanges(after.table_name, "create")
    elif before is not None and after is None:
        note = "the live table and its rows stay, and nothing describes them. On AWS, name it in Terraform's variable retired_tables"
        yield TableChanges(before.table_name, "drop", [Change("drop-table", "", "", "", "breaking", note)])
    elif before is not None and after is not None and (rest or before.model_dump() != after.model_dump()):
        table = _table_of(before)
        changes = [*TablePlan(table, after, {}).changes, *_no_longer_set(before, after), *_access(table, before, after), *rest]
        if changes:
            yield TableChanges(after.table_name, "change", changes)


def _table_of(template: TableTemplate) -> Table:
    """The table that a template made, with rows in it: one snapshot, which is never read."""
    schema = template.iceberg_schema
    metadata = new_table_metadata(
        schema,
        template.iceberg_partition_spec(schema),
        template.iceberg_sort_order(schema),
        "",
        {**template.table_properties, **former_names_property(template, schema)},
    )
    rows = Snapshot(snapshot_id=1, timestamp_ms=0, manifest_list="")
    metadata = metadata.model_copy(update={"snapshots": [rows], "current_snapshot_id": 1})
    return Table((template.namespace, template.name), metadata, "", load_file_io(), NoopCatalog("none"))


def _no_longer_set(before: TableTemplate, after: TableTemplate) -> Iterator[Change]:
    """Properties that a template named and no longer does. Bounds that follow from access are told by that."""
    own = {"comment", "owner", *before.properties}
    for key, value in sorted(before.table_properties.items()):
        if key in own and key not in after.table_properties:
            yield Change("property", key, value, "not set", "safe", "a live table keeps it")


def _access(table: Table, before: TableTemplate, after: TableTemplate) -> Iterator[Change]:
    """Access levels and pii of the columns that stay, also under another name."""
    old_columns = {column.name: column for column in before.columns}
    matched = match_columns(after.columns, table.schema(), consumed_names(table))
    for column in after.columns:
        if column.name not in matched:
            continue
        old = old_columns[matched[column.name].name]
        if old.access_level != column.access_level:
            level: Level = "care" if old.access_level == "restricted" else "safe"
            note = {"restricted": "the reader role no longer sees it"}.get(column.access_level, "")
            note = "the reader role sees it from then on" if level == "care" else note
            yield Change("access-level", column.name, old.access_level, column.access_level, level, note)
        if old.pii != column.pii:
            note = "" if column.pii else "its values may be shown, and stand in logs and metadata from then on"
            yield Change("pii", column.name, _text(old.pii), _text(column.pii), "safe" if column.pii else "care", note)


# What a change of the pipeline, or of how a table is kept, means for what is there. What is not named here is safe.
_CARE = {
    ("pipeline", ""): "rows that are there stay as they were written",
    ("pipeline", "source.path"): "files at the new place count as new, and are taken",
    ("pipeline", "source.format"): "rows of files that were taken stay as they were read",
    ("pipeline", "source.csv_options"): "rows of files that were taken stay as they were read",
    ("pipeline", "key"): "versions that are there stay as they were merged",
    ("pipeline", "effective_at"): "versions that are there stay as they were merged",
    ("pipeline", "operation"): "versions that are there stay as they were merged",
    ("pipeline", "skip_when"): "versions that are there stay as they were merged",
    ("pipeline", "sql"): "days that are there keep their features until they are computed again",
    ("pipeline", "inputs"): "days that are there keep their features until they are computed again",
    ("pipeline", "window"): "days that are there keep their features until they are computed again",
    ("maintenance", "keep_snapshots"): "older snapshots cannot be read or rolled back to, once they are cleaned up",
    ("maintenance", "keep_at_least"): "older snapshots cannot be read or rolled back to, once they are cleaned up",
    ("maintenance", "retention"): "older rows are deleted by the next maintenance, for good once their snapshots expire",
}
_REST: tuple[Kind, ...] = ("tags", "publish", "freshness", "checks", "maintenance")


def _rest(before: TableTemplate, after: TableTemplate) -> Iterator[Change]:
    """What `plan` does not compare, since it is nothing about the live table."""
    pipelines = [template.event_stream or template.pipeline for template in (before, after)]
    patterns = [pipeline.pattern if pipeline else "none" for pipeline in pipelines]
    if patterns[0] != patterns[1]:
        yield _change("pipeline", "", patterns[0], patterns[1])
    elif pipelines[0] and pipelines[1]:
        yield from _differences("pipeline", pipelines[0].model_dump(), pipelines[1].model_dump())
    one, other = (template.model_dump(include={*map(str, _REST)}) for template in (before, after))
    for kind in _REST:
        yield from _differences(kind, *(value if isinstance(value, dict) else {"": value} for value in (one[kind], other[kind])))


def _differences(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    one, other = _flat(before), _flat(after)
    for key in dict.fromkeys([*other, *one]):
        if one.get(key) != other.get(key):
            yield _change(kind, key, one.get(key, "none"), other.get(key, "none"))


def _change(kind: Kind, subject: str, before: str, after: str) -> Change:
    top = next((key for key in (subject, ".".join(subject.split(".")[:2]), subject.split(".")[0]) if (kind, key) in _CARE), None)
    return Change(kind, subject, before, after, "safe" if top is None else "care", "" if top is None else _CARE[kind, top])


def _sql(table: str, old: Templates, new: Templates) -> Iterator[Change]:
    """A changed SQL under the same name; another name is told as that."""
    before, after = old.by_table[table].feature_table, new.by_table[table].feature_table
    if before and after and before.sql == after.sql and old.sql.get(table) != new.sql.get(table):
        yield _change("pipeline", "sql", before.sql, f"{after.sql}, with another text")


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The texts of nested mappings by dotted key, without what is not set."""
    found: dict[str, str] = {}
    for name, value in data.items():
        key = f"{prefix}.{name}".strip(".")
        if isinstance(value, Mapping):
            found |= _flat(cast("Mapping[str, Any]", value), key)
        elif value is not None:
            found[key] = _text(value)
    return found


def _text(value: object) -> str:
    """A value as people read it; as JSON where nothing of it would be seen otherwise."""
    is_plain = isinstance(value, str) and value.isprintable() and value == value.strip() != ""
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)
