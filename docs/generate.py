"""Writes everything in the repository that is generated from code: ``make generate``.

``--check`` writes nothing; it names the files that are stale and exits with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from cells import cell, table
from command_reference import command_sections
from terraform_reference import module_sections, root_tables

from lakehouse.rules import Rule
from lakehouse.settings import PROJECT_ROOT, configuration_table
from lakehouse.template import json_schema

# The models in the order in which a reader meets them, with the place in the YAML where each stands.
_MODELS = {
    "TableTemplate": "The file",
    "Column": "`columns[]`",
    "PartitionField": "`partition_spec[]`",
    "SortField": "`sort_order[]`",
    "EventStreamPipeline": "`pipeline`, pattern event_stream",
    "ScdType2Pipeline": "`pipeline`, pattern scd_type2",
    "FeatureTablePipeline": "`pipeline`, pattern feature_table",
    "FeaturePartitions": "`pipeline.partitions`",
    "Source": "`pipeline.source` and `source`",
    "CsvOptions": "`csv_options`",
    "Checks": "`checks`",
    "Maintenance": "`maintenance`",
}


def key_tables() -> str:
    """A Markdown table per model: key, type, default, meaning.

    Raises:
        ValueError: a model of the template is not in ``_MODELS``.
    """
    schema = json_schema()
    models: dict[str, Any] = {"TableTemplate": schema, **schema["$defs"]}
    if unknown := models.keys() - _MODELS.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: add to _MODELS in docs/generate.py.")
    parts: list[str] = []
    for name, place in _MODELS.items():
        model = models[name]
        rows = [
            [f"`{key}`", _type(field), _default(field, key in model.get("required", [])), cell(field.get("description", ""))]
            for key, field in model["properties"].items()
        ]
        parts.append(f"### {place}\n\n{model['description']}\n\n{table(['key', 'type', 'default', 'meaning'], rows)}")
    return "\n".join(parts)


def rule_table() -> str:
    """The Markdown table of the lint rules: id, severity, the first line of the docstring."""
    rows = [[f"`{rule.id}`", rule.severity, cell((rule.__doc__ or "").splitlines()[0])] for rule in sorted(Rule.all, key=lambda r: r.id)]
    return table(["rule", "severity", "what it guards"], rows)


def _type(field: dict[str, Any]) -> str:
    """A JSON schema's type in words: ``text``, ``list of text``, ``asc or desc``; ``mapping`` where a table of its own follows."""
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        choices = [_type(choice) for choice in field["anyOf"] if choice.get("type") != "null"]
        return " or ".join(dict.fromkeys(choices))
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'])}"
        case "integer" | "number":
            return "number"
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case _:
            return "mapping"


def terraform_schema() -> dict[str, Any]:
    """What Terraform's reader needs of the JSON schema, in a form that HCL looks things up in quickly.

    ``allowed`` has what a value may be, ``<model>.<key>=<kind>`` (text, number, bool, list, mapping, null), where the key is one of
    ``chosen`` the text itself; ``<model>.<key>[]=<kind>`` what may be in a list, or stand for a key of a mapping.
    """
    schema = json_schema()
    models: dict[str, Any] = {"TableTemplate": schema, **schema["$defs"]}
    fields = {(name, key): field.get("anyOf", [field]) for name, model in models.items() for key, field in model["properties"].items()}
    chosen = sorted({key for (_, key), choices in fields.items() if any("enum" in choice or "const" in choice for choice in choices)})

    def by_model(keyword: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {name: {} for name in models}
        for (name, key), choices in fields.items():
            for choice in (models[name]["properties"][key], *choices):
                if keyword in choice:
                    found[name][key] = choice[keyword]
        return found

    return {
        "keys": {name: list(model["properties"]) for name, model in models.items()},
        "chosen": chosen,
        "allowed": {
            f"{name}.{key}{token}": True
            for (name, key), choices in fields.items()
            for choice in choices
            for token in _tokens(choice, key in chosen)
        },
        "required": {name: model.get("required", []) for name, model in models.items()},
        "patterns": by_model("pattern"),
        "minimums": by_model("minimum"),
        "nonempty": {name: list(keys) for name, keys in by_model("minItems").items()},
    }


def _tokens(choice: dict[str, Any], chosen: bool) -> list[str]:
    names = {"string": "text", "integer": "number", "number": "number", "boolean": "bool", "array": "list", "null": "null"}
    if chosen and choice.get("type") != "null":
        return [f"={value}" for value in choice.get("enum", [choice.get("const")])]
    kind, inner = names.get(choice.get("type", ""), "mapping"), choice.get("items") or choice.get("additionalProperties")
    if inner is None:  # what is in the mapping, its own model says
        return [f"={kind}", *(f"[]={any_kind}" for any_kind in (*names.values(), "mapping") if kind == "mapping")]
    return [f"={kind}", *(f"[]={names.get(item.get('type', ''), 'mapping')}" for item in inner.get("anyOf", [inner]))]


def _default(field: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = field.get("default")
    return "" if default is None else f"`{cell(json.dumps(default))}`"


def _fill(page: str, name: str, content: str) -> str:
    """The page with ``content`` between its markers of this name. Raises ValueError where it has none."""
    start, end = f"<!-- generated: {name} -->\n", "<!-- /generated -->"
    before, marker, rest = page.partition(start)
    _, closing, after = rest.partition(end)
    if not marker or not closing:
        raise ValueError(f"the page has no lines {start.strip()} and {end}")
    return f"{before}{start}\n{content}\n{end}{after}"


def generated(root: Path) -> dict[Path, str]:
    """What each generated file below ``root`` should hold."""
    docs, terraform = root / "docs", root / "terraform"
    modules = [folder for cloud in ("aws", "gcp", ".") for folder in sorted((terraform / cloud / "modules").iterdir())]
    parts = {
        "configuration-reference.md": {"settings": configuration_table},
        "template-reference.md": {"keys": key_tables, "rules": rule_table},
        "cli-reference.md": {"commands": command_sections},
        "terraform-reference.md": {
            "aws": lambda: root_tables(terraform / "aws", "terraform/aws"),
            "gcp": lambda: root_tables(terraform / "gcp", "terraform/gcp"),
            "modules": lambda: module_sections(modules, terraform),
        },
    }
    files = {
        root / "table-templates" / "schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        terraform / "modules" / "table_template" / "schema.json": json.dumps(terraform_schema(), indent=1) + "\n",
    }
    for name, sections in parts.items():
        page = (docs / name).read_text(encoding="utf-8")
        for marker, content in sections.items():
            page = _fill(page, marker, content())
        files[docs / name] = page
    return files


def main(arguments: list[str] | None = None) -> int:
    """Writes the stale files, or with ``--check`` names them. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=PROJECT_ROOT, help="the repository")
    options = parser.parse_args(arguments)
    stale = {
        path: text
        for path, text in generated(options.root).items()
        if not path.exists() or path.read_bytes() != text.encode()  # bytes: line endings count
    }
    if options.check and stale:
        names = ", ".join(str(path.relative_to(options.root)) for path in stale)
        print(f"Stale: {names}. run `make generate`.", file=sys.stderr)
        return 1
    for path, text in stale.items():
        path.write_bytes(text.encode())
        print(f"wrote {path.relative_to(options.root)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
