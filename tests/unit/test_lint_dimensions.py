"""What lint says of scd_type2 pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.lint import lint_templates

TEMPLATE = """\
name: users
namespace: lake
identifier: [id, valid_from]
columns:
  - {name: id, type: long, required: true}
  - {name: plan, type: string}
  - {name: score, type: double}
  - {name: changed, type: date}
  - {name: valid_from, type: timestamptz, required: true}
  - {name: valid_to, type: timestamptz}
  - {name: is_current, type: boolean}
pipeline:
  pattern: scd_type2
  source: {path: /landing, format: jsonl}
  key: [id]
  effective_at: changed_at
  operation: op
  skip_when: id is null
description: Every version of a user.
"""


def problems(folder: Path, text: str) -> list[tuple[str, int, str, str]]:
    (folder / "users.yaml").write_text(text)
    return [(found.rule, found.line, found.key, f"{found.message} {found.remedy}") for found in lint_templates(folder).problems]


def test_a_dimension_that_is_right(tmp_path: Path) -> None:
    assert problems(tmp_path, TEMPLATE) == []
    assert problems(tmp_path, TEMPLATE.replace("changed_at", "valid_from")) == []
    assert problems(tmp_path, TEMPLATE + "maintenance: {retention: 400d on valid_to}\n") == []
    assert problems(tmp_path, TEMPLATE.replace("id is null", "op is null")) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "line", "key", "says"),
    [
        (
            "  - {name: valid_to, type: timestamptz}\n",
            "",
            "validity-columns",
            12,
            "pipeline.pattern",
            "`valid_to`, which the table lacks. Add",
        ),
        (
            "valid_to, type: timestamptz",
            "valid_to, type: date",
            "validity-columns",
            10,
            "columns[5].type",
            "is a date, `valid_from` a time",
        ),
        (
            "valid_from, type: timestamptz, required: true",
            "valid_from, type: timestamptz",
            "validity-columns",
            9,
            "columns[4].type",
            "Set `req",
        ),
        ("{name: valid_to,", "{name: valid_to, required: true,", "validity-columns", 10, "columns[5].type", "current version has none"),
        ("is_current, type: boolean", "is_current, type: string", "validity-columns", 11, "columns[6].type", "Make it a boolean"),
        ("key: [id]", "key: [id, id]", "business-key", 15, "pipeline.key[1]", "stands twice"),
        ("key: [id]", "key: [id, score]", "business-key", 15, "pipeline.key[1]", "`score` is a double. Use columns of primitive"),
        ("key: [id]", "key: [id, valid_from]", "business-key", 15, "pipeline.key[1]", "stays the same from version to version"),
        ("key: [id]", "key: [id, nobody]", "unknown-column", 15, "pipeline.key[1]", "there is no column `nobody`"),
        ("key: [id]", "key: []", "wrong-value", 15, "pipeline.key", "at least 1"),
        ("identifier: [id, valid_from]", "identifier: [id]", "version-identifier", 3, "identifier", "Write [id, valid_from]"),
        ("effective_at: changed_at", "effective_at: valid_to", "effective-at", 16, "pipeline.effective_at", "the merge works out"),
        (
            "effective_at: changed_at",
            "effective_at: changed",
            "effective-at",
            16,
            "pipeline.effective_at",
            "`changed` is a date, `valid_from`",
        ),
        ("operation: op", "operation: plan", "operation", 17, "pipeline.operation", "Remove the column `plan`, or name another"),
        ("id is null", "id = 0", "skip-when", 18, "pipeline.skip_when", "`id = 0` is not a rule. Write `<column> is null`"),
        ("id is null", "nobody is null", "skip-when", 18, "pipeline.skip_when", "no column `nobody`. Columns: changed, changed_at, id, op"),
        ("id is null", "valid_to is null", "skip-when", 18, "pipeline.skip_when", "no column `valid_to`"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, old: str, new: str, rule: str, line: int, key: str, says: str) -> None:
    text = TEMPLATE.replace(old, new, 1)
    if key.startswith("pipeline.key") or "Set `req" in says:  # else the identifier would be wrong, too
        text = text.replace("identifier: [id, valid_from]", "owner: somebody")
    found = problems(tmp_path, text)
    assert [problem[:3] for problem in found] == [(rule, line, key)]
    assert says in found[0][3]


def test_a_version_that_holds_does_not_age(tmp_path: Path) -> None:
    assert problems(tmp_path, TEMPLATE + "maintenance: {retention: 400d on valid_from}\n") == [
        (
            "retention",
            20,
            "maintenance.retention",
            "by `valid_from`, versions that still hold would be deleted. Write valid_to: a version is as old as its end.",
        )
    ]


def test_valid_from_is_a_time(tmp_path: Path) -> None:
    text = TEMPLATE.replace("valid_from, type: timestamptz", "valid_from, type: long").replace(
        "valid_to, type: timestamptz", "valid_to, type: long"
    )
    assert problems(tmp_path, text) == [
        ("validity-columns", 9, "columns[4].type", "`valid_from` is a long. Use timestamptz, timestamp or date.")
    ]
