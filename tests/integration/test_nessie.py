"""The backend aws-nessie against the real server: commits, history, faults, branches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pyarrow as pa
import pytest
import requests
from nessie_server import Call, NessieProxy, NessieServer, answers, dynamodb_environment, lost_answer, server_environment
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from lakehouse.apply import apply
from lakehouse.branches import merge, open_client
from lakehouse.catalog import open_catalog
from lakehouse.commit import Batch
from lakehouse.engines import AppendFiles, Engine, open_engine
from lakehouse.errors import CatalogError, CommitUnknownError, SettingsError
from lakehouse.nessie_history import MOST_ANCESTORS
from lakehouse.nessie_session import BranchError
from lakehouse.plan import plan
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from aws_server import AwsServer
    from conftest import Lakehouse

BACKENDS = ["aws-nessie"]
WORKER = Path(__file__).with_name("worker.py")
COMMIT = "POST /iceberg/v1/*/tables/events"
EVENTS = """\
    name: events
    namespace: lake
    columns: [{name: id, type: long}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}/", format: jsonl}
"""


@pytest.fixture
def proxy(nessie: NessieServer) -> Iterator[NessieProxy]:
    with NessieProxy(nessie.uri) as found:
        yield found


def through(lakehouse: Lakehouse, proxy: NessieProxy) -> Engine:
    settings = lakehouse.settings.model_copy(update={"nessie_uri": proxy.uri})
    return open_engine(settings, open_catalog(settings))


def rows(*ids: int) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"id": list(ids)})]


def ids(lakehouse: Lakehouse, table: str = "lake.events") -> list[int]:
    return sorted(lakehouse.rows(table)["id"].to_pylist())


def on_branch(lakehouse: Lakehouse, name: str) -> Lakehouse:
    settings = LakehouseSettings.load(LAKEHOUSE_BRANCH=name)
    return replace(lakehouse, settings=settings, environment={**lakehouse.environment, "LAKEHOUSE_BRANCH": name})


# --- Commits and history


def test_two_writers_commit_twenty_times_each_and_every_row_is_there_once(lakehouse: Lakehouse) -> None:
    lakehouse.template("name: t\nnamespace: lake\ncolumns: [{name: id, type: string}]\n")
    command = [sys.executable, str(WORKER), "append", "lake.t", "20"]
    environment = {**os.environ, **lakehouse.environment}
    writers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(writer.communicate(timeout=120)[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    found = lakehouse.rows("lake.t")["id"].to_pylist()
    assert len(found) == len(set(found)) == 2 * 20 * 10
    batches = [snapshot.summary["lakehouse.batch-id"] for snapshot in lakehouse.table("lake.t").metadata.snapshots if snapshot.summary]
    assert len(batches) == len(set(batches)) == 2 * 20


def test_of_two_first_appends_to_a_new_table_the_second_sees_a_conflict(lakehouse: Lakehouse) -> None:
    lakehouse.template(EVENTS)
    one, other = lakehouse.table("lake.events"), lakehouse.table("lake.events")
    assert (one.current_snapshot(), one.metadata.snapshots) == (None, [])
    one.append(pa.table({"id": [1]}))
    with pytest.raises(CommitFailedException):
        other.append(pa.table({"id": [2]}))
    other.refresh().append(pa.table({"id": [2]}))
    assert ids(lakehouse) == [1, 2]


def test_the_history_is_whole_and_every_snapshot_can_be_read(lakehouse: Lakehouse) -> None:
    lakehouse.template(EVENTS)
    for number in range(4):
        lakehouse.engine.append("lake.events", rows(number), Batch(f"b{number}"))
    table = open_catalog(lakehouse.settings).load_table("lake.events")
    snapshots = table.metadata.snapshots
    assert [snapshot.parent_snapshot_id for snapshot in snapshots] == [None, *(snapshot.snapshot_id for snapshot in snapshots[:-1])]
    assert [len(table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()) for snapshot in snapshots] == [1, 2, 3, 4]


def test_the_history_ends_where_a_metadata_file_is_gone_and_is_not_taken_for_whole(lakehouse: Lakehouse, aws: AwsServer) -> None:
    lakehouse.template(EVENTS)
    locations = []
    for number in range(3):
        lakehouse.engine.append("lake.events", rows(number), Batch(f"b{number}"))
        locations.append(lakehouse.table("lake.events").metadata_location)
    lakehouse.table("lake.events").io.delete(locations[0])
    snapshots = open_catalog(lakehouse.settings).load_table("lake.events").metadata.snapshots
    assert len(snapshots) == 2
    assert snapshots[0].parent_snapshot_id is not None


def test_a_long_history_is_shown_as_far_as_it_is_named(lakehouse: Lakehouse) -> None:
    lakehouse.template(EVENTS)
    table = lakehouse.table("lake.events")
    for _ in range(MOST_ANCESTORS + 2):
        with table.transaction() as transaction:
            transaction.update_snapshot().fast_append().commit()
    for found in (table, open_catalog(lakehouse.settings).load_table("lake.events")):
        assert len(found.metadata.snapshots) == MOST_ANCESTORS + 1
        assert found.metadata.snapshots[0].parent_snapshot_id is not None


def test_a_table_is_where_the_settings_say_and_is_made_once(lakehouse: Lakehouse) -> None:
    schema = Schema(NestedField(1, "id", LongType(), required=False))
    lakehouse.catalog.create_namespace("lake")
    made = lakehouse.catalog.create_table("lake.t", schema, "s3://warehouse/lake/t")
    assert made.location() == "s3://warehouse/lake/t"
    with pytest.raises(TableAlreadyExistsError):
        lakehouse.catalog.create_table("lake.t", schema, "s3://warehouse/lake/t")


def test_identifier_and_layout_name_the_right_columns_behind_nested_ones(lakehouse: Lakehouse) -> None:
    lakehouse.template("""\
        name: t
        namespace: lake
        columns:
          - {name: place, type: "struct<at: struct<x: double, y: double>, name: string>", required: true}
          - {name: tags, type: "map<string, list<int>>"}
          - {name: id, type: long, required: true}
          - {name: day, type: date}
        identifier: [id]
        partition_spec: [{column: day, transform: month}]
        sort_order: [{column: id}]
    """)
    table = lakehouse.table("lake.t")
    schema = table.schema()
    assert schema.identifier_field_names() == {"id"}
    assert [schema.find_column_name(field.source_id) for field in table.spec().fields] == ["day"]
    assert [schema.find_column_name(field.source_id) for field in table.sort_order().fields] == ["id"]
    with table.update_schema() as update:
        update.add_column("note", StringType())
    assert lakehouse.table("lake.t").schema().identifier_field_names() == {"id"}


def test_servers_that_do_not_need_it_get_no_last_column_id(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    """The real server here does, and says so."""
    lakehouse.template(EVENTS)
    proxy.inject("GET /nessie-openapi/openapi.yaml", lambda call: (200, b"info:\n  title: Nessie API\n  version: 0.105.1\n"))
    settings = lakehouse.settings.model_copy(update={"nessie_uri": proxy.uri})
    table = open_catalog(settings).load_table("lake.events")
    with pytest.raises(CommitStateUnknownException, match=r"lake\.events"), table.update_schema() as update:
        update.add_column("note", StringType())
    with lakehouse.table("lake.events").update_schema() as update:
        update.add_column("note", StringType())
    assert lakehouse.table("lake.events").schema().column_names == ["id", "note"]


def test_what_nessie_would_drop_in_silence_is_refused(lakehouse: Lakehouse) -> None:
    lakehouse.template(EVENTS)
    for number in range(2):
        lakehouse.engine.append("lake.events", rows(number), Batch(f"b{number}"))
    table = lakehouse.table("lake.events")
    first, second = table.metadata.snapshots
    for update in (
        table.manage_snapshots().set_current_snapshot(snapshot_id=first.snapshot_id),
        table.manage_snapshots().create_branch(second.snapshot_id, "audit"),
        table.manage_snapshots().create_tag(second.snapshot_id, "v1"),
    ):
        with pytest.raises(CatalogError, match=r"lake.events: Nessie keeps .*lakehouse branch list"):
            update.commit()
    assert ids(lakehouse) == [0, 1]


# --- Faults


def test_an_answer_that_is_lost_doubles_nothing(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    lakehouse.template(EVENTS)
    proxy.inject(COMMIT, lost_answer)
    through(lakehouse, proxy).append("lake.events", rows(1), Batch("b"))
    assert ids(lakehouse) == [1]


def test_a_commit_whose_answer_is_lost_is_found_behind_those_of_others(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    lakehouse.template(EVENTS)

    def others_follow(call: Call) -> None:
        call.forward()
        for number in (2, 3):
            lakehouse.engine.append("lake.events", rows(number), Batch(f"other-{number}"))

    proxy.inject(COMMIT, others_follow)
    through(lakehouse, proxy).append("lake.events", rows(1), Batch("b"))
    through(lakehouse, proxy).append("lake.events", rows(1), Batch("b"))  # a rerun of the same work
    assert ids(lakehouse) == [1, 2, 3]


@pytest.mark.parametrize("answer", [502, 409])
def test_an_error_for_a_commit_that_was_made_doubles_nothing(lakehouse: Lakehouse, proxy: NessieProxy, answer: int) -> None:
    lakehouse.template(EVENTS)

    def done_and_denied(call: Call) -> tuple[int, bytes] | None:
        call.forward()
        lakehouse.engine.append("lake.events", rows(2), Batch("other"))
        return answers(answer, "who knows")(call)

    proxy.inject(COMMIT, done_and_denied)
    through(lakehouse, proxy).append("lake.events", rows(1), Batch("b"))
    assert ids(lakehouse) == [1, 2]


def test_a_run_that_is_killed_between_commit_and_answer_takes_its_files_once(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    template = lakehouse.template(EVENTS)
    lakehouse.land("a.jsonl", '{"id": 1}\n')
    environment = {**os.environ, **lakehouse.environment, "NESSIE_URI": proxy.uri}
    workers: list[subprocess.Popen[bytes]] = []

    def kill(call: Call) -> None:
        call.forward()
        workers[0].send_signal(signal.SIGKILL)
        lakehouse.land("b.jsonl", '{"id": 2}\n')
        lakehouse.run(template)  # another run comes before the rerun

    proxy.inject(COMMIT, kill)
    workers.append(subprocess.Popen([sys.executable, str(WORKER), "load", "-"], env=environment, stdout=subprocess.DEVNULL))
    assert workers[0].wait(60) == -signal.SIGKILL
    lakehouse.run(template)
    assert ids(lakehouse) == [1, 2]


def test_nessie_is_killed_in_the_middle_of_runs_and_a_rerun_gives_the_right_rows(
    lakehouse: Lakehouse, aws: AwsServer, tmp_path: Path
) -> None:
    environment = server_environment(aws.endpoint) | dynamodb_environment(aws.endpoint)
    with NessieServer(environment, tmp_path) as server, NessieProxy(server.uri) as proxy:
        own = replace(lakehouse, settings=lakehouse.settings.model_copy(update={"nessie_uri": server.uri}))
        template = own.template(EVENTS)

        def run() -> int:
            return through(own, proxy).append_files(AppendFiles(template), "run", print).rows

        for number, commits in enumerate([False, True]):
            own.land(f"{number}.jsonl", f'{{"id": {number}}}\n')

            def die(call: Call, commits: bool = commits) -> None:
                if commits:
                    call.forward()
                server.kill()

            proxy.inject(COMMIT, die)
            with pytest.raises(
                CommitUnknownError, match=r"Whether the commit .* to lake.events happened is not known: the catalog does not"
            ):
                run()
            server.start()
            assert (run(), ids(own)) == (0 if commits else 1, [*range(number + 1)])


def test_a_server_that_is_not_there_is_an_error_that_names_it(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lakehouse.settings.model_copy(update={"nessie_uri": "http://127.0.0.1:1"})
    with pytest.raises(CatalogError, match=r"Nessie at http://127.0.0.1:1 does not answer .*refused.*NESSIE_URI"):
        open_catalog(settings)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"does not accept the login \(401\): it may have expired"),
        (403, r"does not allow this \(403\): no way. Its authorization rules"),
        (500, r"fails \(500\): no way. See its log"),
    ],
)
def test_refusals_say_what_to_do_and_keep_secrets(lakehouse: Lakehouse, proxy: NessieProxy, status: int, message: str) -> None:
    settings = LakehouseSettings.load(NESSIE_URI=proxy.uri, NESSIE_TOKEN="s3cret")
    proxy.inject("GET /iceberg/*", answers(status, "no way"))
    with pytest.raises(CatalogError, match=message) as caught:
        open_catalog(settings)
    assert "s3cret" not in str(caught.value)


def test_a_commit_that_is_forbidden_leaves_no_file(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    lakehouse.template(EVENTS)
    engine = through(lakehouse, proxy)
    proxy.inject(COMMIT, answers(403, "no way"))
    with pytest.raises(CatalogError, match=r"does not allow this \(403\)"):
        engine.append("lake.events", rows(1), Batch("b"))
    assert lakehouse.table("lake.events").metadata.snapshots == []
    assert [
        found["Key"] for found in boto3.client("s3").list_objects_v2(Bucket="warehouse")["Contents"] if ".parquet" in found["Key"]
    ] == []


def test_a_warehouse_that_the_server_does_not_have_is_named(lakehouse: Lakehouse) -> None:
    with pytest.raises(CatalogError, match=r"Warehouse 's3://other' is not known. LAKEHOUSE_WAREHOUSE must be"):
        open_catalog(LakehouseSettings.load(LAKEHOUSE_WAREHOUSE="s3://other"))


def test_a_login_is_made_once_and_is_in_no_file_of_a_table(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    lakehouse.template(EVENTS)
    proxy.inject("POST /oauth", lambda call: (200, b'{"access_token": "t0ken", "expires_in": 3600}'))
    settings = LakehouseSettings.load(
        NESSIE_URI=proxy.uri, NESSIE_CREDENTIAL="id:s3cret", NESSIE_OAUTH_URI=f"{proxy.uri}/oauth", NESSIE_SCOPE="catalog"
    )
    table = open_catalog(settings).load_table("lake.events")
    logins = [call for call in proxy.calls if call.name == "POST /oauth"]
    assert len(logins) == 1
    assert {call.headers.get("Authorization") for call in proxy.calls if call not in logins} == {"Bearer t0ken"}
    assert not [value for value in table.io.properties.values() if "s3cret" in str(value) or "t0ken" in str(value)]


def test_a_login_that_fails_names_the_settings_and_no_secret(lakehouse: Lakehouse, proxy: NessieProxy) -> None:
    proxy.inject("POST /oauth", lambda call: (401, b"{}"))
    settings = LakehouseSettings.load(NESSIE_URI=proxy.uri, NESSIE_CREDENTIAL="id:s3cret", NESSIE_OAUTH_URI=f"{proxy.uri}/oauth")
    with pytest.raises(CatalogError, match=r"gives no token \(401\). See NESSIE_CREDENTIAL") as caught:
        open_catalog(settings)
    assert "s3cret" not in str(caught.value)


# --- Branches


def test_main_sees_nothing_of_a_branch_until_it_is_merged(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(EVENTS)
    lakehouse.land("a.jsonl", '{"id": 1}\n')
    lakehouse.run(template)
    client = open_client(lakehouse.settings)
    client.create("experiment", "main")
    branch = on_branch(lakehouse, "experiment")

    path = lakehouse.settings.templates / "events.yaml"
    path.write_text(path.read_text().replace("type: long}]", "type: long}, {name: note, type: string}]"))
    assert [planned.action for planned in plan(branch.settings, branch.catalog, branch.templates())] == ["change"]
    [applied] = apply(branch.settings, branch.catalog, branch.templates())
    assert applied.action == "changed"
    branch.land("b.jsonl", '{"id": 2, "note": "n"}\n')
    branch.run(branch.template_of("lake.events"))
    other = branch.template("name: other\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")

    assert (ids(branch), ids(lakehouse)) == ([1, 2], [1])
    assert lakehouse.table("lake.events").schema().column_names == ["id"]
    assert not lakehouse.catalog.table_exists(other.table_name)

    assert [(change.table, change.change) for change in merge(client, "experiment", "main")] == [
        ("lake.events", "changed"), ("lake.other", "created"),
    ]  # fmt: skip
    assert ids(lakehouse) == [1, 2]
    assert lakehouse.table("lake.events").schema().column_names == ["id", "note"]
    assert [planned.action for planned in plan(lakehouse.settings, lakehouse.catalog, lakehouse.templates())] == ["none", "none"]
    assert lakehouse.run(branch.template_of("lake.events")).source_files == 0


def test_a_branch_that_is_dropped_leaves_main_and_its_files_are_taken_again(lakehouse: Lakehouse) -> None:
    template = lakehouse.template(EVENTS)
    client = open_client(lakehouse.settings)
    client.create("experiment", "main")
    lakehouse.land("a.jsonl", '{"id": 1}\n')
    on_branch(lakehouse, "experiment").run(template)
    client.drop(client.branch("experiment"))
    assert ids(lakehouse) == []
    assert lakehouse.run(template).rows == 1


def test_a_branch_that_is_not_there_or_is_a_tag_is_an_error(lakehouse: Lakehouse, nessie: NessieServer) -> None:
    with pytest.raises(BranchError, match=r"'nope' not found.*lakehouse branch list"):
        open_catalog(LakehouseSettings.load(LAKEHOUSE_BRANCH="nope"))
    main = requests.get(f"{nessie.uri}/api/v2/trees/main", timeout=10).json()["reference"]
    requests.post(f"{nessie.uri}/api/v2/trees", params={"name": "v1", "type": "TAG"}, json=main, timeout=10).raise_for_status()
    with pytest.raises(BranchError, match="v1, which is a tag"):
        open_catalog(LakehouseSettings.load(LAKEHOUSE_BRANCH="v1"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LAKEHOUSE_BRANCH": "a/b"}, "LAKEHOUSE_BRANCH is 'a/b'; a branch's name is"),
        ({"NESSIE_URI": "http://nessie/iceberg"}, "NESSIE_URI is 'http://nessie/iceberg'; it is the server's URL"),
        ({"NESSIE_CREDENTIAL": "id:secret"}, "needs NESSIE_OAUTH_URI"),
    ],
)
def test_settings_that_cannot_be_are_refused(lakehouse: Lakehouse, variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        LakehouseSettings.load(**variables)


def test_a_branch_on_a_backend_without_branches_is_refused(lakehouse: Lakehouse, tmp_path: Path) -> None:
    settings = LakehouseSettings.load(LAKEHOUSE_BACKEND="local", LAKEHOUSE_WAREHOUSE=str(tmp_path / "w"), LAKEHOUSE_BRANCH="experiment")
    with pytest.raises(SettingsError, match="the backend local has no branches"):
        open_catalog(settings)
