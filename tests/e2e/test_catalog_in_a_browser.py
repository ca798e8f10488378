"""The catalog page as people meet it: opened from a folder, in a real browser, wide and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from browser import keep, open_page
from playwright.sync_api import Browser, Page, expect

from lakehouse.apply import apply
from lakehouse.catalog import open_catalog
from lakehouse.catalog_page import write_catalog_page
from lakehouse.cli_checks import checks_of
from lakehouse.engines import AppendFiles, open_engine
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings

pytestmark = pytest.mark.slow
TABLE = "tables/lakehouse.event_stream.html"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = ("index.html", "lineage.html", TABLE, "tables/lakehouse.feature_table.html", "tables/lakehouse.event_stream__quarantine.html")
# The contrast of each element's own text with what is behind it, as WCAG 2 counts it; those below 4.5.
LOW_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    const rect = element instanceof SVGTextElement ? element.parentElement.querySelector("rect") : null;
    if (rect) return rgba(getComputedStyle(rect).fill);
    for (let each = element; each; each = each.parentElement) {
      const found = rgba(getComputedStyle(each).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *, body")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("script, title, .unseen, .skip")) continue;
    const style = getComputedStyle(element);
    const [text, ground] = [luminance(rgba(element instanceof SVGElement ? style.fill : style.color)), luminance(behind(element))];
    const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (contrast < 4.5) low.push(`${element.className} ${element.textContent.trim()} ${contrast.toFixed(2)}`);
  }
  return low;
}"""
# Which nodes of the picture lie on another, and which labels run out of their boxes.
UNREADABLE = """() => {
  const boxes = [...document.querySelectorAll(".node")].map((node) => [node, node.querySelector("rect").getBoundingClientRect()]);
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  const bad = boxes.flatMap(([node, box], index) => boxes.slice(index + 1).filter(([, other]) => !apart(box, other)).map(() => node));
  const right = (element) => element.getBoundingClientRect().right;
  const long = boxes.filter(([node, box]) => [...node.querySelectorAll("text")].some((text) => right(text) > box.right));
  return [...bad, ...long.map(([node]) => node)].map((node) => node.textContent);
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the project's own templates, after two commits, with results of checks."""
    folder = tmp_path_factory.mktemp("catalog")
    settings = LakehouseSettings.load(LAKEHOUSE_WAREHOUSE=str(folder / "warehouse"), LAKEHOUSE_LANDING=str(folder / "landing"))
    templates, catalog = load_templates(settings.templates, settings.variables), open_catalog(settings)
    assert not [done for done in apply(settings, catalog, templates) if done.action == "failed"]
    events = next(template for template in templates if template.name == "event_stream")
    (folder / "landing" / "event_stream").mkdir(parents=True)
    for number in range(2):
        rows = [
            {"event_id": f"{number}-{row}", "event_type": "purchase", "event_timestamp": f"2024-01-0{1 + row % 3}T00:00:00Z"}
            for row in range(9)
        ]
        (folder / "landing" / "event_stream" / f"{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAKEHOUSE_LANDING", settings.landing)
            open_engine(settings, catalog).append_files(AppendFiles(events), f"run-{number}", print)
    checks = {template.table_name: checks_of(settings, template) for template in templates}
    outcomes = {"row_count": ("pass", 18), "invalid_count_country": ("fail", 18), "received_before_it_happened": ("warn", 2)}
    found = [
        {
            "name": check["name"],
            "definition": check["definition"],
            "outcome": outcomes[check["name"]][0],
            "value": outcomes[check["name"]][1],
        }
        for check in checks[events.table_name]
        if check["name"] in outcomes
    ]
    results = {"version": 1, "at": "2026-11-28T12:00:00Z", "tables": [{"table": events.table_name, "checks": found}]}
    (folder / "results.json").write_text(json.dumps(results))
    written = write_catalog_page(settings, templates, folder / "site", checks=checks, results=folder / "results.json")
    assert written.reason is None
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_page() as found:
        assert found.context.browser is not None
        yield found.context.browser


@pytest.fixture
def page(browser: Browser, site: Path) -> Iterator[Page]:
    """A page that loads nothing but the site's files, and has no error."""
    wrong = list[str]()
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        found = context.new_page()
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        found.on("request", lambda request: None if request.url.startswith((site.as_uri(), "data:,")) else wrong.append(request.url))
        yield found
        assert wrong == []


def test_what_is_searched_for_is_found_and_opened(page: Page, site: Path, tmp_path: Path) -> None:
    page.goto((site / "index.html").as_uri())
    tables = page.locator("[data-table]")
    expect(tables.filter(visible=True)).to_have_count(4)
    keep(page, "catalog-index", tmp_path)
    page.keyboard.press("/")
    page.keyboard.type("confirmed EMAIL")
    expect(tables.filter(visible=True)).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 4 tables")
    keep(page, "catalog-search", tmp_path)
    page.get_by_role("link", name="email", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("scd_type2")
    expect(page.locator("#column-email")).to_be_in_viewport()
    page.get_by_role("link", name="tier:silver").click()  # a tag is a search, too
    expect(page.get_by_role("searchbox")).to_have_value("tier:silver")
    expect(tables.filter(visible=True)).to_have_count(1)
    page.get_by_role("searchbox").fill("no such table")
    expect(page.get_by_role("status")).to_have_text("0 of 4 tables")
    page.keyboard.press("Escape")
    expect(tables.filter(visible=True)).to_have_count(4)
    page.get_by_role("link", name="team-ml").click()
    expect(page.get_by_role("status")).to_have_text("1 of 4 tables")
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()


def test_the_lineage_is_a_picture_whose_tables_open(page: Page, site: Path, tmp_path: Path) -> None:
    page.goto((site / "lineage.html").as_uri())
    expect(page.locator(".node")).to_have_count(6)
    expect(page.locator(".edge.source")).to_have_count(2)
    expect(page.locator(".edge.input")).to_have_count(2)
    expect(page.locator(".edge.quarantine")).to_have_count(1)
    assert page.evaluate(UNREADABLE) == []
    keep(page, "catalog-lineage", tmp_path)
    page.locator(".node", has_text="feature_table").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("feature_table")
    expect(page.locator(".node")).to_have_count(3)
    page.locator(".node", has_text="event_stream").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("event_stream")
    charts = page.locator(".chart")
    expect(charts).to_have_count(3)
    expect(charts.first.get_by_role("img", name="Rows over 2 commits")).to_be_visible()
    expect(page.locator(".checks").get_by_text("fail", exact=False).first).to_be_visible()
    keep(page, "catalog-table", tmp_path)


def test_every_text_stands_out_from_what_is_behind_it(page: Page, site: Path, tmp_path: Path) -> None:
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for name in PAGES:
            page.goto((site / name).as_uri())
            assert page.evaluate(LOW_CONTRAST) == [], (scheme, name)
        page.goto((site / TABLE).as_uri())
        keep(page, f"catalog-table-{scheme}", tmp_path)


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, site: Path, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for name in PAGES:
        page.goto((site / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name
    page.goto((site / "index.html").as_uri())
    page.get_by_role("searchbox").fill("session")
    page.get_by_role("link", name="event_stream", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("event_stream")
    hidden = page.locator("#column-session_id")
    hidden.scroll_into_view_if_needed()
    expect(hidden.locator("[data-role=reader]")).to_have_text("✕does not see it")
    keep(page, "catalog-phone", tmp_path)
    figure = page.locator("figure.lineage")
    figure.scroll_into_view_if_needed()
    assert figure.evaluate("figure => figure.scrollWidth > figure.clientWidth")  # the picture scrolls in its own frame
    keep(page, "catalog-phone-lineage", tmp_path)
