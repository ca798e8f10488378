"""The model of what fills a table: a template's ``pipeline``, and where its source files come from."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# At most as many digits as fit a timedelta, and Iceberg's 32-bit parameters.
DURATION_PATTERN = r"^[1-9][0-9]{0,5}(m|h|d|w)$"
DAY_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
SKIP_WHEN_PATTERN = r"^[a-z][a-z0-9_]* is null$"
# The columns that a merge of an scd_type2 pipeline fills: from when, until when, and whether a version holds now.
VALIDITY = ("valid_from", "valid_to", "is_current")
# A variable in a path, filled in where the pipeline runs.
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def parse_duration(text: str) -> timedelta:
    """A duration such as ``90m``, ``24h``, ``7d`` or ``2w``, which lint has let pass."""
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[text[-1]]
    return timedelta(**{unit: int(text[:-1])})


def text_pattern(pattern: str) -> dict[str, Any]:
    """For the editor only: lint says the same in words of its own (rules/)."""
    return {"pattern": pattern}


class Model(BaseModel):
    """What a template consists of: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CsvOptions(Model):
    """How a CSV file is laid out."""

    delimiter: str = Field(default=",", description="One character.")
    column_names: list[str] | None = Field(default=None, description="Names of the fields, for files without a header line.")
    skip_rows: int = Field(default=0, ge=0, description="Lines to skip at the start of each file.")
    null_values: list[str] = Field(default=[""], description="Unquoted texts that mean null.")


class Source(Model):
    """Where source files come from."""

    path: str = Field(description="A folder or file: local, s3://… or gs://…; ${VARIABLE} is filled in at run time.")
    format: Literal["parquet", "csv", "json", "jsonl"] = Field(description="json is one array of objects; jsonl one object a line.")
    csv_options: CsvOptions | None = Field(default=None, description="For the format csv only.")


class _Pipeline(Model):
    cron: str | None = Field(default=None, description="When the pipeline runs, five fields, UTC. Without it: by hand.")


class EventStreamPipeline(_Pipeline):
    """Appends each source file's rows exactly once."""

    pattern: Literal["event_stream"] = Field(description="Append.")
    source: Source = Field(description="The files whose rows are appended.")
    on_bad_rows: Literal["fail", "quarantine"] = Field(
        default="fail", description="quarantine puts rows that do not fit into <name>__quarantine with the reason."
    )


class ScdType2Pipeline(_Pipeline):
    """Keeps every version of a business key, with the time in which it held."""

    pattern: Literal["scd_type2"] = Field(description="Merge.")
    source: Source = Field(description="The files with the change records: the table's columns, without valid_to and is_current.")
    key: list[str] = Field(min_length=1, description="The business key.")
    effective_at: str = Field(
        description="The change records' column that says from when one holds: a version's valid_from. The table need not have it."
    )
    operation: str | None = Field(
        default=None,
        description="The change records' column that says insert, update, upsert or delete (or i, c, r, u, d); not a column of the table.",
    )
    skip_when: str | None = Field(
        default=None,
        description="Records to leave out, counted: `<column> is null`.",
        json_schema_extra=text_pattern(SKIP_WHEN_PATTERN),
    )
    on_bad_rows: Literal["fail", "quarantine"] = Field(
        default="fail", description="quarantine puts rows that do not fit into <name>__quarantine with the reason."
    )

    @property
    def skip_column(self) -> str | None:
        """The column whose null leaves a record out."""
        return None if self.skip_when is None else self.skip_when.split(" ")[0]


class FeaturePartitions(Model):
    """The daily partitions of a feature table."""

    start: str = Field(description="The first day, quoted: YYYY-MM-DD.", json_schema_extra=text_pattern(DAY_PATTERN))
    end: str | None = Field(default=None, description="The last day; without it, yesterday.", json_schema_extra=text_pattern(DAY_PATTERN))

    @property
    def first(self) -> date:
        return date.fromisoformat(self.start)

    @property
    def last(self) -> date | None:
        return None if self.end is None else date.fromisoformat(self.end)


class FeatureTablePipeline(_Pipeline):
    """Recomputes daily partitions by SQL."""

    pattern: Literal["feature_table"] = Field(description="Recompute a partition.")
    sql: str = Field(description="A file beside the template with one DuckDB query, in which $day is the day.")
    inputs: list[str] = Field(
        min_length=1,
        description="Tables the SQL reads, as name or namespace.name. It sees them as they were at the day's end: no later row, "
        "and of an scd_type2 table the versions as of then.",
    )
    partitions: FeaturePartitions = Field(description="Which daily partitions there are.")
    window: str | None = Field(
        default=None,
        description="How far back from the day's end the SQL sees rows of inputs other than scd_type2, in whole days, e.g. 7d; only "
        "these are read. Without it, it sees all.",
        json_schema_extra=text_pattern(DURATION_PATTERN),
    )
    lookback: str = Field(
        default="1d",
        description="How many past days the schedule recomputes where data came late.",
        json_schema_extra=text_pattern(DURATION_PATTERN),
    )

    @property
    def window_days(self) -> int | None:
        """How many days of its inputs a day's features see, itself included; None for all before it."""
        return None if self.window is None else parse_duration(self.window).days

    @property
    def lookback_days(self) -> int:
        """How many full days before today the schedule looks at: part of a day counts as one."""
        return -(-parse_duration(self.lookback) // timedelta(days=1))


Pipeline = Annotated[EventStreamPipeline | ScdType2Pipeline | FeatureTablePipeline, Field(discriminator="pattern")]
