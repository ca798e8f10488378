"""The AWS side by number of tables, on moto: `terraform plan` of N templates, and `lakehouse apply` of new tables.

A plan beside the alternative, one map of all tables, and the limit, entries without normalising and grants; an apply
beside PyIceberg's own create_table (which no grant can name beforehand) and the limit, the bare calls.

    python benchmarks/aws.py --tables 100,300,1000 --apply 100
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

TEMPLATE = (ROOT / "table-templates" / "event_stream.yaml").read_text()
PROVIDER = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
provider "aws" {
  region = "eu-central-1"
}
locals {
  files = fileset("${path.root}/table-templates", "*.yaml")
}
"""
# What everybody writes first: all templates in one map, and resources that look into it.
ONE_MAP = (
    PROVIDER
    + """
locals {
  tables = { for file in local.files : file => yamldecode(file("${path.root}/table-templates/${file}")) }
}
resource "aws_glue_catalog_table" "this" {
  for_each      = local.tables
  database_name = each.value.namespace
  name          = each.value.name
  parameters    = { table_type = "ICEBERG" }
  storage_descriptor {
    location = "s3://warehouse/${each.value.namespace}/${each.value.name}"
    dynamic "columns" {
      for_each = each.value.columns
      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = try(columns.value.description, "")
      }
    }
  }
}
resource "aws_lakeformation_permissions" "reader" {
  for_each    = local.tables
  principal   = "arn:aws:iam::123456789012:role/reader"
  permissions = ["SELECT"]
  table_with_columns {
    database_name = each.value.namespace
    name          = aws_glue_catalog_table.this[each.key].name
    column_names  = [for column in each.value.columns : column.name if try(column.access_level, "public") != "restricted"]
  }
}
"""
)
# The least that has an entry per template: no grants, no normalising.
LIMIT_ROOT = (
    PROVIDER
    + """
module "table" {
  source   = "./table"
  for_each = local.files
  path     = "${path.root}/table-templates/${each.value}"
}
"""
)
LIMIT_MODULE = """
variable "path" { type = string }
locals {
  table = yamldecode(file(var.path))
}
resource "aws_glue_catalog_table" "this" {
  database_name = local.table.namespace
  name          = local.table.name
  parameters    = { table_type = "ICEBERG" }
  storage_descriptor {
    location = "s3://warehouse/${local.table.namespace}/${local.table.name}"
    dynamic "columns" {
      for_each = local.table.columns
      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}
"""


def write_templates(folder: Path, count: int) -> None:
    """``count`` templates of ten columns, without a quarantine."""
    folder.mkdir(parents=True)
    text = TEMPLATE.replace("  on_bad_rows: quarantine\n", "")
    for index in range(count):
        (folder / f"t{index}.yaml").write_text(text.replace("name: event_stream\n", f"name: t{index}\n", 1))


def plan_seconds(root: Path, limit: float) -> float | None:
    """Seconds of ``terraform plan`` in an initialised root; None where it takes longer than ``limit``."""
    start = time.monotonic()
    command = ["terraform", "plan", "-input=false", "-lock=false", "-out=plan.out"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.monotonic() - start


def ours(folder: Path) -> Path:
    from terraform_cli import terraform_folder

    root = terraform_folder(folder / "terraform", "tests") / "aws"
    (root / "bench.auto.tfvars.json").write_text(
        json.dumps({"region": "eu-central-1", "max_retries": 2, "manage_lakeformation_settings": True, "templates": "table-templates"})
    )
    return root


def one_map(folder: Path) -> Path:
    (root := folder / "map").mkdir()
    (root / "main.tf").write_text(ONE_MAP)
    return root


def limit(folder: Path) -> Path:
    (root := folder / "limit" / "table").mkdir(parents=True)
    (root / "main.tf").write_text(LIMIT_MODULE)
    (root.parent / "main.tf").write_text(LIMIT_ROOT)
    return root.parent


WAYS: dict[str, Callable[[Path], Path]] = {
    "limit: an entry per template, nothing else": limit,
    "this project: entry, three grants, checks": ours,
    "one map of all tables: entry, one grant": one_map,
}


def plans(counts: list[int], patience: float) -> None:
    print(f"terraform plan, seconds (stopped after {patience:.0f})\n{'way':45}" + "".join(f"{count:>10,}" for count in counts))
    for way, prepare in WAYS.items():
        line = f"{way:45}"
        for count in counts:
            with tempfile.TemporaryDirectory() as name:
                root = prepare(Path(name))
                write_templates(root / "table-templates", count)
                subprocess.run(["terraform", "init", "-input=false"], cwd=root, capture_output=True, check=True)
                seconds = plan_seconds(root, patience)
            line += f"{'more':>10}" if seconds is None else f"{seconds:10.1f}"
        print(line, flush=True)


def applies(count: int) -> None:
    from glue_shells import READER, make_shells
    from pyiceberg.catalog import load_catalog

    from lakehouse.apply import apply
    from lakehouse.catalog import open_catalog
    from lakehouse.lint import load_templates
    from lakehouse.settings import LakehouseSettings

    with tempfile.TemporaryDirectory() as name:
        write_templates(Path(name) / "t", count)
        os.environ |= {
            "LAKEHOUSE_BACKEND": "aws-glue", "LAKEHOUSE_WAREHOUSE": "s3://warehouse", "LAKEHOUSE_TEMPLATES": f"{name}/t",
            "LAKEHOUSE_READER_ROLE": READER,
        }  # fmt: skip
        settings = LakehouseSettings.load()
        templates = load_templates(settings.templates, settings.variables)
    region = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3").create_bucket(Bucket="warehouse", CreateBucketConfiguration=region)
    caller = boto3.client("sts").get_caller_identity()["Arn"]
    boto3.client("lakeformation").put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": [{"DataLakePrincipalIdentifier": caller}]})
    make_shells(templates)

    glue, s3 = boto3.client("glue"), boto3.client("s3")
    start = time.monotonic()
    for template in templates:
        table = glue.get_table(DatabaseName=template.namespace, Name=template.name)["Table"]
        s3.put_object(Bucket="warehouse", Key=f"bare/{template.name}.json", Body=b"x" * 5000)
        kept = {key: table[key] for key in ("Name", "TableType", "Parameters", "StorageDescriptor")}
        glue.update_table(DatabaseName=template.namespace, TableInput=kept, VersionId=table["VersionId"])
    bare = time.monotonic() - start

    catalog = load_catalog("glue", **{"type": "glue", "s3.endpoint": os.environ["AWS_ENDPOINT_URL"], "s3.region": "eu-central-1"})
    glue.create_database(DatabaseInput={"Name": "plain"})
    start = time.monotonic()
    for template in templates:
        catalog.create_table(f"plain.{template.name}", template.iceberg_schema, location=f"s3://warehouse/plain/{template.name}")
    alternative = time.monotonic() - start

    start = time.monotonic()
    done = list(apply(settings, open_catalog(settings), templates))
    seconds = time.monotonic() - start
    if wrong := [applied for applied in done if applied.action != "created"]:
        raise SystemExit(str(wrong[:3]))
    print(f"\n{count} new tables on moto, seconds")
    print(f"{'limit: the bare calls of one adoption each':45}{bare:10.1f}")
    print(f"{'this project: lakehouse apply, grants checked':45}{seconds:10.1f}")
    print(f"{'PyIceberg create_table, no entry beforehand':45}{alternative:10.1f}", flush=True)


def main() -> None:
    """Starts moto, and measures against it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", default="100,300,1000", help="numbers of templates to plan")
    parser.add_argument("--apply", type=int, default=100, help="new tables to make")
    parser.add_argument("--patience", type=float, default=300, help="seconds after which a plan is stopped")
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "aws_server.py"), "--port", "5599"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        os.environ |= {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:5599", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1",
        }  # fmt: skip
        os.environ.pop("AWS_CA_BUNDLE", None)
        _wait()
        plans([int(count) for count in options.tables.split(",")], options.patience)
        applies(options.apply)
    finally:
        server.terminate()
        server.wait()


def _wait() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            boto3.client("sts").get_caller_identity()
            return
        except Exception:
            time.sleep(0.2)
    raise SystemExit("moto does not answer")


if __name__ == "__main__":
    main()
