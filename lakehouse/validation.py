"""Whether a file has the keys that a template has, with values of their types; what is wrong, for people."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakehouse.template import TableTemplate

KeyPath = tuple[str | int, ...]
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


def as_mapping(data: Any) -> dict[str, Any]:
    """The data of a YAML mapping, whose keys are strings always; empty for anything else."""
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def children(data: Any) -> dict[Any, Any]:
    """What stands in a mapping or list, by key or index; empty for a scalar."""
    if isinstance(data, list):
        items: list[Any] = data  # pyright: ignore[reportUnknownVariableType]
        return dict(enumerate(items))
    return as_mapping(data)


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
        for name, value in children(data).items()
        if (name,) not in drop
    }
    return kept if isinstance(data, dict) else list(kept.values())
