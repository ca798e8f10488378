"""Audited writes, and rollbacks, on the backends whose catalog this project does not bring along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditing import audit_of, audited_ids, events, ids, land, main_of, publish_open

from lakehouse.audit import drop
from lakehouse.rollback import plan_rollback, roll_back

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-glue", "gcp"]


def test_rows_are_unseen_until_they_are_published_and_come_again_after_a_drop_and_a_rollback(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    land(lakehouse, "a", 1, 2)
    for run, seen in (("of an empty table", []), ("of one with rows", [1, 2])):
        if seen:
            land(lakehouse, "b", 3)
        before = main_of(lakehouse)
        assert lakehouse.run(template, run).audit is True
        assert (main_of(lakehouse), ids(lakehouse)) == (before, seen)
        drop(lakehouse.table("lake.events"), timeout=10)
        assert main_of(lakehouse) == before
        assert lakehouse.run(template, run).audit is True
        assert audited_ids(lakehouse) == ([1, 2, 3] if seen else [1, 2])
        assert audit_of(lakehouse).run_id == run
        publish_open(lakehouse)
    assert ids(lakehouse) == [1, 2, 3]
    assert lakehouse.run(template, "again").source_files == 0
    table, warehouse = lakehouse.table("lake.events"), lakehouse.settings.warehouse_uri
    [first, _] = [entry.snapshot_id for entry in table.metadata.snapshot_log]
    roll_back(plan_rollback(table, first, warehouse, take_files_again=True), warehouse, timeout=10)
    assert ids(lakehouse) == [1, 2]
    assert (lakehouse.run(template, "anew").source_files, audited_ids(lakehouse)) == (1, [1, 2, 3])
