"""The backend gcp against Iceberg's REST server and an emulated Cloud Storage, behind what Google adds: logins, loans, faults."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from fault_proxy import Answer, Call, answers, lost_answer
from pyiceberg.exceptions import NoSuchTableError

from lakehouse.apply import apply
from lakehouse.biglake_io import LentFileIO, Loan
from lakehouse.catalog import open_catalog
from lakehouse.commit import Batch
from lakehouse.errors import CatalogError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from biglake_server import BigLakeServer
    from conftest import Lakehouse

BACKENDS = ["gcp"]
WORKER = Path(__file__).with_name("worker.py")
COMMIT, LOAD, CONFIG = "POST *tables/events", "GET *tables/events", "GET *v1/config*"
EVENTS = """\
    name: events
    namespace: lake
    columns: [{name: id, type: long}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}/", format: jsonl}
"""


@pytest.fixture
def made(lakehouse: Lakehouse) -> Lakehouse:
    """With the table ``lake.events``."""
    lakehouse.template(EVENTS)
    return lakehouse


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """Lets answers come that a fault holds back, at the end."""
    over = threading.Event()
    yield over
    over.set()


def append(lakehouse: Lakehouse, *ids: int) -> None:
    lakehouse.engine.append("lake.events", [pa.RecordBatch.from_pydict({"id": list(ids)})], Batch(f"b{ids}"))


def ids(lakehouse: Lakehouse, table: str = "lake.events") -> list[int]:
    return sorted(lakehouse.rows(table)["id"].to_pylist())


def named(biglake: BigLakeServer, pattern: str) -> int:
    return sum(pattern in call.name for call in biglake.calls)


def test_two_writers_commit_twenty_times_each_and_every_row_is_there_once(lakehouse: Lakehouse) -> None:
    lakehouse.template("name: t\nnamespace: lake\ncolumns: [{name: id, type: string}]\n")
    command = [sys.executable, str(WORKER), "append", "lake.t", "20"]
    environment = {**os.environ, **lakehouse.environment}
    writers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(writer.communicate(timeout=120)[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    found = lakehouse.rows("lake.t")["id"].to_pylist()
    assert len(found) == len(set(found)) == 2 * 20 * 10
    assert len(lakehouse.table("lake.t").metadata.snapshots) == 2 * 20


# --- Logins and credentials


def test_a_run_uses_lent_credentials_for_the_table_and_its_own_for_what_is_beside_it(lakehouse: Lakehouse, biglake: BigLakeServer) -> None:
    template = lakehouse.template(EVENTS.replace("${LAKEHOUSE_LANDING}/", "gs://landing/events/"))
    biglake.storage.put("landing", "events/a.jsonl", b'{"id": 1}\n')
    assert lakehouse.run(template).rows == 1
    assert (ids(lakehouse), lakehouse.run(template).source_files) == ([1], 0)
    place = lakehouse.table("lake.events").location()
    assert place.startswith("gs://warehouse/lake/events/")  # BigLake adds a folder with a name of its own choice
    asked = {target: whose for target, whose in biglake.asked_with().items() if not target.endswith("/")}
    folder = f"{place.removeprefix('gs://')}/"
    assert {whose for target, found in asked.items() if target.startswith(folder) for whose in found} == {place}
    assert {target.split("/")[0]: whose for target, whose in asked.items() if not target.startswith(folder)} == {
        "warehouse": {None},
        "landing": {None},
    }
    [ledger] = [target for target in asked if target.startswith("warehouse/_lakehouse/")]
    assert ledger.startswith("warehouse/_lakehouse/ledger/lake/events/")
    metadata = [name for name in biglake.storage.objects("warehouse") if name.endswith(".metadata.json")]
    assert lakehouse.table("lake.events").metadata_location in {f"gs://warehouse/{name}" for name in metadata}


def test_one_login_does_for_all_requests_and_no_token_is_kept_with_a_table(made: Lakehouse, biglake: BigLakeServer) -> None:
    append(made, 1)
    assert biglake.logins == 1
    assert {call.headers["x-goog-user-project"] for call in biglake.calls} == {"lake-project"}
    assert {call.headers["X-Iceberg-Access-Delegation"] for call in biglake.calls} == {"vended-credentials"}
    assert not [value for value in made.table("lake.events").io.properties.values() if "ya29" in str(value)]


def test_own_credentials_reach_the_files_and_none_are_asked_for(lakehouse: Lakehouse, biglake: BigLakeServer) -> None:
    biglake.storage.allow("warehouse/")
    own = LakehouseSettings.load(LAKEHOUSE_GCP_CREDENTIALS="own")
    lakehouse.settings = own
    lakehouse.template(EVENTS)
    append(lakehouse, 1)
    assert ids(lakehouse) == [1]
    assert {whose for found in biglake.asked_with().values() for whose in found} == {None}
    assert not [call for call in biglake.calls if "X-Iceberg-Access-Delegation" in call.headers]


@pytest.mark.parametrize("with_table", [True, False])
def test_credentials_that_end_are_renewed_before_a_file_is_opened(made: Lakehouse, biglake: BigLakeServer, with_table: bool) -> None:
    biglake.lends_for, biglake.lends_with_table = 0.0, with_table
    table = made.table("lake.events")
    biglake.lends_for = 3600.0
    table.append(pa.table({"id": [1]}))
    table.append(pa.table({"id": [2]}))
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == [1, 2]
    assert named(biglake, "/tables/events/credentials") == 1


def test_while_they_are_good_credentials_need_no_catalog(made: Lakehouse, biglake: BigLakeServer) -> None:
    append(made, 1)
    table = made.table("lake.events")
    [file] = [task.file.file_path for task in table.scan().plan_files()]
    token = next(token for _, target, token in biglake.storage.requests if target.endswith(".parquet"))

    def renew() -> Loan:
        raise CatalogError("BigLake does not answer.")

    now = time.time()
    io = LentFileIO(table.io.properties, table.location(), Loan(token, now + 600, now - 600), renew)
    assert io.new_input(file).exists()
    ended = LentFileIO(table.io.properties, table.location(), Loan(token, now - 1, now - 600), renew)
    with pytest.raises(CatalogError, match="BigLake does not answer"):
        ended.new_input(file)


def test_a_catalog_that_lends_nothing_is_told(made: Lakehouse, biglake: BigLakeServer) -> None:
    biglake.lends_with_table = False
    biglake.inject("GET *tables/events/credentials", lambda call: (200, b'{"storage-credentials": []}'))
    with pytest.raises(CatalogError, match=r"lends no credentials for the files of lake\.events(.|\n)*LAKEHOUSE_GCP_CREDENTIALS=own"):
        made.table("lake.events").append(pa.table({"id": [1]}))


def test_a_login_that_ends_is_renewed_also_for_a_commit(made: Lakehouse, biglake: BigLakeServer) -> None:
    biglake.end_logins()
    append(made, 1)
    biglake.inject(COMMIT, answers(401, "expired"))
    append(made, 2)
    assert (ids(made), biglake.logins) == ([1, 2], 3)


def test_a_login_that_is_refused_or_missing_says_how_to_log_in(
    lakehouse: Lakehouse, biglake: BigLakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log_in = "Log in: gcloud auth application-default login"
    biglake.refuses_logins = True
    with pytest.raises(CatalogError, match=f"Google does not accept the login: invalid_grant(.|\n)*{log_in}"):
        open_catalog(lakehouse.settings)
    biglake.refuses_logins = False
    biglake.inject(CONFIG, answers(401, "no way"))
    biglake.inject(CONFIG, answers(401, "no way"))
    with pytest.raises(CatalogError, match=rf"BigLake at \S+ does not accept the login \(401\): no way. {log_in}"):
        open_catalog(lakehouse.settings)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(CatalogError, match=rf"There are no credentials for Google Cloud: .*none\.json was not found(.|\n)*{log_in}"):
        open_catalog(lakehouse.settings)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    for name, value in {"NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CatalogError, match=f"There are no credentials for Google Cloud: (.|\n)*{log_in}"):
        open_catalog(lakehouse.settings)


# --- Faults of what reads


def test_settings_that_google_does_not_know_are_named(lakehouse: Lakehouse) -> None:
    for variables, message in (
        (
            {"LAKEHOUSE_WAREHOUSE": "gs://other"},
            r"has no catalog of LAKEHOUSE_WAREHOUSE \(404\)(.|\n)*terraform -chdir=terraform/gcp apply",
        ),
        ({"GOOGLE_CLOUD_PROJECT": "other"}, "roles/serviceusage.serviceUsageConsumer on GOOGLE_CLOUD_PROJECT"),
        ({"ICEBERG_REST_URI": "http://127.0.0.1:1"}, "BigLake at http://127.0.0.1:1 does not answer .*refused.*ICEBERG_REST_URI"),
    ):
        with pytest.raises(CatalogError, match=message):
            open_catalog(LakehouseSettings.load(**variables))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_reads_is_tried_again(made: Lakehouse, biglake: BigLakeServer, status: int) -> None:
    biglake.calls.clear()
    biglake.inject(LOAD, answers(status, "busy"))
    assert made.table("lake.events").schema().column_names == ["id"]
    assert named(biglake, "tables/events") == 2


def test_errors_that_last_are_told(made: Lakehouse, biglake: BigLakeServer) -> None:
    biglake.inject(LOAD, answers(403, "Permission 'biglake.tables.get' denied."))
    with pytest.raises(CatalogError, match=r"does not allow this \(403\): Permission .* biglake.tables.getData .*see docs/gcp.md"):
        made.table("lake.events")
    for _ in range(4):
        biglake.inject(LOAD, answers(500, "broken"))
    with pytest.raises(CatalogError, match=r"BigLake at \S+ fails \(500\): broken. See https://status.cloud.google.com"):
        made.table("lake.events")
    with pytest.raises(NoSuchTableError):
        made.catalog.load_table("lake.other")


def test_a_catalog_that_is_silent_is_not_waited_for_without_end(
    made: Lakehouse, biglake: BigLakeServer, monkeypatch: pytest.MonkeyPatch, silence: threading.Event
) -> None:
    monkeypatch.setattr("lakehouse.rest_session.TIMEOUT", (5.0, 0.2))
    for _ in range(4):
        biglake.inject(LOAD, lambda call: silence.wait(30) and None)
    with pytest.raises(CatalogError, match=r"does not answer \(.*timed out.*ICEBERG_REST_URI"):
        made.table("lake.events")


# --- Faults of what changes


@pytest.mark.parametrize("status", [409, 412, 429, 500, 503, 504])
@pytest.mark.parametrize("done", [False, True], ids=["undone", "done"])
def test_an_error_for_a_commit_doubles_and_loses_nothing(made: Lakehouse, biglake: BigLakeServer, status: int, done: bool) -> None:
    def fails(call: Call) -> Answer | None:
        if done:
            call.forward()
            append(made, 2)  # another comes before anybody looks
        return answers(status, "who knows")(call)

    biglake.inject(COMMIT, fails)
    append(made, 1)
    append(made, 1)  # a rerun of the same work
    assert ids(made) == ([1, 2] if done else [1])


def test_answers_that_are_lost_or_late_double_nothing(
    made: Lakehouse, biglake: BigLakeServer, monkeypatch: pytest.MonkeyPatch, silence: threading.Event
) -> None:
    biglake.inject(COMMIT, lost_answer)
    append(made, 1)
    monkeypatch.setattr("lakehouse.rest_session.TIMEOUT", (5.0, 1.0))

    def late(call: Call) -> Answer | None:
        answer = call.forward()
        silence.wait(30)
        return answer

    biglake.inject(COMMIT, late)
    append(made, 2)
    assert ids(made) == [1, 2]


@pytest.mark.parametrize(
    ("status", "message"), [(403, r"\(403\): no way. .* biglake.tables.updateData"), (400, r"refuses a commit .*\(400\): no way")]
)
def test_a_commit_that_is_refused_leaves_no_data_file(made: Lakehouse, biglake: BigLakeServer, status: int, message: str) -> None:
    biglake.inject(COMMIT, answers(status, "no way"))
    with pytest.raises(CatalogError, match=message):
        append(made, 1)
    assert made.table("lake.events").metadata.snapshots == []
    assert [name for name in biglake.storage.objects("warehouse") if name.endswith(".parquet")] == []


def test_files_that_cannot_be_written_for_the_moment_are_written_again(made: Lakehouse, biglake: BigLakeServer) -> None:
    biglake.storage.fail("POST", ".parquet", 503)
    append(made, 1)
    assert ids(made) == [1]


def test_files_that_may_not_be_written_leave_nothing(lakehouse: Lakehouse, biglake: BigLakeServer) -> None:
    template = lakehouse.template(EVENTS)
    lakehouse.land("a.jsonl", '{"id": 1}\n')
    biglake.storage.allow("landing/")
    with pytest.raises(PermissionError, match="_lakehouse/ledger"):
        lakehouse.run(template)
    biglake.storage.allow("warehouse/_lakehouse/")
    assert lakehouse.table("lake.events").metadata.snapshots == []
    assert [name for name in biglake.storage.objects("warehouse") if name.endswith(".parquet")] == []
    assert lakehouse.run(template).rows == 1


def test_a_table_that_is_dropped_while_a_run_writes_is_told(made: Lakehouse, biglake: BigLakeServer) -> None:
    def drop(call: Call) -> Answer:
        open_catalog(made.settings).drop_table("lake.events")
        return call.forward()

    biglake.inject(COMMIT, drop)
    with pytest.raises(CatalogError, match=r"lake\.events was dropped while this run wrote"):
        append(made, 1)


def test_apply_says_what_it_does_not_know_and_finds_out(lakehouse: Lakehouse, biglake: BigLakeServer) -> None:
    lakehouse.catalog.create_namespace("lake")  # Terraform's
    (lakehouse.settings.templates / "events.yaml").write_text("name: events\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")

    def applied() -> tuple[str, str]:
        [found] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
        return found.action, found.detail

    biglake.inject("POST *namespaces/lake/tables", answers(403, "no way"))
    refused = f"BigLake at {biglake.uri} does not allow this (403): no way. The caller needs roles/biglake.admin on the catalog, as"
    assert applied() == ("failed", f"{refused} Terraform gives it to the admin: run it as the admin.")
    biglake.inject("POST *namespaces/lake/tables", answers(503, "busy"))
    assert applied()[1].startswith(f"BigLake at {biglake.uri} fails (503): busy. Whether it was done is not known: run it again")
    biglake.inject("POST *namespaces/lake/tables", lost_answer)
    assert "does not answer (ConnectionError). Whether it was done is not known: run it again" in applied()[1]
    assert applied() == ("exists", "")
