"""Sample source files: what the collectors of a small web shop, and its system of customers, would deliver.

Each batch is a day's files. The same batch is the same bytes on every machine. ``event_stream``: a few rows do not fit, so
that the quarantine has something to show, and from the second batch on a file for an earlier day arrives late.
``scd_type2``: the first batch inserts every user; each day some change, some records repeat what is known, some users leave
or come back, and from the second batch on a few changes of the day before arrive late.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
EVENTS_PER_FILE = 10_000
LATE_EVENTS = 500
USERS = 2_000
# Change records of a day.
CHANGES, REPEATS, DELETIONS, RETURNS, LATE_CHANGES = 60, 8, 5, 4, 4
_TYPES = ["page_view", "page_view", "page_view", "add_to_cart", "sign_in", "sign_up", "purchase"]
_COUNTRIES = ["DE", "FR", "NL", "PL", "ES", "SE"]
_SOURCES = ["web", "ios", "android"]
_VALUES = {"country": _COUNTRIES, "plan": ["free", "plus", "pro"], "marketing_consent": ["true", "false"]}
_NAMES = ["Alex", "Robin", "Kim", "Sam", "Noa", "Mika", "Toni", "Luca"]
_HEADER = ["user_id", "email", "display_name", "country", "plan", "marketing_consent", "valid_from", "operation"]

Record = dict[str, str]


def land_batch(landing: Path, number: int) -> list[Path]:
    """Writes the files of batch ``number`` (from 0) and returns those that are new."""
    events, day = landing / "event_stream", day_of(number)
    files = {landing / "scd_type2" / f"{day}.csv.gz": _csv(_change_records(number))}
    for source in _SOURCES:
        files[events / f"{day}-{source}.jsonl.gz"] = _jsonl(_events(number, source, EVENTS_PER_FILE, seed=f"{number}-{source}"))
    if number > 0:
        late = _events(number - 1, "web", LATE_EVENTS, seed=f"{number}-late")
        files[events / f"{day_of(number - 1)}-web-late.jsonl.gz"] = _jsonl(late)
    return [file for file, text in files.items() if _write(file, text)]


def day_of(number: int) -> date:
    """The UTC day of batch ``number``. Its late rows are of the day before."""
    return (FIRST_DAY + timedelta(days=number)).date()


def batches_landed(landing: Path) -> int:
    """How many batches are there already."""
    return len(list((landing / "event_stream").glob("*-ios.jsonl.gz")))


def _events(number: int, source: str, count: int, seed: str) -> Iterator[dict[str, Any]]:
    day, dice = FIRST_DAY + timedelta(days=number), random.Random(seed)
    for index in range(count):
        happened = day + timedelta(seconds=86_400 * index / count + dice.random())
        kind = dice.choice(_TYPES)
        user = f"user-{dice.randrange(USERS):05d}" if kind != "page_view" or dice.random() < 0.5 else None
        event: dict[str, Any] = {
            "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "event_type": kind,
            "event_timestamp": happened.isoformat(timespec="milliseconds"),
            "received_at": (happened + timedelta(milliseconds=dice.randrange(50, 5_000))).isoformat(timespec="milliseconds"),
            "user_id": user,
            "session_id": f"{dice.getrandbits(64):016x}",
            "source": source,
            "country": dice.choice(_COUNTRIES),
            "amount": f"{dice.randrange(500, 20_000) / 100:.2f}" if kind == "purchase" else None,
            "payload": json.dumps({"path": f"/products/{dice.randrange(400)}"}),
        }
        if index == count // 2:  # a collector's bug: this row goes to the quarantine
            event["event_timestamp"] = "not a time"
        yield event


def _change_records(number: int) -> list[Record]:
    """The change records of batch ``number``. What the users were before follows from the batches before it."""
    profiles: dict[str, Record] = {}
    records: list[Record] = []
    for batch in range(number + 1):
        records = _changes(batch, profiles)
    return records


def _changes(number: int, profiles: dict[str, Record]) -> list[Record]:
    """The change records of a day, in no order of time. Brings ``profiles`` up to date."""
    day, dice = FIRST_DAY + timedelta(days=number), random.Random(f"{number}-users")
    users = [f"user-{index:05d}" for index in range(USERS)]
    yesterday = _text(day - timedelta(days=1))
    changed = [profile for profile in profiles.values() if profile["operation"] == "update" and profile["valid_from"] > yesterday]
    # Late: from before yesterday's change, which is known already.
    records = [_with_another("marketing_consent", profile, dice) | {"valid_from": yesterday} for profile in changed[:LATE_CHANGES]]
    for user in users if number == 0 else [user for user in users if user not in profiles][:RETURNS]:
        since = day - timedelta(days=dice.randrange(1, 366) if number == 0 else 0)
        email, name = f"{user}@example.com", dice.choice(_NAMES)
        country, plan, consent = (dice.choice(_VALUES[column]) for column in _VALUES)
        profiles[user] = dict(zip(_HEADER, (user, email, name, country, plan, consent, _text(since), "insert"), strict=True))
        records.append(profiles[user])
    for index, user in enumerate(dice.sample(sorted(profiles), CHANGES + REPEATS + DELETIONS)):
        record = profiles[user] | {"valid_from": _text(day + timedelta(seconds=dice.uniform(1, 86_399))), "operation": "update"}
        if index < CHANGES:
            profiles[user] = record = _with_another(dice.choice(["country", "plan"]), record, dice)
        elif index >= CHANGES + REPEATS:
            del profiles[user]
            record = dict.fromkeys(_HEADER, "") | {"user_id": user, "valid_from": record["valid_from"], "operation": "delete"}
        records.append(record)
    return records


def _with_another(column: str, record: Record, dice: random.Random) -> Record:
    """The record with another value in the column."""
    return record | {column: dice.choice([value for value in _VALUES[column] if value != record[column]])}


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _jsonl(events: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def _csv(records: Iterable[Record]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _write(path: Path, text: str) -> bool:
    """Writes a file under a name that no pipeline takes, then renames it. False where it is there already."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"_{path.name}")
    partial.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))
    partial.rename(path)
    return True
