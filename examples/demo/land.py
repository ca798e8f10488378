"""Sample source files for ``event_stream``: what the collectors of a small web shop would deliver.

Each batch is a day's files. The same batch is the same bytes on every machine. A few rows do not fit, so that the
quarantine has something to show, and from the second batch on a file for an earlier day arrives late.
"""

from __future__ import annotations

import gzip
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
EVENTS_PER_FILE = 10_000
LATE_EVENTS = 500
_TYPES = ["page_view", "page_view", "page_view", "add_to_cart", "sign_in", "sign_up", "purchase"]
_COUNTRIES = ["DE", "FR", "NL", "PL", "ES", "SE"]
_SOURCES = ["web", "ios", "android"]


def land_batch(landing: Path, number: int) -> list[Path]:
    """Writes the files of batch ``number`` (from 0) and returns those that are new."""
    folder = landing / "event_stream"
    day = FIRST_DAY + timedelta(days=number)
    files = [
        _write(folder / f"{day:%Y-%m-%d}-{source}.jsonl.gz", _events(day, source, EVENTS_PER_FILE, seed=f"{number}-{source}"))
        for source in _SOURCES
    ]
    if number > 0:
        yesterday = day - timedelta(days=1)
        late = _events(yesterday, "web", LATE_EVENTS, seed=f"{number}-late")
        files.append(_write(folder / f"{yesterday:%Y-%m-%d}-web-late.jsonl.gz", late))
    return [file for file in files if file is not None]


def batches_landed(landing: Path) -> int:
    """How many batches are there already."""
    return len(list((landing / "event_stream").glob("*-ios.jsonl.gz")))


def _events(day: datetime, source: str, count: int, seed: str) -> Iterator[dict[str, Any]]:
    dice = random.Random(seed)
    for index in range(count):
        happened = day + timedelta(seconds=86_400 * index / count + dice.random())
        kind = dice.choice(_TYPES)
        user = f"user-{dice.randrange(2_000):05d}" if kind != "page_view" or dice.random() < 0.5 else None
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


def _write(path: Path, events: Iterator[dict[str, Any]]) -> Path | None:
    """Writes a file under a name that no pipeline takes, then renames it. None where it is there already."""
    if path.exists():
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"_{path.name}")
    text = "".join(json.dumps(event) + "\n" for event in events)
    partial.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))
    return partial.rename(path)
