"""Dagster's page, in a real browser: a table's checks with what they found."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page, expect, sync_playwright
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from lakehouse.settings import PROJECT_ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Nothing of the browser's own looks for a network.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TEMPLATE = """
name: orders
namespace: shop
owner: team-web
columns:
  - {name: id, type: long, required: true}
  - {name: at, type: timestamptz, required: true}
identifier: [id]
partition_spec: [{column: at, transform: day}]
pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/orders/", format: jsonl}}
freshness: 24h
checks: {blocking: [row_count]}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A lakehouse whose one table was loaded and checked: three rows, two of them with one id."""
    for name in ("home", "templates", "checks", "landing/orders"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    (tmp_path / "templates" / "orders.yaml").write_text(TEMPLATE)
    at = datetime.now(UTC) - timedelta(minutes=5)
    rows = [json.dumps({"id": number, "at": at.isoformat()}) for number in (1, 2, 2)]
    (tmp_path / "landing" / "orders" / "1.jsonl").write_text("\n".join(rows))
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))},
        "PYTHONPATH": str(PROJECT_ROOT),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "LAKEHOUSE_WAREHOUSE": str(tmp_path / "warehouse"),
        "LAKEHOUSE_LANDING": str(tmp_path / "landing"),
        "LAKEHOUSE_TEMPLATES": str(tmp_path / "templates"),
        "LAKEHOUSE_CHECKS": str(tmp_path / "checks"),
    }
    for module, *arguments in (
        ("lakehouse.cli", "apply"),
        ("dagster", "asset", "materialize", "-m", "dagster_project.definitions", "--select", "key:shop/orders"),
    ):
        done = subprocess.run([sys.executable, "-m", module, *arguments], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return variables


@pytest.fixture
def address(environment: dict[str, str]) -> Iterator[str]:
    """Dagster's web server on it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-m", "dagster_project.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@retry(retry=retry_if_exception_type(requests.RequestException), stop=stop_after_delay(90), wait=wait_fixed(0.5), reraise=True)
def _wait_for(address: str) -> None:
    requests.get(address, timeout=10).raise_for_status()


@pytest.fixture
def page() -> Iterator[Page]:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("There is no Chromium on this machine.")
    with ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=QUIET)
        stack.callback(browser.close)
        yield browser.new_page(viewport={"width": 1600, "height": 1200})


def test_the_page_of_a_table_shows_its_checks_with_their_values(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/assets/shop/orders?view=checks", timeout=90_000)
    expect(page.get_by_text("row_count").first).to_be_visible(timeout=60_000)
    for name in ("duplicate_count_id", "freshness_at", "missing_count_id", "schema", "schema_drift"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.get_by_text("duplicate_count_id", exact=True).first.click()
    expect(page.get_by_text("duplicate_count(id) = 0").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Failed").first).to_be_visible()
    page.screenshot(path=tmp_path / "checks.png")
