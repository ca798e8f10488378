"""Which source files a run takes, exactly once, and what it does with those it cannot take."""

from __future__ import annotations

import gc
import gzip
import json
import os
import textwrap
import traceback
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lakehouse.conform import Conformer, Rows
from lakehouse.engines import source_files, targets
from lakehouse.errors import LakehouseError, SourceError
from lakehouse.formats import FileReader
from lakehouse.inspect import list_tables
from lakehouse.ledger import LEDGER, Ledger
from lakehouse.sources import without_credentials
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse

PII = "ada.lovelace@example.com"
DAY = "2024-03-0{}T12:00:00Z"


def events(lakehouse: Lakehouse, extra: str = "", pipeline: str = "", partition: str = "day") -> TableTemplate:
    """The table ``lake.events`` with a required id, an e-mail address (pii) and a time."""
    spec = f"partition_spec: [{{column: at, transform: {partition}}}]" if partition else ""
    return lakehouse.template(
        textwrap.dedent("""\
            name: events
            namespace: lake
            columns:
              - {name: id, type: long, required: true}
              - {name: email, type: string, pii: true}
              - {name: at, type: timestamptz}
              - {name: contact, type: 'struct<email: string>', access_level: restricted}
            """)
        + f"{extra}\n{spec}\nsort_order: [{{column: email}}]\n"
        + "pipeline:\n  pattern: event_stream\n  source: {path: '${LAKEHOUSE_LANDING}', format: jsonl}\n"
        + textwrap.indent(pipeline, "  ")
    )


def line(id_: Any, day: int = 1, **values: Any) -> str:
    return json.dumps({"id": id_, "email": PII, "at": DAY.format(day), "contact": {"email": PII}, **values}) + "\n"


def ids(lakehouse: Lakehouse, name: str = "lake.events") -> list[int]:
    return sorted(lakehouse.rows(name)["id"].to_pylist())


def snapshots(lakehouse: Lakehouse, name: str = "lake.events") -> int:
    return len(lakehouse.table(name).metadata.snapshots)


def ledger(lakehouse: Lakehouse, name: str = "lake.events") -> Ledger:
    return Ledger(lakehouse.table(name), "")


def files_below(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def data_files(lakehouse: Lakehouse) -> list[str]:
    return sorted(str(path) for path in files_below(Path(lakehouse.settings.warehouse) / "lake", "data/**/*.parquet"))


def referenced(lakehouse: Lakehouse, *names: str) -> list[str]:
    return sorted(task.file.file_path.removeprefix("file://") for name in names for task in lakehouse.table(name).scan().plan_files())


@pytest.mark.engines
def test_only_new_files_are_taken_and_late_ones_too(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    lakehouse.land("m.jsonl", line(1) + line(2, day=2))
    first = lakehouse.run(template)
    assert (first.rows, first.source_files, first.days) == (2, 1, "2024-03-01..2024-03-02")
    late = lakehouse.land("a/b/late.jsonl", line(3, day=5))
    os.utime(late, ns=(1, 1))
    second = lakehouse.run(template)
    assert (second.rows, second.source_files, second.days) == (1, 1, "2024-03-05")
    assert ids(lakehouse) == [1, 2, 3]
    third = lakehouse.run(template)
    assert (third.snapshot_id, third.rows, snapshots(lakehouse)) == (None, 0, 2)
    assert referenced(lakehouse, "lake.events") == data_files(lakehouse)


def test_names_that_are_not_taken(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    hidden = [".x.jsonl", "_x.jsonl", "x.jsonl.tmp", "a/.b/x.jsonl", "_temporary/0/x.jsonl", "a/b/_SUCCESS", "part.tmp/x.jsonl", ".git/x"]
    for name in hidden:
        lakehouse.land(name, "no json")
    assert lakehouse.run(template).snapshot_id is None
    path = lakehouse.land("_in_the_making.jsonl", line(1))
    assert lakehouse.run(template).source_files == 0
    path.rename(path.with_name("done_.tmp_.jsonl"))
    assert lakehouse.run(template).source_files == 1


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.gcp
@pytest.mark.parametrize("change", ["content", "time"])
def test_a_taken_file_that_changes_is_an_error(lakehouse: Lakehouse, change: str) -> None:
    template = events(lakehouse)
    path = lakehouse.land("a.jsonl", line(1))
    lakehouse.run(template)
    if change == "content":
        path.write_text(line(1) + line(2))
    os.utime(path, ns=(1, 1))
    lakehouse.land("b.jsonl", line(3))
    for committed in ("1 were committed, 1 rows", "Nothing was committed"):
        with pytest.raises(SourceError, match=f"a.jsonl: it was taken before with another size or time(.|\n)*{committed}"):
            lakehouse.run(template)
    assert ids(lakehouse) == [1, 3]
    assert snapshots(lakehouse) == 2


@pytest.mark.engines
@pytest.mark.parametrize(
    ("name", "content", "repaired"),
    [
        ("b.jsonl.gz", gzip.compress(line(2).encode() * 3)[:-6], gzip.compress(line(2).encode())),
        ("b.jsonl.gz", line(2).encode(), gzip.compress(line(2).encode())),
        ("b.jsonl", line("x").encode(), line(2).encode()),
        ("b.jsonl", b'{"id": ', line(2).encode()),
    ],
)
def test_files_that_cannot_be_read_keep_no_others_out(lakehouse: Lakehouse, name: str, content: bytes, repaired: bytes) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", line(1))
    lakehouse.land(name, content)
    lakehouse.land("c.jsonl", line(3))
    lakehouse.land("d.jsonl", line(None))
    with pytest.raises(SourceError) as error:
        lakehouse.run(template)
    message = str(error.value)
    assert f"2 source files of lake.events were not taken:\n  {lakehouse.landing / name}: " in message
    assert "d.jsonl: 1 rows do not fit lake.events" in message
    assert message.endswith("The other 2 were committed, 2 rows.")
    assert (ids(lakehouse), snapshots(lakehouse)) == ([1, 3], 1)
    assert referenced(lakehouse, "lake.events") == data_files(lakehouse)
    lakehouse.land(name, repaired)
    (lakehouse.landing / "d.jsonl").unlink()
    assert lakehouse.run(template).source_files == 1
    assert ids(lakehouse) == [1, 2, 3]


def test_a_file_that_changes_while_it_is_read_is_not_taken(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", line(1))
    growing = lakehouse.land("b.jsonl", line(2))
    vanishing = lakehouse.land("c.jsonl", line(3))
    rows = FileReader.rows

    def changing(reader: FileReader) -> Any:
        yield from rows(reader) if reader.file.path.endswith("a.jsonl") else _spoiled(reader)

    def _spoiled(reader: FileReader) -> Any:
        if reader.file.path == str(growing):
            with growing.open("a") as file:
                file.write(line(4))
        else:
            vanishing.unlink(missing_ok=True)
        yield from rows(reader)

    monkeypatch.setattr(FileReader, "rows", changing)
    with pytest.raises(SourceError, match=r"b.jsonl: changed while it was read(.|\n)*c.jsonl: cannot be read"):
        lakehouse.run(template)
    assert ids(lakehouse) == [1]
    monkeypatch.undo()
    monkeypatch.setenv("LAKEHOUSE_LANDING", str(lakehouse.landing))
    lakehouse.run(template)
    assert ids(lakehouse)[:2] == [1, 2]


BAD = [
    line(PII),
    line(1, contact=PII),
    line(1, contact={"email": {PII: 1}}),
    line(1, at=PII, email=5),
    f'{{"id": 1, "email": "{PII}\n',
    f'"{PII}"\n',
    f'{{"id": 1, "contact": {{"{PII}": 1, "{PII}": 2}}}}\n',
    f'{{"id": 1, "{PII}": 1, "{PII}": 2}}]\n',
]


def metadata_bytes(lakehouse: Lakehouse) -> bytes:
    """All that a reader of metadata could see: metadata.json, manifests (decompressed), Parquet footers."""
    found = b""
    for path in files_below(Path(lakehouse.settings.warehouse), "*"):
        if path.suffix == ".parquet":
            content = path.read_bytes()
            found += content[-8 - int.from_bytes(content[-8:-4], "little") :]
        elif "data" not in path.parts:
            found += path.read_bytes()
    for table in map(lakehouse.table, list_tables(lakehouse.catalog)):
        for snapshot in table.metadata.snapshots:
            for manifest in snapshot.manifests(table.io):
                found += repr(manifest).encode()
                found += "".join(repr(entry.data_file) for entry in manifest.fetch_manifest_entry(table.io)).encode()
    return found


@pytest.mark.engines
@pytest.mark.parametrize("on_bad_rows", ["fail", "quarantine"])
def test_personal_data_stays_out_of_messages_and_metadata(lakehouse: Lakehouse, on_bad_rows: str) -> None:
    # The id is not hidden: what is bad there is shown, so its values are harmless here.
    template = events(lakehouse, pipeline=f"on_bad_rows: {on_bad_rows}\n")
    lakehouse.land("a.jsonl", line(1) + line(2))
    for index, bad in enumerate(BAD[1:]):
        lakehouse.land(f"b{index}.jsonl", line(10 + index) + bad)
    # To Spark a key that stands twice is an error also where no column is of its name.
    further = int(lakehouse.settings.engine == "spark")
    if on_bad_rows == "quarantine":
        lakehouse.run(template)
    else:
        with pytest.raises(SourceError, match=rf"{6 + further} source files") as error:
            lakehouse.run(template)
        assert PII not in "".join(traceback.format_exception(error.value))
    assert not [message for message in lakehouse.messages if PII in message]
    found = metadata_bytes(lakehouse)
    assert b"total-records" in found
    assert b"ARROW:schema" in found
    assert b"lower_bounds" in found
    assert b"lakehouse.rows" in found
    assert PII.encode() not in found
    assert PII[:10].encode() not in found
    assert len(ids(lakehouse)) == (4 - 2 * further if on_bad_rows == "fail" else 10 - further)


@pytest.mark.nessie
@pytest.mark.gcp
def test_bad_rows_are_counted_with_three_examples(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", "".join(line(n if n % 3 else f"x{n}") for n in range(1, 3001)))
    with pytest.raises(SourceError) as error:
        lakehouse.run(template)
    text = str(error.value)
    assert "1,000 rows do not fit lake.events" in text
    assert "on_bad_rows: quarantine" in text
    assert [row for row in range(3, 30, 3) if f"row {row}, column id: not a long (value: '\"x{row}\"')" in text] == [3, 6, 9]
    assert snapshots(lakehouse) == 0
    assert not data_files(lakehouse)


def quarantined(lakehouse: Lakehouse) -> list[tuple[str, int, str, str]]:
    rows = lakehouse.rows("lake.events__quarantine").to_pylist()
    return sorted((Path(row["source_file"]).name, row["source_row"], row["reason"], row["record"]) for row in rows)


@pytest.mark.engines
def test_quarantine_has_row_reason_and_record(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, pipeline="on_bad_rows: quarantine\n")
    lakehouse.land("a.jsonl", line(1) + "{oops\n" + line(2) + line("x"))
    lakehouse.land("b.jsonl", line(None))
    result = lakehouse.run(template)
    assert (result.rows, result.bad_rows, result.source_files) == (2, 3, 2)
    found = quarantined(lakehouse)
    assert [entry[:3] for entry in found] == [
        ("a.jsonl", 2, "not JSON in UTF-8"), ("a.jsonl", 4, "id: not a long"), ("b.jsonl", 1, "id: null in a required column"),
    ]  # fmt: skip
    assert found[0][3] == "{oops"
    assert json.loads(found[1][3])["id"] == "x"
    assert json.loads(found[2][3])["email"] == PII
    assert lakehouse.run(template).snapshot_id is None
    assert len(quarantined(lakehouse)) == 3


class Died(BaseException):
    """Stands for the end of the process."""


def run_until_the_main_commit(lakehouse: Lakehouse, template: TableTemplate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies after the quarantine's commit."""
    commit = targets.commit_append

    def dying(table: Any, *args: Any, **kwargs: Any) -> Any:
        if table.name()[-1] == "events":
            raise Died
        return commit(table, *args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr(targets, "commit_append", dying)
        lakehouse.run(template)


@pytest.mark.engines
@pytest.mark.nessie
@pytest.mark.gcp
def test_quarantine_is_not_doubled_when_the_run_dies_before_the_main_commit(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse, pipeline="on_bad_rows: quarantine\n")
    lakehouse.land("a.jsonl", line(1) + line("x"))
    for _ in range(2):
        run_until_the_main_commit(lakehouse, template, monkeypatch)
        assert (snapshots(lakehouse), len(quarantined(lakehouse))) == (0, 1)
    lakehouse.land("b.jsonl", line("y"))
    result = lakehouse.run(template)
    assert (result.rows, result.bad_rows, ids(lakehouse)) == (1, 2, [1])
    assert [entry[:2] for entry in quarantined(lakehouse)] == [("a.jsonl", 2), ("b.jsonl", 1)]


@pytest.mark.engines
def test_rows_that_turn_bad_by_an_alter_between_the_two_commits_are_quarantined(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = events(lakehouse, pipeline="on_bad_rows: quarantine\n", extra="  - {name: note, type: string}\n")
    lakehouse.land("a.jsonl", line(1, note="n") + line(2) + line("x"))
    run_until_the_main_commit(lakehouse, template, monkeypatch)
    with lakehouse.table("lake.events").update_schema(allow_incompatible_changes=True) as update:
        update.update_column("note", required=True)
    lakehouse.run(template)
    assert ids(lakehouse) == [1]
    assert {entry[:2] for entry in quarantined(lakehouse)} == {("a.jsonl", 2), ("a.jsonl", 3)}


@pytest.mark.engines
@pytest.mark.nessie
def test_a_file_without_rows_is_taken(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    lakehouse.land("empty.jsonl", "")
    lakehouse.land("blank.jsonl", "\n\n")
    assert lakehouse.run(template).source_files == 2
    assert (lakehouse.run(template).source_files, snapshots(lakehouse), len(ledger(lakehouse).entries)) == (0, 1, 2)


@pytest.mark.slow
def test_the_ledger_stays_few_segments_outside_the_table(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, partition="")
    old = None
    for run in range(60):
        lakehouse.land(f"{run:02}.jsonl", line(run))
        lakehouse.run(template)
        if run == 9:
            old = lakehouse.table("lake.events")
        found = ledger(lakehouse)
        assert len(found.locations) <= 8
    assert sorted(found.entries["path"].to_pylist()) == sorted(str(path) for path in lakehouse.landing.iterdir())
    assert found.locations[-1] == lakehouse.table("lake.events").properties[LEDGER]
    location = lakehouse.table("lake.events").location()
    assert not [path for path in found.locations if path.startswith(f"{location}/")]
    assert old is not None
    assert len(Ledger(old, "").entries) == 10
    entry = found.entries.to_pylist()[0]
    assert (entry["rows"], entry["bad_rows"], bool(entry["batch_id"])) == (1, 0, True)
    assert ids(lakehouse) == list(range(60))


@pytest.mark.engines
def test_the_snapshot_names_run_batch_source_rows_and_days(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", line(1) + line(2, day=3) + line(3, at=None))
    result = lakehouse.run(template, run_id="run-7")
    snapshot = lakehouse.table("lake.events").snapshot_by_id(result.snapshot_id or 0)
    assert snapshot is not None
    assert snapshot.summary is not None
    summary = snapshot.summary.additional_properties
    assert summary["lakehouse.run-id"] == "run-7"
    assert summary["lakehouse.rows"] == "3" == summary["added-records"]
    assert summary["lakehouse.source"] == "${LAKEHOUSE_LANDING}", "unfilled: what fills it in may be a credential"
    assert summary["lakehouse.days"] == result.days == "2024-03-01,2024-03-03"
    assert pc.unique(ledger(lakehouse).entries["batch_id"]).to_pylist() == [summary["lakehouse.batch-id"]]
    assert ledger(lakehouse).entries["days"].to_pylist() == [result.days]


@pytest.mark.engines
@pytest.mark.parametrize(("partition", "days"), [("hour", "1969-12-31,2024-03-01"), ("month", "1969-12-31,2024-03-01"), ("", "")])
def test_days_are_recorded_for_time_partitions(lakehouse: Lakehouse, partition: str, days: str) -> None:
    template = events(lakehouse, partition=partition)
    lakehouse.land("a.jsonl", line(1, at="1969-12-31T23:59:59.999999Z") + line(2, at="2024-02-29T23:30:00-01:00"))
    assert lakehouse.run(template).days == days


def test_the_short_form_works(lakehouse: Lakehouse) -> None:
    template = lakehouse.template("""\
        name: short
        namespace: lake
        columns: [{name: id, type: int}, {name: text, type: string}]
        source: {path: "${LAKEHOUSE_LANDING}/in.csv", format: csv, csv_options: {delimiter: "|", column_names: [id, text], skip_rows: 1}}
    """)
    lakehouse.land("in.csv", "anything\n1|a\n2|b\n")
    lakehouse.land("other.csv", "x")
    assert lakehouse.run(template).rows == 2
    assert ids(lakehouse, "lake.short") == [1, 2]


@pytest.mark.engines
def test_two_runs_at_once_take_every_row_once(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, pipeline="on_bad_rows: quarantine\n")
    for file in range(6):
        lakehouse.land(f"{file}.jsonl", "".join(line(file * 100 + n) for n in range(100)) + line("bad"))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda run: lakehouse.run(template, f"run-{run}"), range(3)))
    assert Counter(ids(lakehouse)) == Counter(range(600))
    assert sum(result.rows for result in results) == 600
    assert len(quarantined(lakehouse)) == 6
    assert len(ledger(lakehouse).entries) == 6
    assert referenced(lakehouse, "lake.events", "lake.events__quarantine") == data_files(lakehouse)


@pytest.mark.engines
def test_a_template_newer_than_its_table_still_loads(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    path = lakehouse.settings.templates / "events.yaml"
    path.write_text(path.read_text().replace("columns:\n", "columns:\n  - {name: first, type: int, required: true}\n"))
    template = lakehouse.templates()[0]
    lakehouse.land("a.jsonl", line(1, first=5))
    result = lakehouse.run(template)
    assert (result.rows, result.unknown_columns) == (1, ["first"])


@pytest.mark.parametrize("where", ["missing", "variable", "table"])
def test_what_is_missing_is_named(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    template = events(lakehouse)
    if where == "missing":
        lakehouse.landing.rmdir()
    elif where == "variable":
        monkeypatch.setattr(type(lakehouse.settings), "variables", {})
    else:
        lakehouse.catalog.drop_table("lake.events")
    expected = {"missing": "There is no folder", "variable": r"\$\{LAKEHOUSE_LANDING\}", "table": "lakehouse apply"}[where]
    with pytest.raises(LakehouseError, match=expected):
        lakehouse.run(template)


@pytest.mark.engines
def test_a_column_no_template_describes_is_hidden(lakehouse: Lakehouse) -> None:
    from pyiceberg.types import IntegerType

    template = events(lakehouse)
    with lakehouse.table("lake.events").update_schema() as update:
        update.add_column("phone", IntegerType())
    lakehouse.land("a.jsonl", line(1, phone="SECRET"))
    with pytest.raises(SourceError) as error:
        lakehouse.run(template)
    assert "column phone: not an int" in str(error.value)
    assert "SECRET" not in str(error.value)


def test_all_batches_have_the_tables_schema(lakehouse: Lakehouse) -> None:
    """Rows from several files of different shapes are one table."""
    template = events(lakehouse)
    lakehouse.land("a.jsonl", '{"id": 1}\n')
    lakehouse.land("b.jsonl", line(2, day=2))
    lakehouse.run(template)
    rows = lakehouse.rows("lake.events")
    assert rows.schema.field("at").type == pa.timestamp("us", "UTC")
    assert rows.sort_by("id").to_pylist()[0] == {"id": 1, "email": None, "at": None, "contact": None}


def test_a_file_with_a_wrong_column_is_not_read_to_its_end(lakehouse: Lakehouse) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", "".join(line("7") for _ in range(3000)))
    with pytest.raises(SourceError, match=r"a.jsonl: at least [123],000 rows do not fit lake.events"):
        lakehouse.run(template)


def test_failed_files_keep_no_data(lakehouse: Lakehouse) -> None:
    """An exception holds the frames that it went through, and these the data."""
    template = events(lakehouse)
    for file in range(5):
        lakehouse.land(f"{file}.jsonl", line("x"))
    batches: list[weakref.ref[Any]] = []
    load = source_files.FileLoad._load_file

    def loading(self: Any, *args: Any) -> None:
        data = Kept()
        batches.append(weakref.ref(data))
        load(self, *args)
        assert data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_files.FileLoad, "_load_file", loading)
        with pytest.raises(SourceError, match="5 source files") as error:
            lakehouse.run(template)
    gc.collect()
    assert len(batches) == 5
    assert not [batch for batch in batches if batch() is not None]
    assert error.value.__cause__ is None


class Kept:
    """What a frame holds."""


def test_any_failure_of_one_file_keeps_no_other_out(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    lakehouse.land("a.jsonl", line(1))
    lakehouse.land("b.jsonl", line(2))
    conform = Conformer.conform

    def failing(self: Conformer, rows: Rows) -> Rows:
        if rows.batch.column("id").to_pylist() == [2]:
            raise TypeError(f"unhashable: {PII}")
        return conform(self, rows)

    monkeypatch.setattr(Conformer, "conform", failing)
    with pytest.raises(SourceError, match=r"b.jsonl: cannot be read: TypeError") as error:
        lakehouse.run(template)
    assert PII not in "".join(traceback.format_exception(error.value))
    assert ids(lakehouse) == [1]


def test_a_date_beyond_the_year_9999_stops_no_other_row(lakehouse: Lakehouse) -> None:
    template = lakehouse.template("""\
        name: beyond
        namespace: lake
        columns: [{name: id, type: int}, {name: at, type: timestamptz}, {name: days, type: 'list<timestamp>'}]
        partition_spec: [{column: at, transform: day}]
        pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}", format: parquet}, on_bad_rows: quarantine}
    """)
    beyond = pa.array([1_700_000_000 * 10**9, 0], pa.int64())
    days = pa.array([None, [2**62]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us")))
    pq.write_table(pa.table({"id": [1, 2], "at": beyond.cast(pa.timestamp("us", "UTC")), "days": days}), lakehouse.landing / "a.parquet")
    result = lakehouse.run(template)
    assert (result.rows, result.bad_rows) == (1, 1)
    [bad] = lakehouse.rows("lake.beyond__quarantine").to_pylist()
    assert bad["reason"] == "at: a date outside the years 1 to 9999"


@pytest.mark.engines
def test_a_column_that_became_pii_has_no_bounds_whatever_the_properties_say(lakehouse: Lakehouse) -> None:
    template = events(lakehouse, extra="  - {name: phone, type: string}\n")
    path = lakehouse.settings.templates / "events.yaml"
    path.write_text(path.read_text().replace("name: phone, type: string", "name: phone, type: string, pii: true"))
    [template] = lakehouse.templates()
    lakehouse.land("a.jsonl", line(1, phone=f"+49 {PII}"))
    lakehouse.run(template)
    found = metadata_bytes(lakehouse)
    assert b"lower_bounds" in found
    assert b"+49" not in found


def test_a_link_to_a_folder_is_part_of_the_files_identity(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is set to a folder with the same files, and more, brings only those that are more."""
    template = events(lakehouse)
    for folder in ("v1", "v2"):
        os.utime(lakehouse.land(f"{folder}/a.jsonl", line(1)), ns=(1, 1))
    lakehouse.land("v2/b.jsonl", line(2))
    link = lakehouse.landing / "current"
    monkeypatch.setenv("LAKEHOUSE_LANDING", str(link))
    lakehouse.settings = type(lakehouse.settings).load()
    for folder in ("v1", "v2"):
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        assert lakehouse.run(template).rows == 1
    assert ids(lakehouse) == [1, 2]


def test_credentials_of_a_source_are_shown_nowhere(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    template = events(lakehouse)
    monkeypatch.setenv("LAKEHOUSE_LANDING", f"s3://key:{PII}@bucket/x?endpoint_override=127.0.0.1:1&scheme=http&secret={PII}")
    lakehouse.settings = type(lakehouse.settings).load()
    with pytest.raises(SourceError, match=r"The source \$\{LAKEHOUSE_LANDING\} cannot be (opened|listed)") as error:
        lakehouse.run(template)
    assert PII not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("in 's3://k:s/e@b/a?x=1' and", "in 's3://b/a and"), ("s3://b/a@b", "s3://b"), ("s3://k:s@b/a: no", "s3://b/a: no"), ("a?b", "a?b")],
)
def test_credentials_are_cut_from_text(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.engines
@pytest.mark.parametrize("on_bad_rows", ["fail", "quarantine"])
def test_parquet_that_is_not_utf8_stops_no_other_file(lakehouse: Lakehouse, on_bad_rows: str) -> None:
    template = lakehouse.template(f"""\
        name: people
        namespace: lake
        columns: [{{name: id, type: long}}, {{name: name, type: string}}, {{name: tags, type: 'map<string, int>'}}]
        pipeline: {{pattern: event_stream, source: {{path: "${{LAKEHOUSE_LANDING}}", format: parquet}}, on_bad_rows: {on_bad_rows}}}
    """)
    tags = pa.array([[("a", 1)], None, [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int32()))
    names = pa.array([b"ada", b"\xff", None], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": [1, 2, 3], "name": names, "tags": tags}), lakehouse.landing / "a.parquet")
    pq.write_table(pa.table({"id": [4], "name": ["grace"]}), lakehouse.landing / "b.parquet")
    if on_bad_rows == "fail":
        with pytest.raises(LakehouseError, match=r"2 rows(.|\n)*row 2, column name: not UTF-8(.|\n)*row 3, column tags: a key of the map"):
            lakehouse.run(template)
        assert ids(lakehouse, "lake.people") == [4]
        return
    result = lakehouse.run(template)
    assert (result.rows, result.bad_rows, ids(lakehouse, "lake.people")) == (2, 2, [1, 4])
    found = {row["source_row"]: row for row in lakehouse.rows("lake.people__quarantine").to_pylist()}
    assert {row: bad["reason"] for row, bad in found.items()} == {2: "name: not UTF-8", 3: "tags: a key of the map stands twice"}
    assert json.loads(found[2]["record"])["name"] == "\ufffd"
