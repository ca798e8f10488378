"""The catalog page with live figures, with a backend that does not answer, and with the results that Dagster has."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run_command
from dagster import AssetCheckKey, AssetKey, AssetSelection, DagsterInstance, Definitions, define_asset_job
from maintaining import events, take

from dagster_project.check_results import last_results
from dagster_project.check_results import main as print_results
from dagster_project.definitions import build_definitions
from lakehouse.cli_output import size_text
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

ORDERS = """
name: orders
namespace: shop
columns:
  - {name: id, type: long, required: true}
  - {name: email, type: string, pii: true, access_level: restricted}
  - {name: at, type: timestamptz, required: true}
identifier: [id]
publish: audited
pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}}
"""
CHECKS = """
checks for orders:
  - min_length(email):
      name: email_is_long
      warn: when < 5
  - row_count > 0
"""
KEY = AssetKey(["shop", "orders"])


def page(folder: Path, name: str) -> str:
    """What a reader sees of a page, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", (folder / name).read_text()).split())


def test_sizes_over_time_are_those_of_the_live_table(lakehouse: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template, site = events(lakehouse), tmp_path / "site"
    for number in range(3):
        take(lakehouse, template, number)
    lakehouse.template("name: empty\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")
    lakehouse.template("name: gone\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")
    lakehouse.catalog.drop_table("lake.gone")
    code, out, err = run_command(capsys, "catalog-page", "--output", str(site), "--json")
    told = json.loads(out)
    assert (code, told["live"], told["pages"], told["index"]) == (0, True, 5, str(site / "index.html"))
    assert told["missing"] == {"lake.gone": "The table is not created yet: lakehouse apply"}
    assert err == "warning: no live figures of lake.gone: The table is not created yet: lakehouse apply\n"

    snapshots = lakehouse.table("lake.events").metadata.snapshots
    sizes = [int(snapshot.summary["total-files-size"] or 0) for snapshot in snapshots if snapshot.summary]
    found = page(site, "tables/lake.events.html")
    assert f"Size {size_text(sizes[-1])}" in found
    assert re.search(r"Rows over 3 commits, from .* UTC to .* UTC: 1 at first, 3 now, between 1 and 3\.", found)
    assert re.search(rf"append 1 3 {size_text(sizes[2])} 3 \S+ \S+ append 1 2 {size_text(sizes[1])} 2", found)
    assert "3 data files" in found
    assert "3 snapshots kept, since 20" in found
    assert "3 rows" in page(site, "index.html")
    assert "Nothing is committed yet." in page(site, "tables/lake.empty.html")
    assert "No live figures. The table is not created yet: lakehouse apply" in page(site, "tables/lake.gone.html")
    everything = "".join(path.read_text() for path in site.rglob("*.html"))
    for hidden in ("secret-", "2024-01-01", "2024-01-02", str(lakehouse.settings.warehouse), str(lakehouse.landing)):
        assert hidden not in everything


def test_a_table_whose_files_are_lost_hides_no_other(lakehouse: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events(lakehouse)
    lakehouse.template("name: broken\nnamespace: lake\ncolumns: [{name: id, type: long}]\n")
    Path(lakehouse.table("lake.broken").metadata_location.removeprefix("file://")).unlink()
    code, _, err = run_command(capsys, "catalog-page", "--output", str(tmp_path / "site"))
    assert (code, "no live figures of lake.broken: FileNotFoundError" in err) == (0, True)
    broken = page(tmp_path / "site", "tables/lake.broken.html")
    assert "No live figures. FileNotFoundError" in broken
    assert str(tmp_path) not in broken
    assert "Nothing is committed yet." in page(tmp_path / "site", "tables/lake.events.html")


@pytest.mark.parametrize("answer", ["refused", "silence", "nothing there"])
def test_a_backend_that_does_not_answer_is_a_warning(
    answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if answer == "silence":
            server.listen()
        else:
            server.close()
        monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", str(tmp_path / "nothing"))
        if answer != "nothing there":
            monkeypatch.setenv("LAKEHOUSE_BACKEND", "aws-nessie")
            monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", "s3://nothing")
            monkeypatch.setenv("AWS_REGION", "eu-central-1")
            monkeypatch.setenv("NESSIE_URI", f"http://127.0.0.1:{server.getsockname()[1] if answer == 'silence' else 1}")
        start = time.monotonic()
        timeout = "1" if answer == "silence" else "30"
        code, _, err = run_command(capsys, "catalog-page", "--output", str(tmp_path / "site"), "--timeout", timeout)
    assert (code, time.monotonic() - start < 25) == (0, True)
    told, shown = {
        "refused": ("Nessie at http://127.0.0.1:1 does not answer", "Nessie at … does not answer"),
        "silence": ("There was no answer in time.", "There was no answer in time."),
        "nothing there": (f"There is nothing in {tmp_path}/nothing yet.", "There is nothing in … yet."),
    }[answer]
    assert err.startswith(f"warning: no live figures: {told}")
    for name in ("index.html", "tables/lakehouse.event_stream.html"):
        assert f"No live figures. {shown}" in page(tmp_path / "site", name)
    assert not (tmp_path / "nothing").exists()


def run(instance: DagsterInstance) -> bool:
    selection = AssetSelection.assets(KEY) - AssetSelection.checks(AssetCheckKey(KEY, "schema_drift"))
    defs = Definitions.merge(build_definitions(LakehouseSettings.load()), Definitions(jobs=[define_asset_job("load", selection)]))
    return defs.resolve_job_def("load").execute_in_process(instance=instance, raise_on_error=False).success


def test_the_last_results_are_those_on_rows_that_readers_see(
    lakehouse: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "orders_checks.yaml").write_text(CHECKS)
    monkeypatch.setenv("LAKEHOUSE_CHECKS", str(tmp_path / "checks"))
    template = lakehouse.template(ORDERS)
    (home := tmp_path / "home").mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    settings, before = LakehouseSettings.load(), datetime.now(UTC).replace(microsecond=0)
    at = datetime.now(UTC) - timedelta(minutes=5)
    with DagsterInstance.get() as instance:
        assert last_results(instance, settings, [template])["tables"] == []
        lakehouse.land("orders/1.jsonl", json.dumps({"id": 1, "email": "7", "at": at.isoformat()}))
        assert run(instance)
        lakehouse.land("orders/2.jsonl", json.dumps({"id": 1, "email": "8", "at": at.isoformat()}))
        assert not run(instance)  # its id is there already: the audit stays open
        [table] = last_results(instance, settings, [template])["tables"]
    found = {check["name"]: check for check in table["checks"]}
    assert found["duplicate_count_id"]["outcome"] == "pass"  # the run after it found one in what is not published
    assert (found["email_is_long"]["outcome"], found["email_is_long"]["value"]) == ("warn", None)  # "7" is somebody's
    assert all(datetime.fromisoformat(check["at"]) >= before for check in found.values())

    printed = subprocess.run(
        [sys.executable, "-m", "dagster_project.check_results"],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (tmp_path / "results.json").write_text(printed)
    assert run_command(capsys, "catalog-page", "--output", str(tmp_path / "site"), "--checks", str(tmp_path / "results.json"))[0] == 0
    shown = page(tmp_path / "site", "tables/shop.orders.html")
    assert re.search(r"duplicate_count_id duplicate_count\(id\) = 0 ✓ pass 0 20\S+ \S+ the template", shown)
    assert re.search(
        r"email_is_long warns min_length\(email\): \{warn: when < 5\} ! warn 20", shown.replace("&lt;", "<").replace("&gt;", ">")
    )
    assert re.search(r"row_count row_count &gt; 0 ✓ pass 1 .* SodaCL, line 6", shown)
    assert "1 rows" not in shown


def test_without_records_of_dagsters_there_are_no_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty: dict[str, Any] = {"version": 1, "tables": [], "errors": {}}
    for home, why in ((None, "DAGSTER_HOME is not set"), (str(tmp_path), f"there is no dagster.yaml in {tmp_path}")):
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        if home:
            monkeypatch.setenv("DAGSTER_HOME", home)
        assert print_results([]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == empty
        assert why in captured.err
