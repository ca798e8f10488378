"""Which files are deleted: by whatever name a file is listed, and whoever else is at work, nothing goes that something still needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from maintaining import EVENTS, LATER, events, files_of, ids, step, take
from pyiceberg.catalog.sql import SqlCatalog

from lakehouse.health import Health, check_health
from lakehouse.maintenance import retention as retention_module
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse


def stream(lakehouse: Lakehouse, text: str = EVENTS, count: int = 3) -> tuple[TableTemplate, Path]:
    """The table ``lake.events`` with some rows, and its folder."""
    template = events(lakehouse, text)
    for number in range(count):
        take(lakehouse, template, number)
    return template, Path(lakehouse.settings.warehouse, "lake", "events")


def test_links_are_not_followed(lakehouse: Lakehouse, tmp_path: Path) -> None:
    template, folder = stream(lakehouse)
    outside = tmp_path / "somebody" / "else.parquet"
    outside.parent.mkdir()
    outside.write_bytes(b"12345")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "data" / "link").symlink_to(outside.parent, target_is_directory=True)
    (folder / "data" / "link.parquet").symlink_to(outside)
    (folder / "data" / "stray.parquet").write_bytes(b"1")
    assert step(lakehouse, template, "orphans", LATER).action == "done"
    assert not (folder / "data" / "stray.parquet").exists()
    assert outside.exists()
    assert ids(lakehouse) == [0, 1, 2]


def test_a_file_that_is_named_in_another_way_stays(lakehouse: Lakehouse, tmp_path: Path) -> None:
    """As of another mount, or by another name of the same bucket or host."""
    text = EVENTS.replace("maintenance:", f"properties: {{write.data.path: file://{tmp_path}/mount/data}}\n    maintenance:")
    (tmp_path / "mount").symlink_to(Path(lakehouse.settings.warehouse, "lake", "events"), target_is_directory=True)
    template, folder = stream(lakehouse, text)
    assert len(list(folder.rglob("data/**/*.parquet"))) == 3
    (folder / "data" / "stray.parquet").write_bytes(b"1")
    assert step(lakehouse, template, "orphans", LATER).action == "done"
    assert not (folder / "data" / "stray.parquet").exists()
    assert ids(lakehouse) == [0, 1, 2]


def test_a_tag_that_is_set_while_snapshots_expire(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template, _ = stream(lakehouse)
    first = lakehouse.table("lake.events").metadata.snapshots[0].snapshot_id
    commit = SqlCatalog.commit_table

    def tag_first(self: Any, *arguments: Any) -> Any:
        monkeypatch.undo()
        lakehouse.table("lake.events").manage_snapshots().create_tag(first, "before").commit()
        return commit(self, *arguments)

    monkeypatch.setattr(SqlCatalog, "commit_table", tag_first)
    assert step(lakehouse, template, "expire", LATER).action == "done"
    assert lakehouse.table("lake.events").metadata.refs["before"].snapshot_id == first
    step(lakehouse, template, "orphans", LATER)
    assert ids(lakehouse, first) == [0]


def test_whatever_a_duration_says(lakehouse: Lakehouse) -> None:
    template, _ = stream(lakehouse, EVENTS.replace("keep_snapshots: 1d", "keep_snapshots: 999999w, retention: 999999w on at"))
    assert [step(lakehouse, template, name, LATER).action for name in ("retention", "expire")] == ["nothing", "nothing"]
    assert isinstance(next(check_health(lakehouse.settings, lakehouse.catalog, [template])), Health)


def test_source_files_in_a_tables_folder_stay(lakehouse: Lakehouse) -> None:
    source = f"{lakehouse.settings.warehouse}/lake/events/incoming"
    template = events(lakehouse, EVENTS.replace("${LAKEHOUSE_LANDING}", source).replace("jsonl", "parquet"))
    file = Path(source, "a.parquet")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"1")
    found = step(lakehouse, template, "orphans", LATER)
    assert (found.action, "source" in found.detail) == ("failed", True)
    assert file.exists()


def test_the_files_of_a_table_that_was_in_the_same_place_stay(lakehouse: Lakehouse) -> None:
    """As where it was dropped by mistake, or its catalog was lost, and `apply` made it anew."""
    template, folder = stream(lakehouse)
    old = lakehouse.table("lake.events")
    lakehouse.catalog.drop_table("lake.events")
    template = events(lakehouse)
    take(lakehouse, template, 7)
    before = files_of(lakehouse)
    found = step(lakehouse, template, "orphans", LATER)
    assert (found.action, str(old.metadata.table_uuid) in found.detail) == ("failed", True)
    assert before <= files_of(lakehouse)
    lakehouse.catalog.drop_table("lake.events")  # as if another catalog's table was younger
    lakehouse.catalog.register_table("lake.events", old.metadata_location)
    assert step(lakehouse, template, "orphans", LATER).action == "failed"
    assert before <= files_of(lakehouse)
    # Nobody needs it: then, and with what a writer leaves that was killed, the rest goes.
    other = [path for path in (folder / "metadata").glob("*.metadata.json") if str(old.metadata.table_uuid) not in path.read_text()]
    for path in other:
        path.unlink()
    (folder / "metadata" / "00000-killed.metadata.json").write_text('{"format-ver')
    found = step(lakehouse, template, "orphans", LATER)
    assert (found.action, ids(lakehouse)) == ("done", [0, 1, 2])
    assert not (folder / "metadata" / "00000-killed.metadata.json").exists()


def test_a_retention_says_what_was_deleted(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse, EVENTS.replace("keep_at_least: 1", "keep_at_least: 1, retention: 1d on at"))
    for number in range(4):
        take(lakehouse, template, number, number + 10)
    commit = retention_module.replace_files

    def delete_first(*arguments: Any) -> Any:
        lakehouse.table("lake.events").delete("at < '2024-01-02T00:00:00+00:00'")
        return commit(*arguments)

    monkeypatch.setattr(retention_module, "replace_files", delete_first)
    found = step(lakehouse, template, "retention")
    assert (found.rows, found.files, ids(lakehouse)) == (4, 2, [])
    assert found.detail.endswith("; 2 files go; 2 others were changed meanwhile, and are left to the next run")


def test_values_of_rows_are_in_no_message(lakehouse: Lakehouse) -> None:
    """As of a file by another writer, whose values do not fit."""
    text = EVENTS.replace("    partition_spec: [{column: at, transform: day}]\n", "").replace(
        "type: timestamptz", "type: timestamptz, pii: true"
    )
    template, _ = stream(lakehouse, text, count=6)
    [path, *_] = [task.file.file_path.removeprefix("file://") for task in lakehouse.table("lake.events").scan().plan_files()]
    rows = pq.read_table(path)
    field = rows.schema.field("at").with_type(pa.timestamp("ns", "UTC"))
    late = pa.array([1704067200987654321], field.type)
    pq.write_table(rows.set_column(rows.schema.get_field_index("at"), field, late), path)
    found = step(lakehouse, template, "compact")
    assert found.action == "failed"
    assert "987654321" not in found.detail
    assert "ArrowInvalid" in found.detail
