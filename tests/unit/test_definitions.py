"""The code location: what the checked-in templates, and others, become in Dagster."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetsDefinition, BackfillPolicy, Definitions, ScheduleDefinition, TimeWindowPartitionMapping
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from dagster_project.definitions import build_definitions
from dagster_project.schedules import schedule_name
from lakehouse.errors import TemplateError
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

Define = Callable[..., Definitions]

COLUMNS = [
    "id, type: long",
    "day, type: date, required: true",
    "valid_from, type: timestamptz, required: true",
    "valid_to, type: timestamptz",
    "is_current, type: boolean",
]
SOURCE = "source: {path: landing/, format: jsonl}"


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """Writes templates, name to what stands below its name and namespace, and builds the definitions of the folder."""

    columns = ", ".join(f"{{name: {column}}}" for column in COLUMNS)

    def write_and_define(**templates: str) -> Definitions:
        for name, text in templates.items():
            (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nnamespace: shop\ncolumns: [{columns}]\n{text}\n")
        return build_definitions(LakehouseSettings.load(LAKEHOUSE_TEMPLATES=tmp_path))

    return write_and_define


def assets_of(defs: Definitions) -> dict[str, AssetsDefinition]:
    return {asset.key.to_user_string(): asset for asset in defs.assets or () if isinstance(asset, AssetsDefinition)}


def schedules_of(defs: Definitions) -> list[ScheduleDefinition]:
    return [schedule for schedule in defs.schedules or () if isinstance(schedule, ScheduleDefinition)]


def describe(defs: Definitions) -> dict[str, Any]:
    """Everything that Dagster shows of the definitions, as JSON."""
    Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    return {
        "assets": {name: _asset(asset) for name, asset in sorted(assets_of(defs).items())},
        "schedules": {
            schedule.name: {
                "cron": schedule.cron_schedule,
                "time_zone": schedule.execution_timezone,
                "status": schedule.default_status.value,
                "targets": sorted(key.to_user_string() for key in schedule.job.selection.resolve(graph))
                if schedule.has_anonymous_job
                else [schedule.description],
            }
            for schedule in schedules_of(defs)
        },
        "resources": {name: type(resource).__name__ for name, resource in (defs.resources or {}).items()},
    }


def _asset(asset: AssetsDefinition) -> dict[str, Any]:
    spec = asset.get_asset_spec()
    policy = spec.freshness_policy
    schema = spec.metadata["dagster/column_schema"]
    return {
        "description": spec.description,
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": sorted(spec.owners),
        "tags": {key: value for key, value in sorted(spec.tags.items()) if not key.startswith("dagster/kind/")},
        "metadata": {key: value for key, value in sorted(spec.metadata.items()) if isinstance(value, str)},
        "metadata_keys": sorted(spec.metadata),
        "columns": [
            f"{column.name}: {column.type}{'' if column.constraints.nullable else ' required'} "
            f"{json.dumps(dict(sorted(column.tags.items())))} {column.description}"
            for column in schema.columns
        ],
        "depends_on": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "partitions": str(spec.partitions_def) if spec.partitions_def else None,
        "pool": asset.op.pool,
        "io_manager": asset.get_io_manager_key_for_asset_key(spec.key),
        "freshness": str(policy.fail_window.to_timedelta()) if policy else None,
    }


def test_asset_graph_of_the_checked_in_templates(snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKEHOUSE_SCHEDULES", raising=False)
    defs = build_definitions(LakehouseSettings.load(LAKEHOUSE_TEMPLATES=PROJECT_ROOT / "table-templates"))
    assert describe(defs) == snapshot(extension_class=JSONSnapshotExtension), (
        "The asset graph has changed. If that is meant: .venv/bin/python -m pytest tests/unit/test_definitions.py --snapshot-update"
    )


@pytest.mark.parametrize(
    ("text", "becomes_asset"),
    [
        (f"pipeline: {{pattern: event_stream, {SOURCE}}}", True),
        (SOURCE, True),  # the short form
        ("", False),
        (f"pipeline: {{pattern: scd_type2, {SOURCE}, key: [id], effective_at: valid_from}}", True),
        (
            'pipeline: {pattern: feature_table, sql: other.sql, inputs: [other], partitions: {start: "2024-01-01"}}\n'
            "partition_spec: [{column: day, transform: identity}]",
            True,
        ),
    ],
    ids=["event_stream", "short-form", "no-pipeline", "scd_type2", "feature_table"],
)
def test_a_template_becomes_an_asset_by_its_pattern_alone(define: Define, tmp_path: Path, text: str, becomes_asset: bool) -> None:
    (tmp_path / "other.sql").write_text("select $day as day, $day::timestamptz as valid_from")
    assets = assets_of(define(one=text, other=""))
    assert set(assets) == ({"shop/one"} if becomes_asset else set())


def test_a_table_links_to_its_files() -> None:
    def links(defs: Definitions, table: str) -> list[str]:
        return [link.source for link in assets_of(defs)[table].get_asset_spec().metadata["dagster/code_references"].code_references]

    url, folder = "https://git.example.com/us/lake/blob/main", PROJECT_ROOT / "table-templates"
    ours = build_definitions(LakehouseSettings.load(LAKEHOUSE_TEMPLATES=folder, LAKEHOUSE_REPOSITORY_URL=f"{url}/"))
    files = ["table-templates/feature_table.yaml", "table-templates/feature_table.sql"]
    assert links(ours, "lakehouse/feature_table") == [f"{url}/{file}" for file in files]
    here = build_definitions(LakehouseSettings.load(LAKEHOUSE_TEMPLATES=folder))
    assert links(here, "lakehouse/feature_table") == [f"{PROJECT_ROOT / file}:1" for file in files]


def test_a_broken_template_is_named_with_its_line(define: Define) -> None:
    with pytest.raises(TemplateError, match=r"broken\.yaml:4:1: error\[unknown-key\] sauce: .*Did you mean `source`\?"):
        define(fine=SOURCE, broken="sauce: {path: landing/, format: jsonl}")


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("team-web", ["team:team-web"]),
        ("team:web", ["team:web"]),
        ("Data Platform", ["team:Data Platform"]),
        ("web@example.com", ["web@example.com"]),
        ("web@", ["team:web@"]),  # no address, but not worth a code location that does not load
        ("web@example.photography", ["team:web@example.photography"]),
        ("team:", ["team:team:"]),
        ("", []),
    ],
)
def test_owners(define: Define, owner: str, expected: list[str]) -> None:
    assets = assets_of(define(one=f'{SOURCE}\nowner: "{owner}"'))
    assert assets["shop/one"].get_asset_spec().owners == expected


CRONS = [
    "*/5 * * * *",
    "5 * * * *",
    "0 0 * * 1-5",
    "0 0 * * 1,5",
    "0 0 * * 1#5",
    "0 0 1,15 * *",
    "0 0 1-15 * *",
    "0 0 1 */3 *",
    "15,45 */2 * * MON",
]


def scheduled(cron: str) -> str:
    return f'pipeline: {{pattern: event_stream, {SOURCE}, cron: "{cron}"}}'


def test_one_schedule_for_each_cron_in_utc_and_running(define: Define) -> None:
    # The same time, written with other spaces, is not another schedule.
    templates = {f"t{index}": scheduled(cron) for index, cron in enumerate([*CRONS, " 5  * * * *"])}
    schedules = describe(define(**templates, by_hand=SOURCE))["schedules"].values()
    assert sorted(schedule["cron"] for schedule in schedules) == sorted(CRONS)
    assert {(schedule["time_zone"], schedule["status"]) for schedule in schedules} == {("UTC", "RUNNING")}
    targets = {schedule["cron"]: schedule["targets"] for schedule in schedules}
    assert targets == {cron: [f"shop/t{index}"] for index, cron in enumerate(CRONS)} | {CRONS[1]: ["shop/t1", f"shop/t{len(CRONS)}"]}


def test_schedules_wait_where_the_setting_says_so(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_SCHEDULES", "stopped")
    assert [schedule.default_status.value for schedule in schedules_of(define(one=scheduled(CRONS[0])))] == ["STOPPED"]


def test_without_a_cron_there_is_no_schedule(define: Define) -> None:
    assert schedules_of(define(one=SOURCE)) == []


DAILY = "partition_spec: [{column: day, transform: identity}]\npipeline: {pattern: feature_table, sql: day.sql"


def test_daily_partitions_of_features(define: Define, tmp_path: Path) -> None:
    (tmp_path / "day.sql").write_text("select $day as day, $day::timestamptz as valid_from")
    assets = assets_of(
        define(
            source=SOURCE,
            one=f'{DAILY}, inputs: [source], partitions: {{start: "2024-01-30", end: "2024-02-02"}}}}',
            two=f'{DAILY}, inputs: [one, source], partitions: {{start: "2024-01-30"}}, window: 3d}}',
            three=f'{DAILY}, inputs: [two], partitions: {{start: "2024-01-01"}}}}',
        )
    )
    one, two = (assets[f"shop/{name}"] for name in ("one", "two"))
    assert one.partitions_def is not None
    assert one.partitions_def.get_partition_keys() == ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"]
    assert one.backfill_policy == BackfillPolicy.single_run()
    assert one.get_asset_spec().metadata["partition_expr"] == "day"
    mapping = {dep.asset_key.path[-1]: dep.partition_mapping for dep in two.get_asset_spec().deps}
    assert mapping == {"source": None, "one": TimeWindowPartitionMapping(start_offset=-2, allow_nonexistent_upstream_partitions=True)}
    [dep] = assets["shop/three"].get_asset_spec().deps
    assert dep.partition_mapping == TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)  # a backfill may begin before


def test_schedules_of_features_stand_beside_the_others_of_their_time(define: Define, tmp_path: Path) -> None:
    (tmp_path / "day.sql").write_text("select $day as day, $day::timestamptz as valid_from")
    cron, features = CRONS[0], f'{DAILY}, inputs: [events], partitions: {{start: "2024-01-30"}}, cron: "{CRONS[0]}"}}'
    tables = {"events": scheduled(cron), "one": features, "two": features, "by_hand": features.replace(f', cron: "{cron}"', "")}

    def targets(**others: str) -> dict[str, list[str]]:
        return {name: found["targets"] for name, found in describe(define(**tables | others))["schedules"].items()}

    alike = {"load_every_5_minutes": ["shop/events"], "features_every_5_minutes": ["shop/one", "shop/two"]}
    assert targets() == alike
    # A job has the same partitions of all its assets. Then none is the tables' own, and their pages show no schedule.
    later = {"two": features.replace("2024-01-30", "2024-01-31")}
    assert targets(**later) == alike | {"features_every_5_minutes": ["Computes the days that are due of shop.one, shop.two."]}


@pytest.mark.parametrize(
    ("cron", "name"),
    [
        ("*/5 * * * *", "every_5_minutes"),
        ("5 * * * *", "hourly_at_minute_5"),
        ("05 * * * *", "hourly_at_minute_05"),  # another expression, and another schedule
        ("30 2 * * *", "daily_at_2_30"),
        ("0 0 * * 1-5", "cron_0_0_every_every_1_to_5"),
        ("15,45 */2 * * MON", "cron_15_and_45_every_by_2_every_every_MON"),
    ],
)
def test_a_schedules_name_says_when(cron: str, name: str) -> None:
    assert schedule_name(cron) == name
