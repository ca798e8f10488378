"""What `lakehouse drift` finds of tables that somebody changed by hand, and of catalogs that fail and hang."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from drifting import ORDERS, USERS, catalog_answer, found, location, made, states
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import BooleanType, LongType, NestedField, StringType

from lakehouse import cli
from lakehouse.catalog import open_catalog
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

Change = Callable[[Any], object]


@pytest.mark.nessie
@pytest.mark.gcp
def test_nothing_differs_after_apply(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS, USERS)
    assert states(lakehouse) == dict.fromkeys(("shop.orders", "shop.orders__quarantine", "shop.users"), "in step")
    assert catalog_answer(lakehouse).state == "in step"


@pytest.mark.nessie
@pytest.mark.gcp
def test_a_column_that_was_added_and_one_that_was_dropped_by_hand(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS)
    with lakehouse.table("shop.orders").update_schema(allow_incompatible_changes=True) as update:
        update.add_column("debug_flag", BooleanType()).delete_column("session_id")
        update.add_column(("address", "city"), StringType())
    drift = found(lakehouse)["shop.orders"]
    assert drift.message == (
        "Schema drift detected in shop.orders. Extra columns: {address.city, debug_flag}. Missing columns: {session_id}."
    )
    assert {"kind": "add-column", "subject": "session_id", "live": "", "template": "string", "level": "safe"} in drift.details


def spec(table: Any) -> None:
    with table.update_spec() as update:
        update.add_field("id", BucketTransform(4), "id_bucket")


def schema(change: Callable[[Any], object]) -> Change:
    def do(table: Any) -> None:
        with table.update_schema(allow_incompatible_changes=True) as update:
            change(update)

    return do


def set_codec(table: Any) -> None:
    table.transaction().set_properties({"write.parquet.compression-codec": "snappy", "of.somebody": "else"}).commit_transaction()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (schema(lambda update: update.update_column("count", field_type=LongType())), "Types: {count: long instead of int}."),
        (schema(lambda update: update.make_column_optional("at")), "Nullability: {at: may be null instead of required}."),
        (schema(lambda update: update.update_column("at", doc="of jane@example.com")), "Descriptions: {at}."),
        (schema(lambda update: update.move_first("session_id")), "Order of columns differs in: {the table}."),
        (schema(lambda update: update.set_identifier_fields()), "Identifier: {none instead of id}."),
        (spec, "Partitions: {day(at), bucket[4](id) instead of day(at)}."),
        (
            lambda table: table.update_sort_order().desc("at", IdentityTransform()).commit(),
            "Sort order: {at DESC NULLS LAST instead of id ASC NULLS FIRST}.",
        ),
        (set_codec, "Properties: {write.parquet.compression-codec: snappy instead of zstd}."),
        (
            schema(lambda update: update.rename_column("session_id", "session")),
            "Extra columns: {session}. Missing columns: {session_id}.",
        ),
    ],
)
def test_every_kind_of_change_by_hand_is_told(lakehouse: Lakehouse, change: Change, told: str) -> None:
    made(lakehouse, ORDERS, USERS)
    change(lakehouse.table("shop.orders"))
    drifts = found(lakehouse)
    assert drifts["shop.orders"].message == f"Schema drift detected in shop.orders. {told}"
    assert drifts["shop.users"].state == "in step"
    assert "jane" not in str(drifts)


def test_another_wrong_order_of_columns_is_another_drift(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS)

    def fingerprint(change: Callable[[Any], object]) -> str:
        schema(change)(lakehouse.table("shop.orders"))
        return found(lakehouse)["shop.orders"].fingerprint

    first = fingerprint(lambda update: update.move_first("session_id"))
    second = fingerprint(lambda update: update.move_first("count"))
    nested = fingerprint(lambda update: update.move_first("address.zip"))
    assert len({first, second, nested}) == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (schema(lambda update: update.rename_column("session_id", "Session_ID")), "differ in case alone"),
        (lambda table: table.transaction().set_properties({"lakehouse.former-names": "["}).commit_transaction(), "cannot be read"),
    ],
)
def test_a_table_that_apply_could_not_change_has_drifted(lakehouse: Lakehouse, change: Change, told: str) -> None:
    made(lakehouse, ORDERS)
    change(lakehouse.table("shop.orders"))
    drift = found(lakehouse)["shop.orders"]
    assert (drift.state, told in drift.message) == ("drifted", True)


def test_a_quarantine_table_drifts_like_any_other(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS)
    with lakehouse.table("shop.orders__quarantine").update_schema() as update:
        update.add_column("debug_flag", BooleanType())
    drifts = found(lakehouse)
    assert drifts["shop.orders__quarantine"].extra_columns == ("debug_flag",)
    assert drifts["shop.orders"].state == "in step"


@pytest.mark.nessie
def test_a_missing_table_and_one_without_a_template(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS, USERS)
    lakehouse.catalog.drop_table("shop.users")
    lakehouse.catalog.create_table("shop.by_hand", Schema(NestedField(1, "id", LongType())), location=location(lakehouse, "by_hand"))
    assert states(lakehouse) == {
        "shop.by_hand": "unmanaged",
        "shop.orders": "in step",
        "shop.orders__quarantine": "in step",
        "shop.users": "missing",
    }
    assert found(lakehouse)["shop.users"].message == (
        "Schema drift detected in shop.users. The table is missing. Create it: lakehouse apply"
    )


def test_a_table_without_a_template_in_a_nested_namespace(lakehouse: Lakehouse) -> None:
    made(lakehouse, USERS)
    lakehouse.catalog.create_namespace("shop.by.hand")
    schema = Schema(NestedField(1, "id", LongType()))
    lakehouse.catalog.create_table("shop.by.hand.table", schema, location=location(lakehouse, "by_hand"))
    assert states(lakehouse) == {"shop.by.hand.table": "unmanaged", "shop.users": "in step"}


def test_a_warehouse_that_is_lost_is_an_unreachable_catalog_and_is_not_made_anew(lakehouse: Lakehouse) -> None:
    made(lakehouse, USERS)
    folder = lakehouse.settings.warehouse_folder
    folder.rename(folder.with_name("lost"))
    answer = catalog_answer(lakehouse)
    assert answer.state == "unreachable"
    assert f"There is nothing in {folder} yet. Create the tables: lakehouse apply. If there were any, restore" in answer.reason
    assert states(lakehouse) == {"shop.users": "not checked"}
    assert not folder.exists()
    folder.with_name("lost").rename(folder)
    (folder / "catalog.db").unlink()
    answer = catalog_answer(lakehouse)
    assert (answer.state, f"The catalog is lost: {folder} has files" in answer.reason) == ("unreachable", True)
    assert not (folder / "catalog.db").exists()


def test_a_table_whose_metadata_is_damaged_is_unreachable_and_hides_no_other(lakehouse: Lakehouse) -> None:
    made(lakehouse, ORDERS, USERS)
    lakehouse.catalog.drop_table("shop.orders")
    lakehouse.before_apply(lakehouse.templates())
    table = lakehouse.table("shop.users")
    with table.io.new_output(table.metadata_location).create(overwrite=True) as stream:
        stream.write(b'{"format-version": 2, "location": "jane@example.com"}')
    answers = found(lakehouse)
    assert {name: answers[name].state for name in ("shop.orders", "shop.orders__quarantine", "shop.users")} == {
        "shop.orders": "missing",
        "shop.orders__quarantine": "in step",
        "shop.users": "unreachable",
    }
    assert answers["shop.users"].reason
    assert "jane" not in answers["shop.users"].message


# --- Catalogs that hang or fail


class Hanging:
    """A catalog that does not answer about some tables, or, with ``*``, to anything."""

    def __init__(self, catalog: Catalog, names: set[str], released: threading.Event) -> None:
        self._catalog, self._names, self._released = catalog, names, released

    def load_table(self, name: str) -> Any:
        if self._names & {name, "*"}:
            self._released.wait()
        return self._catalog.load_table(name)

    def __getattr__(self, name: str) -> Any:
        if "*" in self._names:
            self._released.wait()
        return getattr(self._catalog, name)


Hang = Callable[..., Callable[[LakehouseSettings], Any]]


@pytest.fixture
def hang() -> Iterator[Hang]:
    """Makes an opener of catalogs that hang until the test is over."""
    released = threading.Event()
    yield lambda *names: lambda settings: Hanging(open_catalog(settings), set(names), released)
    released.set()


def many(lakehouse: Lakehouse, count: int) -> list[str]:
    for number in range(count):
        (lakehouse.settings.templates / f"t{number:02}.yaml").write_text(USERS.replace("users", f"t{number:02}"))
    lakehouse.apply()
    return [f"shop.t{number:02}" for number in range(count)]


def test_a_table_that_hangs_is_unreachable_and_hides_no_other(lakehouse: Lakehouse, hang: Hang) -> None:
    names = many(lakehouse, 20)
    answers = found(lakehouse, opener=hang(*names[:10]), table_timeout=2)  # more than there are threads
    assert {answers[name].state for name in names[:10]} == {"unreachable"}
    assert {answers[name].state for name in names[10:]} == {"in step"}
    assert answers[names[0]].message == "Schema drift of shop.t00 is unknown: unreachable. TimeoutError: no answer within 2 s."


def test_tables_that_are_not_reached_are_not_checked_and_come_first_when_they_are_asked_for(lakehouse: Lakehouse, hang: Hang) -> None:
    names = many(lakehouse, 20)
    start = time.monotonic()
    options: dict[str, Any] = {"opener": hang(*names[:10]), "budget": 3, "table_timeout": 60}
    answers = states(lakehouse, **options)
    assert time.monotonic() - start < 10
    assert set(answers.values()) == {"not checked"}  # eight threads hang, and nothing else is reached
    answers = states(lakehouse, **options, first=names[10:])
    assert {answers[name] for name in names[10:]} == {"in step"}
    assert {answers[name] for name in names[:10]} == {"not checked"}


def test_a_catalog_that_hangs_is_one_answer(lakehouse: Lakehouse, hang: Hang) -> None:
    many(lakehouse, 3)
    options: dict[str, Any] = {"opener": hang("*"), "table_timeout": 0.5}
    answer = catalog_answer(lakehouse, **options)
    assert answer.message == (
        "Schema drift of the catalog is unknown: unreachable. None of the tables answers, and neither does the list of them: "
        "TimeoutError: no answer within 0.5 s."
    )
    assert set(states(lakehouse, **options).values()) == {"not checked"}


def test_a_catalog_that_does_not_open_is_one_answer(lakehouse: Lakehouse) -> None:
    def broken(settings: LakehouseSettings) -> Catalog:
        raise ConnectionError("refused\nand more")

    many(lakehouse, 3)
    answer = catalog_answer(lakehouse, opener=broken)
    assert (answer.state, answer.reason.endswith("ConnectionError: refused.")) == ("unreachable", True)
    assert set(states(lakehouse, opener=broken).values()) == {"not checked"}


def test_where_only_the_list_fails_the_tables_are_compared_all_the_same(lakehouse: Lakehouse) -> None:
    class NoList:
        def __init__(self, catalog: Catalog) -> None:
            self._catalog = catalog

        def __getattr__(self, name: str) -> Any:
            if name.startswith("list_"):
                raise PermissionError("no lists")
            return getattr(self._catalog, name)

    def opener(settings: LakehouseSettings) -> Any:
        return NoList(open_catalog(settings))

    many(lakehouse, 3)
    assert set(states(lakehouse, opener=opener).values()) == {"in step"}
    answer = catalog_answer(lakehouse, opener=opener)
    assert answer.reason == (
        "Tables without a template are not looked for, because the tables cannot be listed: PermissionError: no lists."
    )


# --- The command


@pytest.fixture
def command(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs `lakehouse drift` with arguments; its exit code and what it prints."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lakehouse", "drift", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return int(str(exited.value.code)), capsys.readouterr().out

    return run


def test_the_command_prints_the_answers(lakehouse: Lakehouse, command: Callable[..., tuple[int, str]]) -> None:
    made(lakehouse, ORDERS, USERS)
    assert command() == (0, "3 in step, 0 drifted, 0 missing, 0 unmanaged, 0 unreachable, 0 not checked\n")
    lakehouse.catalog.create_table("shop.by_hand", Schema(NestedField(1, "id", LongType())), location=location(lakehouse, "by_hand"))
    assert command()[0] == 0
    with lakehouse.table("shop.users").update_schema() as update:
        update.add_column("debug_flag", BooleanType())
    code, text = command()
    assert (code, text.splitlines()[1]) == (
        2,
        "drifted     Schema drift detected in shop.users. Extra columns: {debug_flag}.",
    )
    code, text = command("--json")
    answers = {answer["table"]: answer for answer in json.loads(text)["answers"]}
    assert (code, answers["shop.users"]["extra_columns"], answers["shop.by_hand"]["state"]) == (2, ["debug_flag"], "unmanaged")
    Path(lakehouse.table("shop.orders").metadata_location.removeprefix("file://")).unlink()
    code, text = command()
    assert (code, "unreachable Schema drift of shop.orders is unknown" in text, "debug_flag" in text) == (1, True, True)
