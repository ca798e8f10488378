"""What the unit tests share: linting YAML text that a test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.errors import Problem
from lakehouse.lint import LintResult, lint_templates

Lint = Callable[..., LintResult]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Writes files into an empty folder, name to content, and lints it."""

    def write_and_lint(files: dict[str, str | bytes], variables: tuple[str, ...] = ()) -> LintResult:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        result = lint_templates(tmp_path, variables)
        for problem in result.problems:
            _assert_complete(problem)
        return result

    return write_and_lint


def _assert_complete(problem: Problem) -> None:
    assert problem.message.endswith(".")
    assert problem.remedy.strip()
    assert problem.line >= 1
    assert problem.column >= 1
    assert f"{problem.file}:{problem.line}:{problem.column}: {problem.severity}[{problem.rule}]" in str(problem)
    assert str(problem).endswith(problem.remedy)
