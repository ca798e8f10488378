"""Templates from a data contract of the Open Data Contract Standard, version 3.

What a template has no key for is told, not kept. The templates are linted before anybody gets them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lakehouse.errors import InterchangeError
from lakehouse.import_table import AccessLevel, Imported
from lakehouse.interchange.odcs_types import column_type, mappings, texts
from lakehouse.interchange.odcs_unsaid import custom_properties, unsaid
from lakehouse.names import snake_case
from lakehouse.rules.base import is_name
from lakehouse.template_writer import lint_alone, template_text
from lakehouse.types import TypeStringError

_LEVELS = {"public": "public", "internal": "internal", "restricted": "restricted", "confidential": "restricted", "secret": "restricted"}
_UNITS = {**dict.fromkeys(["m", "min", "minute"], "m"), **dict.fromkeys(["h", "hr", "hour"], "h"),
          **dict.fromkeys(["d", "day"], "d"), **dict.fromkeys(["w", "wk", "week"], "w")}  # fmt: skip
_LONGEST_DESCRIPTION = 255
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")
# What may be left out of a template, by the first part of the key that lint names.
_OPTIONAL = ("identifier", "partition_spec", "sort_order", "properties", "tags", "owner", "description", "freshness")


def import_odcs(
    path: Path, namespace: str | None = None, access_level: AccessLevel | None = None, json_schema: str = "schema.json"
) -> list[Imported]:
    """The templates of a contract, one for each object of its schema.

    Args:
        namespace: of tables whose ``physicalName`` has none.
        access_level: of columns without a classification that says it; None is internal. Pii columns are restricted then.
        json_schema: the path of the JSON schema, for editors.

    Raises:
        InterchangeError: the file is no such contract, or describes what no template can; with everything that is wrong.
    """
    contract = _read(path)
    tables = mappings(contract.get("schema"))
    if not tables:
        raise InterchangeError(f"{path} has no `schema`: there is no table to describe. Add one to the contract.")
    return [_Table(path, contract, table, namespace, access_level or "internal").imported(json_schema) for table in tables]


def _read(path: Path) -> dict[str, Any]:
    try:
        contract = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise InterchangeError(f"{path} cannot be read: {error.strerror}. Name a data contract.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise InterchangeError(
            f"{path}{'' if line is None else f':{line + 1}'} is not YAML: correct it, or name a data contract."
        ) from None
    version = contract.get("apiVersion") if isinstance(contract, dict) else None
    if not isinstance(contract, dict) or contract.get("kind") != "DataContract" or not str(version).startswith("v3."):
        found = (
            f"its apiVersion is {version}" if isinstance(contract, dict) and version else "it has no `kind: DataContract` and `apiVersion`"
        )
        raise InterchangeError(f"{path} is no contract of the Open Data Contract Standard, version 3: {found}. Convert it to v3.")
    return contract


class _Table:
    """One object of a contract's schema, on its way to a template."""

    def __init__(self, path: Path, contract: Mapping[str, Any], table: dict[str, Any], namespace: str | None, level: str) -> None:
        self._path, self._contract, self._table, self._level = path, contract, table, level
        self._columns = mappings(table.get("properties"))
        self._custom = custom_properties(table)
        self.notes: list[str] = []
        physical = str(table.get("physicalName") or "").split(".")
        self._name = self._named(physical[-1], str(table.get("name") or ""), "the table")
        found = namespace or (physical[-2] if len(physical) > 1 else None)
        if found is None:
            raise InterchangeError(
                f"{path}: `{self._name}` has no namespace: its physicalName is none such as shop.orders. Say it: --namespace"
            )
        self._namespace = found

    def imported(self, json_schema: str) -> Imported:
        """The template; without what lint has against it, where a template can do without."""
        data = self._data()
        while True:
            text = template_text(data, json_schema)
            template, problems = lint_alone(text, data["name"])
            if template is not None:
                return Imported(template.table_name, text, template, [*self.notes, *unsaid(self._contract, self._table)])
            errors = [problem for problem in problems if problem.severity == "error"]
            if not self._leave_out(data, {problem.key: f"{problem.message} {problem.remedy}" for problem in errors}):
                told = "".join(f"\n  {problem.key}: {problem.message} {problem.remedy}" for problem in errors)
                raise InterchangeError(f"{self._path}: {data['name']} cannot be described by a template:{told}\nChange it in the contract.")

    def _data(self) -> dict[str, Any]:
        keys = sorted(
            (column for column in self._columns if column.get("primaryKey")), key=lambda key: _position(key, "primaryKeyPosition")
        )
        self._names = {str(column.get("name")): self._column_name(column) for column in self._columns}
        identifier = [self._names[str(key.get("name"))] for key in keys]
        for key in keys:
            if key.get("required") is not True:
                self.notes.append(f"`{self._names[str(key.get('name'))]}` is a primary key, and required here.")
        described = self._contract.get("description")
        purpose = described.get("purpose") if isinstance(described, dict) else described
        columns = [self._column(column, identifier) for column in self._columns]
        return {
            "name": self._name,
            "namespace": self._namespace,
            "description": str(self._table.get("description") or purpose or ""),
            "owner": self._owner(),
            "tags": self._tags(),
            "columns": columns,
            "identifier": identifier,
            "partition_spec": self._partitions({column["name"]: column["type"] for column in columns}),
            "sort_order": [{key: str(text) for key, text in sort.items()} for sort in mappings(self._custom.get("sortOrder"))],
            "properties": self._properties(),
            "freshness": self._freshness(),
        }

    def _column(self, column: Mapping[str, Any], identifier: list[str]) -> dict[str, Any]:
        name, custom = self._names[str(column.get("name"))], custom_properties(column)
        try:
            type_ = column_type(column, name)
        except TypeStringError as error:
            raise InterchangeError(
                f"{self._path}: {error}: no type of a template. Give it a physicalType such as string or long."
            ) from None
        pii = bool(custom.get("pii")) or any(tag.lower() == "pii" for tag in texts(column.get("tags")))
        return {
            "name": name,
            "type": type_,
            "required": column.get("required") is True or name in identifier,
            "description": self._described(name, str(column.get("description") or "")),
            "pii": pii,
            "access_level": self._access_level(name, column.get("classification"), pii),
            "renamed_from": texts(custom.get("renamedFrom")),
        }

    def _access_level(self, name: str, classification: Any, pii: bool) -> str:
        if classification is None:
            return "restricted" if pii else self._level
        if (level := _LEVELS.get(str(classification).lower())) is None:
            self.notes.append(f"`{name}` is restricted: its classification is `{classification}`, which is no level of a template.")
        return level or "restricted"

    def _column_name(self, column: Mapping[str, Any]) -> str:
        return self._named(str(column.get("physicalName") or ""), str(column.get("name") or ""), "a column")

    def _named(self, physical: str, name: str, what: str) -> str:
        found = next((each for each in (physical, name) if is_name(each)), snake_case(name or physical))
        if found not in (physical, name):
            self.notes.append(f"`{name or physical}`, {what}, is named `{found}` here.")
        return found

    def _properties(self) -> dict[str, str]:
        found = self._custom.get("icebergProperties")
        values = found.items() if isinstance(found, dict) else []
        return {str(key): str(value).lower() if isinstance(value, bool) else str(value) for key, value in values}

    def _described(self, name: str, text: str) -> str:
        """A description as Glue takes it: one line, not too long."""
        line = " ".join(text.split("\n"))
        if len(line) > _LONGEST_DESCRIPTION:
            self.notes.append(f"The description of `{name}` is cut to {_LONGEST_DESCRIPTION} characters.")
            line = line[: _LONGEST_DESCRIPTION - 1] + "…"
        return line

    def _owner(self) -> str:
        team = self._contract.get("team")
        if isinstance(team, dict):
            return str(team.get("name") or "")
        people = mappings(team)
        owners = [person for person in people if str(person.get("role") or "").lower() == "owner"]
        return str((owners or people or [{}])[0].get("username") or "")

    def _tags(self) -> dict[str, str]:
        tags = {}
        for text in [*texts(self._contract.get("tags")), *texts(self._table.get("tags"))]:
            key, _, value = str(text).partition(":")
            if not _TAG.fullmatch(key) or (value and not _TAG.fullmatch(value)):
                self.notes.append(f"The template leaves out the tag `{text}`: a tag is of letters, digits, `_`, `.` and `-`.")
                continue
            tags[key] = value
        domain = self._contract.get("domain")
        return {"domain": str(domain), **tags} if domain and _TAG.fullmatch(str(domain)) else tags

    def _partitions(self, types: Mapping[str, str]) -> list[dict[str, str]]:
        """The transforms that the contract has, where they are of the columns that it says are partitioned; else by day, or the value."""
        partitioned = sorted(
            (column for column in self._columns if column.get("partitioned")), key=lambda column: _position(column, "partitionKeyPosition")
        )
        names = [self._names[str(column.get("name"))] for column in partitioned]
        spec = [{key: str(text) for key, text in part.items()} for part in mappings(self._custom.get("partitionSpec"))]
        if list(dict.fromkeys(part.get("column") for part in spec)) == names:
            return spec
        days = [name for name in names if types[name] in ("timestamp", "timestamptz")]
        if days:
            self.notes.append(f"Partitions are by the day of {', '.join(days)}: the contract does not say how.")
        return [{"column": name, "transform": "day" if name in days else "identity"} for name in names]

    def _freshness(self) -> str:
        for level in self._levels("freshness"):
            unit, value = str(level.get("unit") or "d").lower(), str(level.get("value"))
            unit = unit if unit in _UNITS else unit.removesuffix("s")
            if unit in _UNITS and value.isdigit():
                return f"{value}{_UNITS[unit]}"
            self.notes.append(f"The template leaves out freshness: `{value} {unit}` is no duration.")
        return ""

    def _levels(self, name: str) -> list[dict[str, Any]]:
        levels = mappings(self._contract.get("slaProperties"))
        mine = str(self._table.get("name"))
        return [
            level
            for level in levels
            if str(level.get("property")).lower() == name and str(level.get("element") or mine).split(".")[0] == mine
        ]

    def _leave_out(self, data: dict[str, Any], against: Mapping[str, str]) -> bool:
        """Takes what lint is against, by key, out of the data; False where a template needs it."""
        parts = {key: re.fullmatch(rf"({'|'.join(_OPTIONAL)})(?:\[(\d+)\].*|\.(.*))?", key) for key in against}
        if not all(match and data.get(match[1]) for match in parts.values()):
            return False
        self.notes += [f"The template leaves out {key}: {why}" for key, why in against.items()]
        for part, index, name in {match.groups() for match in parts.values() if match}:
            if index is not None and isinstance(data[part], list):
                data[part][int(index)] = None
            elif name is not None and isinstance(data[part], dict):
                data[part] = {other: value for other, value in data[part].items() if other != name}
            else:
                data[part] = ""
        for part in _OPTIONAL:
            if isinstance(data[part], list):
                data[part] = [item for item in data[part] if item is not None]
        return True


def _position(column: Mapping[str, Any], key: str) -> int:
    """A key's position; those without one come last, in the contract's order."""
    found = column.get(key)
    return found if isinstance(found, int) and found > 0 else 1_000_000
