"""Where rows go that Spark holds. They are given as a whole, in ``rows``, before the commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Self

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from lakehouse.commit import Batch
from lakehouse.engines import Progress
from lakehouse.engines.spark.merge import SparkMerge
from lakehouse.engines.spark.stage import write_files
from lakehouse.engines.targets import Append, Committed, MergeVersions
from lakehouse.errors import SparkError
from lakehouse.ledger import Ledger, TakenFile
from lakehouse.merge import Merged
from lakehouse.pipelines import ScdType2Pipeline
from lakehouse.settings import LakehouseSettings
from lakehouse.write import delete_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SparkAppend(Append):
    """Appends the rows that Spark holds.

    Attributes:
        rows: with the columns of ``rules.schema``, by name, in Spark's types of them.
        count: how many they must be, if that is known.
        check: called when they are written, before the commit; what it raises, there is none for.
    """

    rows: DataFrame

    def __init__(self, settings: LakehouseSettings, catalog: Catalog, session: SparkSession, table: Table, hidden: frozenset[str]) -> None:
        super().__init__(settings, table, hidden, settings.write_memory)
        self._catalog, self._session = catalog, session
        self.count: int | None = None
        self.check: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        # In place of a DataFileWriter, of which a commit asks no more than to finish.
        self._writer = self  # type: ignore[assignment]
        return self

    def finish(self) -> list[DataFile]:
        """Has Spark write the rows as data files."""
        files = write_files(self._settings, self._catalog, self._session, self._table, self.rows, self.rules.hidden)
        _checked(partial(self._check, sum(file.record_count for file in files)), self._table, [file.file_path for file in files])
        return files

    def _check(self, written: int) -> None:
        self.check()
        if self.count not in (None, written):
            name = ".".join(self._table.name())
            raise SparkError(f"Spark wrote {written:,} rows of {name} where {self.count:,} fit. Nothing was committed: run it again.")


class SparkMergeVersions(MergeVersions):
    """Merges the rows that Spark holds, which are change records, into versions.

    Attributes:
        rows: with the columns of ``rules.schema``, by name, in Spark's types of them, and ``_order``, which rises in the order
            in which the records came.
        check: as ``SparkAppend`` has it.
    """

    rows: DataFrame

    def __init__(
        self,
        settings: LakehouseSettings,
        catalog: Catalog,
        session: SparkSession,
        table: Table,
        hidden: frozenset[str],
        pipeline: ScdType2Pipeline,
        progress: Progress,
    ) -> None:
        super().__init__(settings, table, hidden, pipeline, progress)
        self._catalog, self._session = catalog, session
        self.check: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._spark_merge = self._stack.enter_context(
            SparkMerge(
                self._settings, self._catalog, self._session, self._table, self._records, self._moments, self._hidden, self._progress
            )
        )
        self._merge = self  # type: ignore[assignment]  # a commit asks of a Merge no more than to finish
        return self

    def finish(self) -> Merged:
        """Has Spark merge."""
        merged = self._spark_merge.finish()
        _checked(self.check, self._table, [*([merged.segment] if merged.segment else []), *(file.file_path for file in merged.added)])
        return merged

    def commit(self, ledger: Ledger, taken: list[TakenFile], batch: Batch) -> Committed:
        """See ``Target.commit``."""
        self._spark_merge.write(self.rows)
        return super().commit(ledger, taken, batch)


def _checked(check: Callable[[], None], table: Table, written: list[str]) -> None:
    try:
        check()
    except BaseException:
        delete_files(table, written)
        raise
