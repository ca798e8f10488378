"""What the admin role's commands call on AWS, its policy allows: moto enforces no IAM."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from glue_shells import READER

from lakehouse.lakeformation import close, live_findings
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

BACKENDS = ["aws-glue"]
POLICIES = (PROJECT_ROOT / "terraform" / "aws" / "modules" / "iam" / "policies.tf").read_text()
TABLE = """\
name: t
namespace: shop
columns:
  - {name: id, type: long}
  - {name: secret, type: string, access_level: restricted}
"""
# Named otherwise than the permission, or allowed to everyone.
OTHER_NAMES = {"sts:GetCallerIdentity": None, "s3:ListObjectsV2": "s3:ListBucket"}


def test_every_call_of_apply_and_governance_is_an_action_of_the_admin_role(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("WRITER", "ADMIN"):
        monkeypatch.setenv(f"LAKEHOUSE_{role}_ROLE", READER.replace("reader", role.lower()))
    (lakehouse.settings.templates / "t.yaml").write_text(TABLE)
    lakehouse.before_apply(lakehouse.templates())
    trust = '{"Version": "2012-10-17", "Statement": []}'
    boto3.client("iam").create_role(RoleName=READER.split("/")[1], AssumeRolePolicyDocument=trust)
    principal = {"DataLakePrincipalIdentifier": READER}
    columns = {"DatabaseName": "shop", "Name": "t", "ColumnNames": ["id", "secret"]}
    boto3.client("lakeformation").grant_permissions(Principal=principal, Resource={"TableWithColumns": columns}, Permissions=["SELECT"])
    called: set[str] = set()
    make = BaseClient._make_api_call

    def recorded(client: BaseClient, operation: str, parameters: Any) -> Any:
        called.add(f"{client.meta.service_model.signing_name}:{operation}")
        return make(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    settings = LakehouseSettings.load()
    assert list(close(settings, live_findings(settings, lakehouse.templates())))
    assert [applied.action for applied in lakehouse.apply()] == ["created"]
    (lakehouse.settings.templates / "t.yaml").write_text(TABLE + "  - {name: other, type: string, access_level: restricted}\n")
    assert [applied.action for applied in lakehouse.apply()] == ["changed"]
    assert {"lakeformation:ListPermissions", "lakeformation:RevokePermissions", "glue:UpdateTable"} <= called
    admin = POLICIES[POLICIES.index("    admin = concat(") :]
    shared = POLICIES[POLICIES.index("  may_read_catalog = {") : POLICIES.index("  may_query = {")]
    allowed = set(re.findall(r'"([a-z0-9]+:[A-Za-z]+)"', admin + shared))
    # The test's own calls, as Terraform: the databases, the shells.
    wanted = {OTHER_NAMES.get(call, call) for call in called} - {None, "glue:CreateDatabase", "s3:ListBucket"}
    assert wanted <= allowed, sorted(wanted - allowed)
