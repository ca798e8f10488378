"""``lakehouse governance`` against Lake Formation, Glue, IAM and S3 as moto, corrected, has them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import AwsServer, access_denied
from botocore import session
from command_line import run_command

from lakehouse.errors import MissingExtraError, SettingsError
from lakehouse.grants import Finding
from lakehouse.lakeformation import ReaderGrants, close, live_findings
from lakehouse.lint import load_templates
from lakehouse.settings import LakehouseSettings

READER, WRITER, ADMIN = ROLES = tuple(f"arn:aws:iam::123456789012:role/lakehouse-{name}" for name in ("reader", "writer", "admin"))
CALLER = "arn:aws:sts::123456789012:user/moto"
STEWARD = "arn:aws:iam::123456789012:role/steward"
WAREHOUSE = "arn:aws:s3:::lake/warehouse"
TEMPLATES = {
    "users": """\
        name: users
        namespace: lake
        columns:
          - {name: id, type: long}
          - {name: team, type: string, access_level: internal}
          - {name: salary, type: long, access_level: restricted}
        pipeline: {pattern: event_stream, source: {path: "${LAKEHOUSE_LANDING}/users/", format: jsonl}, on_bad_rows: quarantine}
        """,
    "orders": "name: orders\nnamespace: shop\ncolumns: [{name: id, type: long}, {name: amount, type: double}]\n",
}
COLUMNS = {
    ("lake", "users"): ["id", "team", "salary"],
    ("lake", "users__quarantine"): ["source_file", "record"],
    ("shop", "orders"): ["id", "amount"],
}
READABLE = {("lake", "users"): ["id", "team"], ("shop", "orders"): ["id", "amount"]}
Run = Callable[..., tuple[int, Any, str]]


class Cloud:
    """What Terraform would have made, and what somebody made of it."""

    def __init__(self, server: AwsServer, settings: LakehouseSettings) -> None:
        self.server, self.settings = server, settings
        self.lakeformation, self.glue, self.iam, self.s3 = (boto3.client(name) for name in ("lakeformation", "glue", "iam", "s3"))
        open_to_nobody = {"CreateDatabaseDefaultPermissions": [], "CreateTableDefaultPermissions": []}
        self.lakeformation.put_data_lake_settings(DataLakeSettings={**open_to_nobody, **self._administrators(CALLER, STEWARD)})
        self.s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        for role in ROLES:
            self.iam.create_role(RoleName=role.rsplit("/", 1)[-1], AssumeRolePolicyDocument="{}")
        for database in ("lake", "shop"):
            self.glue.create_database(DatabaseInput={"Name": database})
            self.grant(READER, ["DESCRIBE"], Database={"Name": database})
            self.grant(WRITER, ["DESCRIBE"], Database={"Name": database})
            self.grant(ADMIN, ["ALL"], Database={"Name": database})
        for role in (WRITER, ADMIN):
            self.grant(role, ["DATA_LOCATION_ACCESS"], DataLocation={"ResourceArn": WAREHOUSE})
        for (database, name), columns in COLUMNS.items():
            self.entry(database, name, columns)
            table = {"DatabaseName": database, "Name": name}
            self.grant(WRITER, ["SELECT", "INSERT", "DELETE", "DESCRIBE", "ALTER"], Table=table)
            self.grant(ADMIN, ["ALL"], Table=table)
            if (database, name) in READABLE:
                self.grant(READER, ["SELECT"], TableWithColumns={**table, "ColumnNames": READABLE[database, name]})

    @staticmethod
    def _administrators(*arns: str) -> dict[str, Any]:
        return {"DataLakeAdmins": [{"DataLakePrincipalIdentifier": arn} for arn in arns]}

    def administrators(self, *arns: str) -> None:
        self.lakeformation.put_data_lake_settings(DataLakeSettings=self._administrators(*arns))

    def entry(self, database: str, name: str, columns: list[str], former: tuple[str, ...] = ()) -> None:
        listed: list[dict[str, Any]] = [{"Name": column, "Type": "string"} for column in columns]
        listed += [{"Name": column, "Type": "string", "Parameters": {"iceberg.field.current": "false"}} for column in former]
        table = {"Name": name, "TableType": "EXTERNAL_TABLE", "StorageDescriptor": {"Columns": listed}}
        if name in {found["Name"] for found in self.glue.get_tables(DatabaseName=database)["TableList"]}:
            self.glue.update_table(DatabaseName=database, TableInput=table)
        else:
            self.glue.create_table(DatabaseName=database, TableInput=table)

    def grant(self, principal: str, permissions: list[str], grantable: tuple[str, ...] = (), **resource: Any) -> None:
        self.lakeformation.grant_permissions(
            Principal={"DataLakePrincipalIdentifier": principal},
            Resource=resource,
            Permissions=permissions,
            PermissionsWithGrantOption=list(grantable),
        )

    def revoke(self, principal: str, permissions: list[str], **resource: Any) -> None:
        self.lakeformation.revoke_permissions(
            Principal={"DataLakePrincipalIdentifier": principal}, Resource=resource, Permissions=permissions
        )

    def held(self, principal: str) -> set[tuple[str, str]]:
        """What a principal holds: place and permission, columns in the place."""
        found = set()
        for page in _pages(self.lakeformation):
            for entry in page:
                if entry["Principal"]["DataLakePrincipalIdentifier"] == principal:
                    [on] = entry["Resource"].values()
                    place = ".".join(
                        str(on[key]) for key in ("DatabaseName", "Name", "ResourceArn", "ColumnNames", "ColumnWildcard") if key in on
                    )
                    found |= {(place, permission) for permission in entry["Permissions"]}
                    found |= {(place, f"{permission} grantable") for permission in entry["PermissionsWithGrantOption"]}
        return found

    @property
    def findings(self) -> list[Finding]:
        return live_findings(self.settings, load_templates(self.settings.templates, self.settings.variables))

    def kinds(self) -> list[tuple[str, str, str]]:
        return [(found.kind, found.database, found.table) for found in self.findings]


def _pages(client: Any) -> Iterator[list[dict[str, Any]]]:
    more: dict[str, Any] = {}
    while True:
        page = client.list_permissions(**more)
        yield page["PrincipalResourcePermissions"]
        if "NextToken" not in page:
            return
        more = {"NextToken": page["NextToken"]}


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    """One for all tests, and one loader: every session of boto3 parses the megabytes that describe AWS's services again."""
    with AwsServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", functools.cache(session.create_loader))
        yield server


@pytest.fixture
def cloud(server: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Two databases and three tables, one of them for quarantine, with exactly the grants that Terraform gives."""
    server.reset()
    for name in server.removed:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "templates").mkdir()
    for name, text in TEMPLATES.items():
        (tmp_path / "templates" / f"{name}.yaml").write_text(text)
    environment = {
        **server.environment,
        "LAKEHOUSE_BACKEND": "aws-glue",
        "LAKEHOUSE_WAREHOUSE": "s3://lake/warehouse",
        "LAKEHOUSE_LANDING": str(tmp_path),
        "LAKEHOUSE_TEMPLATES": str(tmp_path / "templates"),
        **{f"LAKEHOUSE_{role.rsplit('-', 1)[-1].upper()}_ROLE": role for role in ROLES},
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Cloud(server, LakehouseSettings.load())


@pytest.fixture
def run(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``lakehouse governance`` in this process: exit code, output (parsed where it is JSON), errors."""

    def call(*arguments: str) -> tuple[int, Any, str]:
        code, out, err = run_command(capsys, "governance", *arguments)
        return code, json.loads(out) if "--json" in arguments and out else out, err

    return call


def test_the_matrix_needs_no_cloud_and_has_quarantine_tables(run: Run, cloud: Cloud) -> None:
    cloud.server.faults.inject("*", access_denied, None)
    code, items, _ = run("--json")
    assert code == 0
    reads = {(item["table"], item["column"]): item["reader"] for item in items}
    assert {name for name, sees in reads.items() if sees} == {
        ("lake.users", "id"), ("lake.users", "team"), ("shop.orders", "id"), ("shop.orders", "amount"),
    }  # fmt: skip
    assert ("lake.users__quarantine", "record") in reads
    assert all(item["writer"] and item["admin"] for item in items)
    assert set(items[0]) == {"table", "column", "access_level", "pii", "reader", "writer", "admin"}
    code, out, _ = run("orders")
    assert code == 0 and "amount" in out and "salary" not in out
    code, _, err = run("nothing")
    assert code == 1 and "No template describes nothing. The tables are: lake.users," in err.replace(
        "shop.orders, lake.users", "lake.users,"
    )


def test_what_terraform_grants_is_as_the_templates_say(run: Run) -> None:
    assert run("--live", "--json")[:2] == (0, [])
    code, out, _ = run("--live")
    assert (code, out) == (0, "3 tables: 0 too open, 0 not looked at, 0 missing grants, 0 not there\n")


def test_missing_grants_are_shown_with_the_remedy_and_are_no_failure(cloud: Cloud, run: Run) -> None:
    cloud.revoke(READER, ["SELECT"], TableWithColumns={"DatabaseName": "lake", "Name": "users", "ColumnNames": ["team"]})
    cloud.revoke(WRITER, ["DATA_LOCATION_ACCESS"], DataLocation={"ResourceArn": WAREHOUSE})
    code, items, _ = run("--live", "--json")
    assert code == 0
    assert [(item["kind"], item["table"], item["principal"], item["permissions"], item["columns"]) for item in items] == [
        ("missing", "", WRITER, ["DATA_LOCATION_ACCESS"], []),
        ("missing", "users", READER, ["SELECT"], ["team"]),
    ]
    assert run("--fix", "--json")[:2] == (0, items)
    code, out, _ = run("--live")
    assert code == 0 and "terraform apply" in out and "2 missing" in out


@pytest.mark.parametrize(
    "columns", [{"ColumnNames": ["salary"]}, {"ColumnWildcard": {}}, {"ColumnWildcard": {"ExcludedColumnNames": ["salary"]}}, None]
)
def test_a_reader_with_more_than_the_allow_list_is_closed_and_keeps_what_it_may_read(
    columns: dict[str, Any] | None, cloud: Cloud, run: Run
) -> None:
    table = {"DatabaseName": "lake", "Name": "users"}
    before = cloud.held(READER)
    cloud.grant(READER, ["SELECT"], **({"Table": table} if columns is None else {"TableWithColumns": {**table, **columns}}))
    code, [item], _ = run("--live", "--json")
    assert code == 1
    assert (item["status"], item["kind"], item["too_open"], item["done"]) == ("open", "excessive", True, None)
    assert (item["database"], item["table"], item["principal"], item["permissions"]) == ("lake", "users", READER, ["SELECT"])
    assert item["columns"] == ([] if columns and "ExcludedColumnNames" in str(columns) else ["salary"])
    code, [item], _ = run("--fix", "--json")
    assert (code, item["status"], item["kind"]) == (0, "closed", "excessive")
    assert item["done"].startswith("revoked SELECT")
    assert cloud.held(READER) == before
    assert run("--fix", "--json")[:2] == (0, [])


def test_a_reader_of_all_tables_keeps_the_readable_columns_of_each(cloud: Cloud, run: Run) -> None:
    before = cloud.held(READER)
    cloud.revoke(READER, ["SELECT"], TableWithColumns={"DatabaseName": "lake", "Name": "users", "ColumnNames": ["id", "team"]})
    cloud.grant(READER, ["ALL"], ("ALL",), Table={"DatabaseName": "lake", "TableWildcard": {}})
    code, out, _ = run("users", "--live")
    assert code == 1 and "ALL WITH GRANT OPTION" in out and "salary" in out
    code, out, _ = run("users", "--fix")
    assert code == 0, out
    assert "granted SELECT of id, team on lake.users" in out and "1 closed" in out
    assert cloud.held(READER) == before


def test_a_grant_option_is_taken_from_the_reader_and_the_writer(cloud: Cloud, run: Run) -> None:
    before = cloud.held(READER), cloud.held(WRITER)
    table = {"DatabaseName": "lake", "Name": "users"}
    cloud.grant(READER, ["SELECT"], ("SELECT",), TableWithColumns={**table, "ColumnNames": ["id"]})
    cloud.grant(WRITER, ["ALTER", "DROP"], ("INSERT",), Table=table)
    code, items, _ = run("--live", "--json")
    assert code == 1
    assert {(item["principal"], *item["permissions"]) for item in items} == {
        (READER, "SELECT WITH GRANT OPTION"),
        (WRITER, "DROP", "INSERT WITH GRANT OPTION"),
    }
    assert run("--fix")[0] == 0
    assert (cloud.held(READER), cloud.held(WRITER)) == before


def test_leftovers_and_strangers_are_closed_and_administrators_keep_theirs(cloud: Cloud, run: Run) -> None:
    everyone, stranger = "IAM_ALLOWED_PRINCIPALS", "arn:aws:iam::123456789012:user/ann"
    table = {"DatabaseName": "lake", "Name": "users__quarantine"}
    cloud.grant(everyone, ["ALL"], Database={"Name": "lake"})
    cloud.grant(everyone, ["ALL"], Table=table)
    cloud.grant(stranger, ["SELECT"], TableWithColumns={**table, "ColumnNames": ["record"]})
    cloud.grant(stranger, ["SELECT"], Table={"DatabaseName": "shop", "TableWildcard": {}})
    cloud.grant(stranger, ["DATA_LOCATION_ACCESS"], DataLocation={"ResourceArn": "arn:aws:s3:::lake"})
    cloud.grant(STEWARD, ["ALL"], ("ALL",), Table=table)
    steward = cloud.held(STEWARD)
    assert cloud.kinds() == [
        ("foreign", "", ""),
        ("leftover", "lake", ""),
        ("foreign", "lake", "users__quarantine"),
        ("leftover", "lake", "users__quarantine"),
        ("foreign", "shop", "ALL_TABLES"),
    ]
    code, out, _ = run("--fix")
    assert code == 0 and "5 closed" in out
    assert cloud.held(everyone) == cloud.held(stranger) == set()
    assert cloud.held(STEWARD) == steward
    assert cloud.kinds() == []


def test_a_table_that_was_open_to_everybody_before_terraform_is_found(cloud: Cloud) -> None:
    """A new table of an account that nobody configured is open to every IAM principal."""
    everyone = {"Principal": {"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"}, "Permissions": ["ALL"]}
    cloud.glue.delete_table(DatabaseName="shop", Name="orders")
    cloud.glue.update_database(Name="shop", DatabaseInput={"Name": "shop", "CreateTableDefaultPermissions": [everyone]})
    cloud.entry("shop", "orders", ["id", "amount"])
    assert ("leftover", "shop", "orders") in cloud.kinds()


def test_a_grant_on_lf_tags_is_found_where_a_table_carries_them_and_is_left_to_people(cloud: Cloud, run: Run) -> None:
    cloud.lakeformation.create_lf_tag(TagKey="domain", TagValues=["web", "sales"])
    for database, name in COLUMNS:
        value = "web" if name == "users" else "sales"
        table = {"DatabaseName": database, "Name": name}
        cloud.lakeformation.add_lf_tags_to_resource(Resource={"Table": table}, LFTags=[{"TagKey": "domain", "TagValues": [value]}])
    policy = {"ResourceType": "TABLE", "Expression": [{"TagKey": "domain", "TagValues": ["web", "games"]}]}
    cloud.grant(READER, ["SELECT"], LFTagPolicy=policy)
    code, [item], _ = run("--live", "--json")
    assert code == 1
    assert (item["kind"], item["table"], item["principal"], item["permissions"]) == ("excessive", "users", READER, ["SELECT"])
    assert "domain=web|games" in item["remedy"]
    code, items, _ = run("--fix", "--json")
    assert code == 1 and [found["done"] for found in items] == [f"not closed: {item['remedy']}"]


OBJECTS = f"{WAREHOUSE}/*"


@pytest.mark.parametrize(
    ("statement", "actions"),
    [
        ({"Action": "s3:GetObject", "Resource": OBJECTS}, {"s3:GetObject"}),
        ({"Action": ["s3:Get*", "s3:Put*"], "Resource": "*"}, {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"}),
        ({"Action": "s3:GetObject", "Resource": f"{WAREHOUSE}/lake/users/metadata/*"}, {"s3:GetObject"}),
        ({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lake"}, {"s3:ListBucket"}),
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::lake/results/*"}, set()),
        ({"Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}, set()),
        ({"Action": "s3:ListBucket", "Resource": "*", "Condition": {"StringLike": {"s3:prefix": "results/*"}}}, set()),
        ({"Action": "s3:GetObject", "Resource": OBJECTS, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, {"s3:GetObject"}),
        ({"NotAction": "iam:*", "Resource": OBJECTS, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, set()),
    ],
)
def test_a_reader_that_reaches_the_files_by_any_policy_is_found(statement: dict[str, Any], actions: set[str], cloud: Cloud) -> None:
    role = "lakehouse-reader"
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}

    def found(by: str) -> set[str]:
        findings = cloud.findings
        assert all(finding.kind == "s3" and by in finding.message for finding in findings)
        return {action for finding in findings for action in finding.permissions if finding.database == "lake"}

    cloud.iam.put_role_policy(RoleName=role, PolicyName="data", PolicyDocument=json.dumps(document))
    assert found("its inline policy data") == actions
    cloud.iam.delete_role_policy(RoleName=role, PolicyName="data")
    assert found("") == set()
    arn = cloud.iam.create_policy(PolicyName="data", PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    cloud.iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    assert found(f"its policy {arn}") == actions
    cloud.iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    document["Statement"][0]["Principal"] = {"AWS": READER}
    cloud.s3.put_bucket_policy(Bucket="lake", Policy=json.dumps(document))
    assert found("the bucket's policy") == actions


def test_access_to_the_files_is_not_closed_and_the_remedy_says_what_to_remove(cloud: Cloud, run: Run) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": OBJECTS}]}
    cloud.iam.put_role_policy(RoleName="lakehouse-reader", PolicyName="data", PolicyDocument=json.dumps(policy))
    code, items, _ = run("--fix", "--json")
    assert code == 1
    assert [(item["kind"], item["database"], item["status"]) for item in items] == [("s3", "lake", "open"), ("s3", "shop", "open")]
    assert all(item["done"].startswith("not closed: Remove s3:GetObject on it there") for item in items)


def test_a_deny_of_the_bucket_and_a_boundary_keep_the_reader_out(cloud: Cloud) -> None:
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    cloud.iam.put_role_policy(RoleName="lakehouse-reader", PolicyName="data", PolicyDocument=json.dumps(allow))
    assert {kind for kind, _, _ in cloud.kinds()} == {"s3"}
    not_our_roles = {"StringNotLike": {"aws:PrincipalArn": [WRITER, ADMIN]}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"]}
    policy = {"Version": "2012-10-17", "Statement": [{**deny, "Condition": not_our_roles}]}
    cloud.s3.put_bucket_policy(Bucket="lake", Policy=json.dumps(policy))
    assert cloud.kinds() == []
    cloud.s3.delete_bucket_policy(Bucket="lake")
    boundary = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "athena:*", "Resource": "*"}]}
    arn = cloud.iam.create_policy(PolicyName="boundary", PolicyDocument=json.dumps(boundary))["Policy"]["Arn"]
    cloud.iam.put_role_permissions_boundary(RoleName="lakehouse-reader", PermissionsBoundary=arn)
    assert cloud.kinds() == []


def test_a_table_without_an_entry_is_no_leak_and_hides_no_other(cloud: Cloud, run: Run) -> None:
    cloud.glue.delete_table(DatabaseName="lake", Name="users")
    cloud.glue.delete_database(Name="shop")
    code, items, _ = run("--live", "--json")
    assert code == 0
    assert [(item["kind"], item["database"], item["table"]) for item in items] == [
        ("absent", "lake", "users"), ("absent", "shop", "orders"),
    ]  # fmt: skip
    cloud.grant(READER, ["SELECT"], Table={"DatabaseName": "lake", "Name": "users__quarantine"})
    assert run("--live")[0] == 1


def test_a_table_that_cannot_be_looked_at_is_a_failure_and_hides_no_other(cloud: Cloud, run: Run) -> None:
    cloud.glue.delete_table(DatabaseName="lake", Name="users")
    cloud.grant("IAM_ALLOWED_PRINCIPALS", ["ALL"], Database={"Name": "shop"})
    fault = cloud.server.faults.inject("glue:GetTable", access_denied)
    assert cloud.kinds() == [("unreachable", "lake", "users"), ("leftover", "shop", "")]
    assert fault.met == 1
    cloud.server.faults.inject("glue:GetTables", access_denied)
    assert cloud.kinds() == [("unreachable", "lake", ""), ("leftover", "shop", "")]
    cloud.revoke("IAM_ALLOWED_PRINCIPALS", ["ALL"], Database={"Name": "shop"})
    cloud.server.faults.inject("glue:GetTable", access_denied)
    assert run("users", "--live")[0] == 1
    cloud.server.faults.inject("glue:GetTable", access_denied)
    assert run("orders", "--live")[0] == 0


@pytest.mark.parametrize("call", ["lakeformation:ListPermissions", "lakeformation:GetDataLakeSettings", "sts:*", "iam:*", "s3:*"])
def test_a_service_that_refuses_is_a_failure_and_nothing_is_revoked_by_mistake(call: str, cloud: Cloud, run: Run) -> None:
    cloud.grant(STEWARD, ["ALL"], Table={"DatabaseName": "lake", "Name": "users"})
    before = [cloud.held(principal) for principal in (*ROLES, STEWARD)]
    fault = cloud.server.faults.inject(call, access_denied, None)
    code, items, _ = run("--fix", "--json")
    assert fault.met
    cloud.server.faults.clear()
    assert code == 1
    assert {item["kind"] for item in items} == {"unreachable"}
    assert [cloud.held(principal) for principal in (*ROLES, STEWARD)] == before


def test_a_caller_who_may_not_see_all_grants_is_a_failure(cloud: Cloud) -> None:
    cloud.administrators(STEWARD)
    [found] = cloud.findings
    assert found.kind == "unreachable" and CALLER in found.message and "admin" in found.remedy
    assert ReaderGrants(cloud.settings).columns("lake.users") is None


def test_a_revoke_that_fails_is_said_and_the_exit_code_is_of_the_second_look(cloud: Cloud, run: Run) -> None:
    cloud.grant("IAM_ALLOWED_PRINCIPALS", ["ALL"], Database={"Name": "lake"})
    cloud.server.faults.inject("lakeformation:RevokePermissions", access_denied, None)
    code, [item], _ = run("--fix", "--json")
    assert (code, item["status"]) == (1, "open")
    assert "not revoked" in item["done"] and "AccessDenied" in item["done"]


def test_a_grant_that_fails_after_the_revoke_leaves_less_and_is_said(cloud: Cloud) -> None:
    cloud.grant(READER, ["SELECT"], Table={"DatabaseName": "lake", "Name": "users"})
    cloud.revoke(READER, ["SELECT"], TableWithColumns={"DatabaseName": "lake", "Name": "users", "ColumnNames": ["id", "team"]})
    cloud.server.faults.inject("lakeformation:GrantPermissions", access_denied)
    [outcome] = close(cloud.settings, cloud.findings)
    assert not outcome.closed
    assert "was not granted again" in outcome.text
    [found] = cloud.findings
    assert (found.kind, found.columns) == ("missing", ("id", "team"))


def test_what_somebody_else_revoked_meanwhile_is_closed(cloud: Cloud) -> None:
    cloud.grant("IAM_ALLOWED_PRINCIPALS", ["ALL"], Database={"Name": "lake"})
    found = cloud.findings
    cloud.revoke("IAM_ALLOWED_PRINCIPALS", ["ALL"], Database={"Name": "lake"})
    [outcome] = close(cloud.settings, found)
    assert outcome.closed and "was gone" in outcome.text


def test_columns_of_older_schemas_are_not_live(cloud: Cloud) -> None:
    cloud.revoke(READER, ["SELECT"], TableWithColumns={"DatabaseName": "lake", "Name": "users", "ColumnNames": ["team"]})
    cloud.entry("lake", "users", ["id", "salary"], former=("team",))
    assert cloud.kinds() == []


def test_more_tables_and_grants_than_one_page_holds(cloud: Cloud) -> None:
    text = "name: {0}\nnamespace: shop\ncolumns: [{{name: id, type: long}}]\n"
    entries = []
    for index in range(110):
        name = f"t{index:03}"
        (cloud.settings.templates / f"{name}.yaml").write_text(text.format(name))
        table = {"DatabaseName": "shop", "Name": name}
        cloud.glue.create_table(DatabaseName="shop", TableInput={"Name": name, "StorageDescriptor": {"Columns": [{"Name": "id"}]}})
        for principal in "abcdefghij":
            on = {"Principal": {"DataLakePrincipalIdentifier": principal}, "Resource": {"Table": table}}
            entries.append({"Id": str(len(entries)), "Permissions": ["SELECT"], **on})
    cloud.lakeformation.batch_grant_permissions(Entries=entries)
    found = cloud.findings
    assert len([finding for finding in found if finding.kind == "foreign"]) == 1100
    assert not [finding for finding in found if finding.kind in ("absent", "unreachable")]


def test_the_columns_that_the_reader_holds(cloud: Cloud) -> None:
    table = {"DatabaseName": "lake", "Name": "users"}
    assert ReaderGrants(cloud.settings).columns("lake.users") == {"id", "team"}
    assert ReaderGrants(cloud.settings).columns("lake.users__quarantine") == set()
    assert ReaderGrants(cloud.settings).columns("lake.nothing") == set()
    cloud.grant(READER, ["SELECT"], Table={"DatabaseName": "lake", "TableWildcard": {}})
    assert ReaderGrants(cloud.settings).columns("lake.users__quarantine") == {"source_file", "record"}
    cloud.grant(READER, ["SELECT"], Table=table)
    assert ReaderGrants(cloud.settings).columns("lake.users") == {"id", "team", "salary"}
    assert ReaderGrants(cloud.settings.model_copy(update={"reader_role": None})).columns("lake.users") is None


def test_settings_that_are_missing_or_wrong_are_named(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAKEHOUSE_READER_ROLE")
    monkeypatch.delenv("LAKEHOUSE_ADMIN_ROLE")
    code, _, err = run("--live")
    assert code == 1
    assert "LAKEHOUSE_READER_ROLE, LAKEHOUSE_ADMIN_ROLE" in err and "lakehouse env --terraform terraform/aws" in err
    with pytest.raises(SettingsError, match="same ARN"):
        live_findings(cloud.settings.model_copy(update={"writer_role": READER}), [])
    with pytest.raises(SettingsError, match="No ARN of a role: reader"):
        live_findings(cloud.settings.model_copy(update={"reader_role": "reader"}), [])
    monkeypatch.setenv("LAKEHOUSE_BACKEND", "local")
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", "/tmp/warehouse")
    code, _, err = run("--live")
    assert code == 1 and "aws-glue" in err


def test_without_boto3_the_extra_is_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"\[aws\]"):
        live_findings(cloud.settings, [])
