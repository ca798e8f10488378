"""What the drift sensor remembers from tick to tick, in its cursor: what was alerted, what is to be sent, what was not reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from lakehouse.drift_answers import TableDrift

# What a channel did not take is kept; of more than this the oldest goes.
_MOST_MESSAGES = 100


@dataclass(frozen=True)
class News:
    """What people are to be told."""

    level: Literal["info", "warning", "error"]
    text: str


class Known(BaseModel):
    """What was alerted about one answer that is not "in step".

    Attributes:
        fingerprint: of the last difference that is known; empty where there was none.
        unreachable: whether it did not answer since.
    """

    fingerprint: str = ""
    unreachable: bool = False
    alerted_at: datetime


class Message(BaseModel):
    """An alert that a channel did not take, and when it arose."""

    at: datetime
    text: str


class Outbox(BaseModel):
    """What one channel is still to get.

    Attributes:
        left_out: how many older messages were too many to be kept.
        not_before: when the channel wants to be asked again.
    """

    messages: list[Message] = Field(default_factory=list[Message])
    left_out: int = 0
    not_before: datetime | None = None

    def add(self, news: Sequence[News], now: datetime) -> None:
        """Puts news behind what waits."""
        self.messages += [Message(at=now, text=found.text) for found in news]

    def keep(self, not_before: datetime | None) -> None:
        """It was not taken: the newest messages wait, no sooner than the channel wants them."""
        self.left_out += max(len(self.messages) - _MOST_MESSAGES, 0)
        self.messages, self.not_before = self.messages[-_MOST_MESSAGES:], not_before

    def texts(self, now: datetime) -> list[str]:
        """What is to be sent; older messages say when they arose."""
        late = [f"{self.left_out} older alerts are left out; Dagster's log of the sensor has them."] if self.left_out else []
        return [
            *late,
            *(found.text if found.at == now else f"{found.text} (found {found.at:%Y-%m-%d %H:%M} UTC)" for found in self.messages),
        ]


class Memory(BaseModel):
    """The cursor.

    Attributes:
        known: by aspect and table, e.g. ``schema shop.orders``; what is not in it was in step.
        outboxes: by channel.
        first: tables that were not reached.
    """

    version: Literal[1] = 1
    known: dict[str, Known] = Field(default_factory=dict[str, Known])
    outboxes: dict[str, Outbox] = Field(default_factory=dict[str, Outbox])
    first: list[str] = Field(default_factory=list[str])

    @classmethod
    def read(cls, cursor: str | None) -> Memory | None:
        """From a cursor; None where there is one that cannot be read, of another version perhaps."""
        try:
            return cls.model_validate_json(cursor) if cursor else cls()
        except ValidationError:
            return None

    def learn(self, drifts: Sequence[TableDrift], now: datetime, repeat: timedelta) -> list[News]:
        """What is new in these answers: a difference that appears, changes or goes, and what stops or begins to answer again.

        Args:
            repeat: after how long what lasts is told again; zero: never. A table without a template is told once.
        """
        news: list[News] = []
        for drift in drifts:
            if drift.state != "not checked":
                news += self._learn_one(drift, now, repeat)
        unseen = {_key(drift) for drift in drifts if drift.unseen}
        for key in sorted(self.known.keys() - {_key(drift) for drift in drifts}):
            aspect, _, table = key.partition(" ")
            if unseen.isdisjoint(_around(aspect, table)):
                del self.known[key]
                news.append(News("info", f"{'Permission' if aspect == 'grants' else 'Schema'} drift resolved in {table}. It is gone."))
        return news

    def _learn_one(self, drift: TableDrift, now: datetime, repeat: timedelta) -> list[News]:
        key, old = _key(drift), self.known.get(_key(drift))
        due = old is not None and repeat > timedelta(0) and now - old.alerted_at >= repeat
        before = old.fingerprint if old else ""
        if drift.state == "unreachable":
            if old is not None and old.unreachable and not due:
                return []
            self.known[key] = Known(fingerprint=before, unreachable=True, alerted_at=now)
            return [News("error", drift.message)]
        changed = drift.fingerprint != before
        tell = changed or (due and drift.state != "unmanaged")
        what = "Permission" if drift.aspect == "grants" else "Schema"
        known_again = old is not None and old.unreachable and not drift.partial
        news = [News("info", f"{what} drift of {drift.name} is known again.")] if known_again else []
        if drift.differs:
            self.known[key] = Known(fingerprint=drift.fingerprint, alerted_at=now if tell or old is None else old.alerted_at)
            return [*news, News("warning", drift.message)] if tell else news
        self.known.pop(key, None)
        return [*news, News("info", f"{what} drift resolved in {drift.name}.")] if changed else news


def _key(drift: TableDrift) -> str:
    return f"{drift.aspect} {drift.table}"


def _around(aspect: str, table: str) -> set[str]:
    """The keys of all that must have been looked at, so that an answer which is not given any more is gone."""
    around = ["catalog *"] if aspect == "schema" else ["grants *", f"grants {table.rpartition('.')[0]}.*"]
    return {"templates *", *around}
