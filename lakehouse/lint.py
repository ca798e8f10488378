"""From files to templates: reads every YAML of a folder and reports every finding of every file at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lakehouse.errors import Problem, SettingsError, TemplateError
from lakehouse.rules import Context, Rule
from lakehouse.template import TableTemplate
from lakehouse.validation import KeyPath, Validation, as_mapping, children
from lakehouse.yaml_reader import Document, read_yaml


@dataclass
class LintResult:
    """The templates that can be used, and every finding."""

    templates: list[TableTemplate] = field(default_factory=list[TableTemplate])
    problems: list[Problem] = field(default_factory=list[Problem])

    @property
    def errors(self) -> list[Problem]:
        """The findings that keep a template from being used."""
        return [problem for problem in self.problems if problem.severity == "error"]


def load_templates(directory: Path, variables: Collection[str] = (), only: Collection[str] = ()) -> list[TableTemplate]:
    """The templates of a folder, by table name.

    Args:
        only: as of ``lint_templates``.

    Raises:
        TemplateError: with every finding of every file, if any of them is an error.
        SettingsError: where there is no such folder.
    """
    result = lint_templates(directory, variables, only)
    if result.errors:
        raise TemplateError(result.errors)
    return result.templates


def lint_templates(directory: Path, variables: Collection[str] = (), only: Collection[str] = ()) -> LintResult:
    """Reads ``directory/*.yaml``. ``variables`` are the names that ``${NAME}`` may stand for.

    Args:
        only: tables, as name or namespace.name, that this is about; without them, all. The rules that look at other templates,
            among them those that bind a feature table's SQL in DuckDB, take as long as all others, and are for these alone.

    Raises:
        SettingsError: where there is no such folder.
    """
    if not directory.is_dir():
        raise SettingsError(f"There is no folder {directory} with templates. Set LAKEHOUSE_TEMPLATES to the folder that holds them.")
    result = LintResult()
    documents: dict[Path, Document] = {}
    declared: list[tuple[str, Path, Document]] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            document = read_yaml(path.read_bytes())
        except OSError as error:
            message = f"{error.strerror}."
            result.problems.append(Problem(str(path), 1, 1, "", "unreadable", "error", message, "Make it a readable file."))
            continue
        documents[path] = document
        data = as_mapping(document.data)
        if isinstance(data.get("namespace"), str) and isinstance(data.get("name"), str):
            declared.append((f"{data['namespace']}.{data['name']}", path, document))
    tables = {table for table, _, _ in declared}
    readings = [_Reading(path, document, variables, tables) for path, document in documents.items()]
    others = {reading.template.table_name: reading.template for reading in readings if reading.template and not reading.has_error}
    for reading in [reading for reading in readings if not reading.has_error and reading.is_of(only)]:
        reading.judge_among(others)
    for reading in readings:
        result.problems += reading.sorted_problems()
        if reading.template is not None and not reading.has_error:
            result.templates.append(reading.template)
    result.problems.sort(key=lambda problem: problem.file)
    result.problems += _unread_files(directory)
    result.problems += _tables_that_collide(declared)
    if not result.templates and not result.problems:
        message = "there is no template in this folder."
        result.problems.append(Problem(str(directory), 1, 1, "", "no-templates", "error", message, "Add <table>.yaml files to it."))
    result.templates.sort(key=lambda template: template.table_name)
    return result


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``columns[2].type``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Reading:
    """One file, as far as it could be read.

    Attributes:
        template: None where nothing useful is left.
    """

    def __init__(self, path: Path, document: Document, variables: Collection[str], tables: Collection[str]) -> None:
        self._path, self._document = path, document
        self._problems = [
            Problem(str(path), found.line, found.column, dotted(found.path), found.rule, "error", found.message, found.remedy)
            for found in document.findings
        ]
        self.template: TableTemplate | None = None
        data = as_mapping(document.data)
        if not data:
            if not self._problems:
                what = "the file is not a mapping of keys to values." if document.data else "the file is empty."
                remedy = "Start with `name:`, `namespace:`, `columns:`."
                self._problems.append(Problem(str(path), 1, 1, "", "empty-file", "error", what, remedy))
            return
        self._validation = Validation(data)
        for rule_id, key, message, remedy in self._validation.findings:
            self._report(rule_id, "error", key, message, remedy)
        self.template = self._validation.template
        if self.template is not None:
            self.template.__pydantic_private__ = {"_path": path}
            self._context = Context(_column_names(data), variables, tables)
            self._judge([rule for rule in Rule.all if not rule.sees_others])

    @property
    def has_error(self) -> bool:
        return any(found.severity == "error" for found in self._problems)

    def is_of(self, tables: Collection[str]) -> bool:
        """Whether the template is that of one of these tables; of no tables, every one is."""
        return not tables or (self.template is not None and not {self.template.name, self.template.table_name}.isdisjoint(tables))

    def judge_among(self, others: Mapping[str, TableTemplate]) -> None:
        """Applies the rules that see other templates, too."""
        self._context = replace(self._context, templates=others)
        self._judge([rule for rule in Rule.all if rule.sees_others])

    def sorted_problems(self) -> list[Problem]:
        """Every finding, from the top of the file."""
        return sorted(self._problems, key=lambda found: (found.line, found.column, found.rule))

    def _judge(self, rules: Iterable[type[Rule]]) -> None:
        assert self.template is not None
        reported = {key for _, key, _, _ in self._validation.findings}
        for rule in rules:
            for found in rule().check(self.template, self._context):
                key = self._validation.original(found.path)
                if key not in reported:  # else the rule judged a stand-in for it
                    self._report(rule.id, rule.severity, key, found.message, found.remedy)

    def _report(self, rule: str, severity: Literal["error", "warning"], key: KeyPath, message: str, remedy: str) -> None:
        line, column = self._document.position(key)
        self._problems.append(Problem(str(self._path), line, column, dotted(key), rule, severity, message, remedy))


def _column_names(data: Mapping[str, Any]) -> list[str]:
    names = [as_mapping(column).get("name") for column in children(data.get("columns")).values()]
    return [name for name in names if isinstance(name, str)]


def _unread_files(directory: Path) -> list[Problem]:
    return [
        Problem(str(path), 1, 1, "", "file-extension", "warning", "files that end in .yml are not read.", f"Rename it to {path.stem}.yaml.")
        for path in sorted(directory.glob("*.yml"))
    ]


def _tables_that_collide(declared: list[tuple[str, Path, Document]]) -> list[Problem]:
    """Two files for one table, also where one of them has other errors."""
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for table, path, document in declared:
        if table in first:
            line, column = document.position(("name",))
            message = f"{table} is described by {first[table]} too."
            problems.append(Problem(str(path), line, column, "name", "duplicate-table", "error", message, "Keep one file per table."))
        first.setdefault(table, path.name)
    return problems
