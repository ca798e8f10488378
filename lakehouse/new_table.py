"""Drafts a template: of what a sample file has, or of a pipeline pattern. People say what a guess got wrong.

Nothing is written that lint refuses, and no file is replaced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from lakehouse.errors import SettingsError, TemplateError
from lakehouse.feature_stub import feature_data, feature_sql
from lakehouse.pii import guess_pii
from lakehouse.pipelines import VALIDITY
from lakehouse.sample import Sample, SampleColumn, misfits
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate
from lakehouse.template_writer import lint_alone, lint_among, template_text

Pattern = Literal["event_stream", "scd_type2", "feature_table"]
MOMENTS = ("timestamptz", "timestamp", "date")
# What times of events are called, the likeliest first; the rest of a name may be anything.
_TIME_WORDS = (
    "event",
    "occurred",
    "happened",
    "timestamp",
    "time",
    "ts",
    "created",
    "updated",
    "changed",
    "modified",
    "valid_from",
    "date",
)
_OPERATIONS = {"insert", "update", "upsert", "delete", "i", "c", "r", "u", "d"}


@dataclass
class Draft:
    """What is known of a new table. Every guess can be replaced before ``draft.files`` is asked.

    Attributes:
        pii: the columns that hold personal data, each with the reason.
        identifier: what makes a row unique; of an scd_type2 table, its business key.
        time: the column of an event's time: partitions are by its day; of an scd_type2 table, its ``effective_at``.
        inputs: the tables that a feature table is computed from.
        source: key and values of the pipeline's source.
    """

    name: str
    namespace: str
    pattern: Pattern
    columns: list[dict[str, Any]]
    pii: dict[str, str] = field(default_factory=dict[str, str])
    identifier: list[str] = field(default_factory=list[str])
    time: str | None = None
    operation: str | None = None
    inputs: list[TableTemplate] = field(default_factory=list[TableTemplate])
    source: dict[str, Any] = field(default_factory=dict[str, Any])
    description: str = ""
    owner: str = ""
    sample: Sample | None = None
    notes: list[str] = field(default_factory=list[str])

    @property
    def table(self) -> str:
        return f"{self.namespace}.{self.name}"

    def check(self, what: str, names: Collection[str]) -> None:
        """Raises SettingsError where one of some names is no column."""
        known = [column["name"] for column in self.columns]
        if unknown := [name for name in names if name not in known]:
            raise SettingsError(f"{what} names {', '.join(unknown)}, and the columns are {', '.join(known)}. Name one of these.")

    def files(self, json_schema: str) -> dict[str, str]:
        """The template, and a feature table's SQL, by file name."""
        texts = {f"{self.name}.yaml": template_text(self._data(), json_schema)}
        return texts | ({f"{self.name}.sql": feature_sql(self.identifier, self.inputs)} if self.pattern == "feature_table" else {})

    def _data(self) -> dict[str, Any]:
        columns = [
            {**column, **({"pii": True, "access_level": "restricted"} if column["name"] in self.pii else {})} for column in self.columns
        ]
        data: dict[str, Any] = {"name": self.name, "namespace": self.namespace, "description": self.description, "owner": self.owner}
        if self.pattern == "feature_table":
            return data | feature_data(columns, self.name, self.identifier, self.inputs, datetime.now(UTC).date())
        if self.pattern == "scd_type2":
            return data | self._dimension(columns)
        partition = self._partition_column()
        required = {*self.identifier, *([partition] if partition and self._is_always_there(partition) else [])}
        return data | {
            "columns": [_ordered({**column, "required": column["name"] in required}) for column in columns],
            "identifier": self.identifier,
            "partition_spec": [{"column": partition, "transform": "day"}] if partition else [],
            "sort_order": [{"column": partition, "direction": "asc", "null_order": "nulls_last"}] if partition else [],
            "pipeline": {"pattern": "event_stream", "source": self.source},
        }

    def _dimension(self, columns: list[dict[str, Any]]) -> dict[str, Any]:
        """A version has the record's columns, without its time and operation, and when it held."""
        moment = next((column["type"] for column in columns if column["name"] == self.time), "timestamptz")
        left_out = {self.time, self.operation, *VALIDITY}
        kept = [_ordered({**column, "required": column["name"] in self.identifier}) for column in columns if column["name"] not in left_out]
        validity = [
            {"name": "valid_from", "type": moment, "required": True, "description": "From when this version held, inclusive."},
            {"name": "valid_to", "type": moment, "description": "Until when it held, exclusive; null for the current version."},
            {"name": "is_current", "type": "boolean", "required": True, "description": "Whether this is the version that holds now."},
        ]
        return {
            "columns": [*kept, *validity],
            "identifier": [*self.identifier, "valid_from"],
            "sort_order": [{"column": "valid_from", "direction": "asc", "null_order": "nulls_last"}],
            "pipeline": {
                "pattern": "scd_type2",
                "source": self.source,
                "key": self.identifier,
                "effective_at": self.time or "valid_from",
                **({"operation": self.operation} if self.operation else {}),
            },
        }

    def _partition_column(self) -> str | None:
        """The time, where its values may show in paths."""
        types = {column["name"]: column["type"] for column in self.columns}
        fits = self.time is not None and self.time not in self.pii and types[self.time] in MOMENTS and f"{self.time}_day" not in types
        return self.time if fits else None

    def _is_always_there(self, name: str) -> bool:
        return self.sample is None or not next(column for column in self.sample.columns if column.name == name).has_nulls


def draft_from_sample(table: str, namespace: str, pattern: Pattern, sample: Sample, landing: str) -> Draft:
    """A draft of an event stream, or of a dimension's change records.

    Raises:
        SettingsError: the pattern has no source files.
    """
    if pattern == "feature_table":
        raise SettingsError("A feature table is computed from other tables, and has no source files: use --inputs instead of --from.")
    pii = {column.name: why for column in sample.columns if (why := guess_pii(column.name, column.values))}
    options = sample.source.csv_options
    source = {
        "path": landing,
        "format": sample.source.format,
        **({"csv_options": options.model_dump(exclude_defaults=True)} if options else {}),
    }
    draft = Draft(table, namespace, pattern, [{"name": column.name, "type": column.type} for column in sample.columns], pii)
    draft.sample, draft.source, draft.notes = sample, source, list(sample.notes)
    draft.time = _time_of(sample.columns, pii)
    if pattern == "scd_type2":
        draft.operation = _operation_of(sample.columns)
    key = _identifier_of(table, sample.columns, must_be_unique=pattern == "event_stream")
    draft.identifier = [key] if key else []
    return draft


def draft_from_pattern(table: str, namespace: str, pattern: Pattern, landing: str, inputs: Sequence[TableTemplate]) -> Draft:
    """A draft with the columns that a pattern needs; a feature table's key is its first input's."""
    id_ = {"name": f"{table}_id", "type": "string", "description": "What tells one from another."}
    draft = Draft(table, namespace, pattern, [id_], identifier=[id_["name"]])
    draft.source = {"path": landing, "format": "jsonl"}
    if pattern == "event_stream":
        draft.time = "event_timestamp"
        draft.columns.append({"name": "event_timestamp", "type": "timestamptz", "description": "When the event happened, UTC."})
    if pattern == "scd_type2":
        draft.time = "valid_from"
    if pattern == "feature_table":
        if not inputs:
            raise SettingsError("A feature table is computed from other tables: name them, --inputs orders,customers")
        draft.inputs = list(inputs)
        known = inputs[0].scd_type2.key if inputs[0].scd_type2 else inputs[0].identifier[:1] or [inputs[0].columns[0].name]
        draft.identifier = list(known)
        use_key(draft, draft.identifier)
    return draft


def use_key(draft: Draft, key: Sequence[str]) -> None:
    """Makes columns of a feature table's first input its key, personal data where they are there. Raises SettingsError."""
    columns = {column.name: column for column in draft.inputs[0].columns}
    if unknown := [name for name in key if name not in columns]:
        raise SettingsError(f"{draft.inputs[0].table_name} has no column {', '.join(unknown)}. It has {', '.join(columns)}.")
    draft.identifier = list(key)
    draft.columns = [{"name": name, "type": columns[name].type, "description": columns[name].description} for name in key]
    draft.columns = [{**column, "access_level": columns[column["name"]].access_level} for column in draft.columns]
    draft.pii = {name: f"it is in {draft.inputs[0].table_name}" for name in key if columns[name].pii}


def finish(draft: Draft, settings: LakehouseSettings, json_schema: str) -> tuple[dict[str, str], list[str]]:
    """The files of a draft, which lint takes, and what lint warns of; with a sample, the reader has tried its rows, too.

    Raises:
        TemplateError: with what lint has against it.
    """
    files = draft.files(json_schema)
    problems = lint_among(files, settings.templates, settings.variables)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise TemplateError(errors)
    if draft.sample is not None and draft.pattern == "event_stream":
        template, _ = lint_alone(files[f"{draft.name}.yaml"], draft.name)
        assert template is not None
        for reason, count in misfits(draft.sample, template.arrow_schema, template.hidden_columns).items():
            draft.notes.append(f"{count:,} rows of the sample do not fit: {reason}. Correct the type, or set `on_bad_rows: quarantine`.")
    return files, [f"{problem.key}: {problem.message} {problem.remedy}" for problem in problems]


def _ordered(column: Mapping[str, Any]) -> dict[str, Any]:
    """A column with its keys as templates have them."""
    keys = ("name", "type", "required", "pii", "access_level", "description")
    return {key: column[key] for key in keys if column.get(key)}


def _time_of(columns: Sequence[SampleColumn], pii: Collection[str]) -> str | None:
    moments = [column for column in columns if column.type in MOMENTS and column.name not in pii]

    def rank(column: SampleColumn) -> tuple[bool, int, int]:
        known = [index for index, word in enumerate(_TIME_WORDS) if word in column.name]
        return column.has_nulls, MOMENTS.index(column.type) // 2, min(known, default=len(_TIME_WORDS))

    return min(moments, key=rank).name if moments else None


def _identifier_of(table: str, columns: Sequence[SampleColumn], must_be_unique: bool) -> str | None:
    """The first column that is called a key, is always there, and, for events, never the same twice."""
    singular = table.removesuffix("s")
    known = ["id", f"{table}_id", f"{singular}_id", "uuid", "key", "event_id"]
    names = [*known, *(column.name for column in columns if column.name.endswith(("_id", "_key", "_uuid")))]
    fits = {
        column.name
        for column in columns
        if not column.has_nulls and column.type in ("string", "long", "int", "uuid") and (column.is_unique or not must_be_unique)
    }
    return next((name for name in names if name in fits), None)


def _operation_of(columns: Sequence[SampleColumn]) -> str | None:
    texts = {column.name: {str(value).lower() for value in column.values} for column in columns if column.type == "string"}
    return next((name for name, values in texts.items() if values <= _OPERATIONS and ("op" in name or "action" in name)), None)
