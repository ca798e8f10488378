"""A live table that something else made gets a template, and nothing about the table changes by it."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pytest
from command_line import run_command
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import NullOrder, SortDirection, SortField, SortOrder
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform, VoidTransform
from pyiceberg.types import (
    DecimalType,
    FixedType,
    IcebergType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampNanoType,
    TimestamptzType,
)
from template_corpus import generated_template

from lakehouse.apply import apply
from lakehouse.errors import CatalogError, LakehouseError, TableMismatchError
from lakehouse.import_table import Imported, import_table
from lakehouse.lint import lint_templates
from lakehouse.plan import plan

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["local", "aws-glue"]
METRICS, STATISTICS = "write.metadata.metrics.column.", "write.parquet.stats-enabled.column."
ITEM = StructType(NestedField(10, "sku", StringType(), required=True, doc="The article."), NestedField(11, "n", LongType()))
COLUMNS = [
    NestedField(1, "id", LongType(), required=True, doc='The "id": #1, it\'s unique; größer.'),
    NestedField(2, "at", TimestamptzType(), required=True),
    NestedField(3, "on", StringType(), doc="017"),
    NestedField(4, "price", DecimalType(18, 2)),
    NestedField(5, "hash", FixedType(16)),
    NestedField(6, "items", ListType(12, ITEM, element_required=True)),
    NestedField(7, "tags", MapType(13, StringType(), 14, StringType(), value_required=True)),
]


def created(lakehouse: Lakehouse, name: str = "shop.orders", columns: list[NestedField] = COLUMNS, **arguments: Any) -> Table:
    """A table as anybody makes it by PyIceberg."""
    catalog, namespace = lakehouse.catalog, name.rsplit(".", 1)[0]
    if not catalog.namespace_exists(namespace):
        catalog.create_namespace(namespace)
    schema = arguments.pop("schema", None) or Schema(*columns)
    location = f"{lakehouse.settings.warehouse_uri}/{name.replace('.', '/')}"
    return catalog.create_table(name, schema, location=location, **arguments)


def imported(lakehouse: Lakehouse, name: str = "shop.orders", **arguments: Any) -> Imported:
    """The template of a table, written among the others."""
    found = import_table(lakehouse.settings, lakehouse.catalog, name, **arguments)
    (lakehouse.settings.templates / f"{name.split('.')[-1]}.yaml").write_text(found.text, encoding="utf-8")
    return found


def planned(lakehouse: Lakehouse) -> dict[str, list[str]]:
    """What is left to plan, by table; lint has nothing against the templates."""
    assert lint_templates(lakehouse.settings.templates).errors == []
    return {
        found.table: [str(change) for change in found.changes]
        for found in plan(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
        if found.action != "none"
    }


def levels(found: Imported) -> dict[str, str]:
    return {column.name: column.access_level for column in found.template.columns}


def test_a_table_of_every_kind_of_column_and_layout_plans_to_no_change(lakehouse: Lakehouse) -> None:
    spec = PartitionSpec(
        PartitionField(2, 1000, DayTransform(), "at_day"),
        PartitionField(1, 1001, BucketTransform(16), "id_bucket"),
        PartitionField(3, 1002, TruncateTransform(4), "on_trunc"),
        PartitionField(4, 1003, IdentityTransform(), "price"),
    )
    order = SortOrder(
        SortField(2, IdentityTransform(), SortDirection.DESC, NullOrder.NULLS_FIRST),
        SortField(1, IdentityTransform(), SortDirection.ASC, NullOrder.NULLS_LAST),
    )
    properties = {
        "write.parquet.compression-codec": "zstd",
        "write.target-file-size-bytes": "67108864",
        "write.data.path": "s3://elsewhere/",
        "comment": "One row: an order, 50 % & # no comment.",
        "owner": "team-shop",
        "somebody.elses": "x",
        "lakehouse.ledger": "y",
    }
    schema = Schema(*COLUMNS, identifier_field_ids=[1, 2])
    before = created(lakehouse, schema=schema, partition_spec=spec, sort_order=order, properties=properties).metadata_location
    found = imported(lakehouse)
    template = found.template
    assert planned(lakehouse) == {}
    assert lakehouse.table("shop.orders").metadata_location == before
    assert (template.description, template.owner, template.identifier) == (properties["comment"], "team-shop", ["id", "at"])
    assert {column.name: (column.type, column.required, column.description) for column in template.columns} == {
        "id": ("long", True, COLUMNS[0].doc),
        "at": ("timestamptz", True, ""),
        "on": ("string", False, "017"),
        "price": ("decimal(18,2)", False, ""),
        "hash": ("fixed[16]", False, ""),
        "items": ("list<struct<sku: string, n: long>>", False, ""),
        "tags": ("map<string, string>", False, ""),
    }
    assert template.properties == {"write.parquet.compression-codec": "zstd", "write.target-file-size-bytes": "67108864"}
    notes = "\n".join(found.notes)
    assert "stay required in this table, and would be optional in a new one: items.element.sku, items.element, tags.value." in notes
    assert "descriptions of nested fields stay in this table, and are not in the template: items.element.sku." in notes
    assert "properties stay in this table, and are not in the template: somebody.elses, write.data.path." in notes


def test_an_apply_adds_the_projects_own_property_and_changes_nothing_else(lakehouse: Lakehouse) -> None:
    table = created(lakehouse, columns=COLUMNS[:3])
    rows = [{"id": 1, "at": datetime(2024, 1, 1, tzinfo=UTC), "on": "x"}]
    table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
    imported(lakehouse)
    for _ in range(2):
        [applied] = apply(lakehouse.settings, lakehouse.catalog, lakehouse.templates())
        assert (applied.action, applied.detail) == ("exists", "")
        after = lakehouse.table("shop.orders")
        assert after.properties == {**table.properties, "commit.retry.num-retries": "0"}
        assert (after.schema(), after.spec(), after.sort_order()) == (table.schema(), table.spec(), table.sort_order())
        assert lakehouse.rows("shop.orders").to_pylist() == rows


def test_where_no_column_has_bounds_all_are_restricted(lakehouse: Lakehouse) -> None:
    created(lakehouse, columns=COLUMNS[:3], properties={"write.metadata.metrics.default": "none"})
    assert set(levels(imported(lakehouse)).values()) == {"restricted"}
    assert planned(lakehouse) == {"shop.orders": [f"property {STATISTICS}{name}: not set -> false" for name in ("at", "id", "on")]}


def test_columns_are_internal_but_for_those_without_value_bounds_and_the_reader_is_told_of(lakehouse: Lakehouse) -> None:
    none = {f"{METRICS}{name}": "none" for name in ("on", "at", "items.element.sku", "items.element.n", "tags.key")}
    # Footers do not tell a restricted column: their statistics are left out of large columns, too.
    footers = {f"{STATISTICS}{name}": "false" for name in ("on", "at", "price", "items.element.sku", "items.element.n")}
    spec = PartitionSpec(PartitionField(2, 1000, DayTransform(), "at_day"))
    created(lakehouse, properties={**none, **footers}, partition_spec=spec)
    found = imported(lakehouse)
    assert planned(lakehouse) == {}
    restricted = {"on": "restricted", "items": "restricted"}  # not `at`, a partition column; nor `tags`, whose values have bounds
    assert levels(found) == {**dict.fromkeys(levels(found), "internal"), **restricted}
    assert set(found.template.properties) == {f"{METRICS}at", f"{METRICS}tags.key", f"{STATISTICS}at", f"{STATISTICS}price"}
    assert found.notes[0].startswith("The reader role is to see id, at, price, hash, tags.")
    assert found.notes[1] == "The reader role is not to see on, items."
    assert levels(imported(lakehouse, access_level="public")) == {**dict.fromkeys(levels(found), "public"), **restricted}
    assert planned(lakehouse) == {}


def test_restricted_columns_lose_their_value_bounds_and_partition_columns_stay_readable(lakehouse: Lakehouse) -> None:
    created(lakehouse, columns=COLUMNS[:3], partition_spec=PartitionSpec(PartitionField(2, 1000, DayTransform(), "at_day")),
            properties={f"{METRICS}id": "full", f"{STATISTICS}id": "true"})  # fmt: skip
    found = imported(lakehouse, access_level="restricted")
    assert levels(found) == {"id": "restricted", "at": "internal", "on": "restricted"}
    off = [f"property {METRICS}id: full -> none", f"property {METRICS}on: not set -> none"]
    off += [f"property {STATISTICS}id: true -> false", f"property {STATISTICS}on: not set -> false"]
    assert planned(lakehouse) == {"shop.orders": off}
    assert "Apply will keep the values of 2 restricted fields out of new metadata: see lakehouse plan." in found.notes


@pytest.mark.parametrize(
    ("properties", "description", "left_out"),
    [
        ({"comment": "c" * 2049}, "", "description"),
        ({"comment": "A row.", "write.parquet.compression-codec": "lzo"}, "A row.", "properties.write.parquet.compression-codec"),
        ({"write.target-file-size-bytes": "512MB"}, "", "properties.write.target-file-size-bytes"),
    ],
)
def test_what_lint_refuses_and_apply_leaves_alone_is_left_out_and_told(
    lakehouse: Lakehouse, properties: dict[str, str], description: str, left_out: str
) -> None:
    created(lakehouse, columns=COLUMNS[:1], properties=properties)
    found = imported(lakehouse)
    assert (found.template.description, found.template.properties) == (description, {})
    assert [note for note in found.notes if note.startswith(f"The template leaves out {left_out}: ")]
    assert planned(lakehouse) == {}


def test_a_comment_is_the_description_also_where_glues_own_is_missing_or_another(lakehouse: Lakehouse) -> None:
    created(lakehouse, "shop.a", columns=COLUMNS[:1], properties={"comment": "A row."})
    created(lakehouse, "shop.b", columns=COLUMNS[:1], properties={"comment": "A row.", "Description": "A row."})
    created(lakehouse, "shop.c", columns=COLUMNS[:1], properties={"comment": "A row.", "Description": "Another."})
    other = "" if lakehouse.settings.backend == "aws-glue" else "A row."
    found = {name: imported(lakehouse, f"shop.{name}") for name in "abc"}
    assert {name: one.template.description for name, one in found.items()} == {"a": "A row.", "b": "A row.", "c": other}
    assert planned(lakehouse) == {}


def other_type(type_: IcebergType) -> list[NestedField]:
    return [NestedField(1, "id", LongType()), NestedField(2, "odd", type_)]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ([NestedField(1, "orderId", LongType())], "column `orderId` cannot have this name. Use lower-case letters"),
        ([NestedField(1, "order.id", LongType())], "column `order.id` cannot have this name."),
        (other_type(StructType(NestedField(3, "zipCode", StringType()))), "column `odd.zipCode` cannot have this name."),
        (other_type(ListType(3, StructType(NestedField(4, "A", LongType())))), "column `odd.element.A` cannot have this name."),
        (
            other_type(MapType(3, StructType(NestedField(4, "a", LongType())), 5, LongType())),
            "column `odd` is a map whose keys are nested.",
        ),
        ([NestedField(1, "id", LongType(), doc="One.\nTwo.")], "columns[0].description: that of `id` has several lines."),
        ([NestedField(1, "id", LongType(), doc="d" * 256)], "columns[0].description: that of `id` has 256 characters."),
    ],
)
def test_a_column_that_a_template_cannot_say_is_named(lakehouse: Lakehouse, columns: list[NestedField], told: str) -> None:
    created(lakehouse, columns=columns)
    with pytest.raises(TableMismatchError) as error:
        imported(lakehouse)
    assert str(error.value).startswith("shop.orders cannot be described by a template:\n  ")
    assert told in str(error.value)


def test_layouts_that_a_template_cannot_say_are_all_named_at_once(lakehouse: Lakehouse) -> None:
    inner = StructType(NestedField(10, "at", TimestamptzType(), required=True))
    columns = [*COLUMNS[:3], NestedField(4, "inner", inner, required=True)]
    spec = PartitionSpec(
        PartitionField(2, 1000, DayTransform(), "day"),
        PartitionField(3, 1001, VoidTransform(), "on_null"),
        PartitionField(10, 1002, DayTransform(), "inner_at"),
    )
    created(lakehouse, schema=Schema(*columns, identifier_field_ids=[10]), partition_spec=spec,
            sort_order=SortOrder(SortField(1, BucketTransform(4))))  # fmt: skip
    with pytest.raises(TableMismatchError) as error:
        imported(lakehouse)
    told = str(error.value).splitlines()[1:-1]
    assert len(told) == 5
    assert "identifier: `inner.at` is a nested field" in told[0]
    assert 'table.update_spec().rename_field("day", "at_day").commit()' in told[1]
    assert "partition field `on_null`: void of `on`" in told[2]
    assert "partition field `inner_at`: day of `inner.at`" in told[3]
    assert "sort order: bucket[4] of `id`" in told[4]


def test_a_partition_field_of_another_name_is_renamed_as_told_and_then_imported(lakehouse: Lakehouse) -> None:
    table = created(lakehouse, columns=COLUMNS[:3])
    with table.update_spec() as update:
        update.add_field("id", BucketTransform(8))
    with pytest.raises(TableMismatchError, match=r'rename_field\("id_bucket_8", "id_bucket"\)'):
        imported(lakehouse)
    lakehouse.table("shop.orders").update_spec().rename_field("id_bucket_8", "id_bucket").commit()
    imported(lakehouse)
    assert planned(lakehouse) == {}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("shop.Orders", "its name `Orders` cannot be a template's"),
        ("shop.orders__old", "name: `orders__old` has two underscores in a row"),
    ],
)
def test_a_name_that_a_template_cannot_have_is_told(lakehouse: Lakehouse, name: str, told: str) -> None:
    if name != name.lower() and lakehouse.settings.backend == "aws-glue":
        pytest.skip("Glue has no upper case")
    created(lakehouse, name)
    with pytest.raises(TableMismatchError) as error:
        imported(lakehouse, name)
    assert told in str(error.value)


def test_other_format_versions_are_told_what_to_do(lakehouse: Lakehouse) -> None:
    created(lakehouse, columns=COLUMNS[:1], properties={"format-version": "1"})
    with pytest.raises(TableMismatchError, match=r"format version is 1; templates make version 2\. Upgrade it"):
        imported(lakehouse)
    with lakehouse.table("shop.orders").transaction() as transaction:
        transaction.upgrade_table_version(2)
    imported(lakehouse)
    assert planned(lakehouse) == {}


def test_a_type_that_only_a_later_version_has_is_named(lakehouse: Lakehouse) -> None:
    table = created(lakehouse, columns=COLUMNS[:1])
    odd = NestedField(2, "odd", ListType(3, TimestampNanoType(), element_required=False))
    table.metadata = table.metadata.model_copy(update={"schemas": [Schema(COLUMNS[0], odd)]})

    class Holding(type(lakehouse.catalog)):  # type: ignore[misc]
        def load_table(self, identifier: Any) -> Table:
            return table

    catalog = lakehouse.catalog
    catalog.__class__ = Holding
    try:
        with pytest.raises(TableMismatchError, match=r"column `odd.element` is a timestamp_ns, which templates do not have"):
            import_table(lakehouse.settings, catalog, "shop.orders")
    finally:
        catalog.__class__ = Holding.__base__


def test_what_is_not_there_or_no_iceberg_table_is_told(lakehouse: Lakehouse) -> None:
    lakehouse.catalog.create_namespace("shop")
    for name in ("shop.orders", "nothing.orders"):
        with pytest.raises(CatalogError, match=f"There is no table {name} in the catalog"):
            imported(lakehouse, name)
    for name in ("orders", "a.b.orders"):
        with pytest.raises(TableMismatchError, match=f"`{name}` is not namespace.table"):
            imported(lakehouse, name)
    if lakehouse.settings.backend == "aws-glue":
        glue = boto3.client("glue")
        for name, parameters in {"shell": {"table_type": "ICEBERG"}, "hive": {}, "csv": {"table_type": "CSV"}}.items():
            glue.create_table(DatabaseName="shop", TableInput={"Name": name, "Parameters": parameters})
            with pytest.raises(TableMismatchError, match=f"shop.{name} is no Iceberg table"):
                imported(lakehouse, f"shop.{name}")


def test_a_template_of_any_kind_comes_back_from_its_table(lakehouse: Lakehouse) -> None:
    generator = random.Random(7)
    count = 60 if lakehouse.settings.backend == "local" else 20
    for name in (f"g{index}" for index in range(count)):
        (lakehouse.settings.templates / f"{name}.yaml").write_text(generated_template(generator, name))
    assert {applied.action for applied in lakehouse.apply()} == {"created"}
    templates = lakehouse.templates()
    for path in lakehouse.settings.templates.glob("*.yaml"):
        path.unlink()
    for template in templates:
        back = imported(lakehouse, template.table_name).template
        assert back.iceberg_schema == template.iceberg_schema
        assert sorted(back.identifier) == sorted(template.identifier)
        assert (back.description, back.owner, back.partition_spec) == (template.description, template.owner, template.partition_spec)
        assert [(sort.column, sort.direction, sort.nulls_first) for sort in back.sort_order] == [
            (sort.column, sort.direction, sort.nulls_first) for sort in template.sort_order
        ]
        assert back.hidden_columns == template.hidden_columns
    assert planned(lakehouse) == {}


def test_the_command_writes_a_template_among_the_others_and_replaces_none(lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]) -> None:
    created(lakehouse)
    path = lakehouse.settings.templates / "orders.yaml"
    code, out, err = run_command(capsys, "import", "shop.orders", "--stdout")
    assert (code, path.exists()) == (0, False)
    assert out.startswith("# yaml-language-server: $schema=")
    assert "note: The reader role is to see id," in err
    code, printed, _ = run_command(capsys, "import", "shop.orders")
    assert (code, path.read_text()) == (0, out)
    assert str(path) in printed
    assert run_command(capsys, "plan")[0] == 0
    path.write_text("mine")
    code, _, err = run_command(capsys, "import", "shop.orders")
    assert (code, path.read_text()) == (1, "mine")
    assert "is there already. Replace it with --force" in err
    assert run_command(capsys, "import", "shop.orders", "--force", "--access-level", "public")[0] == 0
    assert path.read_text() == out.replace("internal", "public")


def test_the_command_writes_where_it_is_told_and_names_the_json_schema_from_there(
    lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    created(lakehouse, columns=COLUMNS[:1])
    templates = lakehouse.settings.templates
    (templates / "schema.json").write_text("{}")
    (templates / "new").mkdir()
    assert run_command(capsys, "import", "shop.orders", "--output", str(templates / "new"))[0] == 0
    assert (templates / "new" / "orders.yaml").read_text().startswith("# yaml-language-server: $schema=../schema.json\n")
    code, _, err = run_command(capsys, "import", "shop.orders", "--output", str(templates / "other.yaml"))
    assert (code, "is named orders.yaml" in err) == (1, True)
    code, _, err = run_command(capsys, "import", "shop.orders", "--output", str(templates / "nowhere" / "orders.yaml"))
    assert (code, "cannot be written: No such file or directory" in err) == (1, True)


def test_a_catalog_that_does_not_answer_is_told(lakehouse: Lakehouse) -> None:
    created(lakehouse, columns=COLUMNS[:1])
    table = lakehouse.table("shop.orders")
    table.io.delete(table.metadata_location)
    with pytest.raises(LakehouseError, match=r"shop.orders cannot be read"):
        imported(lakehouse)
