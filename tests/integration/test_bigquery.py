"""BigQuery's external tables follow Iceberg tables: what is sent, and what becomes of it when something goes wrong."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bigquery_lake import ORDERS, ROW, Lake
from bigquery_server import ADMIN, CONNECTION, INTERNAL, PROJECT, READER, RESTRICTED, WRITER

from lakehouse.catalog import load_table
from lakehouse.engines import NotFollowedError
from lakehouse.pointers import follow, open_pointers

SECRETS = {"email": [RESTRICTED], "address.street": [RESTRICTED], "address.geo.lat": [RESTRICTED]}
TAGS = {**SECRETS, "margin": [INTERNAL]}
PATCH, INSERT, GET = "PATCH tables/shop.orders", "POST tables/shop", "GET tables/shop.orders"
OTHER = f"{RESTRICTED}0"


def synced(lake: Lake) -> list[str]:
    """What `lakehouse sync` does."""
    pointers = open_pointers(lake.settings)
    assert pointers is not None
    return [found.action for found in follow(pointers, lake.settings, lake.catalog, lake.templates())]


def assert_never_shown(lake: Lake, *paths: str) -> None:
    """No state of any table had one of these fields without the tag of restricted columns."""
    seen = set()
    for name, state in lake.server.states:
        lake.server.tables["probe"] = state
        tags = lake.server.tags("probe")
        there = {path for path in _paths(state["schema"]["fields"]) if any(fnmatch.fnmatchcase(path, pattern) for pattern in paths)}
        assert {path: tags.get(path) for path in there} == {path: [RESTRICTED] for path in there}, name
        seen |= there
    del lake.server.tables["probe"]
    assert seen


def _paths(fields: list[Any], around: str = "") -> list[str]:
    return [
        path
        for field in fields
        for path in (_paths(field["fields"], f"{around}{field['name']}.") if "fields" in field else [f"{around}{field['name']}"])
    ]


# --- Registration


def test_a_new_table_is_registered_with_its_tags_in_the_very_call(lake: Lake) -> None:
    lake.write()
    assert [planned.action for planned in lake.plan()] == ["create"]
    assert lake.applied().action == "created"
    (insert,) = lake.server.called("POST *")
    assert {path: names for path, names in insert.policy_tags.items() if names} == TAGS
    assert insert.body["externalDataConfiguration"] == {
        "sourceFormat": "ICEBERG",
        "sourceUris": [lake.newest()],
        "autodetect": False,
        "connectionId": CONNECTION,
    }
    assert insert.body["description"] == "One row per order."
    assert insert.body["labels"] == {"domain": "web_shop"}
    id_, email, margin, address, notes = insert.body["schema"]["fields"]
    assert id_ == {"name": "id", "type": "INTEGER", "mode": "NULLABLE", "description": "Unique.", "policyTags": {"names": []}}
    assert (email["type"], margin["type"], address["type"], address["mode"]) == ("STRING", "NUMERIC", "RECORD", "NULLABLE")
    assert (notes["type"], notes["mode"], [field["name"] for field in notes["fields"]]) == ("RECORD", "REPEATED", ["key", "value"])
    assert lake.server.calls[lake.server.calls.index(insert) + 1].name == GET  # it is read back
    assert lake.lines() == []
    assert lake.applied().action == "exists"
    assert_never_shown(lake, *SECRETS)


def test_a_quarantine_table_is_restricted_as_a_whole(lake: Lake) -> None:
    lake.made(ORDERS, ("format: jsonl}", "format: jsonl}\n      on_bad_rows: quarantine"))
    assert set(map(tuple, lake.server.tags("shop.orders__quarantine").values())) == {(RESTRICTED,)}
    assert len(lake.server.tags("shop.orders__quarantine")) == 6


@pytest.mark.parametrize(
    ("missing", "column"),
    [("policy_tag_restricted", "email"), ("policy_tag_internal", "margin")],
)
def test_a_column_whose_tag_is_not_set_is_not_registered(lake: Lake, missing: str, column: str) -> None:
    lake.settings = lake.settings.model_copy(update={missing: None})
    lake.write()
    (planned,) = lake.plan()
    assert planned.action == "error"
    applied = lake.applied()
    assert (applied.action, applied.detail) == ("failed", planned.error)
    assert f"shop.orders: LAKEHOUSE_{missing.upper()} is not set" in applied.detail
    assert "lakehouse env --terraform terraform/gcp" in applied.detail
    assert not lake.catalog.table_exists("shop.orders")
    assert not lake.server.called("POST *")


def test_a_type_that_bigquery_does_not_have_is_told_before_anything_is_made(lake: Lake) -> None:
    lake.write(ORDERS, ("map<string, string>", "list<list<string>>"))
    assert "notes is a list of lists or of maps" in lake.applied().detail
    assert not lake.catalog.table_exists("shop.orders")
    lake.made()
    before = lake.newest()
    lake.write(
        ORDERS,
        ("- {name: notes", '- {name: deep, type: "list<map<string, int>>"}\n      - {name: notes'),
    )
    assert "deep is a list of lists or of maps" in lake.applied().detail
    assert lake.newest() == before


def test_a_tag_that_does_not_arrive_removes_the_entry_and_fails(lake: Lake) -> None:
    lake.server.drops_tags = {"address.geo.lat"}
    lake.write()
    applied = lake.applied()
    assert applied.action == "failed"
    assert "BigQuery did not take the policy tags of shop.orders as they were sent: address.geo.lat." in applied.detail
    assert lake.server.tables == {}
    lake.server.drops_tags = set()
    assert lake.lines() == ["register table: in BigQuery [safe]"]
    assert lake.applied().action == "changed"
    assert lake.server.tags("shop.orders") == TAGS


def test_an_entry_that_cannot_be_removed_is_told(lake: Lake) -> None:
    lake.server.drops_tags = {"email"}
    lake.server.inject("DELETE *", 403)
    lake.write()
    assert "could not be removed, and may show restricted columns: remove it now, bq rm -t shop.orders" in lake.applied().detail


def test_a_table_of_another_kind_is_left_alone(lake: Lake) -> None:
    reference = {"projectId": PROJECT, "datasetId": "shop", "tableId": "orders"}
    lake.server.tables["shop.orders"] = {"etag": "x", "type": "TABLE", "schema": {"fields": []}, "tableReference": reference}
    lake.write()
    assert "is a table of another kind in BigQuery" in lake.applied().detail
    assert {call.name for call in lake.server.calls} == {GET}


def test_without_a_connection_bigquery_is_not_asked(lake: Lake) -> None:
    lake.settings = lake.settings.model_copy(update={"bigquery_connection": None, "policy_tag_restricted": None})
    lake.made()
    lake.load("a.jsonl")
    assert lake.server.calls == []


# --- Moves


def test_a_commit_moves_the_entry_and_changes_nothing_else(lake: Lake) -> None:
    lake.made()
    columns = [
        {**field, "description": field.get("description", "By hand.")} for field in lake.server.tables["shop.orders"]["schema"]["fields"]
    ]
    lake.server.change("shop.orders", labels={"cost": "center"}, description="By hand.", schema={"fields": columns})
    before = lake.server.tables["shop.orders"]
    lake.load("a.jsonl")
    (patch,) = lake.server.called("PATCH *")
    assert set(patch.body) == {"externalDataConfiguration"}  # columns are not sent, nor the right to set tags needed
    assert patch.headers["If-Match"] == before["etag"]
    assert lake.server.uri("shop.orders") == lake.newest()
    after = lake.server.tables["shop.orders"]
    assert {key: after[key] for key in ("schema", "labels", "description")} == {
        key: before[key] for key in ("schema", "labels", "description")
    }
    assert lake.server.tags("shop.orders") == TAGS
    lake.load("b.jsonl")
    assert len(lake.server.called("PATCH *")) == 2
    assert synced(lake) == ["in step"]


def test_a_restricted_column_is_added_with_its_tag_in_the_call_that_moves_the_entry(lake: Lake) -> None:
    lake.made()
    lake.load("a.jsonl")
    lake.server.calls.clear()
    lake.write(
        ORDERS,
        ("- {name: notes", "- {name: phone, type: string, access_level: restricted}\n      - {name: notes"),
        ("street: string,", "street: string, town: string,"),
    )
    assert lake.applied().action == "changed"
    (patch,) = lake.server.called("PATCH *")
    assert patch.body["externalDataConfiguration"]["sourceUris"] == [lake.newest()]
    assert {path: names for path, names in patch.policy_tags.items() if names} == {
        **TAGS,
        "phone": [RESTRICTED],
        "address.town": [RESTRICTED],
    }
    assert_never_shown(lake, *SECRETS, "phone", "address.town")


NICK = ("- {name: notes, type", "- {name: nick, type: string}\n      - {name: notes, type")
RESTRICTED_NICK = (NICK[0], NICK[1].replace("string}", "string, access_level: restricted}"))
SWAPPED = (
    ("{name: email, type: string,", "{name: nick, type: string, renamed_from: [email],"),
    ("- {name: notes, type", "- {name: email, type: string, renamed_from: [nick]}\n      - {name: notes, type"),
)
OPEN_SWAP = (
    ("{name: email, type: string, access_level: restricted, pii: true}", "{name: nick, type: string, renamed_from: [email]}"),
    SWAPPED[1],
)


def rename(lake: Lake, *pairs: tuple[str, str]) -> None:
    """Renames columns by another client."""
    with load_table(lake.catalog, "shop.orders").update_schema() as update:
        for old, new in pairs:
            update.rename_column(old, new)


def test_tags_follow_renames_and_swaps(lake: Lake) -> None:
    lake.made(ORDERS, RESTRICTED_NICK)
    lake.load("a.jsonl")
    lake.write(ORDERS, *SWAPPED, ("name: margin,", "name: profit, renamed_from: [margin],"))
    assert lake.applied().action == "changed"
    # `email` is a former name of a restricted column: the reader's grants leave it out on AWS, too.
    assert lake.server.tags("shop.orders") == {**SECRETS, "nick": [RESTRICTED], "profit": [INTERNAL]}
    assert_never_shown(lake, "email", "address.*")
    assert lake.lines() == []


@pytest.mark.parametrize(("how", "breaking"), [(SWAPPED, False), (SWAPPED[:1], True), (OPEN_SWAP, False)])
def test_a_column_gets_no_name_that_is_shown_to_more_people(lake: Lake, how: tuple[tuple[str, str], ...], breaking: bool) -> None:
    """Swapped, or onto the name of one that is dropped: a run with the older template would show it under the other's tag."""
    lake.made(ORDERS, NICK)
    lake.load("a.jsonl")
    before = lake.newest()
    lake.write(ORDERS, *how)
    assert breaking or lake.plan()[0].action == "error"  # nothing is dropped without the flag
    applied = lake.applied(allow_breaking=breaking)
    assert (applied.action, lake.newest()) == ("failed", before)
    assert "shop.orders: nick would be another column" in applied.detail
    lake.write(ORDERS, RESTRICTED_NICK)
    assert lake.applied().action == "changed"
    lake.write(ORDERS, *how)
    assert lake.applied(allow_breaking=breaking).action in ("changed", "refused")
    assert lake.server.tags("shop.orders")["nick"] == [RESTRICTED]


@pytest.mark.parametrize(("readable", "older"), [(True, False), (False, False), (False, True)])
def test_a_column_keeps_its_tag_under_whatever_name_by_its_id(lake: Lake, readable: bool, older: bool) -> None:
    """Where the metadata that the entry names is gone, the narrowest tag of its names counts."""
    lake.made(ORDERS, NICK)
    lake.load("a.jsonl")
    shown = lake.server.uri("shop.orders")
    rename(lake, ("email", "x"), ("nick", "email"))
    rename(lake, ("x", "nick"))
    if not readable:
        Path(shown.removeprefix("file://")).unlink()
    if older:  # by a run that has the template of before
        assert synced(lake) == ["moved"]
        assert lake.server.tags("shop.orders")["nick"] == [RESTRICTED]
    lake.write(ORDERS, *OPEN_SWAP)
    assert synced(lake) == ["in step" if older else "moved"]
    assert lake.server.tags("shop.orders")["nick"] == [RESTRICTED]
    assert ("email" in lake.server.tags("shop.orders")) is not readable
    assert lake.lines()[0].startswith("untag column ")
    assert lake.applied(allow_breaking=True).action == "changed"
    lake.load("b.jsonl", ROW.replace('"email"', '"nick"'))
    assert not {"nick", "email"} & lake.server.tags("shop.orders").keys()  # it does not come back


def test_a_field_that_is_new_in_a_struct_is_no_wider_than_the_others(lake: Lake) -> None:
    lake.made()
    lake.server.tag_by_hand("shop.orders", "address.geo.lat", OTHER)
    lake.write(ORDERS, ("street: string,", "street: string, town: string,"), ('double>>>", access_level: restricted', 'double>>>"'))
    assert lake.applied().action == "refused"
    assert lake.server.tags("shop.orders") == {**TAGS, "address.geo.lat": [OTHER], "address.town": [RESTRICTED]}


def test_a_rename_that_opens_a_column_keeps_its_tag_until_that_is_allowed(lake: Lake) -> None:
    lake.made()
    lake.load("a.jsonl")
    lake.write(
        ORDERS,
        ("{name: email, type: string, access_level: restricted, pii: true}", "{name: contact, type: string, renamed_from: [email]}"),
    )
    applied = lake.applied()
    assert applied.action == "refused"
    assert lake.server.tags("shop.orders")["contact"] == [RESTRICTED]
    assert lake.lines() == ["untag column contact: restricted -> no tag [breaking]"]
    assert lake.applied(allow_breaking=True).action == "changed"
    assert "contact" not in lake.server.tags("shop.orders")


def test_a_column_that_no_template_describes_is_hidden(lake: Lake) -> None:
    from pyiceberg.types import StringType

    lake.made()
    with load_table(lake.catalog, "shop.orders").update_schema() as update:
        update.add_column("by_hand", StringType())
    assert synced(lake) == ["moved"]
    assert lake.server.tags("shop.orders")["by_hand"] == [RESTRICTED]


def test_what_a_tag_needs_to_count_follows_the_settings(lake: Lake) -> None:
    """The connection, by location and name alone; and columns are not taken from the files."""
    lake.made()
    before = lake.server.tables["shop.orders"]["externalDataConfiguration"]
    lake.server.change("shop.orders", externalDataConfiguration={**before, "connectionId": "123.EUROPE-WEST3.lakehouse"})
    assert synced(lake) == ["in step"]
    lake.server.tables["shop.orders"]["externalDataConfiguration"]["autodetect"] = True
    assert synced(lake) == ["moved"]
    other = CONNECTION.replace("/lakehouse", "/other")
    lake.settings = lake.settings.model_copy(update={"bigquery_connection": other})
    assert synced(lake) == ["moved"]
    after = lake.server.tables["shop.orders"]["externalDataConfiguration"]
    assert (after["autodetect"], after["connectionId"]) == (False, f"{PROJECT}.europe-west3.other")


# --- A change of a tag


def test_a_narrower_tag_is_safe_and_a_wider_one_needs_a_flag(lake: Lake) -> None:
    lake.made()
    lake.load("a.jsonl")
    lake.write(ORDERS, ("access_level: internal", "access_level: restricted"))
    assert lake.lines()[-1] == "tag column margin: internal -> restricted [safe]"
    assert lake.applied().action == "changed"
    assert lake.server.tags("shop.orders") == {**TAGS, "margin": [RESTRICTED]}

    lake.write(ORDERS, ("access_level: restricted, pii: true", "access_level: internal, pii: true"), (", access_level: internal}", "}"))
    assert lake.lines() == ["tag column email: restricted -> internal [breaking]", "untag column margin: restricted -> no tag [breaking]"]
    applied = lake.applied()
    assert applied.action == "refused"
    assert "untag column margin: restricted -> no tag (more people could read it; it needs --allow-breaking)" in applied.detail
    lake.load("b.jsonl")
    assert lake.server.tags("shop.orders") == {**TAGS, "margin": [RESTRICTED]}
    assert lake.applied(allow_breaking=True).action == "changed"
    assert lake.server.tags("shop.orders") == {**SECRETS, "email": [INTERNAL]}
    assert lake.lines() == []


def test_a_tag_taken_away_by_hand_comes_back_and_anothers_is_not_replaced_without_the_flag(lake: Lake) -> None:
    lake.made()
    lake.server.tag_by_hand("shop.orders", "email")
    lake.server.tag_by_hand("shop.orders", "margin", OTHER)
    lake.server.tag_by_hand("shop.orders", "address.street", OTHER)  # who reads what is restricted, the template says
    assert lake.lines() == [
        "tag column email: no tag -> restricted [safe]",
        "tag column margin: another tag -> internal [breaking]",
        "tag column address.street: another tag -> restricted [safe]",
    ]
    lake.load("a.jsonl")  # a commit sets it right, too
    assert lake.server.tags("shop.orders") == {**TAGS, "margin": [OTHER]}
    assert lake.applied().action == "refused"
    assert lake.applied(allow_breaking=True).action == "changed"
    assert lake.server.tags("shop.orders") == TAGS


def test_a_description_follows_its_template(lake: Lake) -> None:
    lake.made()
    lake.write(ORDERS, ("One row per order.", "Orders."), ("description: Unique.", "description: The number."))
    assert "describe table: One row per order. -> Orders. [safe]" in lake.lines()
    lake.applied()
    assert lake.server.tables["shop.orders"]["description"] == "Orders."
    assert lake.server.tables["shop.orders"]["schema"]["fields"][0]["description"] == "The number."
    assert lake.server.tables["shop.orders"]["labels"] == {"domain": "web_shop"}
    assert lake.server.tags("shop.orders") == TAGS
    lake.server.change("shop.orders", description="Orders.\n")
    assert lake.lines() == []


# --- Two at once


def test_a_change_in_between_is_met_by_reading_again(lake: Lake) -> None:
    lake.made()
    lake.server.meanwhile(PATCH, lambda: lake.server.change("shop.orders", labels={"owner": "them"}))
    lake.load("a.jsonl")
    assert [call.status for call in lake.server.called(PATCH)] == [412, 200]
    assert lake.server.uri("shop.orders") == lake.newest()
    assert lake.server.tables["shop.orders"]["labels"] == {"owner": "them"}


def test_a_slow_run_does_not_move_the_entry_back(lake: Lake) -> None:
    lake.made()
    lake.server.meanwhile(PATCH, lambda: lake.load("b.jsonl"))
    lake.load("a.jsonl")
    assert lake.server.uri("shop.orders") == lake.newest()
    assert len(load_table(lake.catalog, "shop.orders").snapshots()) == 2
    assert [uri for _, state in lake.server.states for uri in state["externalDataConfiguration"]["sourceUris"]] == sorted(
        uri for _, state in lake.server.states for uri in state["externalDataConfiguration"]["sourceUris"]
    )


def test_two_applies_register_a_table_once(lake: Lake) -> None:
    lake.write()
    lake.server.meanwhile(INSERT, lambda: lake.apply())
    assert lake.applied().action == "created"
    assert [call.status for call in lake.server.called(INSERT)] == [200, 409]
    assert lake.lines() == []


# --- Faults


@pytest.mark.parametrize(("status", "done"), [(429, False), (500, False), (500, True), (503, False), (None, False), (None, True)])
def test_what_passes_is_tried_again(lake: Lake, impatient: None, status: int | None, done: bool) -> None:
    for name in (GET, INSERT, PATCH):
        lake.server.inject(name, status, done=done, delay=0.6)
    lake.write()
    assert lake.applied().action == "created"
    lake.load("a.jsonl")
    assert all(fault.met == 1 for fault in lake.server.faults)
    assert lake.server.uri("shop.orders") == lake.newest()
    assert lake.server.tags("shop.orders") == TAGS


REMEDIES = {
    401: "gcloud auth application-default login",
    403: "the admin for lakehouse apply, the writer for pipelines",
    404: "terraform -chdir=terraform/gcp apply",
    429: "raise the quota",
    500: "lakehouse env",
    None: "lakehouse env",
}


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, None])
def test_what_lasts_is_a_clear_error_and_nothing_is_half_done(lake: Lake, impatient: None, status: int | None) -> None:
    lake.write()
    fault = lake.server.inject(INSERT, status, times=None, delay=0.6)
    applied = lake.applied()
    assert applied.action == "failed"
    assert "BigQuery's table shop.orders cannot be made" in applied.detail
    assert REMEDIES[status] in applied.detail
    assert "created in the catalog, and readers are not shown it" in applied.detail
    assert lake.server.tables == {}
    fault.times = 0
    assert lake.lines() == ["register table: in BigQuery [safe]"]
    assert lake.applied().action == "changed"

    fault = lake.server.inject(PATCH, status, times=None, delay=0.6)
    before = lake.server.uri("shop.orders")
    with pytest.raises(NotFollowedError, match=r"lakehouse sync shop\.orders") as error:
        lake.load("a.jsonl")
    assert REMEDIES[status] in str(error.value)
    assert error.value.result.rows == 1  # they are committed
    assert lake.server.uri("shop.orders") == before
    fault.times = 0
    assert synced(lake) == ["moved"]
    assert lake.server.uri("shop.orders") == lake.newest()


def test_a_dataset_that_is_missing_is_terraforms(lake: Lake) -> None:
    lake.server.access.clear()
    lake.write()
    assert "404" in (detail := lake.applied().detail)
    assert "Terraform makes the dataset" in detail


def test_only_the_admin_makes_entries_and_the_writer_moves_them(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def act_as(caller: str) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", lake.server.environment(tmp_path, caller)["GOOGLE_APPLICATION_CREDENTIALS"])

    lake.write()
    act_as(WRITER)
    applied = lake.applied()
    assert (applied.action, "the admin for lakehouse apply" in applied.detail) == ("failed", True)
    act_as(ADMIN)
    assert lake.applied().action == "changed"
    act_as(WRITER)
    lake.load("a.jsonl")
    assert lake.server.uri("shop.orders") == lake.newest()
    act_as(READER)
    with pytest.raises(NotFollowedError, match="403 Access Denied"):
        lake.load("b.jsonl")


def test_a_tag_that_bigquery_does_not_know_is_refused_and_nothing_is_shown(lake: Lake) -> None:
    elsewhere = RESTRICTED.replace("europe-west3", "us")
    lake.settings = lake.settings.model_copy(update={"policy_tag_restricted": elsewhere})
    lake.write()
    assert f"400 Invalid policy tag: {elsewhere}" in (detail := lake.applied().detail)
    assert "are in the same location" in detail
    assert lake.server.tables == {}


def test_a_412_that_lasts_names_the_one_who_wins(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.pointers._PATIENCE", 1.0)
    lake.made()
    lake.server.inject(PATCH, 412, times=None)
    with pytest.raises(NotFollowedError, match="was changed by another meanwhile"):
        lake.load("a.jsonl")


def test_credentials_that_are_not_there_are_told(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    lake.write()
    assert "gcloud auth application-default login" in lake.applied().detail


def test_google_is_not_loaded_for_other_backends() -> None:
    modules = "lakehouse.plan, lakehouse.apply, lakehouse.drift, lakehouse.cli_governance, lakehouse.pointers"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('google')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
