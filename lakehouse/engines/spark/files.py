"""Loading source files by Spark: one reading judges all rows and counts them, another writes those that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pyiceberg.catalog import Catalog

from lakehouse.changes import ChangeRecords
from lakehouse.conform import BadRow
from lakehouse.engines import Progress, WriteResult
from lakehouse.engines.source_files import Count, FileLoad, FilesFailedError
from lakehouse.engines.source_files import take_new_files as take
from lakehouse.engines.spark.judging import BLOCK, NOT_UTF8_FILE, NUMBER, PATH, PROBLEM, RECORD, SKIPPED, VALUE
from lakehouse.engines.spark.session import is_lost
from lakehouse.engines.spark.sources import SparkSource, unread
from lakehouse.engines.spark.stage import check_types, identifier
from lakehouse.engines.spark.targets import SparkAppend, SparkMergeVersions
from lakehouse.engines.spark.values import sql_type
from lakehouse.engines.targets import Target
from lakehouse.errors import BadRowsError
from lakehouse.formats import CHANGED
from lakehouse.settings import LakehouseSettings
from lakehouse.sources import SourceFile
from lakehouse.template import TableTemplate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EXAMPLES = 3
# Rows of the quarantine that are brought here at a time.
_BAD_ROWS = 10_000


def take_new_files(
    settings: LakehouseSettings, catalog: Catalog, session: SparkSession, template: TableTemplate, run_id: str, progress: Progress
) -> WriteResult:
    """As ``lakehouse.engines.source_files.take_new_files``, by Spark."""

    return take(settings, catalog, template, run_id, progress, partial(SparkFileLoad, session))


@dataclass
class _Judged:
    """What a reading of files found.

    Attributes:
        rows: of the files, as ``sources`` gives them; None where there are none.
        starts: the number that the first row of each block has among the rows of its file, from 1, less its number in its task.
        counts: what each file brought.
        failures: files that cannot be taken, and why.
    """

    rows: DataFrame | None = None
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)
    counts: dict[SourceFile, Count] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


class SparkFileLoad(FileLoad):
    """One attempt to take the new files of a folder, by Spark."""

    def __init__(self, session: SparkSession, settings: LakehouseSettings, catalog: Catalog, *arguments: Any) -> None:
        self._session, self._catalog = session, catalog
        super().__init__(settings, catalog, *arguments)

    _target: SparkAppend | SparkMergeVersions

    def _open_target(self, hidden: frozenset[str]) -> SparkAppend | SparkMergeVersions:
        check_types(self._table)
        if (pipeline := self._template.scd_type2) is not None:
            return SparkMergeVersions(self._settings, self._catalog, self._session, self._table, hidden, pipeline, self._progress)
        return SparkAppend(self._settings, self._catalog, self._session, self._table, hidden)

    def _load_files(self, files: list[SourceFile], bad_rows: Target | None) -> None:
        judged = self._judge(files)
        if judged.failures:
            raise FilesFailedError(judged.failures)
        self._counts, self._unknown = judged.counts, sorted(judged.unknown)
        self._progress(
            f"{self._template.table_name}: {sum(count.rows for count in judged.counts.values()):,} rows in {len(files)} files fit"
        )
        if bad_rows is not None:
            for batch in self._for_quarantine(judged):
                bad_rows.write(batch)
        self._target.rows = self._fitting(judged)
        if isinstance(self._target, SparkAppend):
            self._target.count = sum(count.rows for count in judged.counts.values())
        # They are read again to be written.
        self._target.check = partial(self._check_unchanged, files)
        self._check_unchanged(files)

    def _check_unchanged(self, files: list[SourceFile]) -> None:
        if changed := [file.path for file in files if not self._folder.is_unchanged(file)]:
            raise FilesFailedError(dict.fromkeys(changed, CHANGED))

    def _fitting(self, judged: _Judged) -> DataFrame:
        """The rows that fit, as the target takes them."""
        schema = self._target.rules.schema
        columns = [identifier(name) for name in schema.names]
        if judged.rows is None:
            nulls = ", ".join(f"cast(null as {sql_type(field.type)}) as {identifier(field.name)}" for field in schema)
            return self._session.sql(f"select {nulls}, 0L as _order where false")
        good = judged.rows.where(f"{PROBLEM} is null and not {SKIPPED}")
        if self._template.scd_type2 is None:
            return good.selectExpr(*columns)
        return self._placed(good, judged).selectExpr(*columns, "_order")

    def _check(self, files: list[SourceFile]) -> dict[str, str]:
        return self._judge(files).failures if files else {}

    def _judge(self, files: list[SourceFile]) -> _Judged:
        """Reads all files once, and again without one that cannot be read."""
        pipeline = self._template.scd_type2
        records = ChangeRecords(self._table, pipeline) if pipeline is not None else None
        source = SparkSource(self._session, self._folder, self._source, self._target.rules, records)
        unreadable = dict[str, str]()
        while True:
            left = [file for file in files if file.path not in unreadable]
            read = source.read(left)
            judged = _Judged(read.rows, failures={**unreadable, **read.failures}, unknown=read.unknown)
            judged.counts = {file: Count() for file in left if file.path not in read.failures}
            if read.rows is None:
                return judged
            try:
                self._count_rows(judged)
                return judged
            except Exception as error:
                if is_lost(error) or not (found := unread(str(error), list(judged.counts))):
                    raise
                unreadable.update(
                    (file.path, f"cannot be read. It is not well formed {self._source.format}: convert it.") for file in found
                )

    def _count_rows(self, judged: _Judged) -> None:
        """Counts what each file brings. The days are those of rows that fit."""
        from pyspark.sql.functions import expr

        assert judged.rows is not None
        by_place = {_place(file.path): file for file in judged.counts}
        days, fits = self._target.rules.days, f"{PROBLEM} is null and not {SKIPPED}"
        day = "cast(null as date)" if days is None else f"case when {fits} then cast({identifier(days)} as date) end"
        found = judged.rows.selectExpr("*", f"{day} as _day").groupBy(PATH, BLOCK)
        blocks = found.agg(
            *map(
                expr,
                (
                    f"min({NUMBER}) as first",
                    "count(*) as lines",
                    f"count_if({fits}) as good",
                    f"count_if({PROBLEM} is not null and not {SKIPPED}) as bad",
                    f"count_if({SKIPPED}) as skipped",
                    f"count_if({PROBLEM}.reason = '{NOT_UTF8_FILE}' and {PROBLEM}.column = '') as not_utf8",
                    "collect_set(_day) as days",
                ),
            )
        ).collect()
        before = dict[str, int]()
        for block in sorted(blocks, key=lambda found: (found[PATH], found[BLOCK])):
            file = by_place[_place(unquote(block[PATH]))]
            count, place = judged.counts[file], (block[PATH], block[BLOCK])
            judged.uris[block[PATH]] = file.path
            judged.starts[place] = before.get(block[PATH], 0) + 1 - block["first"]
            before[block[PATH]] = before.get(block[PATH], 0) + block["lines"]
            count.rows += block["good"]
            count.bad_rows += block["bad"]
            count.skipped_rows += block["skipped"]
            count.days.update(block["days"])
            if block["not_utf8"]:
                judged.failures[file.path] = f"cannot be read: it is not UTF-8 {self._source.format}. Convert it."
        if self._quarantine is None:
            self._fail_for_bad_rows(judged)

    def _fail_for_bad_rows(self, judged: _Judged) -> None:
        """Names the first bad rows of each file that has any."""
        bad = {file.path: count for file, count in judged.counts.items() if count.bad_rows and file.path not in judged.failures}
        if not bad:
            return
        for number, row in self._bad_rows(judged, f"row_number() over (partition by {PATH} order by {BLOCK}, {NUMBER}) <= {_EXAMPLES}"):
            if (count := bad.get(judged.uris[row[PATH]])) is not None:
                count.examples.append(BadRow(number, row[PROBLEM]["column"], row[PROBLEM]["reason"], row[VALUE], ""))
        for path, count in bad.items():
            judged.failures[path] = str(BadRowsError(self._template.table_name, count.bad_rows, [str(row) for row in count.examples]))

    def _for_quarantine(self, judged: _Judged) -> Iterator[Any]:
        """The bad rows of files of which the quarantine has none yet, as batches for it."""
        assert self._quarantine_ledger is not None
        files = {
            file.path: file
            for file, count in judged.counts.items()
            if count.bad_rows and not self._quarantine_ledger.holds(file, self._schema_id)
        }
        if not files:
            return
        waiting, path = list[BadRow](), ""
        for number, row in chain(self._bad_rows(judged), [(0, None)]):
            here = judged.uris[row[PATH]] if row is not None else ""
            if waiting and (here != path or len(waiting) >= _BAD_ROWS):
                yield self._quarantine_batch(files[path], waiting)
                waiting = []
            path = here
            if row is not None and here in files:
                waiting.append(BadRow(number, row[PROBLEM]["column"], row[PROBLEM]["reason"], None, row[RECORD] or ""))

    def _bad_rows(self, judged: _Judged, condition: str = "true") -> Iterator[tuple[int, Any]]:
        """Rows that do not fit, with their numbers in their files."""
        assert judged.rows is not None
        rows = judged.rows.where(f"{PROBLEM} is not null and not {SKIPPED}").selectExpr(PATH, BLOCK, NUMBER, PROBLEM, VALUE, RECORD)
        if condition != "true":
            rows = rows.selectExpr("*", f"{condition} as _wanted").where("_wanted")
        for row in rows.orderBy(PATH, BLOCK, NUMBER).toLocalIterator():
            yield row[NUMBER] + judged.starts[row[PATH], row[BLOCK]], row

    def _placed(self, rows: DataFrame, judged: _Judged) -> DataFrame:
        """The rows with ``_order``, which rises from row to row and from file to file, in the order of the files' paths.

        It does not rest on the blocks of the reading before: on a cluster that grew since, they are others.
        """
        order = [(uri, index) for index, uri in enumerate(sorted(judged.uris, key=lambda uri: judged.uris[uri]))]
        files = self._session.createDataFrame(order, f"{PATH} string, _file int")
        place = f"named_struct('file', _file, 'block', {BLOCK}, 'number', {NUMBER})"
        return rows.join(files.hint("broadcast"), PATH, "left").selectExpr("*", f"{place} as _order")


def _place(path: str) -> str:
    """What names a file, whatever is before it: Spark writes ``file:/x`` and ``s3a://x`` where the listing has ``/x`` and ``s3://x``."""
    return re.sub(r"^(file:/*|[a-z0-9]+://)", "/", path) if not path.startswith("/") else path
