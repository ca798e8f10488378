"""Writes YAML on which all readers agree: what one of them could take for something else than text is quoted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.yaml_reader import read_yaml

_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_ .,;()<>/%+-]*[A-Za-z0-9_.;()<>/%+])?")
# JSON leaves these as they are; YAML readers take them for line breaks, or refuse them.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def scalar(value: str | bool | int) -> str:
    """A text, boolean or whole number as a YAML scalar, in double quotes where that is needed."""
    if isinstance(value, bool | int):
        return str(value).lower()
    document = read_yaml(f"a: {value}".encode()) if _PLAIN.fullmatch(value) else None
    if document is not None and not document.findings and document.data == {"a": value}:
        return value
    # JSON's strings are YAML's double-quoted ones.
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))


def flow(value: Any) -> str:
    """A scalar, or a list or mapping on one line, nested at will: ``[a, b]``, ``{a: b}``."""
    match value:
        case str() | bool() | int():
            text = scalar(value)
            return json.dumps(text) if set(text) & set(",[]{}") and not text.startswith('"') else text
        case Mapping():
            return f"{{{', '.join(f'{flow(key)}: {flow(item)}' for key, item in value.items())}}}"
        case _:
            return f"[{', '.join(map(flow, value))}]"


def block(value: Mapping[str, Any], indent: str = "") -> str:
    """A mapping over several lines, nested at will. Lists and mappings that are empty, or lists of scalars, stand on one line."""
    lines: list[str] = []
    for key, item in value.items():
        start = f"{indent}{scalar(key)}:"
        if isinstance(item, Mapping) and item:
            lines.append(f"{start}\n{block(item, indent + '  ')}")
        elif isinstance(item, Sequence) and not isinstance(item, str) and any(isinstance(each, Mapping) for each in item):
            # The dash takes the place of the first line's indent.
            lines.append(start + "\n" + "\n".join(f"{indent}  - {block(each, indent + '    ').lstrip(' ')}" for each in item))
        else:
            lines.append(f"{start} {scalar(item) if isinstance(item, str) else flow(item)}")
    return "\n".join(lines)
