"""The documentation names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("package", ["lakehouse", "dagster_project", "quality"])
def test_the_map_names_every_module(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    plan = page.split("```")[1]
    modules = [path.name for path in (ROOT / package).iterdir() if path.name != "__pycache__" and not path.name.startswith("__")]
    missing = [name for name in modules if name not in plan and name not in ("py.typed",)]
    assert missing == []


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = " ".join(re.findall(r"\.PHONY: (.*)", makefile)).split()
    assert targets
    assert [name for name in targets if not re.search(rf"^{name}:.*## ", makefile, re.MULTILINE)] == []
