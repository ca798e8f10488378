"""The variables and outputs of the Terraform roots and modules, from their own files: docs/terraform-reference.md."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
from cells import cell, table


def root_tables(folder: Path, name: str) -> str:
    """A root's variables, under the comments that group them, the types of those that are objects, and its outputs."""
    return "\n".join([_intro(folder), _variables(folder, name), _object_types(folder), _outputs(folder, name)])


def module_sections(folders: list[Path], terraform: Path) -> str:
    """Shorter, for each module: what it is for, what it is given, what it returns."""
    sections = []
    for folder in folders:
        sections.append(f"### {folder.relative_to(terraform)}\n\n{_intro(folder)}")
        rows = [[f"`{key}`", _default(body), _meaning(body)] for key, body in _blocks(folder / "variables.tf", "variable")]
        sections.append(table(["variable", "default", "meaning"], rows))
        outputs = _blocks(folder / "outputs.tf", "output")
        sections.append(table(["output", "meaning"], [[f"`{key}`", _meaning(body)] for key, body in outputs]))
    return "\n".join(sections)


def _intro(folder: Path) -> str:
    """The first paragraph of the comment that main.tf begins with."""
    comment = (folder / "main.tf").read_text(encoding="utf-8").split("\n#\n")[0].split("\n\n")[0]
    return cell(re.sub(r"^# ?", "", comment, flags=re.MULTILINE)) + "\n"


def _variables(folder: Path, name: str) -> str:
    parts = [f"### Variables of {name}\n"]
    bodies = dict(_blocks(folder / "variables.tf", "variable"))
    for comment, keys in _groups(folder / "variables.tf"):
        # A sentence explains, a few words are a title.
        parts.append(f"{comment}\n" if comment.endswith(".") else f"**{comment}**\n")
        rows = [[f"`{key}`", f"`{_short(bodies[key])}`", _default(bodies[key]), _meaning(bodies[key])] for key in keys]
        parts.append(table(["variable", "type", "default", "meaning"], rows))
    return "\n".join(parts)


def _outputs(folder: Path, name: str) -> str:
    rows = [[f"`{key}`", _meaning(body)] for key, body in _blocks(folder / "outputs.tf", "output")]
    return f"### Outputs of {name}\n\n" + table(["output", "meaning"], rows)


def _object_types(folder: Path) -> str:
    blocks = [
        f'variable "{key}" {{\n  type = {_written_out(_type(body))}\n}}'
        for key, body in _blocks(folder / "variables.tf", "variable")
        if "object(" in _type(body)
    ]
    return "**The objects**\n\n```hcl\n" + "\n\n".join(blocks) + "\n```\n"


def _blocks(file: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The file's blocks of this kind, in their order: name, and what is in them as HCL."""
    blocks = _parsed(file.read_text(encoding="utf-8")).get(kind, [])
    return [(json.loads(name), body) for block in blocks for name, body in block.items()]


@cache
def _parsed(text: str) -> dict[str, Any]:
    """Each file is asked for its variables in several ways."""
    return hcl2.loads(text)


def _groups(file: Path) -> list[tuple[str, list[str]]]:
    """The comments between the variables, each with those that follow it."""
    groups: list[tuple[str, list[str]]] = []
    for comment, variable in re.findall(r'^(?:# (.+)|variable "(\w+)" \{)$', file.read_text(encoding="utf-8"), re.MULTILINE):
        if comment:
            groups.append((comment, []))
        else:
            groups[-1][1].append(variable)
    # A title that another follows has nothing below it.
    return [(comment, variables) for comment, variables in groups if variables]


def _meaning(body: dict[str, Any]) -> str:
    """The description; of a variable also what is refused, in the words of the error; of an output, whether it is secret."""
    errors = [cell(json.loads(check["error_message"])) for check in body.get("validation", [])]
    secret = " Sensitive." if body.get("sensitive") is True else ""
    return "<br>".join([cell(json.loads(body["description"])) + secret, *(f"Else: {error}" for error in errors)])


def _default(body: dict[str, Any]) -> str:
    return f"`{_hcl(body['default'])}`" if "default" in body else "required"


def _hcl(value: Any) -> str:
    """A default as one would write it; texts have their quotes already."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(_hcl, value))}]"
        case dict():
            return "{" + ", ".join(f"{key} = {_hcl(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def _type(body: dict[str, Any]) -> str:
    """``map(string)``; the parser has every type but the simplest as an expression, in ``${}``."""
    text = str(body["type"])
    return text.removeprefix("${").removesuffix("}") if text.startswith("${") else text


def _short(body: dict[str, Any]) -> str:
    """The type, with what is in an object left to _object_types."""
    return re.sub(r"object\(\{.*\}\)", "object", _type(body))


def _written_out(text: str) -> str:
    """A type on several lines: one for each attribute of an object."""
    written, opened = "", ["("]  # the brackets that are open
    for part in re.split(r"([(){}\[\]]|, )", text):
        if part in ("(", "[", "{"):
            opened.append(part)
        elif part in (")", "]", "}"):
            opened.pop()
        newline = "\n" + "  " * (1 + opened.count("{"))
        if part == "}":
            written += newline + part
        elif part == "{":
            written += part + newline
        else:
            written += newline if part == ", " and opened[-1] == "{" else part
    return written
