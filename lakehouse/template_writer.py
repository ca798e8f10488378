"""Writes templates, as people would, and has them linted before anybody gets them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lakehouse.errors import Problem
from lakehouse.lint import lint_templates
from lakehouse.template import TableTemplate
from lakehouse.yaml_writer import flow, scalar


def template_text(data: Mapping[str, Any], json_schema: str = "schema.json") -> str:
    """The YAML of a template.

    Args:
        data: its keys and values, in the order in which they are to stand; what is empty is left out.
        json_schema: the path of the JSON schema, for editors.
    """
    lines = [f"# yaml-language-server: $schema={json_schema}"]
    for key, value in ((key, value) for key, value in data.items() if value not in ("", None, [], {})):
        match value:
            case str() | bool() | int():
                lines.append(f"{key}: {scalar(value)}")
            case dict():
                lines += [f"{key}:", *(f"  {scalar(name)}: {_text(item)}" for name, item in value.items())]
            case _ if key == "columns":
                lines.append("columns:")
                for column in value:
                    said = [f"{name}: {_text(item)}" for name, item in column.items() if item]
                    lines += [f"{'    ' if index else '  - '}{text}" for index, text in enumerate(said)]
            case _ if isinstance(value[0], str):
                lines.append(f"{key}: {flow(value)}")
            case _:
                lines += [f"{key}:", *(f"  - {flow(item)}" for item in value)]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return scalar(value) if isinstance(value, str) else flow(value)


def lint_alone(text: str, name: str) -> tuple[TableTemplate | None, list[Problem]]:
    """The template of a text, or None, and what lint has against it; without those that other templates decide."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        result = lint_templates(Path(folder))
    return (result.templates[0] if result.templates else None), result.problems


def lint_among(files: Mapping[str, str], templates: Path, variables: Mapping[str, str]) -> list[Problem]:
    """What lint would have against new files if they were beside the other templates of a folder. Problems of others are not told.

    Args:
        files: the texts, by file name.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(templates.iterdir() if templates.is_dir() else []):
            if path.is_file() and path.suffix in (".yaml", ".sql"):
                shutil.copyfile(path, Path(scratch) / path.name)
        for name, text in files.items():
            (Path(scratch) / name).write_text(text, encoding="utf-8")
        tables = [Path(name).stem for name in files if name.endswith(".yaml")]
        found = lint_templates(Path(scratch), variables, tables).problems
    return [replace(problem, file=name) for problem in found if (name := Path(problem.file).name) in files]
