"""Source files as Spark reads them: each row with its place, the table's columns, and why it is not fit for the table, if it is not.

Spark's own readers read them. What a file is, before any row is looked at, is found as the embedded engine does: by its first
lines, its Parquet schema.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.changes import ChangeRecords
from lakehouse.engines.spark.judging import BLOCK, NOT_UTF8_FILE, NUMBER, PATH, Judging, once, part, value_of
from lakehouse.engines.spark.source_starts import check_case, check_name, line_end, records_before
from lakehouse.engines.spark.stage import identifier
from lakehouse.engines.spark.values import (
    Converted,
    from_text,
    from_typed,
    from_variant,
    is_text_in_json,
    json_of,
    literal,
    member,
    text_of_variant,
)
from lakehouse.engines.targets import RowRules
from lakehouse.errors import LakehouseError, SourceError
from lakehouse.formats import FileReader, csv_start
from lakehouse.json_reader import first_line_keys
from lakehouse.pipelines import CsvOptions, Source
from lakehouse.sources import SourceFile, SourceFolder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PLACE = (f"_metadata.file_path as {PATH}", f"_metadata.file_block_start as {BLOCK}", f"monotonically_increasing_id() as {NUMBER}")
# What Hadoop would take for a pattern.
_GLOB = re.compile(r"([*?\[\]{}\\])")
_NOT_READ = (".zst", ".lz4", ".xz", ".br")
_CSV = {
    "multiLine": "true",
    "escape": '"',
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": "_corrupt",
    "columnPruning": "false",
    # Of text behind a closing quote: Spark would take the quotes for part of the value.
    "unescapedQuoteHandling": "RAISE_ERROR",
}
# CSV is read byte by byte, and its fields decoded here: Spark would put other characters in place of what is not UTF-8.
_BYTES = "ISO-8859-1"
_PARTS = "200"
_AS_RECORD = "to_json(_raw, map('ignoreNullFields', 'false'))"
_BOM = "\\u00ef\\u00bb\\u00bf"


@dataclass
class ReadFiles:
    """Files as rows.

    Attributes:
        rows: None where no file has any.
        failures: files that cannot be read, and why.
        unknown: columns that the table does not have.
    """

    rows: DataFrame | None = None
    failures: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


class SparkSource:
    """Reads source files of one pipeline.

    Args:
        records: of an scd_type2 pipeline.
    """

    def __init__(
        self, session: SparkSession, folder: SourceFolder, source: Source, rules: RowRules, records: ChangeRecords | None = None
    ) -> None:
        self._session, self._folder, self._source, self._rules = session, folder, source, rules
        hidden = rules.hidden
        if source.format == "csv" and hidden:
            hidden = frozenset(rules.schema.names)  # a delimiter too many puts a hidden value under another column's name
        self._judging = Judging(rules, hidden, records)

    def read(self, files: Sequence[SourceFile]) -> ReadFiles:
        """The rows of files, by one reading of each."""
        # Rows are numbered by the blocks that files are read in, which must not depend on how many executors there are just now.
        self._session.conf.set("spark.sql.files.minPartitionNum", _PARTS)
        result = ReadFiles()
        frames: list[DataFrame] = []
        kinds = defaultdict[tuple[object, ...], list[SourceFile]](list)
        for file in files:
            try:
                kind = self._kind(file, result)
            except (LakehouseError, OSError, pa.ArrowException, UnicodeError) as error:
                result.failures[file.path] = _told(error)
            else:
                if kind is not None:
                    kinds[kind].append(file)
        for kind, alike in kinds.items():
            paths = [_GLOB.sub(r"\\\1", _uri(file.path)) for file in alike]
            frames.append(_READERS[self._source.format](self, kind, paths))
        if frames:
            result.rows = reduce(lambda left, right: left.unionByName(right), frames)
        return result

    def _kind(self, file: SourceFile, result: ReadFiles) -> tuple[object, ...] | None:
        """What files that are read together have in common; None where a file has no rows.

        Raises:
            LakehouseError: it cannot be read.
        """
        if file.path.lower().endswith(_NOT_READ):
            raise SourceError(f"cannot be read: Spark does not decompress {file.path.rpartition('.')[2]}. Compress it with gzip.")
        check_name(file)
        reader = FileReader(self._folder, file, self._source, self._rules.schema, self._rules.hidden, self._rules.skip_null)
        match self._source.format:
            case "parquet":
                with self._folder.open_file(file) as handle:
                    schema = pq.read_schema(handle)
                result.unknown |= set(reader.conformer.check_columns(schema.names, "the file"))
                reader.conformer.check_types(schema, "the file")
                check_case(schema)
                return tuple((name, type_) for name, type_ in zip(schema.names, schema.types, strict=True) if name in reader.schema.names)
            case "csv":
                options = self._source.csv_options or CsvOptions()
                names, lines, has_rows = csv_start(reader, options)
                if not names:
                    return None
                result.unknown |= set(reader.conformer.check_columns(names, "the file", "Look at csv_options in the template"))
                return (tuple(names), lines, records_before(reader, options), line_end(reader)) if has_rows else None
            case _:
                result.unknown |= set(first_line_keys(reader))
                return ()

    # --- One function a format

    def _csv(self, kind: tuple[object, ...], paths: Sequence[str]) -> DataFrame:
        names, lines, skip, line_end = kind
        assert isinstance(names, tuple)
        assert isinstance(skip, int)
        options = self._source.csv_options or CsvOptions()
        # One line to be skipped is Spark's header.
        header = options.column_names is None and options.skip_rows == 0 and lines == 1
        # Of an empty field Spark makes a null, whatever it is told.
        empty = "null" if "" in options.null_values else "''"
        others = [f"c{index} is null" for index in range(1, len(names))]
        # Of a line that is empty but for its end.
        blank = " and ".join(["c0 <=> '\\r'", *others, *(["_corrupt is not null"] if others else [])])
        # What is quoted and empty is no null: it is told from what is just empty by a text that no file has.
        quoted_empty = "\x01\x02empty\x02\x01"
        raw = (
            self._session.read.schema(", ".join([*(f"c{index} string" for index in range(len(names))), "_corrupt string"]))
            .options(**_CSV, encoding=_BYTES, delimiter=options.delimiter.encode().decode(_BYTES), lineSep=str(line_end))
            .options(header=str(header).lower(), nullValue="", emptyValue=quoted_empty)
            .csv(list(paths))
            .where(f"not ({blank})")
            .selectExpr("*", *_PLACE)
        )
        if skip and not header:
            raw = raw.selectExpr("*", f"row_number() over (partition by {PATH} order by {NUMBER}) as _line").where(f"_line > {skip}")
        fields = {name: f"c{index}" for index, name in enumerate(names) if name in self._rules.schema.names}
        if skip == 0 and (first := names[0]) in fields:
            fields[first] = f"regexp_replace(c0, '^{_BOM}', '')"
        if (last := names[-1]) in fields:
            # Lines end in \n, and may have a \r before it: alone it is an empty field.
            fields[last] = f"case when {fields[last]} = '\\r' then {empty} else regexp_replace({fields[last]}, '\\r\\\\z', '') end"
        texts = {
            name: f"case when {text} = {literal(quoted_empty)} then '' else coalesce({text}, {empty}) end" for name, text in fields.items()
        }
        raw = raw.selectExpr("*", once("_text", {name: f"cast(encode({text}, '{_BYTES}') as string)" for name, text in texts.items()}))
        sound = " and ".join(f"coalesce(is_valid_utf8({part('_text', name)}), true)" for name in fields)
        nulls = ", ".join(literal(text) for text in options.null_values if text)
        texts = {
            name: f"case when not {part('_text', name)} in ({nulls}) then {part('_text', name)} end" if nulls else part("_text", name)
            for name in fields
        }
        raw = raw.selectExpr(PATH, BLOCK, NUMBER, "_corrupt is null as _whole", f"{sound} as _sound", once("_raw", texts))
        nested = [field_.name for field_ in self._rules.schema if field_.name in fields and pa.types.is_nested(field_.type)]
        if nested:
            raw = raw.selectExpr("*", once("_variant", {name: json_of(part("_raw", name)) for name in nested}))
        return self._judging(
            raw,
            {name: self._from_csv(name) for name in fields},
            {name: f"{part('_raw', name)} is null" for name in fields},
            [("not _sound", NOT_UTF8_FILE), ("not _whole", f"another number of fields than {len(names)}")],
            {name: part("_raw", name) for name in fields},
            _AS_RECORD,
        )

    def _from_csv(self, name: str) -> Converted:
        """A field of CSV; a nested value is JSON."""
        text, type_ = part("_raw", name), self._rules.schema.field(name).type
        if not pa.types.is_nested(type_):
            return from_text(text, type_, value_of(name))
        variant = part("_variant", name)
        found = from_variant(variant, type_)
        return Converted(found.value, [(f"({text} is not null and {variant} is null)", found.bad[0][1]), *found.bad])

    def _json_lines(self, kind: tuple[object, ...], paths: Sequence[str]) -> DataFrame:
        raw = (
            self._session.read.option("lineSep", "\n")
            .text(list(paths))
            # Whether it is UTF-8 before anything else is done to it: most functions put other characters in place of what is not.
            .selectExpr(
                "is_valid_utf8(value) as _is_utf8",
                "regexp_replace(value, '^\ufeff?[ \\t\\r]+|^\ufeff|[ \\t\\r]+$', '') as _line",
                "_metadata",
            )
            .where("_line <> ''")
            .selectExpr("_is_utf8", "_line", *_PLACE)
            .selectExpr("*", once("_parsed", {"json": f"case when _is_utf8 then {json_of('_line')} end"}))
        )
        twice = "_parsed.json is null and _is_utf8 and _line like '{%}' and get_json_object(_line, '$') is not null"
        return self._objects(raw, "_line", [(twice, "a key stands twice")])

    def _json_array(self, kind: tuple[object, ...], paths: Sequence[str]) -> DataFrame:
        raw = (
            self._session.read.options(multiLine="true", singleVariantColumn="_json", mode="FAILFAST")
            .json(list(paths))
            .selectExpr("explode(variant_get(_json, '$', 'array<variant>')) as _json", "_metadata")
            .selectExpr("_json", *_PLACE)
            .selectExpr("*", once("_parsed", {"json": "_json"}))
        )
        return self._objects(raw, "to_json(_parsed.json)")

    def _objects(self, raw: DataFrame, record: str, problems: Sequence[tuple[str, str]] = ()) -> DataFrame:
        names, json = self._rules.schema.names, "_parsed.json"
        raw = raw.selectExpr("*", once("_whole", {"object": f"try_variant_get({json}, '$', 'map<string, variant>')"}))
        raw = raw.selectExpr("*", once("_variant", {name: member(json, "_whole.object", name) for name in names}))
        texts = {field_.name: field_.type for field_ in self._rules.schema if is_text_in_json(field_.type)}
        if texts:
            raw = raw.selectExpr("*", once("_raw", {name: text_of_variant(part("_variant", name), type_) for name, type_ in texts.items()}))
        problems = [*problems, (f"{json} is null", "not JSON in UTF-8"), ("_whole.object is null", "not a JSON object")]
        if self._rules.skip_null is None:
            none = " and ".join(f"{part('_variant', name)} is null" for name in names)
            problems.append((f"({none})", "has none of the table's columns"))
        variants = {name: part("_variant", name) for name in names}
        nulls = {name: f"(_whole.object is not null and ({found} is null or is_variant_null({found})))" for name, found in variants.items()}
        columns = {name: self._from_json(name) for name in names}
        return self._judging(raw, columns, nulls, problems, {name: f"to_json({found})" for name, found in variants.items()}, record)

    def _from_json(self, name: str) -> Converted:
        """A member of a JSON object."""
        variant, type_ = part("_variant", name), self._rules.schema.field(name).type
        if not is_text_in_json(type_):
            return from_variant(variant, type_, into=value_of(name))
        text = part("_raw", name)
        parsed = from_text(text, type_, value_of(name))
        kind = f"({variant} is not null and not is_variant_null({variant}) and {text} is null)"
        return Converted(parsed.value, [(kind, parsed.bad[0][1]), *parsed.bad])

    def _parquet(self, kind: tuple[object, ...], paths: Sequence[str]) -> DataFrame:
        found: dict[str, pa.DataType] = dict(cast("Sequence[tuple[str, pa.DataType]]", kind))
        names = [name for name in self._rules.schema.names if name in found]
        # Nanoseconds have no type in Spark.
        self._session.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        read = self._session.read.parquet(*paths)
        raw = read.selectExpr(f"named_struct({', '.join(f'{literal(name)}, {identifier(name)}' for name in names)}) as _raw", *_PLACE)
        types = {name: self._rules.schema.field(name).type for name in names}
        columns = {name: from_typed(part("_raw", name), found[name], type_, into=value_of(name)) for name, type_ in types.items()}
        nulls = {name: f"{part('_raw', name)} is null" for name in names}
        return self._judging(raw, columns, nulls, [], {name: f"cast({part('_raw', name)} as string)" for name in names}, _AS_RECORD)


_READERS: dict[str, Callable[[SparkSource, tuple[object, ...], Sequence[str]], DataFrame]] = {
    "parquet": SparkSource._parquet,
    "csv": SparkSource._csv,
    "json": SparkSource._json_array,
    "jsonl": SparkSource._json_lines,
}


def _uri(path: str) -> str:
    return path if "://" in path else f"file://{path}"


def _told(error: Exception) -> str:
    """As ``FileReader`` tells it."""
    if isinstance(error, SourceError):
        return str(error)
    if isinstance(error, LakehouseError):
        return f"cannot be read: {error}"
    return f"cannot be read: {type(error).__name__}. It is not well formed: convert it."


def unread(message: str, files: Sequence[SourceFile]) -> list[SourceFile]:
    """The files that a message of Spark names, which could not be read."""
    # The longest name first: it may begin with another's.
    named = sorted((file for file in files if file.path.split("://")[-1] in message), key=lambda file: -len(file.path))
    return named[:1]
