"""JSON files in blocks of whole records, one a line, whatever the file's size: of lines, and of an array."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lakehouse.errors import SourceError

if TYPE_CHECKING:
    from lakehouse.formats import FileReader

_BLOCK = 8 * 1024 * 1024
_MAX_RECORD = 64 * 1024 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


def line_blocks(reader: FileReader) -> Iterator[bytes]:
    """The file in blocks of whole lines."""
    rest, start = b"", True
    with reader.folder.open_stream(reader.file) as stream:
        while chunk := stream.read(_BLOCK):
            chunk, start = chunk.removeprefix(codecs.BOM_UTF8) if start else chunk, False
            end = chunk.rfind(b"\n")
            if end < 0:
                rest += chunk
                if len(rest) > _MAX_RECORD:
                    raise SourceError(f"has a line of more than {_MAX_RECORD:,} bytes. Is its format jsonl?")
                continue
            yield rest + chunk[:end]
            rest = chunk[end + 1 :]
    if rest.strip():
        yield rest


def array_blocks(reader: FileReader) -> Iterator[bytes]:
    """The objects of one JSON array, one a line, in blocks."""
    lines, size = list[str](), 0
    for value in _array_values(reader):
        lines.append(value.replace("\n", " ").replace("\r", " "))
        size += len(value)
        if size >= _BLOCK:
            yield "\n".join(lines).encode()
            lines, size = [], 0
    if lines:
        yield "\n".join(lines).encode()


def _array_values(reader: FileReader) -> Iterator[str]:
    """The text of each value of one JSON array."""
    # Only where a value ends is wanted; Python makes no number of more than 4,300 digits.
    decoder, text, position, count = json.JSONDecoder(parse_int=str), "", 0, 0
    expected = "["  # then "value]" a value or the end, "," a comma or the end, "value", and "" only white space
    with reader.folder.open_stream(reader.file) as stream:
        source = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig")
        while chunk := source.read(_BLOCK):
            text, position = text[position:] + chunk, 0
            while (position := _past_space(text, position)) < len(text):
                if text[position] == "[" and expected == "[":
                    expected, position = "value]", position + 1
                elif text[position] == "," and expected == ",":
                    expected, position = "value", position + 1
                elif text[position] == "]" and expected in ("value]", ","):
                    expected, position = "", position + 1
                elif expected.startswith("value"):
                    try:
                        _, end = decoder.raw_decode(text, position)
                    except (ValueError, RecursionError):
                        end = len(text)
                    if end == len(text):
                        break  # the value may go on in the next chunk
                    yield text[position:end]
                    expected, position, count = ",", end, count + 1
                elif expected == "[":
                    raise SourceError("is not a JSON array. If it holds one object a line, its format is jsonl.")
                else:
                    raise SourceError(f"is not a valid JSON array after {count:,} records.")
            if len(text) - position > _MAX_RECORD:
                raise SourceError(f"is not valid JSON after {count:,} records, or has one of more than {_MAX_RECORD:,} bytes.")
    if expected not in ("[", ""):
        raise SourceError(f"is not valid JSON after {count:,} records, or ends before its JSON array does.")


def _past_space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # the pattern matches anything
