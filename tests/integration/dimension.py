"""A dimension for tests: change records, the table they go to, and a model of what it must come to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lakehouse.engines import WriteResult

if TYPE_CHECKING:
    from conftest import Lakehouse

START = datetime(2024, 1, 1, tzinfo=UTC)
TEMPLATE = """\
    name: users
    namespace: lake
    columns:
      - {name: id, type: string, required: true}
      - {name: region, type: int, required: true}
      - {name: plan, type: string}
      - {name: score, type: double}
      - {name: valid_from, type: timestamptz, required: true}
      - {name: valid_to, type: timestamptz}
      - {name: is_current, type: boolean, required: true}
    identifier: [id, region, valid_from]
    sort_order: [{column: valid_from}]
    pipeline:
      pattern: scd_type2
      source: {path: "${LAKEHOUSE_LANDING}", format: jsonl}
      key: [id, region]
      effective_at: changed_at
      operation: op
"""


@dataclass(frozen=True)
class Change:
    """A change record."""

    id: str
    at: int
    plan: str | None = None
    op: str = "update"
    region: int = 1
    score: float | None = None

    def line(self) -> str:
        moment = (START + timedelta(hours=self.at)).isoformat()
        return json.dumps(
            {"id": self.id, "region": self.region, "plan": self.plan, "score": self.score, "changed_at": moment, "op": self.op}
        )


def _order(version: Version) -> tuple[str, int, int]:
    return version[0], version[1], version[4]


Version = tuple[str, int, str | None, float | None, int, int | None, bool]


def expected(changes: Iterable[Change]) -> list[Version]:
    """What a table holds, from the definition: each key's records in the order of time, the last of each moment."""
    timelines: dict[tuple[str, int], dict[int, Change]] = {}
    for change in changes:
        timelines.setdefault((change.id, change.region), {})[change.at] = change
    found = [version for timeline in timelines.values() for version in _versions([timeline[at] for at in sorted(timeline)])]
    return sorted(found, key=_order)


def _versions(records: Sequence[Change]) -> Iterator[Version]:
    opened: Change | None = None
    for record in [*records, None]:
        repeats = record and opened and record.op != "delete" and (record.plan, record.score) == (opened.plan, opened.score)
        if repeats:
            continue
        if opened is not None:
            end = record.at if record else None
            yield (opened.id, opened.region, opened.plan, opened.score, opened.at, end, end is None)
        opened = record if record is not None and record.op != "delete" else None


def versions(lakehouse: Lakehouse, name: str = "lake.users") -> list[Version]:
    """What the table holds."""

    def hours(moment: datetime | None) -> int | None:
        return None if moment is None else int((moment - START) / timedelta(hours=1))

    rows = lakehouse.rows(name).to_pylist()
    found = [
        (row["id"], row["region"], row["plan"], row["score"], hours(row["valid_from"]) or 0, hours(row["valid_to"]), row["is_current"])
        for row in rows
    ]
    return sorted(found, key=_order)


class Dimension:
    """The table, and files of changes for it."""

    def __init__(self, lakehouse: Lakehouse, text: str = TEMPLATE) -> None:
        self.lakehouse, self.template, self.files = lakehouse, lakehouse.template(text), 0

    def land(self, *batch: Change) -> None:
        """Writes a file with change records."""
        self.files += 1
        self.lakehouse.land(f"{self.files:05}.jsonl", "\n".join(change.line() for change in batch))

    def merge(self, *batch: Change) -> WriteResult:
        """Merges one batch, which is one file."""
        self.land(*batch)
        return self.lakehouse.run(self.template)

    def start_anew(self) -> None:
        """Empties the table and the folder of source files: for a test with many examples."""
        self.lakehouse.catalog.drop_table(self.template.table_name)
        self.lakehouse.apply()
        for path in self.lakehouse.landing.iterdir():
            path.unlink()

    @property
    def versions(self) -> list[Version]:
        return versions(self.lakehouse)


def changes_of(number: int, merge: int) -> list[Change]:
    """What a worker delivers: at moments of its own, so that the outcome does not depend on who is first."""
    return [Change(f"user-{user}", 1 + number + 100 * merge + 10 * user, f"{number}") for user in range(5)]
