"""The catalog page, from templates alone: what it says, what it does not, its pictures and charts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.catalog_page import Written, write_catalog_page
from lakehouse.catalog_page.charts import WIDTH, line_chart
from lakehouse.catalog_page.layout import BOX_HEIGHT, BOX_WIDTH, Layout, lay_out
from lakehouse.cli_governance import matrix
from lakehouse.errors import SettingsError
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import with_quarantine

EVENTS = """
name: events
namespace: web
description: {text}
owner: {text}
tags: {{domain: shop}}
columns:
  - {{name: id, type: string, required: true, description: {text}}}
  - {{name: at, type: timestamptz, required: true}}
  - {{name: email, type: string, pii: true, access_level: restricted, description: Where they can be written to.}}
  - {{name: amount, type: "decimal(18,2)", access_level: internal}}
identifier: [id]
partition_spec: [{{column: at, transform: day}}]
sort_order: [{{column: at}}]
pipeline:
  pattern: event_stream
  source: {{path: "{source}", format: jsonl}}
  cron: "0 * * * *"
  on_bad_rows: quarantine
freshness: 24h
maintenance: {{keep_snapshots: 7d, retention: 400d on at}}
"""
USERS = """
name: users
namespace: crm
columns:
  - {name: user_id, type: long, required: true}
  - {name: valid_from, type: timestamptz, required: true}
  - {name: valid_to, type: timestamptz}
  - {name: is_current, type: boolean, required: true}
publish: audited
pipeline:
  {pattern: scd_type2, source: {path: "${LAKEHOUSE_LANDING}/users/", format: csv}, key: [user_id], effective_at: valid_from}
"""
DAILY = """
name: daily
namespace: crm
columns: [{name: day, type: date, required: true}, {name: events, type: long}]
partition_spec: [{column: day, transform: identity}]
pipeline: {pattern: feature_table, sql: daily.sql, inputs: [web.events, users], window: 7d, partitions: {start: "2024-01-01"}}
"""
_OWN = {"severity": "warn", "blocking": False, "generated": False}
CHECKS: list[dict[str, Any]] = [
    {"name": "row_count", "definition": "row_count > 0", "severity": "error", "blocking": True, "generated": True, "source": "t.yaml"},
    {"name": "mine", "definition": "max(amount) < 9", "source": "checks/c.yaml:7", **_OWN},
    {"name": "far", "definition": "max(amount) > 9", "source": "/home/somebody/d.yaml:8", **_OWN},
]
RESULTS: dict[str, Any] = {
    "version": 1,
    "at": "2026-11-28T12:30:00+00:00",
    "tables": [
        {
            "table": "web.events",
            "checks": [
                {"name": "row_count", "outcome": "pass", "definition": "row_count > 0", "value": 1234567, "threshold": "> 0"},
                {"name": "mine", "outcome": "fail", "definition": "max(amount) < 9", "value": 9.5, "message": "Too large."},
                {"name": "freshness_at", "outcome": "warn", "definition": "freshness(at) < 1d", "value": 90061},
            ],
        }
    ],
    "errors": {"crm.users": "The scan took too long."},
}
Make = Callable[..., Mapping[str, str]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes the pages of the three tables, and gives their texts by name."""
    monkeypatch.setenv("LAKEHOUSE_LANDING", "s3://landing-of-somebody")

    def make_pages(
        text: str = "'Plain.'", source: str = "${LAKEHOUSE_LANDING}/events/", results: object = None, only: str = "", **settings: str
    ) -> Mapping[str, str]:
        folder, site = tmp_path / "templates", tmp_path / "site"
        folder.mkdir(exist_ok=True)
        files = {"events": EVENTS.format(text=text, source=source), "users": USERS, "daily": DAILY}
        for name, content in files.items():
            (folder / f"{name}.yaml").write_text(content)
        (folder / "daily.sql").write_text("select $day as day, count(*) as events from web.events, users group by all")
        (tmp_path / "results.json").write_text(json.dumps(results))
        loaded = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(folder), **settings)
        written = write_catalog_page(
            loaded,
            [found for found in load_templates(folder, loaded.variables) if not only or found.name == only],
            site,
            checks={"web.events": CHECKS},
            results=tmp_path / "results.json" if results else None,
            timeout=None,
        )
        assert isinstance(written, Written)
        return {str(path.relative_to(site)): path.read_text() for path in written.pages}

    return make_pages


class Page(HTMLParser):
    """Tags with the names of their attributes, in their order, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.words, self.attributes = list[tuple[str, ...]](), list[str](), list[str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.attributes += [value for _, value in attrs if value]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_pages_say_what_the_templates_say(make: Make) -> None:
    pages = make(results=RESULTS)
    assert list(pages) == ["index.html", "lineage.html", *(f"tables/{name}.html" for name in
                           ("crm.daily", "crm.users", "web.events", "web.events__quarantine"))]  # fmt: skip
    index, events = Page(pages["index.html"]).text, Page(pages["tables/web.events.html"]).text
    assert "4 tables in 2 namespaces, 16 columns, 1 of them personal data." in index
    assert "No live figures. They were not asked for." in index
    assert "✓ 1 pass ! 1 warn ✕ 1 fail" in index
    for said in (
        "domain:shop",
        "decimal(18,2)",
        "event_stream: appends each new source file once",
        "${LAKEHOUSE_LANDING}/events/ (jsonl)",
        "At the start of every hour, UTC (0 * * * *)",
        "go to web.events__quarantine",
        "newest row at most 24h old",
        "A row is unique by id",
        "day(at)",
        "at ASC NULLS FIRST",
        "snapshots are kept for 7d, 20 at least",
        "rows older than 400d by at are deleted",
        "Template events.yaml",
        "Read by crm.daily",
        "Quarantine web.events__quarantine",
        "row_count blocking row_count > 0 ✓ pass 1,234,567 2026-11-28 12:30 the template",
        "mine warns max(amount) < 9 Too large. ✕ fail 9.500 2026-11-28 12:30 SodaCL, line 7",
        "freshness_at freshness(at) < 1d ! warn 1 day, 1:01:01",
        "Nothing enforces this on the backend local",
    ):
        assert said in events, said
    users, daily = Page(pages["tables/crm.users.html"]).text, Page(pages["tables/crm.daily.html"]).text
    assert "of user_id, by valid_from: valid_from, valid_to, is_current" in users
    assert "fail the run" in users
    assert "after its checks pass" in users
    assert "The last scan could not be made. The scan took too long." in users
    assert "daily from 2024-01-01; the last 1d again for late data" in daily
    assert "the 7d up to the day's end, by daily.sql" in daily
    assert "rows that do not fit web.events" in Page(pages["tables/web.events__quarantine.html"]).text


def test_who_sees_which_column_is_what_governance_says(make: Make, tmp_path: Path) -> None:
    pages = make()
    templates = with_quarantine(load_templates(tmp_path / "templates", ()))
    answers = {(item["table"], item["column"]): item for item in matrix(templates, None).items}
    found = dict[tuple[str, str], dict[str, bool]]()
    for name, page in pages.items():
        for column, row in re.findall(r'<tr role="row" id="column-(\w+)">(.*?)</tr>', page, re.DOTALL):
            roles = dict(re.findall(r'data-role="(\w+)"><span class="(yes|no)"', row))
            found[name.removeprefix("tables/").removesuffix(".html"), column] = {role: word == "yes" for role, word in roles.items()}
    assert found == {key: {role: item[role] for role in ("reader", "writer", "admin")} for key, item in answers.items()}
    assert not found["web.events", "email"]["reader"]


@pytest.mark.parametrize("backend", ["local", "aws-glue", "aws-nessie", "gcp"])
def test_every_backend_says_who_enforces_it(make: Make, backend: str) -> None:
    extra = {
        "local": {},
        "gcp": {"LAKEHOUSE_WAREHOUSE": "gs://w", "GOOGLE_CLOUD_PROJECT": "p"},
    }.get(backend, {"LAKEHOUSE_WAREHOUSE": "s3://w", "AWS_REGION": "eu-west-1", "NESSIE_URI": "https://nessie.example.org"})
    page = Page(make(LAKEHOUSE_BACKEND=backend, **extra)["tables/web.events.html"]).text
    assert re.search("The reader does not see 1 column. [A-Z].* enforce", page)
    assert "nessie.example.org" not in page


HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}{{ self }}",
    "<!-- --><b>&lt;&amp;",
    "javascript:alert(1)",
    "\u2028]]><svg/onload=alert(1)>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_write_is_text_and_nothing_else(make: Make, text: str) -> None:
    def results(words: str) -> object:
        return json.loads(json.dumps(RESULTS).replace("Too large.", "@").replace("The scan took too long.", "@").replace("@", words))

    plain = {name: Page(html) for name, html in make(results=RESULTS).items()}
    pages = make(json.dumps(text), results=results(json.dumps(text)[1:-1]))
    for name, html in pages.items():
        page = Page(html)
        assert page.tags == plain[name].tags, name
        assert not any(value.startswith("javascript:") for value in page.attributes)
    events = Page(pages["tables/web.events.html"])
    assert sum(text.strip() in word for word in events.words) >= 4  # description, owner, a column's, a check's message
    words = re.search(r'<script type="application/json" id="words">(.*?)</script>', pages["index.html"], re.DOTALL)
    assert words is not None
    assert json.loads(words.group(1))["web.events"][0] == ["id", text]


def test_no_login_and_no_value_of_a_variable_is_shown(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "topsecret")
    pages = make(source="s3://key:topsecret@bucket/events/?token=topsecret&t=${TOKEN}")
    everything = "".join(pages.values())
    assert "s3://bucket/events/" in everything
    assert "topsecret" not in everything
    assert "landing-of-somebody" not in everything
    assert "/home/somebody" not in everything


def test_links_lead_to_pages_and_the_repository(make: Make, tmp_path: Path) -> None:
    pages = make(LAKEHOUSE_REPOSITORY_URL="https://example.org/r/blob/main/")
    ids = {name: set(re.findall(r'\sid="([^"]+)"', html)) for name, html in pages.items()}
    for name, html in pages.items():
        for target in re.findall(r'(?:href|src)="([^"]+)"', html):
            if target.startswith(("https:", "data:")):
                assert target.startswith(("https://example.org/r/blob/main/", "data:,"))
                continue
            path, _, anchor = target.partition("#")
            file = (tmp_path / "site" / name).parent / path if path else tmp_path / "site" / name
            assert file.resolve().is_file(), (name, target)
            known = ids.get(str(file.resolve().relative_to((tmp_path / "site").resolve())), set())
            assert not anchor or anchor.startswith("q=") or anchor in known, (name, target)
        assert len(re.findall(r'\sid="([^"]+)"', html)) == len(ids[name]), name
    assert 'href="https://example.org/r/blob/main/checks/c.yaml#L7"' in pages["tables/web.events.html"]
    assert '<span title="d.yaml:8">SodaCL, line 8</span>' in pages["tables/web.events.html"]


def test_pages_of_tables_that_are_gone_are_removed_and_nothing_else(make: Make, tmp_path: Path) -> None:
    make()
    other = tmp_path / "site" / "tables" / "other.html"
    other.write_text("<p>somebody's</p>")
    make(only="users")
    assert sorted(path.name for path in (tmp_path / "site" / "tables").iterdir()) == ["crm.users.html", "other.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="Name another folder"):
        write_catalog_page(LakehouseSettings.load(), [], tmp_path / "file", checks={}, timeout=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no file of check results"),
        ('{"version": 2, "tables": []}', "version"),
        ('{"version": 1, "tables": [{"table": "a", "checks": [{"name": "b", "outcome": "green"}]}]}', "tables.0.checks.0.outcome"),
        (b"\xff\xfe", "is no file of check results"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_has_no_results_is_an_error_that_says_so(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=message) as error:
        write_catalog_page(LakehouseSettings.load(), [], tmp_path / "site", checks={}, results=path, timeout=None)
    assert "dagster_project.check_results" in str(error.value)
    assert "green" not in str(error.value)


# --- The picture

Edges = list[tuple[str, str]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], Edges]:
    nodes = [f"n{index}" for index in range(draw(st.integers(1, 14)))]
    pairs = st.tuples(st.sampled_from(nodes), st.sampled_from(nodes))
    return nodes, draw(st.lists(pairs, max_size=24))


def assert_readable(layout: Layout, nodes: list[str], edges: Edges) -> None:
    """No box lies on another, no line runs behind one, lines begin and end at their boxes, and all is within the picture."""
    boxes = {box.id: box for box in layout.boxes}
    assert sorted(boxes) == sorted(nodes)
    for one, other in combinations(layout.boxes, 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT, (one, other)
    assert {curve.edge for curve in layout.curves} == {edge for edge in edges if edge[0] != edge[1]}
    for curve in layout.curves:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", curve.path)]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        for (x, y), node in zip((points[0], points[-1]), curve.edge, strict=True):
            assert x in (boxes[node].x, boxes[node].x + BOX_WIDTH)
            assert y == pytest.approx(boxes[node].y + BOX_HEIGHT / 2, abs=0.1)
        for x, y in points:
            assert 0 <= x <= layout.width
            assert 0 <= y <= layout.height
            assert not [box for box in layout.boxes if box.x < x < box.x + BOX_WIDTH and box.y < y < box.y + BOX_HEIGHT]
        for x, y in re.findall(r"L([\d.]+) ([\d.]+)", curve.path):
            passed = [box for box in layout.boxes if box.x in (float(x), float(x) - BOX_WIDTH) and box.y < float(y) < box.y + BOX_HEIGHT]
            assert not passed
    for box in layout.boxes:
        assert 0 <= box.x <= layout.width - BOX_WIDTH
        assert 0 <= box.y <= layout.height - BOX_HEIGHT


@given(graphs())
def test_any_graph_can_be_drawn(graph: tuple[list[str], Edges]) -> None:
    assert_readable(lay_out(*graph, 1000), *graph)


def test_a_graph_of_a_hundred_tables_runs_from_left_to_right_and_stays_narrow() -> None:
    nodes = [f"t{index}" for index in range(100)]
    edges = [(f"t{index // 3}", f"t{index}") for index in range(1, 80)]  # a tree, as features of features are
    layout = lay_out(nodes, edges, 1240)
    assert_readable(layout, nodes, edges)
    boxes = {box.id: box for box in layout.boxes}
    assert all(boxes[start].x < boxes[end].x for start, end in edges)
    assert layout.width <= 5 * (BOX_WIDTH + 60)
    # The twenty without an edge stand beside each other.
    assert len({boxes[f"t{index}"].y for index in range(80, 100)}) == 4


def test_lines_do_not_cross_where_they_need_not() -> None:
    edges = [("a1", "b1"), ("a1", "b2"), ("a2", "b2"), ("a3", "b1")]
    rows = {box.id: box.y for box in lay_out(["a1", "a2", "a3", "b1", "b2"], edges, 1000).boxes}
    for (a, b), (c, d) in combinations(edges, 2):
        assert (rows[a] - rows[c]) * (rows[b] - rows[d]) >= 0, (a, b, c, d)


def test_the_lineage_of_a_namespace_has_its_neighbours_of_others(make: Make) -> None:
    page = make()["lineage.html"]
    crm = re.search(r'id="namespace-crm">.*?</section>', page, re.DOTALL)
    assert crm is not None
    nodes = re.findall(r'class="node ([a-z ]+)".*?class="name">([^<]+)<.*?class="note">([^<]+)<', crm.group(), re.DOTALL)
    assert sorted(nodes) == [
        ("source", "users/", "csv files"), ("table", "daily", "feature_table"), ("table", "users", "scd_type2"),
        ("table outside", "events", "web · event_stream"),
    ]  # fmt: skip
    assert sorted(re.findall(r'class="edge (\w+)".*?<title>([^<]+)<', crm.group())) == [
        ("input", "events to daily"), ("input", "users to daily"), ("source", "users/ to users"),
    ]  # fmt: skip
    overview = page.split('id="overview"')[1].split("</section>")[0]
    assert re.findall(r"<title>([^<]+)</title></path>", overview) == ["web to crm"]


# --- Charts


def test_a_chart_is_a_line_of_steps_that_holds_until_now() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    chart = line_chart(
        "Rows", [(start, 10), (start + timedelta(days=5), 40), (start + timedelta(days=5), 20)], start + timedelta(days=10), str
    )
    assert chart.line == f"M4 68.0H4.0V68.0H150.0V8.0H150.0V48.0H{WIDTH - 4}"
    assert (chart.now, chart.first, chart.last) == ("20", "2026-01-01", "2026-01-11")
    assert "10 at first, 20 now, between 10 and 40" in chart.summary
    assert [mark.title for mark in chart.marks] == ["2026-01-01 00:00 UTC: 10", "2026-01-06 00:00 UTC: 40", "2026-01-06 00:00 UTC: 20"]


def test_a_chart_of_many_commits_stays_small_and_one_of_a_single_commit_is_a_line() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    many = line_chart("Rows", [(start + timedelta(hours=hour), hour) for hour in range(10_000)], start + timedelta(hours=9_999), str)
    assert len(many.line) < 3000
    assert [mark.title.split(": ")[1] for mark in many.marks] == ["9999"]
    one = line_chart("Rows", [(start, 0)], start, str)
    assert one.line == f"M4 88.0H4.0V88.0H{WIDTH - 4}"
