"""The part of YAML on which two readers agree.

Terraform's ``yamldecode`` follows YAML 1.2, PyYAML YAML 1.1. What the two could read differently is refused
here, with the place and the remedy, so that a template means one thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
Path = tuple[str | int, ...]

# https://yaml.org/spec/1.2.2/#51-character-set. Checked here because the parsers report these without a usable place.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"(0|-?[1-9][0-9]*)\Z")  # without -0, which Terraform keeps as "-0"
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+\Z")
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_NULL = {"", "~", "null", "Null", "NULL"}
# Everything that the resolvers of YAML 1.1 (https://yaml.org/type/) or of YAML 1.2's core schema
# (https://yaml.org/spec/1.2.2/#103-core-schema) take for more than a string, beyond the forms above.
_AMBIGUOUS = re.compile(
    r"""(?ix) (?:
      y|n|yes|no|on|off|=|<<
    | [-+]?0b[01_]+ | [-+]?0o?[0-7_]+ | [-+]?0x[0-9a-f_]+
    | [-+]?[0-9][0-9_]*
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
    | [-+]?(?:[0-9][0-9_]*)?\.[0-9_]*(?:e[-+]?[0-9]+)?
    | [-+]?[0-9][0-9_]*(?:\.[0-9_]*)?e[-+]?[0-9]+
    | [-+]?\.(?:inf|nan)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?
    )\Z"""
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a document, at a 1-based line and column."""

    rule: str
    line: int
    column: int
    path: Path
    message: str
    remedy: str


@dataclass
class Document:
    """A YAML document as plain Python values, with the position of every key and value."""

    data: Any = None
    findings: list[Finding] = field(default_factory=list[Finding])
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column (1-based) of the value at ``path``, or of the nearest thing around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, (1, 1))


class _RefusedError(Exception):
    def __init__(self, finding: Finding) -> None:
        self.finding = finding


class _Builder:
    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.document = Document()

    def add(self, rule: str, mark: Any, path: Path, message: str, remedy: str) -> None:
        self.document.findings.append(Finding(rule, mark.line + 1, mark.column + 1, path, message, remedy))

    def build(self) -> Document:
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    remedy = "Keep one document per file: remove the `---` and move what follows to a file of its own."
                    self.add("yaml-documents", event.start_mark, (), "a second YAML document starts here.", remedy)
                    break
                if event.version or event.tags:
                    remedy = "Remove it: the two readers know different versions of YAML."
                    self.add("yaml-directive", event.start_mark, (), "a % directive is not allowed.", remedy)
                self.document.data = self.value(next(self.events), (), 0)
        return self.document

    def value(self, event: Any, path: Path, depth: int) -> Any:
        mark = event.start_mark
        self.document.positions.setdefault(path, (mark.line + 1, mark.column + 1))
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            name = event.anchor
            raise _RefusedError(
                Finding("yaml-anchor", mark.line + 1, mark.column + 1, path, f"anchor or alias `{name}` is not allowed.",
                        "Write the value out: templates are read by two programs, and by people.")
            )  # fmt: skip
        if event.tag is not None:
            self.add("yaml-tag", mark, path, f"the tag `{event.tag}` is not allowed.", "Remove it; quote the value if it is a string.")
        if depth > MAX_DEPTH:
            raise _RefusedError(
                Finding("yaml-depth", mark.line + 1, mark.column + 1, path, f"nested deeper than {MAX_DEPTH} levels.", "Flatten it.")
            )
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path, depth)
        return self.mapping(path, depth)

    def sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*path, len(items)), depth + 1))
        return items

    def mapping(self, path: Path, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            mark = event.start_mark
            if not isinstance(event, yaml.ScalarEvent):
                raise _RefusedError(
                    Finding("yaml-key", mark.line + 1, mark.column + 1, path, "a key must be a plain name.", "Use a string as the key.")
                )
            key, key_path = event.value, (*path, event.value)
            if not isinstance(self.value(event, key_path, depth + 1), str) and not event.style:
                self.add("yaml-key", mark, key_path, f"the key `{key}` is not a string.", "Quote it.")
            if key in result:
                first = self.document.positions[key_path][0]
                message = f"the key `{key}` stands twice (first on line {first})."
                self.add("yaml-duplicate-key", mark, key_path, message, "Remove one of the two.")
            result[key] = self.value(next(self.events), key_path, depth + 1)
        return result

    def scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        if event.style:  # quoted or block: always a string
            return text
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text in _NULL:
            return None
        if _INT.match(text):
            return int(text) if len(text) < 19 else self.ambiguous(event, path)
        if _FLOAT.match(text):  # Terraform keeps every digit, a float about 15 of them
            return float(text) if Decimal(repr(float(text))) == Decimal(text) else self.ambiguous(event, path)
        return self.ambiguous(event, path) if _AMBIGUOUS.match(text) else text

    def ambiguous(self, event: Any, path: Path) -> str:
        text = event.value
        message = f"YAML readers disagree on the value `{text}`."
        remedy = f'Quote it if it is a string: "{text}"; or write it as true, false or a plain decimal number.'
        self.add("yaml-ambiguous", event.start_mark, path, message, remedy)
        return text


def _problem_mark(error: yaml.MarkedYAMLError, lines: int) -> tuple[int, int]:
    """Line and column of a syntax error; of what was left open, where it only shows at the end of the file."""
    mark = error.problem_mark
    if mark is None or mark.line >= lines:
        mark = error.context_mark or mark
    return (min(mark.line + 1, max(lines, 1)), mark.column + 1) if mark else (1, 1)


def read_yaml(content: bytes) -> Document:
    """Reads one document; whatever is wrong is in ``findings``, nothing is raised. ``data`` is None if nothing could be read."""

    def refused(rule: str, line: int, column: int, message: str, remedy: str) -> Document:
        return Document(findings=[Finding(rule, line, column, (), message, remedy)])

    if len(content) > MAX_BYTES:
        return refused("yaml-size", 1, 1, f"the file has {len(content):,} bytes.", f"A template has at most {MAX_BYTES:,}.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        return refused("yaml-encoding", line, column, "the file is not UTF-8.", "Save it as UTF-8.")
    if text.startswith("\ufeff"):
        return refused("yaml-encoding", 1, 1, "the file starts with a byte order mark.", "Save it as UTF-8 without BOM.")
    if unprintable := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, unprintable.start()) + 1
        column = unprintable.start() - text.rfind("\n", 0, unprintable.start())
        message = f"the character U+{ord(unprintable.group()):04X} is not allowed in YAML."
        return refused("yaml-syntax", line, column, message, "Remove it, or write it as an escape in double quotes.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(cast("Iterator[Any]", yaml.parse(text, Loader=loader)))  # pyright: ignore[reportUnknownMemberType]
    try:
        return builder.build()
    except _RefusedError as error:
        return Document(findings=[*builder.document.findings, error.finding], positions=builder.document.positions)
    except yaml.MarkedYAMLError as error:
        line, column = _problem_mark(error, len(text.splitlines()))
        what = " ".join(part for part in (error.problem, error.context) if part)
        remedy = "Correct the syntax near this line; quote a value that holds `: `, ` #` or, inside {} or [], a bracket or comma."
        return refused("yaml-syntax", line, column, f"not valid YAML: {what}.", remedy)
