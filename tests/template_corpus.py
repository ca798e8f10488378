"""Templates that both readers take: written by hand, and generated."""

from __future__ import annotations

import json
import random
from typing import Any

import yaml

BASE = """\
name: {name}
namespace: shop
columns:
  - name: id
    type: long
    required: true
  - name: at
    type: timestamptz
  - name: email
    type: string
    pii: true
    access_level: restricted
  - name: price
    type: double
  - name: items
    type: list<string>
"""
# What follows BASE, one template each.
TAKEN: dict[str, str] = {
    "nothing_more": "",
    "description": "description: One row per order.\n",
    "description_quoted": 'description: "on: \\"quoted\\", 50 % & # no comment"\n',
    "description_single": "description: 'It''s: {a}, [b]'\n",
    "description_folded": "description: >-\n  folded\n  text: with a colon\n",
    "description_literal": "description: |\n  yes\n  017\n",
    "description_empty": 'description: ""\n',
    "description_unicode": "description: Größe – naïve 漢字 🦆\n",
    "owner": "owner: team-shop\n",
    "owner_address": "owner: data@example.com\n",
    "tags": "tags: {domain: shop, tier: 1, open: true, ratio: 0.25, version: v1.2.3}\n",
    "tags_block": 'tags:\n  domain: shop\n  empty: ""\n',
    "tags_quoted": 'tags: {"on": "yes", "1": "017"}\n',
    "identifier": "identifier: [id]\n",
    "identifier_block": "identifier:\n  - id\n",
    "partition_identity": "partition_spec: [{column: id}]\n",
    "partition_bucket": 'partition_spec: [{column: id, transform: "bucket[16]"}]\n',
    "partition_truncate": 'partition_spec: [{column: id, transform: "truncate[100]"}]\n',
    "partition_year": "partition_spec: [{column: at, transform: year}]\n",
    "partition_month": "partition_spec:\n  - column: at\n    transform: month\n",
    "partition_hour": "partition_spec: [{column: at, transform: hour}]\n",
    "partition_two": 'partition_spec: [{column: at, transform: day}, {column: id, transform: "bucket[4]"}]\n',
    "partition_twice_in_time": "partition_spec: [{column: at, transform: month}, {column: at, transform: day}]\n",
    "sort": "sort_order: [{column: at}]\n",
    "sort_desc": "sort_order: [{column: at, direction: desc}, {column: id, null_order: nulls_last}]\n",
    "sort_first": "sort_order:\n- column: id\n  direction: desc\n  null_order: nulls_first\n",
    "properties": "properties: {write.target-file-size-bytes: 67108864, write.parquet.compression-codec: zstd}\n",
    "properties_bounds": "properties: {write.parquet.stats-enabled.column.email: false, write.metadata.metrics.column.id: full}\n",
    "properties_texts": 'properties: {a: "1e3", b: 1.50, c: -7, d: false, e: "", f: "null"}\n',
    "source": "source: {path: s3://bucket/x/, format: parquet}\n",
    "source_csv": 'source: {path: /x, format: csv, csv_options: {delimiter: "\\t", skip_rows: 2, null_values: ["", "no"]}}\n',
    "event_stream": 'pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/x/", format: jsonl}, cron: "0 * * * *"}\n',
    "event_stream_quarantine": "pipeline:\n  pattern: event_stream\n  source: {path: x, format: json}\n  on_bad_rows: quarantine\n",
    "pipeline_null": "pipeline: null\nsource: ~\n",
    "publish": "publish: direct\n",
    "publish_audited": "publish: audited\nsource: {path: landing/orders/, format: csv}\n",
    "freshness": "freshness: 24h\n",
    "checks": "checks: {generated: false, blocking: [row_count, schema]}\n",
    "maintenance": "maintenance: {compact: false, keep_snapshots: 36h, keep_at_least: 1}\n",
    "maintenance_retention": "maintenance: {retention: 400d on at, remove_orphans: false}\n"
    "pipeline: {pattern: event_stream, source: {path: x, format: json}, on_bad_rows: quarantine}\n",
    "maintenance_retention_null": "maintenance: {retention: null}\n",
    "maintenance_minutes": "maintenance: {keep_snapshots: 90m}\n",
    "maintenance_weeks": "maintenance:\n  keep_snapshots: 2w\n",
    "comments": "# on: 017\nowner: me # yes: {a: on}\n",
    "spaces": "owner :  me   \ntags : { domain :  shop }\n",
}


def generated_template(generator: random.Random, name: str) -> str:
    """A valid template, block style or JSON, of up to twelve columns with types nested up to six deep."""

    def type_(depth: int) -> str:
        kind = generator.randrange(18 if depth < 5 else 14)
        primitives = ["boolean", "int", "long", "float", "double", "date", "time", "timestamp", "timestamptz", "string", "uuid", "binary"]
        if kind < 12:
            return primitives[kind]
        if kind == 12:
            precision = generator.randint(1, 38)
            return f"decimal({precision},{generator.randint(0, precision)})"
        if kind == 13:
            return f"fixed[{generator.randint(1, 99999)}]"
        if kind < 16:
            return f"list<{type_(depth + 1)}>"
        if kind == 16:
            return f"map<{generator.choice(primitives)}, {type_(depth + 1)}>"
        names = generator.sample([*primitives, "decimal", "fixed", "list", "map", "struct", "a", "b_1"], generator.randint(1, 4))
        return f"struct<{', '.join(f'{field}: {type_(depth + 1)}' for field in names)}>"

    def blanks(text: str) -> str:
        return "".join(generator.choice(["", " ", "  "]) + mark if mark in "<>,:()[]" else mark for mark in text)

    columns: list[dict[str, Any]] = []
    for index in range(generator.randint(1, 12)):
        column: dict[str, Any] = {"name": f"c{index}", "type": blanks(type_(0))}
        optional: dict[str, Any] = {
            "required": generator.random() < 0.5,
            "description": generator.choice(["", "plain", 'quoted "text": with #', "é – ü", "'on'", "017"]),
            "pii": generator.random() < 0.2,
            "access_level": generator.choice(["public", "internal", "restricted"]),
            "renamed_from": [f"old_{index}", f"c{index + 1}"] if generator.random() < 0.2 else [],
        }
        columns.append(column | {key: value for key, value in optional.items() if generator.random() < 0.6})
    flat = [column for column in columns if not any(mark in column["type"] for mark in "<")]
    template: dict[str, Any] = {"name": name, "namespace": generator.choice(["shop", "web_1"]), "columns": columns}
    exact = [column["name"] for column in flat if column.get("required") and column["type"].strip() not in ("float", "double")]
    open_times = [
        column["name"]
        for column in flat
        if column["type"].strip() in ("date", "timestamp", "timestamptz")
        and not column.get("pii")
        and column.get("access_level") != "restricted"
    ]
    optional = {
        "description": "A row.",
        "owner": "team-x",
        "tags": {"domain": "x", "level": generator.randint(0, 9), "open": True},
        "identifier": exact[:2],
        "partition_spec": [{"column": column, "transform": generator.choice(["year", "month", "day"])} for column in open_times[:1]],
        "sort_order": [
            {"column": column["name"], "direction": generator.choice(["asc", "desc"])}
            | ({"null_order": generator.choice(["nulls_first", "nulls_last"])} if generator.random() < 0.5 else {})
            for column in flat[:2]
        ],
        "properties": {"write.target-file-size-bytes": generator.randint(1, 10**9), "some.key": generator.choice(["x", 1.5, False])},
        "pipeline": {
            "pattern": "event_stream",
            "source": {"path": "s3://bucket/x/", "format": "csv"},
            "on_bad_rows": generator.choice(["fail", "quarantine"]),
        },
    }
    template |= {key: value for key, value in optional.items() if generator.random() < 0.6}
    # JSON is YAML too, and quotes every text; the block style leaves plain what may stand plain.
    return json.dumps(template) if generator.random() < 0.3 else yaml.safe_dump(template, allow_unicode=True, sort_keys=False)
