"""Two readers, one answer: Terraform's normalised objects are Python's, and what lint refuses, a plan refuses."""

from __future__ import annotations

import json
import random
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from template_corpus import BASE, TAKEN, generated_template
from terraform_cli import ROOT, Terraform

from lakehouse.lint import LintResult, lint_templates
from lakehouse.normalise import normalised

CORPUS = Path(__file__).parent / "corpus"
CHECKED_IN = [*sorted((ROOT / "table-templates").glob("*.yaml")), *sorted(ROOT.glob("examples/*/table-templates/*.yaml"))]
GENERATED = 200
READER = """
variable "folder" {
  type = string
}
module "template" {
  source   = "./modules/table_template"
  for_each = fileset(var.folder, "*.yaml")
  path     = "${var.folder}/${each.value}"
}
output "tables" {
  value = merge([for template in module.template : template.tables]...)
}
"""


@dataclass
class Readers:
    """Both readers on one folder of templates."""

    folder: Path
    terraform: Terraform
    lint: LintResult = field(default_factory=LintResult)
    refusals: dict[str, str] = field(default_factory=dict)

    def read(self) -> None:
        """Lints, and plans. Afterwards ``refusals`` has what Terraform said of each file that it refuses."""
        self.lint = lint_templates(self.folder)
        run = self.terraform.plan()
        for error in run.errors:
            name = next((path.name for path in self.folder.glob("*.yaml") if f"/{path.name}: " in error), "")
            assert name, f"an error that names no file: {error}"
            self.refusals[name] = error

    def tables(self) -> dict[str, Any]:
        run = self.terraform.plan("-out=plan")
        assert run.ok, "\n".join(run.errors)
        return json.loads(self.terraform.run("show", "-json", "plan").text)["planned_values"]["outputs"]["tables"]["value"]


@pytest.fixture
def readers(terraform_source: Path, tmp_path: Path) -> Readers:
    folder = tmp_path / "templates"
    folder.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "modules").symlink_to(terraform_source / "modules")
    (root / "main.tf").write_text(READER)
    terraform = Terraform(root, {"folder": str(folder)})
    terraform.init()
    return Readers(folder, terraform)


def test_both_readers_give_the_same_objects(readers: Readers) -> None:
    for index, source in enumerate([*sorted(CORPUS.glob("*.yaml")), *CHECKED_IN]):
        name = source.stem if source.parent == CORPUS else f"{source.stem}_{index}"
        text = source.read_text().replace(f"name: {source.stem}\n", f"name: {name}\n", 1)
        (readers.folder / f"{name}.yaml").write_text(text)
    for sql in ROOT.glob("**/table-templates/*.sql"):
        (readers.folder / sql.name).write_text(sql.read_text())
    for name, text in TAKEN.items():
        (readers.folder / f"{name}.yaml").write_text(BASE.format(name=name) + text)
    generator = random.Random(7)
    for index in range(GENERATED):
        (readers.folder / f"g{index}.yaml").write_text(generated_template(generator, f"g{index}"))
    written = len(list(readers.folder.glob("*.yaml")))
    # A feature table's inputs, and its SQL, are lint's alone: here they have other names.
    feature_tables = {path.name for path in readers.folder.glob("*.yaml") if "pattern: feature_table" in path.read_text()}
    lint = lint_templates(readers.folder)
    assert {Path(problem.file).name for problem in lint.errors} <= feature_tables, [str(problem) for problem in lint.errors]
    expected: dict[str, Any] = {}
    for template in lint.templates:
        expected |= normalised(template)
    tables = readers.tables()
    assert len(lint.templates) >= written - len(feature_tables)
    assert set(expected) <= set(tables)
    for table, value in expected.items():
        assert json.loads(json.dumps(value)) == tables[table], table


# What is appended to, or replaced in, a template that both readers take.
REFUSED: dict[str, tuple[str, str]] = {
    "not_yaml": ("namespace: shop", "namespace: [shop"),
    "unknown_key": ("namespace: shop", "namespace: shop\nfoo: bar"),
    "unknown_column_key": ("    required: true", "    requird: true"),
    "missing_namespace": ("namespace: shop\n", ""),
    "missing_type": ("    type: long\n", ""),
    "number_for_text": ("namespace: shop", "namespace: shop\nowner: 7"),
    "text_for_bool": ("required: true", 'required: "true"'),
    "null_for_text": ("namespace: shop", "namespace: shop\ndescription:"),
    "list_for_mapping": ("namespace: shop", "namespace: shop\ntags: [a]"),
    "mapping_for_list": ("namespace: shop", "namespace: shop\nidentifier: {a: b}"),
    "number_in_list": ("namespace: shop", "namespace: shop\nidentifier: [1]"),
    "column_is_text": ("  - name: items\n    type: list<string>", "  - items"),
    "no_columns": (BASE[BASE.index("columns:") :], "columns: []\n"),
    "columns_is_text": (BASE[BASE.index("columns:") :], "columns: id\n"),
    "bad_name": ("namespace: shop", "namespace: Shop"),
    "bad_column_name": ("name: items", "name: Items"),
    "other_file_name": ("name: other_file_name", "name: another"),
    "reserved_name": ("", ""),
    "duplicate_column": ("name: items", "name: id"),
    "unknown_type": ("type: long", "type: bigint"),
    "upper_case_type": ("type: long", "type: Long"),
    "split_type": ("type: long", "type: lo ng"),
    "bare_decimal": ("type: double", "type: decimal"),
    "wide_decimal": ("type: double", 'type: "decimal(39,2)"'),
    "deep_scale": ("type: double", 'type: "decimal(3,4)"'),
    "nested_deep_scale": ("type: double", 'type: "list<map<string, decimal(3,4)>>"'),
    "empty_fixed": ("type: double", 'type: "fixed[0]"'),
    "nested_map_key": ("list<string>", "map<list<string>, string>"),
    "open_list": ("list<string>", "list<string"),
    "two_types": ("list<string>", "list<string> string"),
    "bad_field_name": ("list<string>", '"struct<A: string>"'),
    "empty_struct": ("list<string>", "struct<>"),
    "too_deep": ("list<string>", "list<" * 16 + "string" + ">" * 16),
    "access_level": ("access_level: restricted", "access_level: secret"),
    "renamed_from_itself": ("    required: true", "    required: true\n    renamed_from: [id]"),
    "renamed_twice": ("    required: true", "    required: true\n    renamed_from: [a, a]"),
    "renamed_bad_name": ("    required: true", "    required: true\n    renamed_from: [A]"),
    "identifier_unknown": ("namespace: shop", "namespace: shop\nidentifier: [nothing]"),
    "identifier_optional": ("namespace: shop", "namespace: shop\nidentifier: [at]"),
    "identifier_twice": ("namespace: shop", "namespace: shop\nidentifier: [id, id]"),
    "partition_unknown": ("namespace: shop", "namespace: shop\npartition_spec: [{column: nothing}]"),
    "partition_transform": ("namespace: shop", 'namespace: shop\npartition_spec: [{column: id, transform: "bucket[0]"}]'),
    "partition_type": ("namespace: shop", "namespace: shop\npartition_spec: [{column: id, transform: day}]"),
    "partition_float": ("namespace: shop", "namespace: shop\npartition_spec: [{column: price}]"),
    "partition_nested": ("namespace: shop", "namespace: shop\npartition_spec: [{column: items}]"),
    "partition_hidden": ("namespace: shop", 'namespace: shop\npartition_spec: [{column: email, transform: "bucket[4]"}]'),
    "partition_twice": ("namespace: shop", "namespace: shop\npartition_spec:\n  - column: id\n  - column: id"),
    "sort_unknown": ("namespace: shop", "namespace: shop\nsort_order: [{column: nothing}]"),
    "sort_nested": ("namespace: shop", "namespace: shop\nsort_order: [{column: items}]"),
    "sort_twice": ("namespace: shop", "namespace: shop\nsort_order:\n  - column: id\n  - column: id"),
    "sort_direction": ("namespace: shop", "namespace: shop\nsort_order: [{column: id, direction: up}]"),
    "managed_property": ("namespace: shop", 'namespace: shop\nproperties: {format-version: "1"}'),
    "lakehouse_property": ("namespace: shop", "namespace: shop\nproperties: {lakehouse.ledger: x}"),
    "hidden_bounds": ("namespace: shop", "namespace: shop\nproperties: {write.metadata.metrics.column.email: full}"),
    "hidden_statistics": ("namespace: shop", "namespace: shop\nproperties: {write.parquet.stats-enabled.column.email: true}"),
    "codec": ("namespace: shop", "namespace: shop\nproperties: {write.parquet.compression-codec: zip}"),
    "property_number": ("namespace: shop", "namespace: shop\nproperties: {write.target-file-size-bytes: large}"),
    "property_list": ("namespace: shop", "namespace: shop\nproperties: {a: [b]}"),
    "tag": ("namespace: shop", 'namespace: shop\ntags: {domain: "a b"}'),
    "long_description": ("namespace: shop", f"namespace: shop\ndescription: {'x' * 2049}"),
    "long_column_description": ("    type: long", f"    type: long\n    description: {'x' * 256}"),
    "column_description_lines": ("    type: long", '    type: long\n    description: "a\\nb"'),
    "pattern": ("namespace: shop", "namespace: shop\npipeline: {pattern: stream}"),
    "no_pattern": ("namespace: shop", "namespace: shop\npipeline: {}"),
    "pipeline_key": ("namespace: shop", "namespace: shop\npipeline: {pattern: event_stream, source: {path: x, format: csv}, sql: y}"),
    "no_source": ("namespace: shop", "namespace: shop\npipeline: {pattern: event_stream}"),
    "source_format": ("namespace: shop", "namespace: shop\nsource: {path: x, format: avro}"),
    "two_sources": (
        "namespace: shop",
        "namespace: shop\nsource: {path: x, format: csv}\npipeline: {pattern: event_stream, source: {path: x, format: csv}}",
    ),
    "csv_options": ("namespace: shop", "namespace: shop\nsource: {path: x, format: json, csv_options: {skip_rows: 1}}"),
    "skip_rows": ("namespace: shop", "namespace: shop\nsource: {path: x, format: csv, csv_options: {skip_rows: -1}}"),
    "variable": ("namespace: shop", 'namespace: shop\nsource: {path: "$HOME/x", format: csv}'),
    "scd_key": (
        "namespace: shop",
        "namespace: shop\npipeline: {pattern: scd_type2, source: {path: x, format: csv}, key: [nothing], effective_at: at}",
    ),
    "audited": ("namespace: shop", "namespace: shop\npublish: audited"),
    "freshness": ("namespace: shop", "namespace: shop\nfreshness: daily"),
    "keep_at_least": ("namespace: shop", "namespace: shop\nmaintenance: {keep_at_least: 0}"),
    "retention_text": ("namespace: shop", "namespace: shop\nmaintenance: {retention: 400d}"),
    "retention_unknown": ("namespace: shop", "namespace: shop\nmaintenance: {retention: 400d on nothing}"),
    "retention_type": ("namespace: shop", "namespace: shop\nmaintenance: {retention: 400d on id}"),
    "retention_of_versions": (
        "namespace: shop\n",
        "namespace: shop\nmaintenance: {retention: 400d on at}\npipeline: {pattern: scd_type2, source: {path: x, format: csv}, "
        "key: [id], effective_at: at}\n",
    ),
    "duplicate_key": ("namespace: shop", "namespace: shop\nnamespace: other"),
    "duplicate_column_key": ("    type: long", "    type: long\n    type: int"),
    "duplicate_flow_key": ("namespace: shop", "namespace: shop\npartition_spec: [{column: id, column: at}]"),
    "anchor": ("namespace: shop", "namespace: &n shop"),
    "alias": ("name: items", "name: &n items\n    description: *n"),
    "tag_of_yaml": ("namespace: shop", "namespace: !!str shop"),
    "second_document": ("namespace: shop", "namespace: shop\n---\nname: other"),
    "key_on": ("namespace: shop", "namespace: shop\ntags:\n  on: x"),
    "key_number": ("namespace: shop", "namespace: shop\ntags: {1: x}"),
}
AMBIGUOUS = [
    *("y", "N", "yes", "No", "on", "OFF", "=", "017", "0o17", "0x1f", "0b1", "-0", "+1", "-017", "00", "1_000", "9223372036854775808"),
    *("1e3", "1.5E3", "1.e+3", ".5", "-.5", "1.", "+1.5", "1_0.5", ".inf", "-.Inf", ".nan", ".NaN", "1:30", "190:20:30", "1:30.5"),
    *("2024-01-01", "2024-1-1", "2024-01-01T00:00:00Z", "2024-01-01 10:00:00"),
]


def _refused_templates() -> dict[str, str]:
    templates = {name: BASE.format(name=name).replace(old, new, 1) for name, (old, new) in REFUSED.items()}
    templates["reserved__name"] = BASE.format(name="reserved__name")
    del templates["reserved_name"]
    places = ("description: {}", "tags: {{a: {}}}", "tags:\n  a: {}   # what", "properties: {{b: x, a: {}, c: y}}", "identifier: [id, {}]",
              "checks:\n  blocking:\n    - {}")  # fmt: skip
    for index, (text, place) in enumerate((text, place) for text in AMBIGUOUS for place in places):
        templates[f"ambiguous_{index}"] = BASE.format(name=f"ambiguous_{index}") + place.format(text) + "\n"
    return templates


def test_what_lint_refuses_a_plan_refuses_with_the_file_and_the_place(readers: Readers) -> None:
    templates = _refused_templates()
    for name, text in templates.items():
        (readers.folder / f"{name}.yaml").write_text(text)
    readers.read()
    by_lint = {Path(problem.file).stem for problem in readers.lint.errors}
    assert sorted(templates.keys() - by_lint) == [], "lint takes these"
    assert sorted(f"{name}:\n{templates[name]}" for name in templates if f"{name}.yaml" not in readers.refusals) == []
    for name, place in {
        "unknown_type": "columns[0] `id`: `bigint` is not a type",
        "unknown_column_key": "columns[0] `id`: requird: there is no such key",
        "partition_hidden": "partition_spec[0]: `email` is pii or restricted",
        "duplicate_column_key": "the key `type` stands twice",
        "access_level": "columns[2] `email`: access_level: it must be internal or public or restricted",
    }.items():
        assert place in " ".join(readers.refusals[f"{name}.yaml"].split()), readers.refusals[f"{name}.yaml"]


def test_what_looks_ambiguous_but_is_quoted_or_text_is_taken_by_both(readers: Readers) -> None:
    lines = "\n".join(f"  a{index}: {quote}{text}{quote}" for index, (text, quote) in enumerate((t, q) for t in AMBIGUOUS for q in "'\""))
    texts = {
        "quoted": f"properties:\n{lines}\n",
        "flow": 'properties: {a: "on", b: \'017\', c: "[on, 017]", d: x}\nidentifier: ["id"]\n',
        "prose": "description: Whether it's [on, off] or {y} - the user's 017, 1:30 & more; *not* !important\nowner: on call\n",
        "block": "description: |\n  on\n  mode: yes\n  - 017\n  &x\n",
        "comments": "# on: 017\nowner: me # yes: {a: on}\n",
        "numbers": "properties: {a: 1.5, b: -7, c: 0, d: true, e: 100000000000000000, f: 0.25}\n",
    }
    for name, text in texts.items():
        (readers.folder / f"{name}.yaml").write_text(BASE.format(name=name) + text)
    readers.read()
    assert ([str(problem) for problem in readers.lint.errors], readers.refusals) == ([], {})
    expected: dict[str, Any] = {}
    for template in readers.lint.templates:
        expected |= normalised(template)
    assert readers.tables() == json.loads(json.dumps(expected))


def test_a_namespace_prefix_stands_in_front_of_every_table(readers: Readers) -> None:
    main = readers.terraform.folder / "main.tf"
    main.write_text(READER.replace("for_each", 'namespace_prefix = "dev_"\n  for_each'))
    text = BASE.format(name="orders") + textwrap.dedent("""\
        pipeline: {pattern: event_stream, source: {path: x, format: csv}, on_bad_rows: quarantine}
    """)
    (readers.folder / "orders.yaml").write_text(text)
    tables = readers.tables()
    assert {name: table["namespace"] for name, table in tables.items()} == {
        "dev_shop.orders": "dev_shop",
        "dev_shop.orders__quarantine": "dev_shop",
    }
