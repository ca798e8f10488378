"""Runs the command line in this process."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import pytest

from lakehouse import cli


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """What ``lakehouse <arguments>`` gives: exit code, output, errors."""
    code: Any = 0
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["lakehouse", *arguments]):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return int(code or 0), captured.out, captured.err
