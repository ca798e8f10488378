"""What the site has beside MkDocs: the README is its first page, and links to files of the repository lead there.

GitHub shows the same pages, so a link is written once, relative to the file that it is in. Where the repository is says
``LAKEHOUSE_REPOSITORY_URL``, or else the checkout's remote ``origin``; where neither does, such links are plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree.ElementTree import Element

from markdown.extensions import Extension  # type: ignore[import-untyped]
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]


def repository_url() -> str | None:
    """Where the files of the branch are read, ``https://<host>/<owner>/<name>/blob/<branch>``."""
    if configured := os.environ.get("LAKEHOUSE_REPOSITORY_URL"):
        return configured.rstrip("/")
    if shutil.which("git") is None:
        return None
    remote = subprocess.run(["git", "-C", str(ROOT), "remote", "get-url", "origin"], capture_output=True, text=True, check=False)
    # A password in the address is not taken.
    match = re.fullmatch(r"(?:(?:https|ssh)://(?:[^@/]*@)?|git@)([\w.-]+)(?::\d+(?=/))?[:/](.+?)(?:\.git)?/?", remote.stdout.strip())
    return f"https://{match[1]}/{match[2]}/blob/main" if match else None


class RepositoryLinks(Extension):  # type: ignore[misc]
    """Rewrites what a page links to outside ``docs/``; what is there neither is left to MkDocs, which refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.source = self.page = ""
        self.files = Files([])

    def extendMarkdown(self, md: Any) -> None:  # noqa: N802
        """Called by Markdown, for each page."""
        md.treeprocessors.register(self, "repository_links", 1)  # before MkDocs' own, which has 0

    def begin(self, page: Page, files: Files) -> None:
        """The page that is rendered next, and what else the site has."""
        self.page, self.files = page.file.src_uri, files
        self.source = "README.md" if self.page == "index.md" else f"docs/{self.page}"

    def run(self, root: Element) -> None:
        """Called by Markdown, with the tree of a page."""
        for element in root.iter():
            key = {"a": "href", "img": "src"}.get(element.tag)
            if key and (target := self._target(element.get(key, ""), key)) is not None:
                element.set(key, target)
                if not target:
                    element.tag = "span"
                    del element.attrib[key]

    def _target(self, link: str, key: str) -> str | None:
        """Where the link leads on the site; empty: nowhere; None: as it is."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.source), unquote(parts.path)))
        anchor = f"#{parts.fragment}" if parts.fragment else ""
        if page := self._on_the_site(path):
            return quote(posixpath.relpath(page, posixpath.dirname(self.page) or ".")) + anchor
        # A picture of the site is below docs/.
        if key == "src" or path.startswith("../") or not (ROOT / path).exists():
            return None
        return f"{self.base}/{quote(path)}{anchor}" if self.base else ""

    def _on_the_site(self, path: str) -> str | None:
        """The page or picture that the site has of this file of the repository; a folder's is its index."""
        if path == "README.md":
            return "index.md"
        inside = path.removeprefix("docs/")
        if inside == path:
            return None
        return next((name for name in (inside, f"{inside}/index.md") if self.files.get_file_from_path(name)), None)


LINKS = RepositoryLinks()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Takes the links into hand, and links each page to its source and its foot to the repository.

    ``repo_url`` stays empty: with it, every reader's browser would ask GitHub how many stars the repository has.
    """
    LINKS.base = repository_url()
    config.markdown_extensions.append(LINKS)
    if LINKS.base:
        repository, _, branch = LINKS.base.partition("/blob/")
        config.edit_uri = f"{repository}/edit/{branch or 'main'}/docs/"
        config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": repository, "name": "The repository"}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The README is the first page: not a copy."""
    readme = File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md"))
    readme.edit_uri = "../README.md"
    files.append(readme)
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Before a page is rendered."""
    LINKS.begin(page, files)
    return markdown
