"""The SCD2 merge by Spark beside the embedded engine's: the same rows from the same records, whoever merged before."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dimension import START, TEMPLATE, Change, expected, versions
from pyiceberg.types import StringType
from test_merge import EVERY_TYPE, NESTED, PARTITIONED, THING

from lakehouse.changes import ChangeRecords
from lakehouse.commit import Batch, PlanOutdatedError
from lakehouse.engines.spark.session import in_session
from lakehouse.engines.spark.stage import identifier, write_files
from lakehouse.engines.spark.targets import SparkMergeVersions
from lakehouse.engines.spark.values import sql_type
from lakehouse.engines.targets import Committed, MergeVersions
from lakehouse.errors import TableMismatchError
from lakehouse.ledger import Ledger
from lakehouse.merge import moments_log
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from conftest import Lakehouse
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
BACKENDS = ["spark"]
EMBEDDED, SPARK = "embedded", "spark"


class Merges:
    """A table, into which either engine merges records."""

    def __init__(self, lakehouse: Lakehouse, template: TableTemplate) -> None:
        assert template.scd_type2 is not None
        self.lakehouse, self.name, self.pipeline = lakehouse, template.table_name, template.scd_type2
        self.hidden = frozenset(column.name for column in template.columns if column.hidden)

    def merge(self, engine: str, *rows: dict[str, Any]) -> Committed:
        """Merges rows of Python values, in their order."""
        table, settings = self.lakehouse.table(self.name), self.lakehouse.settings
        schema = ChangeRecords(table, self.pipeline).schema
        ledger, batch = Ledger(table, f"{settings.warehouse_uri}/_lakehouse/ledger"), Batch(str(uuid4()))
        if engine == EMBEDDED:
            with MergeVersions(settings, table, self.hidden, self.pipeline, self.lakehouse.messages.append) as target:
                target.write(pa.RecordBatch.from_pylist(list(rows), schema))
                return target.commit(ledger, [], batch)

        def by_spark(session: SparkSession) -> Committed:
            types = ", ".join(f"{identifier(field.name)} {sql_type(field.type)}" for field in schema)
            values = [(*map(row.get, schema.names), number) for number, row in enumerate(rows)]
            arguments = (settings, self.lakehouse.catalog, session, table, self.hidden, self.pipeline, self.lakehouse.messages.append)
            with SparkMergeVersions(*arguments) as target:
                # Neither their places nor the parts that they come in say in which order they came.
                target.rows = session.createDataFrame(values[::-1], f"{types}, _order bigint").repartition(3)
                return target.commit(ledger, [], batch)

        return in_session(settings, self.lakehouse.messages.append, by_spark)

    @property
    def moments(self) -> list[dict[str, Any]]:
        """What the log of moments says."""
        table = self.lakehouse.table(self.name)
        log = moments_log(table, ChangeRecords(table, self.pipeline), f"{self.lakehouse.settings.warehouse_uri}/_lakehouse/moments")
        return sorted((row for batch in log.batches() for row in batch.to_pylist()), key=str)


SPELLINGS = {"update": ["update", "upsert", " U ", "c"], "delete": ["delete", "D", "\u00a0Delete\n", "\x1fd"]}


def records(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Records with operations as systems spell them."""
    return [
        {**asdict(change), "changed_at": START + timedelta(hours=change.at), "op": SPELLINGS[change.op][number % 4]}
        for number, change in enumerate(changes)
    ]


def histories(seed: int, merges: int, count: int) -> list[list[Change]]:
    """Records of many keys in an order of their own: late ones, repeats, deletes, several of one moment."""
    dice = random.Random(seed)
    plans = ["free", "plus", "", "pl\u00fcs", None]
    scores = [None, 1.5, 0.0, -0.0, float("nan")]

    def change() -> Change:
        plan, score = dice.choice(plans), dice.choice(scores)
        return Change(
            f"k{dice.randrange(count // 12)}",
            dice.randrange(14),
            plan,
            dice.choice(["update", "update", "delete"]),
            dice.choice([1, 2]),
            score,
        )

    return [[change() for _ in range(count)] for _ in range(merges)]


def shown(found: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Versions that can be compared: not a number is equal to itself."""
    return [tuple("nan" if value != value else value for value in version) for version in found]


def test_histories_come_to_the_same_whichever_engine_merges(lakehouse: Lakehouse) -> None:
    batches = histories(seed=1, merges=2, count=240)
    orders = list(product((EMBEDDED, SPARK), repeat=2))
    tables = [Merges(lakehouse, lakehouse.template(TEMPLATE.replace("name: users", f"name: users_{at}"))) for at in range(len(orders))]
    for at, batch in enumerate(batches):
        done = [table.merge(order[at], *records(batch)) for table, order in zip(tables, orders, strict=True)]
        assert len({(each.opened, each.changed, each.days) for each in done}) == 1
        model = shown(expected(change for earlier in batches[: at + 1] for change in earlier))
        for table in tables:
            assert shown(versions(lakehouse, table.name)) == model
        assert all(table.moments == tables[0].moments for table in tables)
    assert len(tables[0].moments) > 20


def test_many_keys_and_a_long_log_go_other_ways_to_the_same(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"merge._FEW": 0, "pruning._FEW": 0, "moments._FEW_KEYS": 0, "moments._PART": 1, "moments._ROWS": 7}
    for name, value in few.items():
        monkeypatch.setattr(f"lakehouse.engines.spark.{name}", value)
    table = Merges(lakehouse, lakehouse.template(PARTITIONED))
    batches = histories(seed=2, merges=3, count=120)
    for engine, batch in zip((EMBEDDED, SPARK, SPARK), batches, strict=True):
        table.merge(engine, *records(batch))
    assert shown(versions(lakehouse)) == shown(expected(chain(*batches)))
    other = Merges(lakehouse, lakehouse.template(TEMPLATE.replace("name: users", "name: other")))
    other.merge(EMBEDDED, *records(chain(*batches)))
    assert {str(row) for row in other.moments} <= {str(row) for row in table.moments}


def test_every_type_stays_what_it_was(lakehouse: Lakehouse) -> None:
    things = "\n".join(line for line in EVERY_TYPE.splitlines() if "clock" not in line) + "\n"
    thing = {name: value for name, value in THING.items() if name != "clock"}
    days = [["2024-01-01", "2024-03-01"], ["2024-02-01", "2024-04-01"], ["2024-01-15"]]
    deliveries = [[{**thing, "seen": day} for day in delivery] for delivery in days]
    deliveries[0][1] = {"k": thing["k"], "seen": "2024-03-01"}  # nothing but nulls
    deliveries[2][0]["note"] = "late"  # what held at the first of February holds again from then on
    found = []
    for engines in ((EMBEDDED, EMBEDDED, EMBEDDED), (EMBEDDED, SPARK, SPARK)):
        name = engines[-1]
        template = lakehouse.template(things.replace("name: things", f"name: {name}").replace("LANDING}", f"LANDING}}/{name}"))
        for number, (engine, delivery) in enumerate(zip(engines, deliveries, strict=True)):
            lakehouse.land(f"{name}/{number}.jsonl", "\n".join(map(json.dumps, delivery)))
            with_engine = replace(lakehouse, settings=lakehouse.settings.model_copy(update={"engine": engine}))
            with_engine.run(template)
        table = lakehouse.table(template.table_name)
        hidden = table.schema().find_field("note").field_id
        assert all(hidden not in (task.file.lower_bounds or {}) for task in table.scan().plan_files())
        found.append((lakehouse.rows(template.table_name).sort_by("valid_from").to_pylist(), Merges(lakehouse, template).moments))
    assert found[0] == found[1]
    rows, moments = found[1]
    assert [(row["note"], row["valid_from"].isoformat()) for row in rows] == [
        ("\u00fc", "2024-01-01"),
        ("late", "2024-01-15"),
        ("\u00fc", "2024-02-01"),
        (None, "2024-03-01"),
        ("\u00fc", "2024-04-01"),
    ]
    assert len(moments) == 1


def test_maps_are_compared_by_their_entries(lakehouse: Lakehouse) -> None:
    table = Merges(lakehouse, lakehouse.template(NESTED.replace("list<struct<sku: string, count: int>>", "list<map<string, double>>")))
    same = [
        {"by_name": {"x": (1,), "y": None}, "parts": [{"b": float("nan")}, None]},
        {"by_name": {"y": None, "x": (1,)}, "parts": [{"b": float("nan")}, None]},
    ]
    others = [{"by_name": {"y": None}, "parts": []}, {"by_name": {"y": (None,)}, "parts": []}, {"by_name": None, "parts": None}]
    rows = [{"id": 1, "at": START + timedelta(hours=hour), **values} for hour, values in enumerate([*same, *others, *others])]
    assert table.merge(SPARK, *rows[:2]).opened == 1
    done = table.merge(SPARK, *rows[1:6])
    assert (done.opened, done.changed) == (4, 1)
    assert len(table.moments) == 1


def test_a_dimension_may_have_nothing_but_its_key(lakehouse: Lakehouse) -> None:
    text = "\n".join(line for line in TEMPLATE.splitlines() if "plan" not in line and "score" not in line) + "\n"
    table = Merges(lakehouse, lakehouse.template(text))
    table.merge(SPARK, *records([Change("a", 1), Change("a", 3, op="delete"), Change("a", 5), Change("a", 6)]))
    rows = lakehouse.rows("lake.users").sort_by("valid_from").to_pylist()
    assert [(row["valid_from"].hour, row["valid_to"] and row["valid_to"].hour) for row in rows] == [(1, 3), (5, None)]


def test_tables_that_others_changed(lakehouse: Lakehouse) -> None:
    """Versions that stand twice, columns that are new or have another name, a version without a begin."""
    table = Merges(lakehouse, lakehouse.template(TEMPLATE))
    table.merge(EMBEDDED, *records([Change("a", 1, "x"), Change("a", 2, "x"), Change("b", 1, "x")]))
    lakehouse.engine.append("lake.users", lakehouse.rows("lake.users").to_batches(), Batch("again"))
    with lakehouse.table("lake.users").update_schema() as update:
        update.add_column("note", StringType())
        update.rename_column("id", "user")
    text = TEMPLATE.replace("name: id,", "name: user,").replace("[id, region", "[user, region")
    table = Merges(
        lakehouse,
        lakehouse.template(text.replace("      - {name: valid_from", "      - {name: note, type: string}\n      - {name: valid_from")),
    )
    late = {"user": "a", "region": 1, "plan": "y", "note": "new", "changed_at": START + timedelta(hours=1.5), "op": "u"}
    done = table.merge(SPARK, late)
    assert (done.opened, done.changed) == (2, 2)  # the version that was, and its copy
    rows = lakehouse.rows("lake.users").sort_by([("user", "ascending"), ("valid_from", "ascending")]).to_pylist()
    assert [(row["user"], row["plan"], row["note"], row["is_current"]) for row in rows] == [
        ("a", "x", None, False),
        ("a", "y", "new", False),
        ("a", "x", None, True),  # the repeat at two o'clock, remembered under the key's former name
        *[("b", "x", None, True)] * 2,  # of which no record came
    ]
    with lakehouse.table("lake.users").update_schema(allow_incompatible_changes=True) as update:
        update.set_identifier_fields()
        update.make_column_optional("valid_from")
    row = rows[0] | {"valid_from": None}
    lakehouse.engine.append("lake.users", pa.Table.from_pylist([row], lakehouse.rows("lake.users").schema).to_batches(), Batch("other"))
    with pytest.raises(TableMismatchError, match=r"lake\.users has versions whose valid_from is null, written by something else"):
        table.merge(SPARK, late)


@pytest.mark.parametrize("other", ["rows", "schema"])
def test_a_merge_that_met_another_commit_leaves_nothing(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    table = Merges(lakehouse, lakehouse.template(TEMPLATE))
    table.merge(EMBEDDED, *records([Change("a", 1, "x"), Change("b", 1, "x")]))

    def files() -> set[Path]:
        return {path for path in Path(lakehouse.settings.warehouse).rglob("*.parquet") if "ledger" not in str(path)}

    def meet(*arguments: Any) -> Any:
        own = files() - at_first  # a segment of the log of moments
        assert own
        if other == "rows":
            table.merge(EMBEDDED, *records([Change("b", 1, "x"), Change("b", 2, "x")]))
            lakehouse.engine.append("lake.users", lakehouse.rows("lake.users").slice(0, 1).to_batches(), Batch("other"))
        else:
            with lakehouse.table("lake.users").update_schema() as update:
                update.delete_column("score")
        left.update(files() - own)
        return write_files(*arguments)

    at_first, left = files(), set[Path]()
    monkeypatch.setattr("lakehouse.engines.spark.merge.write_files", meet)
    with pytest.raises(PlanOutdatedError):
        table.merge(SPARK, *records([Change("a", 3, "y"), Change("a", 4, "y")]))
    assert files() == left
    assert set(lakehouse.table("lake.users").metadata.refs) == {"main"}


def test_small_files_become_one_and_others_stay(lakehouse: Lakehouse) -> None:
    table = Merges(lakehouse, lakehouse.template(TEMPLATE.replace("plan, type: string", "plan, type: string, pii: true")))
    many = [Change(f"many-{number}", number, "x") for number in range(200)]
    table.merge(EMBEDDED, *records(many))
    [large] = lakehouse.table("lake.users").scan().plan_files()
    small = [Change(f"small-{number}", 1, "x") for number in range(8)]
    for change in small:
        table.merge(EMBEDDED, *records([change]))
    new = [Change(f"new-{number}", 300 - number, "x") for number in range(4)]
    table.merge(SPARK, *records(new))
    files = {task.file.file_path: task.file for task in lakehouse.table("lake.users").scan().plan_files()}
    assert versions(lakehouse) == expected([*many, *small, *new])
    assert large.file.file_path in files
    [joined] = [file for path, file in files.items() if path != large.file.file_path]
    assert (joined.record_count, joined.sort_order_id) == (12, 1)
    rows = pq.read_table(joined.file_path.removeprefix("file://"))
    assert rows["valid_from"].to_pylist() == sorted(rows["valid_from"].to_pylist())
