"""What `lakehouse governance --live`, the drift check and Soda make of what BigQuery shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from bigquery_lake import ORDERS, ROW, Lake
from bigquery_server import (
    ADMIN,
    CATALOG,
    CONNECTION,
    FINE_GRAINED_READER,
    INTERNAL,
    PROJECT,
    READER,
    RESTRICTED,
    TAXONOMY,
    WRITER,
    BigQueryServer,
)
from command_line import run_command

from lakehouse.drift import check_drift
from lakehouse.errors import SettingsError
from lakehouse.governance import visible_columns
from lakehouse.grants import Finding
from lakehouse.live_grants import close, live_findings
from quality.scan import scan_table

Act = Callable[[BigQueryServer], object]


def findings(lake: Lake) -> list[Finding]:
    return live_findings(lake.settings, lake.templates())


def bind(resource: str, *members: str, role: str = FINE_GRAINED_READER) -> Act:
    return lambda server: server.policies[resource].append({"role": role, "members": list(members)})


def access(**entry: str) -> Act:
    return lambda server: server.access["shop"].append(entry)


def without(who: str) -> Act:
    def act(server: BigQueryServer) -> None:
        server.access["shop"] = [entry for entry in server.access["shop"] if entry.get("userByEmail") != who]

    return act


def untag(*paths: str) -> Act:
    return lambda server: [server.tag_by_hand("shop.orders", path) for path in paths]


def retag(path: str, tag: str) -> Act:
    return lambda server: server.tag_by_hand("shop.orders", path, tag)


def second_entry(server: BigQueryServer) -> None:
    """Of the same files, by hand, and with one tag only."""
    orders = server.tables["shop.orders"]
    reference = {**orders["tableReference"], "tableId": "copy"}
    fields = [{"name": "id", "type": "INTEGER"}, {**orders["schema"]["fields"][1]}]
    server.change("shop.orders")  # another etag, the same table
    server.tables["shop.copy"] = {**orders, "tableReference": reference, "schema": {"fields": fields}}
    server.tables["shop.view"] = {"etag": "v", "type": "VIEW", "schema": {"fields": []}, "tableReference": {**reference, "tableId": "view"}}


def no_connection(server: BigQueryServer) -> None:
    external = server.tables["shop.orders"]["externalDataConfiguration"]
    server.change("shop.orders", externalDataConfiguration={**external, "connectionId": ""})


def test_what_apply_made_is_what_the_templates_say(lake: Lake) -> None:
    lake.made(ORDERS, ("format: jsonl}", "format: jsonl}\n      on_bad_rows: quarantine"))
    assert findings(lake) == []
    assert {drift.state for drift in check_drift(lake.settings, lake.templates(), opener=lambda settings: lake.catalog)} == {"in step"}


SEEN = ("the dataset's readers", ("SELECT",))
TAG = (FINE_GRAINED_READER,)
WHOLE = f"projects/{PROJECT}"
CONNECTION_USER, OBJECT_VIEWER, BIGLAKE_VIEWER = "roles/bigquery.connectionUser", "roles/storage.objectViewer", "roles/biglake.viewer"
CASES: dict[str, tuple[Act, tuple[str, str, tuple[str, ...], tuple[str, ...]]]] = {
    "tag taken away": (untag("email", "address.geo.lat"), ("excessive", *SEEN, ("email", "address.geo.lat"))),
    "wider tag": (retag("email", INTERNAL), ("excessive", *SEEN, ("email",))),
    "another's tag": (retag("email", f"{TAXONOMY}/policyTags/99"), ("excessive", *SEEN, ("email",))),
    "narrower tag": (retag("id", RESTRICTED), ("missing", *SEEN, ("id",))),
    "no connection": (no_connection, ("excessive", *SEEN, ())),
    "a second entry": (second_entry, ("excessive", *SEEN, ("id",))),
    "no entry": (lambda server: server.tables.clear(), ("absent", "", (), ())),
    "no dataset": (lambda server: server.access.clear(), ("absent", "", (), ())),
    "a taxonomy that hides nothing": (lambda server: server.taxonomies[TAXONOMY].clear(), ("excessive", "the dataset's readers", (), ())),
    "reader sees restricted": (bind(RESTRICTED, f"serviceAccount:{READER}"), ("excessive", READER, TAG, ())),
    "reader sees all tags": (bind(TAXONOMY, f"serviceAccount:{READER}"), ("excessive", READER, TAG, ())),
    "others see internal": (bind(INTERNAL, "group:all@example.com"), ("foreign", "group:all@example.com", TAG, ())),
    "nobody sees internal": (lambda server: server.policies[INTERNAL].clear(), ("missing", READER, TAG, ())),
    "reader uses connection": (
        bind(CONNECTION, f"serviceAccount:{READER}", role=CONNECTION_USER),
        ("excessive", READER, (CONNECTION_USER,), ()),
    ),
    "reader opens buckets": (bind(WHOLE, f"serviceAccount:{READER}", role=OBJECT_VIEWER), ("excessive", READER, (OBJECT_VIEWER,), ())),
    **{
        f"reader holds {role}": (bind(WHOLE, f"serviceAccount:{READER}", role=role), ("excessive", READER, (role,), ()))
        for role in (f"{WHOLE}/roles/opens_files", "roles/bigquerydatapolicy.admin", "roles/dataplex.admin")
    },
    "reader asks the catalog": (
        bind(CATALOG, f"serviceAccount:{READER}", role=BIGLAKE_VIEWER),
        ("excessive", READER, (BIGLAKE_VIEWER,), ()),
    ),
    "others ask the catalog": (bind(CATALOG, "allUsers", role=BIGLAKE_VIEWER), ("foreign", "allUsers", (BIGLAKE_VIEWER,), ())),
    "others see every tag": (bind(WHOLE, "user:eve@example.com"), ("foreign", "user:eve@example.com", TAG, ())),
    "reader writes": (access(role="WRITER", userByEmail=READER), ("excessive", READER, ("WRITER",), ())),
    "project's viewers": (access(role="READER", specialGroup="projectReaders"), ("leftover", "projectReaders", ("READER",), ())),
    "everybody": (access(role="READER", iamMember="allUsers"), ("leftover", "allUsers", ("READER",), ())),
    "another reads": (access(role="READER", groupByEmail="all@example.com"), ("foreign", "all@example.com", ("READER",), ())),
    "reader reads nothing": (without(READER), ("missing", READER, ("roles/bigquery.dataViewer",), ())),
    "writer moves nothing": (without(WRITER), ("missing", WRITER, ("roles/bigquery.dataViewer", "tables_mover"), ())),
}


def test_what_somebody_changed_is_found(lake: Lake) -> None:
    lake.made()
    server = lake.server
    before = copy.deepcopy((server.tables, server.access, server.policies, server.taxonomies))
    for name, (act, expected) in CASES.items():
        server.tables, server.access, server.policies, server.taxonomies = copy.deepcopy(before)
        act(server)
        found = findings(lake)
        told = [(finding.kind, finding.principal, finding.permissions, finding.columns) for finding in found]
        assert expected in told, (name, told)
        if expected[0] != "missing":  # what nobody may do any more is more than one finding
            assert set(told) == {expected}, name
        assert all(finding.remedy and finding.message for finding in found), name


def test_what_cannot_be_looked_at_hides_nothing_else(lake: Lake) -> None:
    lake.made()
    untag("email")(lake.server)
    for pattern in (f"POST policies/{RESTRICTED}", "GET datasets/shop"):
        lake.server.inject(pattern, 403, times=None)
    found = findings(lake)
    assert sorted(finding.kind for finding in found) == ["excessive", "unreachable", "unreachable"]
    assert {finding.message for finding in found if finding.kind == "unreachable"} == {
        f"The policy of {RESTRICTED} cannot be read: 403 Injected.",
        "BigQuery's dataset shop cannot be read: 403 Injected.",
    }


def test_the_drift_check_has_tags_and_bindings_among_the_grants(lake: Lake) -> None:
    lake.made()
    untag("email")(lake.server)
    bind(RESTRICTED, "user:eve@example.com")(lake.server)
    found = check_drift(lake.settings, lake.templates(), opener=lambda settings: lake.catalog)
    told = {(drift.table, drift.aspect): drift for drift in found}
    assert told["shop.orders", "grants"].message == (
        "Permission drift detected in shop.orders. Excessive grants: {the dataset's readers: SELECT of email}."
    )
    assert told["shop.orders", "grants"].details[0]["columns"] == ("email",)
    assert "Grants to others: {user:eve@example.com: roles/datacatalog.categoryFineGrainedReader}" in told["*", "grants"].message
    assert told["shop.*", "grants"].state == "in step"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reader_role": None}, "LAKEHOUSE_READER_ROLE"),
        ({"policy_tag_restricted": None}, "LAKEHOUSE_POLICY_TAG_RESTRICTED"),
        ({"reader_role": "arn:aws:iam::1:role/reader"}, "No service account's e-mail address: arn:aws:iam::1:role/reader"),
        ({"reader_role": WRITER}, "two of the settings are the same"),
        ({"bigquery_connection": None}, "LAKEHOUSE_BIGQUERY_CONNECTION is set"),
    ],
)
def test_settings_that_are_missing_or_wrong_are_named(lake: Lake, change: dict[str, Any], message: str) -> None:
    lake.write()
    lake.settings = lake.settings.model_copy(update=change)
    with pytest.raises(SettingsError, match=message):
        findings(lake)


def test_the_command(lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lake.made()
    for name, field in type(lake.settings).model_fields.items():
        if name in lake.settings.model_fields_set:
            monkeypatch.setenv(str(field.validation_alias), str(getattr(lake.settings, name)))
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", "gs://warehouse")
    code, out, _ = run_command(capsys, "governance", "--live")
    assert (code, "0 too open" in out) == (0, True)
    untag("email")(lake.server)
    code, out, _ = run_command(capsys, "governance", "orders", "--live", "--json")
    (item,) = json.loads(out)
    assert (code, item["kind"], item["columns"], item["remedy"]) == (1, "excessive", ["email"], "Make it so: lakehouse apply")
    code, _, err = run_command(capsys, "governance", "--fix")
    assert (code, "On gcp lakehouse apply sets missing policy tags" in " ".join(err.split())) == (1, True)


def test_nothing_is_closed_here(lake: Lake) -> None:
    with pytest.raises(SettingsError, match="--fix revokes Lake Formation's grants"):
        list(close(lake.settings, []))


def query(lake: Lake, caller: str, sql: str) -> list[Any]:
    return lake.server.query(lake.settings.templates.parent, caller, "shop", sql)


def test_who_reads_what(lake: Lake) -> None:
    """The columns that the templates let each role read are those that a query of it may name."""
    from google.api_core.exceptions import Forbidden

    lake.made()
    lake.load("a.jsonl")
    (template,) = lake.templates()
    roles = {"reader": READER, "writer": WRITER, "admin": ADMIN}
    for role, caller in roles.items():
        visible = visible_columns(template, role)  # type: ignore[arg-type]
        for column in (column.name for column in template.columns):
            if column in visible:
                assert query(lake, caller, f"SELECT COUNT({column}) AS n FROM orders") == [{"n": 0 if column == "notes" else 1}]
            else:
                with pytest.raises(Forbidden, match=f"permission to access policy tag on column orders.{column}"):
                    query(lake, caller, f"SELECT COUNT({column}) AS n FROM orders")
    assert visible_columns(template, "reader") == ["id", "margin", "notes"]
    without(READER)(lake.server)
    with pytest.raises(Forbidden, match="does not have permission to query tables"):
        query(lake, READER, "SELECT COUNT(id) AS n FROM orders")


def test_soda_checks_what_bigquery_shows(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real `soda scan`, as the writer: counts, keys, freshness, and the types of all columns, nested ones too."""
    more = '- {name: at, type: timestamptz}\n      - {name: tags, type: "list<string>"}\n      - {name: notes'
    lake.made(
        ORDERS,
        ("- {name: notes", more),
        ("identifier: [id]", "identifier: [id]\n    freshness: 1d\n    partition_spec: [{column: at, transform: day}]"),
    )
    lake.load("a.jsonl", ROW.replace('"id": 1', '"at": "2999-01-01T00:00:00Z", "id": 1'))
    monkeypatch.setattr("quality.scan.open_catalog", lambda settings: lake.catalog)
    environment = lake.server.environment(lake.settings.templates.parent, WRITER)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", environment["GOOGLE_APPLICATION_CREDENTIALS"])
    (template,) = lake.templates()
    lake.server.calls.clear()
    result = scan_table(lake.settings, template)
    assert [check.outcome for check in result.checks] == ["pass"] * 5, result.checks
    queries = lake.server.called("POST queries")
    assert {call.caller for call in queries} == {WRITER}
    assert all(call.body["location"] == "europe-west3" and call.body["defaultDataset"]["datasetId"] == "shop" for call in queries)
