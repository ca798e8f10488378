"""The page for the first hour: its commands, run one after the other in a clean clone, do what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clean_clone import clean_clone, run
from doc_pages import ROOT, blocks


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_local_page_can_be_followed(tmp_path: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    home = {"HOME": str(tmp_path), "COLUMNS": "160"}
    steps = [block.text for block in blocks(ROOT / "docs" / "getting-started" / "local.md") if block.info == ("sh",)]
    assert len(steps) > 5
    said = run("set -x\n" + "\n".join(steps), clone, **home)
    tables = json.loads(run(".venv/bin/lakehouse tables --json", clone, **home))
    assert {table["name"]: table["rows"] for table in tables} == {"shop.orders": 4, "shop.orders__quarantine": 1}
    assert "ada@example.com" not in said
