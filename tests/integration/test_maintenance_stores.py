"""Maintenance on object stores, with the catalogs of Glue and BigLake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest
from maintaining import LATER, actions, events, ids, maintained, take

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-glue", "gcp"]


def keys(lakehouse: Lakehouse, request: pytest.FixtureRequest) -> set[str]:
    """The names of everything in the warehouse's bucket."""
    if lakehouse.settings.backend == "gcp":
        return set(request.getfixturevalue("biglake").storage.objects("warehouse"))
    return {found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket="warehouse").get("Contents", [])}


def test_a_table_in_an_object_store(lakehouse: Lakehouse, request: pytest.FixtureRequest) -> None:
    template = events(lakehouse)
    for number in range(6):
        take(lakehouse, template, number)
    table = lakehouse.table("lake.events")
    names = ["/data/stray.parquet", "/stray.txt"]
    if lakehouse.settings.backend == "aws-glue":  # BigLake lends credentials for the table's own folder alone
        names.append("_too/data/stray.parquet")
    for name in names:
        with table.io.new_output(table.location() + name).create() as stream:
            stream.write(b"12345")
    folder = table.location().split("/", 3)[3]
    before = keys(lakehouse, request)
    assert {folder + name for name in names} <= before
    [report] = maintained(lakehouse, template)
    assert actions(report) == {"retention": "nothing", "compact": "nothing", "expire": "nothing", "orphans": "nothing"}
    take(lakehouse, template, 7, 9, 11)
    take(lakehouse, template, 13)
    planned = maintained(lakehouse, template, later=LATER, dry_run=True)[0]
    assert before < keys(lakehouse, request)
    [report] = maintained(lakehouse, template, later=LATER)
    assert actions(report) == {"retention": "nothing", "compact": "done", "expire": "done", "orphans": "done"}
    assert 5 <= planned.freed < report.freed  # the dry run does not know what a compaction leaves
    after = keys(lakehouse, request)
    assert [folder + name in after for name in names] == [False, True, True][: len(names)]
    data = {path.split("/", 3)[3] for path in lakehouse.table("lake.events").inspect.all_files()["file_path"].to_pylist()}
    assert {key for key in after if key.startswith(f"{folder}/") and key.endswith(".parquet")} == data
    assert ids(lakehouse) == [*range(6), 7, 9, 11, 13]
    assert lakehouse.run(template).source_files == 0  # the ledger is there
