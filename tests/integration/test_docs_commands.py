"""Every `lakehouse` command that a page shows is run, on a lakehouse with the tables of the checked-in templates."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import run_command
from doc_pages import PAGES, ROOT, SHELL, blocks, commands

if TYPE_CHECKING:
    from conftest import Lakehouse

BLOCKS = [block for page in PAGES for block in blocks(page) if block.language in SHELL]
SHOWN = {tuple(words[1:]): str(block) for block in BLOCKS for words in commands(block.text) if words[0].endswith("lakehouse")}
# What this lakehouse has not, in the words of the error that says so.
NOT_HERE = "|".join(
    [
        r"There is no table (shop\.\w+|orders|orders__quarantine|my_table|airport_features) in the catalog",
        r"No template describes (orders|customers)\.",
        r"There is no folder \S+/(orders|changes|2024-05-01)\.csv",
        r"(orders\.odcs\.yaml|results\.json) cannot be read: No such file",
        "The backend local has no branches",
        "LAKEHOUSE_BACKEND is 'local'",
        "terraform/(aws|gcp) is no Terraform root",
        "are in no git repository",
        "lakehouse.event_stream has no open audit",
        r"Snapshot \d+ of lakehouse.event_stream is not there",
        "--yes",  # nobody is there to be asked
    ]
)


def test_commands_do_what_they_say_or_say_what_is_missing(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "table-templates", lakehouse.settings.templates, dirs_exist_ok=True)
    lakehouse.apply()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)  # make has one, which is not there yet in a clean clone
    failed, succeeded = {}, 0
    for arguments, place in SHOWN.items():
        if "$" in "".join(arguments):  # what the shell fills in
            continue
        code, _, error = run_command(capsys, *arguments)
        succeeded += code == 0
        if code and not re.search(NOT_HERE, " ".join(error.split())):
            failed[f"{place}: lakehouse {' '.join(arguments)}"] = error
    assert failed == {}
    assert succeeded > 30
