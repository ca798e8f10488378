"""Templates in other standards' words, judged by those standards' own schemas, and back."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lakehouse.errors import InterchangeError
from lakehouse.formats import FileReader
from lakehouse.interchange import EXPORT_FORMATS, create_exporter
from lakehouse.interchange.odcs_importer import import_odcs
from lakehouse.lint import load_templates
from lakehouse.pipelines import Source
from lakehouse.sources import SourceFolder
from lakehouse.template import TableTemplate
from lakehouse.types import type_string
from lakehouse.yaml_reader import read_yaml

sys.path.append(str(Path(__file__).resolve().parents[1]))
from template_corpus import BASE, TAKEN, generated_template

EVERY_TYPE = """\
name: every
namespace: shop
description: "Every type: {{ not jinja }}, on"
owner: team-shop
tags: {domain: web, tier: 1, open: ""}
columns:
  - {name: id, type: long, required: true, description: "The id: {% unique %}"}
  - {name: at, type: timestamptz, required: true}
  - {name: email, type: string, pii: true, access_level: restricted, renamed_from: [mail, e_mail]}
  - {name: b, type: boolean}
  - {name: i, type: int}
  - {name: d, type: double}
  - {name: price, type: "decimal(6,2)"}
  - {name: day, type: date}
  - {name: t, type: time}
  - {name: local, type: timestamp}
  - {name: u, type: uuid}
  - {name: raw, type: binary}
  - {name: hash, type: "fixed[2]"}
  - {name: items, type: "list<struct<sku: string, n: int>>"}
  - {name: counts, type: "map<string, long>"}
  - {name: by_day, type: "map<date, double>"}
identifier: [id]
partition_spec: [{column: at, transform: month}, {column: at, transform: day}]
sort_order: [{column: at, direction: desc, null_order: nulls_last}]
properties: {write.parquet.compression-codec: zstd, write.target-file-size-bytes: 67108864}
pipeline: {pattern: event_stream, source: {path: x, format: jsonl}}
freshness: 36h
maintenance: {retention: 2w on at}
"""
ROW: dict[str, Any] = {"id": 1, "at": "2024-01-01T10:00:00.5+02:00"}
# A value that fits, and one that does not.
VALUES: dict[str, tuple[Any, Any]] = {
    "b": (True, 1),
    "i": (-(2**31), 2**31),
    "d": (1.5, "x"),
    "price": ("1234.56", "x"),
    "day": ("2024-02-29", "2024-02-30"),
    "t": ("10:00:00.123456", "10 o'clock"),
    "local": ("2024-01-01 10:00:00", "2024-01-01T10:00:00Z"),
    "u": ("0b1cd3f0-7d0e-4f63-9a39-0f0a4a9f8a10", "0b1c"),
    "raw": ("00ff", "0"),
    "hash": ("00ff", "00ff00"),
    "items": ([{"sku": "a", "n": 1}, None], [{"sku": 1}]),
    "counts": ({"a": 1, "b": None}, {"a": "x"}),
    "by_day": ({"2024-01-01": 1.5}, {"monday": 1.5}),
    "email": ("a@example.com", 1),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[TableTemplate]:
    folder = tmp_path_factory.mktemp("corpus")
    texts = {name: BASE.format(name=name) + more for name, more in TAKEN.items()}
    texts |= {f"generated_{seed}": generated_template(random.Random(seed), f"generated_{seed}") for seed in range(12)}
    for name, text in {**texts, "every": EVERY_TYPE}.items():
        (folder / f"{name}.yaml").write_text(text)
    return load_templates(folder)


@pytest.fixture(scope="module")
def every(corpus: list[TableTemplate]) -> TableTemplate:
    return next(template for template in corpus if template.name == "every")


def exported(style: str, templates: list[TableTemplate], backend: str = "local") -> dict[str, str]:
    return {file.file: file.text for file in create_exporter(style, backend).export(templates)}


def carried(template: TableTemplate) -> dict[str, Any]:
    """What a contract can say of a template; types as they are written everywhere."""
    said = template.model_dump(exclude={"pipeline", "source", "publish", "checks", "maintenance"})
    for column, model in zip(said["columns"], template.columns, strict=True):
        column["type"] = type_string(model.iceberg_type)
    return said


def test_a_contract_is_the_standards_and_gives_the_same_template(corpus: list[TableTemplate], tmp_path: Path) -> None:
    schema = json.loads((files("open_data_contract_standard") / "schema.json").read_text())
    validator = jsonschema.Draft201909Validator(schema)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"apiVersion": "v3.2.0", "kind": "DataContract"})
    contracts = exported("odcs", corpus)
    assert len(contracts) == len(corpus)
    for template in corpus:
        text = contracts[f"{template.table_name}.odcs.yaml"]
        validator.validate(yaml.safe_load(text))
        assert read_yaml(text.encode()).data == yaml.safe_load(text)  # whichever YAML reader
        (tmp_path / "contract.yaml").write_text(text)
        [found] = import_odcs(tmp_path / "contract.yaml")
        assert carried(found.template) == carried(template)


def test_what_a_contract_cannot_say_is_told(every: TableTemplate, tmp_path: Path) -> None:
    [file] = create_exporter("odcs", "local").export([every])
    assert file.notes == ["shop.every: the format does not say its pipeline, maintenance."]
    (tmp_path / "every.yaml").write_text(file.text)
    [found] = import_odcs(tmp_path / "every.yaml")
    assert found.notes == ["The template does not say, because it has no key for it: slaProperties.retention."]
    assert yaml.safe_load(file.text)["slaProperties"] == [
        {"property": "freshness", "value": 36, "unit": "hours", "element": "every.at"},
        {"property": "retention", "value": 2, "unit": "weeks", "element": "every.at"},
    ]


FOREIGN = """\
kind: DataContract
apiVersion: v3.0.2
id: 53581432-6c55-4ba2-a65f-72344a91553a
version: 1.1.0
status: active
domain: seller
team: [{username: daustin, role: Owner}, {username: mhopper}]
slaProperties: [{property: latency, value: 4, unit: d}, {property: freshness, value: 2, unit: d, element: tbl.txn_ref_dt}]
schema:
  - name: tbl
    physicalName: sales.tbl_1
    description: Payments.
    tags: [finance, "PII heavy"]
    quality: [{type: text, description: good}]
    properties:
      - {name: txnRefDt, logicalType: date, physicalType: date, partitioned: true, partitionKeyPosition: 1}
      - {name: rcvr_id, primaryKey: true, primaryKeyPosition: 1, logicalType: string, physicalType: varchar(18), classification: secret}
      - {name: amount, logicalType: number, physicalType: "NUMERIC(10, 2)", classification: "4", quality: [{type: text, description: x}]}
      - {name: mail, logicalType: string, physicalType: odd, tags: [PII], logicalTypeOptions: {maxLength: 9}}
      - {name: at, logicalType: timestamp, partitioned: true, partitionKeyPosition: 2, classification: public}
      - name: lines
        logicalType: array
        items: {logicalType: object, properties: [{name: sku, logicalType: string, required: true}, {name: n, logicalType: integer}]}
"""


def test_a_contract_of_somebody_else_gives_a_template_that_lints_and_notes(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(FOREIGN)
    [found] = import_odcs(tmp_path / "c.yaml")
    template = found.template
    assert (template.table_name, template.owner, template.tags, template.freshness) == (
        "sales.tbl_1", "daustin", {"domain": "seller", "finance": ""}, "2d",
    )  # fmt: skip
    assert [(column.name, column.type, column.required, column.pii, column.access_level) for column in template.columns] == [
        ("txn_ref_dt", "date", False, False, "internal"),
        ("rcvr_id", "string", True, False, "restricted"),
        ("amount", "decimal(10,2)", False, False, "restricted"),
        ("mail", "string", False, True, "restricted"),
        ("at", "timestamptz", False, False, "public"),
        ("lines", "list<struct<sku: string, n: long>>", False, False, "internal"),
    ]
    assert template.identifier == ["rcvr_id"]
    assert [(part.column, part.transform) for part in template.partition_spec] == [("txn_ref_dt", "identity"), ("at", "day")]
    told = "\n".join(found.notes)
    for part in ("`txnRefDt`, a column, is named `txn_ref_dt` here", "`rcvr_id` is a primary key", "its classification is `4`",
                 "leaves out the tag `PII heavy`", "by the day of at", "schema.quality", "schema.properties.quality",
                 "slaProperties.latency", "logicalTypeOptions.maxLength", "schema.properties.properties.required"):  # fmt: skip
        assert part in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("physicalName: sales.tbl_1", "physicalName: tbl_1"), "has no namespace"),
        (("logicalType: string, physicalType: varchar(18)", "physicalType: geo"), "`rcvr_id` is a property without logicalType, geo"),
        (("apiVersion: v3.0.2", "apiVersion: v2.2.2"), "its apiVersion is v2.2.2"),
        (("kind: DataContract", "kind: [x"), "c.yaml:2 is not YAML"),
        (("name: mail", "name: amount"), "the column `amount` stands twice"),
        ((FOREIGN, "[]"), "is no contract of the Open Data Contract Standard"),
    ],
)
def test_a_contract_that_no_template_can_say_is_an_error_that_names_it(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    assert change[0] in FOREIGN
    (tmp_path / "c.yaml").write_text(FOREIGN.replace(*change))
    with pytest.raises(InterchangeError) as error:
        import_odcs(tmp_path / "c.yaml")
    assert told in str(error.value)


def test_a_hidden_partition_of_a_contract_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(FOREIGN.replace("physicalType: date,", "physicalType: date, classification: restricted,"))
    [found] = import_odcs(tmp_path / "c.yaml")
    assert [part.column for part in found.template.partition_spec] == ["at"]
    assert [note for note in found.notes if note.startswith("The template leaves out partition_spec[0].column: `txn_ref_dt` is pii")]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    yield path
    for key, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(item, (*path, key))


def test_a_contract_of_any_shape_gives_a_template_or_an_error_that_says_why(tmp_path: Path) -> None:
    generator, file, told = random.Random(7), tmp_path / "c.yaml", list[str]()
    contract = yaml.safe_load(FOREIGN)
    custom = {"partitionSpec": [{"column": "at", "transform": "day"}], "sortOrder": [{"column": "at"}], "icebergProperties": {"a.b": 1}}
    contract["schema"][0]["customProperties"] = [{"property": name, "value": value} for name, value in custom.items()]
    for path in generator.sample(list(places(contract))[1:], 70):
        changed = copy.deepcopy(contract)
        node = changed
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = generator.choice([None, 5, 1.5, True, "x", "", [], {}, ["x", 5, None], {"a": 1}, [{}], [[1]]])
        file.write_text(yaml.safe_dump(changed))
        try:
            assert import_odcs(file)
        except InterchangeError as error:
            told.append(str(error))
    assert 0 < len(told) < 70
    assert [text for text in told if not text.startswith(str(file))] == []


def test_json_schemas_are_of_draft_2020_12(corpus: list[TableTemplate]) -> None:
    schemas = exported("jsonschema", corpus)
    assert len(schemas) == len(corpus)
    for text in schemas.values():
        assert json.loads(text)["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_a_json_schema_takes_the_rows_that_the_pipeline_takes_and_no_others(every: TableTemplate, tmp_path: Path) -> None:
    [text] = exported("jsonschema", [every]).values()
    checker = jsonschema.FormatChecker(["date", "uuid"])
    validator = jsonschema.Draft202012Validator(json.loads(text), format_checker=checker)
    rows: list[dict[str, Any]] = [ROW, {"at": ROW["at"]}, {**ROW, "id": None}, {**ROW, "at": "2024-01-01T10:00:00"}, {**ROW, "stranger": 1}]
    rows += [{**ROW, name: value} for name, both in VALUES.items() for value in (*both, None)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = SourceFolder(str(tmp_path))
    reader = FileReader(folder, folder.list()[0], Source(path=str(tmp_path), format="jsonl"), every.arrow_schema, frozenset())
    bad = {row.row for part in reader.rows() for row in part.bad}
    assert {number for number, row in enumerate(rows, 1) if not validator.is_valid(row)} == bad
    assert len(bad) == 3 + len(VALUES)


# https://docs.getdbt.com/reference/source-properties, the keys that are used here.
DBT_KEYS = {
    "source": {"name", "schema", "tables"},
    "table": {"name", "description", "config", "columns"},
    "config": {"meta", "loaded_at_field", "freshness"},
    "column": {"name", "data_type", "description", "config", "data_tests"},
}


@pytest.mark.parametrize(
    ("backend", "types"),
    [
        ("local", {"id": "BIGINT", "price": "DECIMAL(6,2)", "items": "STRUCT(sku VARCHAR, n INTEGER)[]", "u": "UUID"}),
        ("aws-glue", {"id": "bigint", "price": "decimal(6,2)", "items": "array<struct<sku:string,n:int>>"}),
        ("gcp", {"id": "INT64", "price": "NUMERIC", "items": "ARRAY<STRUCT<sku STRING, n INT64>>", "u": "BYTES"}),
    ],
)
def test_dbt_sources_have_dbts_keys_and_the_backends_types(every: TableTemplate, backend: str, types: dict[str, str]) -> None:
    files = exported("dbt-sources", [every], backend)
    document = yaml.safe_load(files["shop_sources.yml"])
    assert document.keys() == {"version", "sources"}
    [source] = document["sources"]
    [table] = source["tables"]
    assert source.keys() == DBT_KEYS["source"] and table.keys() == DBT_KEYS["table"] and table["config"].keys() == DBT_KEYS["config"]
    assert (source["schema"], table["name"]) == ("shop", "every")
    assert table["description"] == "{% raw %}Every type: {{ not jinja }}, on{% endraw %}"
    assert table["config"] == {
        "meta": {"owner": "team-shop", "domain": "web", "tier": "1", "open": ""},
        "loaded_at_field": "at",
        "freshness": {"error_after": {"count": 36, "period": "hour"}},
    }
    columns = {column["name"]: column for column in table["columns"]}
    assert list(columns) == [column.name for column in every.columns]
    assert all(column.keys() <= DBT_KEYS["column"] for column in columns.values())
    assert {name: columns[name]["data_type"] for name in types} == types
    assert (columns["id"]["data_tests"], columns["at"]["data_tests"]) == (["not_null", "unique"], ["not_null"])
    assert columns["email"]["config"] == {"meta": {"access_level": "restricted", "pii": True}}


def test_a_file_of_sources_per_namespace(corpus: list[TableTemplate]) -> None:
    files = exported("dbt-sources", corpus, "aws-glue")
    assert set(files) == {f"{template.namespace}_sources.yml" for template in corpus}
    tables = [table["name"] for text in files.values() for source in yaml.safe_load(text)["sources"] for table in source["tables"]]
    assert sorted(tables) == sorted(template.name for template in corpus)
    assert set(EXPORT_FORMATS) == {"odcs", "jsonschema", "dbt-sources"}
