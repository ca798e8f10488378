"""The third that must say the same: the live Iceberg table, read back after `apply`. The first two are compared in tests/terraform."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from pyiceberg.table import Table
from template_corpus import BASE, TAKEN, generated_template

from lakehouse.normalise import glue_type, normalised
from lakehouse.types import type_string

if TYPE_CHECKING:
    from conftest import Lakehouse

GENERATED = 60


def test_a_live_table_is_what_both_readers_say(lakehouse: Lakehouse) -> None:
    generator = random.Random(11)
    texts = {name: BASE.format(name=name) + text for name, text in TAKEN.items()}
    texts |= {name: generated_template(generator, name) for name in (f"g{index}" for index in range(GENERATED))}
    for name, text in texts.items():
        (lakehouse.settings.templates / f"{name}.yaml").write_text(text)
    assert {applied.action for applied in lakehouse.apply()} == {"created"}
    for template in lakehouse.templates():
        for name, table in normalised(template).items():
            live = read_back(lakehouse.table(name))
            of_both = [column | {"pii": None, "access_level": None, "renamed_from": None} for column in live["columns"]]
            assert [column | {"pii": None, "access_level": None, "renamed_from": None} for column in table["columns"]] == of_both, name
            assert sorted(table["identifier"]) == sorted(live["identifier"]), name
            for key in ("namespace", "name", "partition_fields", "sort_order"):
                assert table[key] == live[key], name
            assert table["properties"].items() <= live["properties"].items(), name
            assert live["properties"].get("comment", "") == table["description"], name
    assert {applied.action for applied in lakehouse.apply()} == {"exists"}


def read_back(table: Table) -> dict[str, Any]:
    """What Iceberg's metadata says of a table, in the form of the normalised object."""
    schema = table.schema()
    names = {field.field_id: field.name for field in schema.fields}
    columns = [
        {
            "name": field.name,
            "type": type_string(field.field_type),
            "glue_type": glue_type(field.field_type),
            "required": field.required,
            "description": field.doc or "",
        }
        for field in schema.fields
    ]
    return {
        "namespace": table.name()[0],
        "name": table.name()[1],
        "columns": columns,
        "identifier": [names[field_id] for field_id in schema.identifier_field_ids],
        "partition_fields": [
            {"column": names[field.source_id], "transform": str(field.transform), "name": field.name} for field in table.spec().fields
        ],
        "sort_order": [
            {
                "column": names[field.source_id],
                "direction": str(field.direction).lower(),
                "null_order": str(field.null_order).lower().replace(" ", "_"),
            }
            for field in table.sort_order().fields
        ],
        "properties": dict(table.properties),
    }
