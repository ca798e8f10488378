"""Any template, and any other it may become: after `apply` nothing is left to plan, and rows are read as they were written."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
import yaml
from aws_server import AwsServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nessie_server import WAREHOUSE, NessieServer

from lakehouse.apply import apply
from lakehouse.catalog import load_table, open_catalog
from lakehouse.lint import load_templates
from lakehouse.plan import plan
from lakehouse.settings import LakehouseSettings

# A type, what it widens to, and a value that both hold.
TYPES: dict[str, tuple[str | None, Any]] = {
    "int": ("long", 7),
    "long": (None, 2**40),
    "float": ("double", 0.5),
    "double": (None, 0.25),
    "decimal(9,2)": ("decimal(18,2)", Decimal("1.50")),
    "decimal(18,2)": (None, Decimal("2.50")),
    "string": (None, "text"),
    "date": (None, date(2024, 1, 2)),
    "boolean": (None, True),
    "list<int>": ("list<long>", [1, 2]),
    "list<long>": (None, [3]),
    "map<string, int>": ("map<string, long>", [("k", 1)]),
    "map<string, long>": (None, [("k", 2)]),
    "struct<a: int, b: string>": ("struct<a: long, b: string, c: double>", {"a": 1, "b": "x"}),
    "struct<a: long, b: string, c: double>": (None, {"a": 1, "b": "x", "c": 0.5}),
}
PRIMITIVE = ("int", "long", "string", "date", "decimal(9,2)")
NAMES = [f"c{index}" for index in range(8)]


@dataclass(frozen=True)
class Col:
    """A column, and what the row that was written holds in it; ``value`` is None where it came later. A partition spec pins it for ever."""

    name: str
    type: str
    required: bool = False
    description: str = ""
    former: tuple[str, ...] = ()
    value: Any = None
    pinned: bool = False

    def yaml(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "description": self.description,
            "renamed_from": list(self.former),
        }


@dataclass(frozen=True)
class Model:
    columns: tuple[Col, ...]
    rest: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        columns = [column.yaml() for column in self.columns]
        return yaml.safe_dump({"name": "t", "namespace": "shop", "columns": columns, **self.rest}, sort_keys=False)


@st.composite
def layouts(draw: st.DrawFn, columns: tuple[Col, ...]) -> dict[str, Any]:
    primitive = [column.name for column in columns if column.type in PRIMITIVE]
    rest: dict[str, Any] = {}
    if primitive and draw(st.booleans()):
        transform = draw(st.sampled_from(["identity", "bucket[4]"]))
        rest["partition_spec"] = [{"column": draw(st.sampled_from(primitive)), "transform": transform}]
    if primitive and draw(st.booleans()):
        rest["sort_order"] = [{"column": draw(st.sampled_from(primitive)), "direction": draw(st.sampled_from(["asc", "desc"]))}]
    required = [column.name for column in columns if column.required and column.type in PRIMITIVE]
    if required and draw(st.booleans()):
        rest["identifier"] = [draw(st.sampled_from(required))]
    if draw(st.booleans()):
        rest["properties"] = {"some.key": draw(st.sampled_from(["one", "two"]))}
    return rest


@st.composite
def first_models(draw: st.DrawFn) -> Model:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    columns = []
    for name in names:
        type_ = draw(st.sampled_from(sorted(TYPES)))
        required = draw(st.booleans())
        value = TYPES[type_][1] if required or draw(st.booleans()) else None
        columns.append(Col(name, type_, required, draw(st.sampled_from(["", "About it."])), value=value))
    rest = draw(layouts(tuple(columns)))
    partitioned = {part["column"] for part in rest.get("partition_spec", [])}
    return Model(tuple(replace(column, pinned=column.pinned or column.name in partitioned) for column in columns), rest)


@st.composite
def next_models(draw: st.DrawFn, before: Model, breaking: bool) -> Model:
    """What a template may become: columns moved, renamed, widened, relaxed, described, added; where breaking, dropped and retyped."""
    columns = list(draw(st.permutations(before.columns)))
    loose = [index for index, column in enumerate(columns) if not column.pinned]
    if breaking and loose and len(columns) > 1 and draw(st.booleans()):
        columns.pop(draw(st.sampled_from(loose)))
    taken = {column.name for column in columns} | {name for column in columns for name in column.former}
    for index, column in enumerate(columns):
        wider = TYPES[column.type][0]
        if wider and draw(st.booleans()):
            value = {**column.value, "c": None} if isinstance(column.value, dict) and "c" not in column.value else column.value
            column = replace(column, type=wider, value=value)
        elif breaking and not (column.required or column.pinned) and draw(st.integers(0, 4)) == 0:
            column = replace(column, type="boolean" if column.type != "boolean" else "string", value=None)
        if column.required and draw(st.booleans()):
            column = replace(column, required=False)
        free = [name for name in NAMES if name not in taken]
        if free and draw(st.integers(0, 2)) == 0:
            new = draw(st.sampled_from(free))
            taken.add(new)
            column = replace(column, name=new, former=(*column.former, column.name))
        columns[index] = replace(column, description=draw(st.sampled_from(["", "About it.", "Of it."])))
    free = [name for name in NAMES if name not in taken]
    for name in draw(st.lists(st.sampled_from(free), max_size=2, unique=True)) if free else []:
        columns.insert(draw(st.integers(0, len(columns))), Col(name, draw(st.sampled_from(sorted(TYPES)))))
    rest = draw(layouts(tuple(columns)))
    partitioned = {part["column"] for part in rest.get("partition_spec", [])}
    return Model(tuple(replace(column, pinned=column.pinned or column.name in partitioned) for column in columns), rest)


@pytest.mark.slow
@pytest.mark.timeout(600)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_template_becomes_another_and_its_rows_stay(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        becomes_another(data, Path(name), LAKEHOUSE_BACKEND="local", LAKEHOUSE_WAREHOUSE=f"{name}/warehouse")


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_same_in_nessie(nessie: NessieServer, aws: AwsServer, data: st.DataObject) -> None:
    nessie.reset()
    aws.reset()
    boto3.client("s3").create_bucket(Bucket="warehouse", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with tempfile.TemporaryDirectory() as name:
        becomes_another(
            data,
            Path(name),
            LAKEHOUSE_BACKEND="aws-nessie",
            LAKEHOUSE_WAREHOUSE=WAREHOUSE,
            NESSIE_URI=nessie.uri,
            AWS_REGION="eu-central-1",
        )


def becomes_another(data: st.DataObject, folder: Path, **environment: str) -> None:
    """Evolves a table from one template to others, in a lakehouse of its own; each time nothing is left to plan, and its row is there."""
    breaking = data.draw(st.booleans())
    models = [data.draw(first_models())]
    for _ in range(data.draw(st.integers(1, 3))):
        models.append(data.draw(next_models(models[-1], breaking)))
    configuration = LakehouseSettings.load(LAKEHOUSE_TEMPLATES=str(folder), **environment)
    for index, model in enumerate(models):
        (folder / "t.yaml").write_text(model.text())
        templates = load_templates(configuration.templates)
        catalog = open_catalog(configuration)
        [planned] = plan(configuration, catalog, templates)
        [applied] = apply(configuration, catalog, templates, allow_breaking=breaking)
        assert applied.action in ("created", "changed", "exists"), (applied, planned)
        assert (applied.action == "exists") == (planned.action == "none")
        [left] = plan(configuration, catalog, templates)
        assert left.action == "none", left
        table = load_table(catalog, "shop.t")
        if index == 0:
            row = {column.name: column.value for column in model.columns}
            table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
        [read] = table.scan().to_arrow().to_pylist()
        assert read == {column.name: column.value for column in model.columns}
        assert list(read) == [column.name for column in model.columns]
