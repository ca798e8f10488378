"""What Terraform makes in Glue before `lakehouse apply`: databases, and an entry of each table."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import boto3

from lakehouse.normalise import normalised
from lakehouse.template import TableTemplate

READER = "arn:aws:iam::123456789012:role/lakehouse-reader"


def make_shells(templates: Iterable[TableTemplate]) -> None:
    """Databases, and an entry of each table, as terraform/aws/modules/table makes them; what is there stays."""
    glue = boto3.client("glue")
    for template in templates:
        with suppress(glue.exceptions.AlreadyExistsException):
            glue.create_database(DatabaseInput={"Name": template.namespace, "CreateTableDefaultPermissions": []})
        for table in normalised(template).values():
            with suppress(glue.exceptions.AlreadyExistsException):
                glue.create_table(DatabaseName=table["namespace"], TableInput=shell(table))


def shell(table: dict[str, Any]) -> dict[str, Any]:
    """Glue's table input of a normalised table's shell."""
    columns = [{"Name": column["name"], "Type": column["glue_type"], "Comment": column["description"]} for column in table["columns"]]
    return {
        "Name": table["name"],
        "Description": table["description"],
        "Owner": table["owner"] or "owner",
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"table_type": "ICEBERG"},
        "StorageDescriptor": {"Location": f"s3://warehouse/{table['namespace']}/{table['name']}", "Columns": columns},
    }
