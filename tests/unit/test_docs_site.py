"""The documentation as a site: it builds, without a broken link, and reads as on GitHub."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from doc_pages import MARKDOWN, ROOT

REPOSITORY = "https://git.example.com/acme/lakehouse"
SOURCES = {"index.html": ROOT / "README.md"} | {
    str(page.relative_to(ROOT / "docs").with_suffix(".html")): page for page in sorted((ROOT / "docs").rglob("*.md"))
}


def build(folder: Path, site: Path, repository: str = f"{REPOSITORY}/blob/main") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LAKEHOUSE_REPOSITORY_URL": repository, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


class Html(HTMLParser):
    """What a page says, word by word between the tags that give it structure; what it loads and links to; its anchors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said, self.links, self.loaded, self.anchors = "", list[str](), list[str](), set[str]()
        self.hidden = 0  # inside of a heading's link to itself
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes.get("id", ""), attributes.get("name", "")}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif "src" in attributes or (tag == "link" and attributes.get("rel") != "canonical"):
            self.loaded.append(attributes.get("src") or attributes["href"])
        self.hidden += tag == "a" and "headerlink" in attributes.get("class", "")
        if re.fullmatch(r"[uo]l|li|t[dh]|pre|blockquote|h\d|br|p", tag):
            self.said += " " if tag in ("br", "p") else f" <{tag}> "

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag == "a" and self.hidden > 0

    def handle_data(self, data: str) -> None:
        self.said += "" if self.hidden else data

    @property
    def words(self) -> list[str]:
        return self.said.split()


@pytest.mark.parametrize("name", SOURCES)
def test_a_page_reads_as_on_github(site: Path, name: str) -> None:
    """Lists want an empty line before them, and four spaces below another; a bar in a cell's code is ``<code>a&#124;b</code>``."""
    html = (site / name).read_text()
    article = html[html.index("<article") : html.index("</article>")]
    assert Html(article).words == Html(MARKDOWN.render(SOURCES[name].read_text())).words


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): Html(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    assert pages.keys() == SOURCES.keys()
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.netloc == urlsplit(REPOSITORY).netloc:
                kind, _, path = parts.path.removeprefix("/acme/lakehouse").strip("/").partition("/main/")
                assert kind in ("blob", "edit", ""), f"{name}: {link}"
                assert (ROOT / unquote(path)).exists(), f"{name}: {link}"
            elif parts.netloc or parts.scheme:
                assert link not in page.loaded, f"{name} loads {link}"
            else:
                target = (site / name).parent / unquote(parts.path) if parts.path else site / name
                assert target.exists(), f"{name}: {link}"
                if parts.fragment and target.suffix == ".html":
                    found = pages[target.resolve().relative_to(site.resolve()).as_posix()].anchors
                    assert unquote(parts.fragment) in found or parts.fragment.startswith("__"), f"{name}: {link}"
    assert f"{REPOSITORY}/edit/main/docs/quality.md" in pages["quality.html"].links
    assert f"{REPOSITORY}/blob/main/terraform/aws" in pages["terraform-reference.html"].links


def test_what_is_broken_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "hooks.py", tmp_path / "docs")
    (tmp_path / "mkdocs.yml").write_text(
        re.sub(r"^nav:.*", "nav: [index.md, page.md, gone.md]\n", (ROOT / "mkdocs.yml").read_text(), flags=re.DOTALL | re.MULTILINE)
    )
    (tmp_path / "README.md").write_text("# Readme\n\n[a](docs/none1.md) [b](docs/page.md) [c](mkdocs.yml)\n")
    (tmp_path / "docs" / "forgotten.md").write_text("# Forgotten\n")
    faults = ["none2.md", "page.md#none3", "../none4.tf", "none5/", "../README.md#none6", "/none7"]
    (tmp_path / "docs" / "page.md").write_text("# Page\n\n" + "".join(f"[x]({link}) " for link in faults) + "![y](../mkdocs.yml)\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    warnings = "\n".join(line for line in built.stderr.splitlines() if "WARNING" in line or line.startswith("  "))
    named = ("gone.md", "forgotten.md", "docs/none1.md", *(link.removeprefix("../README.md") for link in faults), "../mkdocs.yml")
    assert [name for name in named if name not in warnings] == []
    assert "docs/page.md" not in warnings


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://x:secret@github.com/acme/lake.git", "https://github.com/acme/lake/blob/main"),
        ("git@github.com:acme/lake.git", "https://github.com/acme/lake/blob/main"),
        ("ssh://git@gitlab.example.com:2222/acme/data/lake", "https://gitlab.example.com/acme/data/lake/blob/main"),
        ("../elsewhere", None),
    ],
)
def test_the_repository_is_the_remote_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: str, url: str | None
) -> None:
    monkeypatch.delenv("LAKEHOUSE_REPOSITORY_URL", raising=False)
    (tmp_path / "docs").mkdir()
    hooks = runpy.run_path(shutil.copy(ROOT / "docs" / "hooks.py", tmp_path / "docs"))
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", remote], check=True)
    assert hooks["repository_url"]() == url
