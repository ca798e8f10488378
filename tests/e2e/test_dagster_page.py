"""Dagster's page after ``make demo`` and ``make dev``, in a real browser: what a user sees of the tables, and that nothing of it is red."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from browser import keep, open_page
from clean_clone import clean_clone, environment, first_commands, run
from playwright.sync_api import Page, expect
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

EVENTS = "/assets/lakehouse/event_stream"
# How many of the page's plots have a line or at least a point: pixels that are drawn, which no empty plot has.
DRAWN = """() => [...document.querySelectorAll('canvas')].filter(canvas =>
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value, index) => index % 4 == 3 && value)).length"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_page(1440, 960) as found:
        found.set_default_timeout(60_000)
        yield found
        keep(found, "dagster-last", tmp_path)  # of a test that failed, where


@pytest.fixture
def clone(page: Page, tmp_path: Path) -> Path:
    """A clean clone in which the README's first command was run."""
    found = clean_clone(tmp_path / "clone")
    assert "60,493 rows" in run(first_commands()[0], found)
    return found


@pytest.fixture
def address(clone: Path, tmp_path: Path) -> Iterator[str]:
    """Where ``make dev`` says that it serves the page: at a port that is free."""
    log = tmp_path / "dev.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["make", "dev"], cwd=clone, env=environment(clone), stdout=output, stderr=output, start_new_session=True
        ) as server,
    ):
        try:
            yield _address(server, log)
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # its processes


@retry(retry=retry_if_result(lambda found: found is None), stop=stop_after_delay(120), wait=wait_fixed(0.2))
def _address(server: subprocess.Popen[bytes], log: Path) -> str | None:
    text = log.read_text(errors="replace")
    assert server.poll() is None, text
    found = re.search(r"Serving dagster-webserver on (http://\S+)", text)
    return found[1] if found else None


def seen(page: Page, *texts: str | re.Pattern[str]) -> None:
    """All of these are on the page, or come."""
    for text in texts:
        found = page.get_by_text(text, exact=True).filter(visible=True).first
        expect(found, f"{text} is not on {page.url}").to_be_visible(timeout=60_000)


def opens(page: Page, *files: Path) -> None:
    """The page has a link to each of these files, for the editor."""
    for file in files:
        expect(page.locator(f"a[href*='{file}']").first).to_be_visible()


def test_what_a_user_sees_after_the_demo(page: Page, address: str, clone: Path, tmp_path: Path) -> None:
    """One test, for one lakehouse: the steps are the pages that a user opens."""
    # The whole graph, by namespace.
    page.goto(f"{address}/asset-groups")
    seen(page, "lakehouse", "schema_drift")
    expect(page.get_by_text(re.compile("Join the Dagster community|Notify me"))).to_have_count(0)
    page.goto(f"{address}/locations/dagster_project.definitions/asset-groups/lakehouse/lineage")
    seen(page, "event_stream", "scd_type2", "feature_table", "14 / 14 Passed", "12 / 12 Passed", "13 / 13 Passed")
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(2)
    keep(page, "dagster-graph", tmp_path)

    # A table: what its template says of it, and what its runs did.
    template = yaml.safe_load((clone / "table-templates" / "event_stream.yaml").read_text())
    page.goto(f"{address}{EVENTS}")
    seen(page, "60,493", "team-web", "domain: web", "tier: bronze", "Iceberg", "Every hour")
    seen(page, template["description"], "access_level: restricted", "pii", "non-nullable")
    opens(page, clone / "table-templates" / "event_stream.yaml")
    for column in template["columns"]:
        seen(page, column["name"], column["type"], column["description"])
    expect(page.get_by_text("No automations found")).to_have_count(0)
    keep(page, "dagster-asset", tmp_path)
    page.get_by_text("Plots", exact=True).first.click()
    seen(page, "dagster/row_count", "rows_written", "bad_rows", "table_bytes")
    page.wait_for_function(f"() => ({DRAWN})() >= 9")
    page.get_by_text("dagster/row_count", exact=True).first.evaluate("heading => heading.scrollIntoView()")
    keep(page, "dagster-plots", tmp_path)

    # Its checks, with the values that they found.
    page.goto(f"{address}{EVENTS}?view=checks&checkDetail=row_count")
    seen(page, "Checks (14)", "row_count > 0: pass, 60,493", "60493", "quality/soda_checks/event_stream_checks.yaml:2")
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(14)
    page.wait_for_function(f"() => ({DRAWN})() >= 2")
    keep(page, "dagster-checks", tmp_path)

    # A feature table: its days, its schedule, its SQL.
    page.goto(f"{address}/assets/lakehouse/feature_table")
    seen(page, "4,000", "SQL", "At 02:30 AM UTC", "2024-01-02")
    opens(page, *(clone / "table-templates" / f"feature_table.{kind}" for kind in ("yaml", "sql")))
    keep(page, "dagster-features", tmp_path)
    page.goto(f"{address}/assets/lakehouse/feature_table?view=partitions")
    seen(page, "Materialized (2)")

    # What runs by itself: the sensor, and, until they are switched on, no schedule.
    page.goto(f"{address}/automation")
    names = ("features_daily_at_2_30", "freshness", "load_hourly_at_minute_0", "load_hourly_at_minute_15", "maintenance", "schema_drift")
    seen(page, *names)
    expect(page.locator("input[type=checkbox]:checked")).to_have_count(1)
    keep(page, "dagster-automation", tmp_path)
    page.goto(f"{address}/assets/schema_drift")
    seen(page, "in_step", "4", "Latest materialization")
    page.goto(f"{address}/assets/schema_drift?view=checks")
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(2)
    keep(page, "dagster-drift", tmp_path)

    # A check that is run from the page, by today's clock: the sample is of 2024.
    page.goto(f"{address}{EVENTS}?view=checks&checkDetail=freshness_event_timestamp")
    seen(page, re.compile(r"freshness\(event_timestamp\) < 1d: pass, 0:00:\d\d"), "2024-01-03T00:00:00+00:00")
    page.get_by_role("button").filter(has_text=re.compile("Execute$")).click()
    seen(page, re.compile(r"freshness\(event_timestamp\) < 1d: fail, [\d,]+ days, [\d:]+"), "Failed")
    keep(page, "dagster-failed-check", tmp_path)
