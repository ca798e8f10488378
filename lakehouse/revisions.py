"""The templates of a git revision, as far as they can be read: rules change, and an old template need not keep today's."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyiceberg.types import DoubleType, FloatType, PrimitiveType

from lakehouse.errors import LakehouseError
from lakehouse.lint import dotted, load_templates
from lakehouse.rules.base import has_type
from lakehouse.template import TRANSFORM_PATTERN, Column, TableTemplate
from lakehouse.validation import Validation
from lakehouse.yaml_reader import read_yaml

# Git sets these for its hooks, and then takes the working directory for the top of the repository.
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX", "GIT_INDEX_FILE")


class RevisionError(LakehouseError):
    """A revision's templates cannot be read: no git, no repository, no such revision."""


@dataclass
class Templates:
    """The templates of one revision, or of the working tree.

    Attributes:
        by_table: without what cannot be read.
        sql: the text of each feature table's SQL file, by table name; a file that is missing has none.
        not_read: the columns that were taken out because their type cannot be read, by table name.
        warnings: what was taken out, and why.
        unreadable: the files of which nothing is left.
    """

    by_table: dict[str, TableTemplate] = field(default_factory=dict[str, TableTemplate])
    sql: dict[str, str] = field(default_factory=dict[str, str])
    not_read: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    warnings: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])


def of_working_tree(folder: Path, variables: Collection[str]) -> Templates:
    """The templates of a folder. Raises what ``load_templates`` does: these are to be applied, and must be right."""
    found = Templates()
    for template in load_templates(folder, variables):
        found.by_table[template.table_name] = template
        if template.feature_table:
            found.sql[template.table_name] = _text((folder / template.feature_table.sql).read_bytes())
    return found


def of_revision(folder: Path, revision: str) -> Templates:
    """The templates that a folder had in a revision of its repository.

    Raises:
        RevisionError: there is no git, no repository around the folder, or no such revision in it.
    """
    commit, prefix = _resolve(folder, revision)
    found = Templates()
    if _git(folder, "rev-parse", "--verify", "--quiet", f"{commit}:{prefix}").returncode:
        found.warnings.append(f"{revision} has no folder {prefix}: every table counts as new.")
        return found
    listed = _output(folder, "ls-tree", "-z", "--full-tree", "--name-only", f"{commit}:{prefix}").split(b"\0")
    names = [os.fsdecode(name) for name in listed if name.endswith(b".yaml")]
    sql_files: dict[str, str] = {}
    for name, content in _contents(folder, f"{commit}:{prefix}", names).items():
        template = _read(found, f"{revision}:{prefix}{name}", content)
        if template is not None and template.feature_table:
            sql_files[template.table_name] = posixpath.normpath(template.feature_table.sql)
    texts = _contents(folder, f"{commit}:{prefix}", sql_files.values())
    found.sql = {table: _text(texts[name]) for table, name in sql_files.items() if name in texts}
    return found


def without(template: TableTemplate, columns: Collection[str]) -> TableTemplate | None:
    """A template without some columns, and without what of its layout cannot be then; None where no column is left."""
    kept: dict[str, Column] = {}
    for column in template.columns:
        if column.name not in columns:
            kept.setdefault(column.name, column)
    if not kept:
        return None
    flat = {name: column.iceberg_type for name, column in kept.items() if isinstance(column.iceberg_type, PrimitiveType)}
    exact = {name for name, type_ in flat.items() if kept[name].required and not isinstance(type_, FloatType | DoubleType)}
    layout = {
        "columns": list(kept.values()),
        "identifier": [name for name in template.identifier if name in exact],
        "partition_spec": [
            part
            for part in template.partition_spec
            if part.column in flat
            and re.match(TRANSFORM_PATTERN, part.transform)
            and part.iceberg_transform.can_transform(flat[part.column])
        ],
        "sort_order": [sort for sort in template.sort_order if sort.column in flat],
    }
    return TableTemplate.model_validate({**{name: getattr(template, name) for name in TableTemplate.model_fields}, **layout})


def _read(found: Templates, file: str, content: bytes) -> TableTemplate | None:
    """Puts the template of a file to the others; None where too little of it can be read."""
    document = read_yaml(content)
    data = document.data if isinstance(document.data, dict) else {}
    validation = Validation(data)
    whys = [f"{dotted(finding.path)}: {finding.message}" for finding in document.findings]
    whys += [f"{dotted(key)}: {message}" for _, key, message, _ in validation.findings]
    template, read = validation.template, None
    if template is not None and isinstance(data.get("name"), str) and isinstance(data.get("namespace"), str):
        odd = [column.name for column in template.columns if not has_type(column)]
        whys += [f"the type of {name} cannot be read." for name in odd]
        read = without(template, odd)
        found.not_read[template.table_name] = set(odd)
        layouts = ("identifier", "partition_spec", "sort_order") if read else ()
        whys += [f"{key}: not all of it can be read." for key in layouts if getattr(read, key) != getattr(template, key)]
    if read is None:
        found.warnings.append(f"{file} cannot be read, and its table counts as if it was not there. {' '.join(whys)}")
        found.unreadable.append(file)
        return None
    if whys:
        found.warnings.append(f"{file} is compared without what cannot be read in it. {' '.join(whys)}")
    found.by_table[read.table_name] = read
    return read


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\r\n", "\n")


def _resolve(folder: Path, revision: str) -> tuple[str, str]:
    """The commit, and the folder's path in the repository, with a slash at its end; empty where it is the whole."""
    top = _git(folder, "rev-parse", "--show-prefix")
    if top.returncode:
        reason = os.fsdecode(top.stderr).strip().removeprefix("fatal: ")
        raise RevisionError(f"The templates in {folder} are in no git repository that can be read: {reason}. Set LAKEHOUSE_TEMPLATES.")
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise RevisionError(
            f"The repository of {folder} has no revision {revision}. Name a commit, branch or tag that is there: git log --oneline. "
            "In CI, fetch the history, too: git fetch --unshallow; a branch of the remote is origin/<branch>."
        )
    return os.fsdecode(found.stdout).strip(), os.fsdecode(top.stdout).rstrip("\n")


def _contents(folder: Path, tree: str, names: Iterable[str]) -> dict[str, bytes]:
    """What the files of a tree hold, by name, in one call; what is not there is left out."""
    asked = [name for name in dict.fromkeys(names) if "\n" not in name]
    request = b"".join(os.fsencode(f"{tree}{name}\n") for name in asked)
    answer = _output(folder, "cat-file", "--batch", "--follow-symlinks", stdin=request)
    found: dict[str, bytes] = {}
    start = 0
    for name in asked:  # a line "<id> blob <size>", the file, and a line's end; or a line "<what was asked> missing"
        end = answer.index(b"\n", start)
        kind, size = answer[start:end].split(b" ")[-2:] if not answer[start:end].endswith(b" missing") else (b"missing", b"-1")
        start = end + 1
        if kind == b"blob":
            found[name] = answer[start : start + int(size)]
        start += int(size) + 1
    return found


def _output(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    done = _git(folder, *arguments, stdin=stdin)
    if done.returncode:
        raise RevisionError(
            f"git {arguments[0]} failed in {folder}: {os.fsdecode(done.stderr).strip()}. See whether the repository is whole."
        )
    return done.stdout


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS} | {"LC_ALL": "C"}
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        raise RevisionError("Templates of a revision are read by git, and there is no program git. Install it.") from None
