"""From files to templates: reads every YAML of a folder and reports every finding of every file at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakehouse.errors import Problem, SettingsError, TemplateError
from lakehouse.rules import Context, Rule
from lakehouse.template import TableTemplate
from lakehouse.yaml_reader import Document, read_yaml

KeyPath = tuple[str | int, ...]


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
        data = _as_mapping(document.data)
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


def _as_mapping(data: Any) -> dict[str, Any]:
    """The data of a YAML mapping, whose keys are strings always; empty for anything else."""
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _children(data: Any) -> dict[Any, Any]:
    """What stands in a mapping or list, by key or index; empty for a scalar."""
    if isinstance(data, list):
        items: list[Any] = data  # pyright: ignore[reportUnknownVariableType]
        return dict(enumerate(items))
    return _as_mapping(data)


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
        data = _as_mapping(document.data)
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
    names = [_as_mapping(column).get("name") for column in _children(data.get("columns")).values()]
    return [name for name in names if isinstance(name, str)]


class Validation:
    """Validates a file's structure. What is wrong is taken out, so that the rules still judge the rest.

    Attributes:
        template: None where nothing useful is left.
        findings: rule, key in the file, message and remedy of each error.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.findings: list[tuple[str, KeyPath, str, str]] = []
        self.template: TableTemplate | None = None
        self._dropped: dict[KeyPath, list[int]] = {}
        self._taken_out: set[KeyPath] = set()
        while data and self.template is None:
            try:
                self.template = TableTemplate.model_validate(data)
            except ValidationError as error:
                data = self._take_out(data, error)

    def _take_out(self, data: dict[str, Any], error: ValidationError) -> dict[str, Any]:
        """The data without what is wrong; empty where a table cannot do without it."""
        drop: set[KeyPath] = set()
        for detail in error.errors(include_url=False):
            key = _yaml_path(detail["loc"])
            known = self._taken_out | {found[1] for found in self.findings}
            if self.original(key) not in known:  # what was taken out is missing now only because it was wrong
                self.findings.append((_RULE_OF.get(detail["type"], "wrong-value"), self.original(key), *_explain(detail, key)))
            drop.add(key[:-1] if detail["type"] == "missing" and key not in _STAND_INS else key)
        if drop & {(), ("columns",)}:
            return {}
        self._taken_out |= {self.original(key) for key in drop}
        kept = {**_without(data, drop), **{str(key[0]): name for key, name in _STAND_INS.items() if key in drop}}
        for key in sorted(drop, reverse=True):
            if isinstance(key[-1], int):
                original = self.original(key)
                self._dropped.setdefault(original[:-1], []).append(int(original[-1]))
        return kept if kept != data else {}  # never the same round twice

    def original(self, path: KeyPath) -> KeyPath:
        """A key in the data that is left, as it is in the file: list items that were taken out count again."""
        result: KeyPath = ()
        for part in path:
            if isinstance(part, int):
                for index in sorted(self._dropped.get(result, [])):
                    part += index <= part
            result = (*result, part)
        return result


# So that the rules can judge the rest of a table without a name.
_STAND_INS: dict[KeyPath, str] = {("name",): "unnamed", ("namespace",): "unnamed"}
_RULE_OF = {"extra_forbidden": "unknown-key", "missing": "missing-key", "union_tag_not_found": "missing-key"}
_TYPE_NAMES: dict[type[Any], str] = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "empty",
}
_EXPECTED = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def _explain(detail: ErrorDetails, key: KeyPath) -> tuple[str, str]:
    """The message and the remedy for one of pydantic's errors. The value is not repeated where it is long."""
    name = str(key[-1]) if key else "the file"
    given: object = detail["input"]
    given_type = _TYPE_NAMES.get(type(given), "something else")
    quoted = f"`{given}` is" if isinstance(given, str | int | float) and len(str(given)) <= 60 else "the value is"
    match detail["type"]:
        case "extra_forbidden":
            allowed = sorted(_fields_at(detail["loc"][:-1]))
            close = difflib.get_close_matches(name, allowed, 1)
            hint = f"Did you mean `{close[0]}`? " if close else ""
            return f"`{name}` is not a key here.", f"{hint}Keys: {', '.join(allowed)}."
        case "missing":
            return f"the key `{name}` is missing.", "Add it."
        case "union_tag_not_found" | "union_tag_invalid":
            return "the pipeline's pattern is missing or unknown.", "Set `pattern:` to event_stream, scd_type2 or feature_table."
        case "literal_error":
            expected = str(detail.get("ctx", {}).get("expected", ""))
            return f"{quoted} not allowed for `{name}`.", f"Use {expected}."
        case kind if kind in _EXPECTED:
            quote = " Quote it." if kind == "string_type" and isinstance(given, int | float) else ""
            return f"`{name}` {_EXPECTED[kind]}, it is {given_type}.", f"Correct it.{quote}"
        case _:
            return f"`{name}`: {detail['msg']}.", "Correct it."


def _fields_at(location: tuple[int | str, ...]) -> Collection[str]:
    """The keys that the model allows at one of pydantic's error locations."""
    models: list[type[BaseModel]] = [TableTemplate]
    for part in location:
        if isinstance(part, int):
            continue
        named = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        # Not a field's name: pydantic's location holds the union's tag, which chooses one of the models.
        models = (
            [model for annotation in named for model in _models_in(annotation)]
            if named
            else [model for model in models if part in get_args(model.model_fields["pattern"].annotation)]
        )
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _yaml_path(location: tuple[int | str, ...]) -> KeyPath:
    """Pydantic's location without the tag that it puts in behind ``pipeline`` for the choice of a pattern."""
    return ("pipeline", *location[2:]) if location[:1] == ("pipeline",) else location


def _without(data: Any, drop: set[KeyPath]) -> Any:
    """A copy without what stands at the keys in ``drop``."""
    if not drop or not isinstance(data, dict | list):
        return data  # pyright: ignore[reportUnknownVariableType]
    kept = {
        name: _without(value, {key[1:] for key in drop if key[0] == name and len(key) > 1})
        for name, value in _children(data).items()
        if (name,) not in drop
    }
    return kept if isinstance(data, dict) else list(kept.values())


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
