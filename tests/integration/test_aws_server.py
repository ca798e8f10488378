"""The corrected AWS server behaves as AWS; stock moto still does not, or the correction can go; faults are met."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pyarrow as pa
import pytest
from aws_server import AwsServer, access_denied, before, closed_connection, internal_error, lost_answer, throttled
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException

READER = {"DataLakePrincipalIdentifier": "arn:aws:iam::123456789012:role/reader"}
TABLE = {"DatabaseName": "shop", "Name": "events"}
OPEN_TO_ALL = "IAM_ALLOWED_PRINCIPALS"


class Aws:
    """boto3's clients of one endpoint, without retries: what a server answers is what a test sees."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}

    def __getattr__(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self._endpoint,
                region_name="eu-central-1",
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def table(self, *columns: str) -> None:
        self.glue.create_database(DatabaseInput={"Name": "shop"})
        self.glue.create_table(DatabaseName="shop", TableInput=entry(*columns or ("id", "email")))

    def grants(self, **of: Any) -> list[tuple[str, list[str], list[str]]]:
        """What is granted: the resource's kind and columns, the permissions, sorted."""
        found = self.lakeformation.list_permissions(**of)["PrincipalResourcePermissions"]
        return sorted(
            (kind, resource.get("ColumnNames", []), sorted(one["Permissions"]))
            for one in found
            if one["Principal"] == READER
            for kind, resource in one["Resource"].items()
        )

    def principals(self) -> list[tuple[str, str]]:
        found = self.lakeformation.list_permissions()["PrincipalResourcePermissions"]
        return [(*one["Resource"], one["Principal"]["DataLakePrincipalIdentifier"]) for one in found]


def entry(*columns: str) -> dict[str, Any]:
    return {"Name": "events", "StorageDescriptor": {"Columns": [{"Name": column, "Type": "string"} for column in columns]}}


def outcome(call: Callable[..., Any], **arguments: Any) -> str:
    """ "done", or the code of the error."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except ResponseParserError:
        return "500"  # moto's page about an action that it does not have
    return "done"


@pytest.fixture(scope="module")
def server() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def aws(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Aws:
    server.reset()
    for name in server.removed:
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return Aws(server.endpoint)


@pytest.fixture(scope="module")
def stock_endpoint() -> Iterator[str]:
    """moto as it is, in its own process."""
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "Running on" in line)
    threading.Thread(target=process.stderr.read, daemon=True).start()
    found = re.search(r"http://[\d.:]+", line)
    assert found is not None
    yield found.group()
    process.terminate()
    process.wait()


@pytest.fixture
def stock(stock_endpoint: str, aws: Aws) -> Aws:
    urlopen(Request(f"{stock_endpoint}/moto-api/reset", method="POST")).close()
    return Aws(stock_endpoint)


def test_a_stale_version_of_a_table_is_refused(aws: Aws, stock: Aws) -> None:
    def second_writer(aws: Aws) -> str:
        aws.table()
        version = aws.glue.get_table(**TABLE)["Table"]["VersionId"]
        assert outcome(aws.glue.update_table, DatabaseName="shop", TableInput=entry("a"), VersionId=version) == "done"
        assert aws.glue.get_table(**TABLE)["Table"]["VersionId"] != version
        assert outcome(aws.glue.update_table, DatabaseName="shop", TableInput=entry("b")) == "done"
        return outcome(aws.glue.update_table, DatabaseName="shop", TableInput=entry("c"), VersionId=version)

    assert second_writer(aws) == "ConcurrentModificationException"
    assert second_writer(stock) == "done"


def test_of_many_writers_with_one_version_one_wins(aws: Aws) -> None:
    aws.table()
    version = aws.glue.get_table(**TABLE)["Table"]["VersionId"]
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(
            threads.map(
                lambda name: outcome(aws.glue.update_table, DatabaseName="shop", TableInput=entry(name), VersionId=version), "abcdefgh"
            )
        )
    assert sorted(outcomes) == ["ConcurrentModificationException"] * 7 + ["done"]


def test_tables_have_optimizers(aws: Aws, stock: Aws) -> None:
    of = {"CatalogId": "123456789012", "DatabaseName": "shop", "TableName": "events", "Type": "compaction"}
    configuration = {"roleArn": "arn:aws:iam::123456789012:role/maintenance", "enabled": True}
    aws.table()
    assert outcome(aws.glue.get_table_optimizer, **of) == "EntityNotFoundException"
    aws.glue.create_table_optimizer(**of, TableOptimizerConfiguration=configuration)
    assert outcome(aws.glue.create_table_optimizer, **of, TableOptimizerConfiguration=configuration) == "AlreadyExistsException"
    aws.glue.update_table_optimizer(**of, TableOptimizerConfiguration={**configuration, "enabled": False})
    assert aws.glue.get_table_optimizer(**of)["TableOptimizer"] == {
        "type": "compaction",
        "configuration": {**configuration, "enabled": False},
    }
    aws.glue.delete_table_optimizer(**of)
    assert outcome(aws.glue.get_table_optimizer, **of) == "EntityNotFoundException"
    stock.table()
    assert outcome(stock.glue.create_table_optimizer, **of, TableOptimizerConfiguration=configuration) == "500"


def test_new_databases_and_tables_are_open_to_everybody_until_the_settings_say_otherwise(aws: Aws, stock: Aws) -> None:
    aws.table()
    assert aws.principals() == [("Database", OPEN_TO_ALL), ("Table", OPEN_TO_ALL)]
    aws.glue.delete_table(**TABLE)
    assert aws.principals() == [("Database", OPEN_TO_ALL)]
    aws.glue.delete_database(Name="shop")
    nobody = [{"Principal": {"DataLakePrincipalIdentifier": OPEN_TO_ALL}, "Permissions": []}]
    aws.glue.create_database(DatabaseInput={"Name": "shop", "CreateTableDefaultPermissions": nobody})
    aws.glue.create_table(DatabaseName="shop", TableInput=entry("a"))
    assert aws.principals() == [("Database", OPEN_TO_ALL)]
    aws.glue.delete_database(Name="shop")
    aws.lakeformation.put_data_lake_settings(
        DataLakeSettings={"DataLakeAdmins": [READER], "CreateDatabaseDefaultPermissions": [], "CreateTableDefaultPermissions": []}
    )
    aws.table()
    assert aws.principals() == []
    stock.table()
    assert stock.principals() == []


def test_a_table_and_its_database_take_their_grants_along(aws: Aws, stock: Aws) -> None:
    def after_recreation(aws: Aws) -> int:
        aws.table()
        aws.lakeformation.grant_permissions(Principal=READER, Resource={"Table": TABLE}, Permissions=["DESCRIBE"])
        aws.glue.delete_database(Name="shop")
        aws.table()
        return len(aws.grants())

    assert after_recreation(aws) == 0
    assert after_recreation(stock) == 1


def test_a_tables_grants_list_its_columns(aws: Aws, stock: Aws) -> None:
    def listed(aws: Aws) -> list[tuple[str, list[str], list[str]]]:
        aws.table("id", "name", "email")
        columns = {"TableWithColumns": {**TABLE, "ColumnNames": ["name", "id"]}}
        aws.lakeformation.grant_permissions(Principal=READER, Resource=columns, Permissions=["SELECT"])
        return aws.grants(Principal=READER, Resource={"Table": TABLE})

    assert listed(aws) == [("TableWithColumns", ["id", "name"], ["SELECT"])]
    assert listed(stock) == []
    more = {"TableWithColumns": {**TABLE, "ColumnNames": ["email"]}}
    aws.lakeformation.grant_permissions(Principal=READER, Resource=more, Permissions=["SELECT"])
    assert aws.grants(ResourceType="TABLE") == [("TableWithColumns", ["email", "id", "name"], ["SELECT"])]
    aws.lakeformation.revoke_permissions(Principal=READER, Resource=more, Permissions=["SELECT"])
    assert aws.grants() == [("TableWithColumns", ["id", "name"], ["SELECT"])]


def test_select_on_a_table_is_listed_as_select_on_all_its_columns(aws: Aws, stock: Aws) -> None:
    def listed(aws: Aws) -> list[tuple[str, list[str], list[str]]]:
        aws.table()
        aws.lakeformation.grant_permissions(Principal=READER, Resource={"Table": TABLE}, Permissions=["SELECT", "DESCRIBE"])
        return aws.grants(Principal=READER, Resource={"Table": TABLE})

    assert listed(aws) == [("Table", [], ["DESCRIBE"]), ("TableWithColumns", [], ["SELECT"])]
    assert listed(stock) == [("Table", [], ["DESCRIBE", "SELECT"])]


def test_a_second_revoke_fails(aws: Aws, stock: Aws) -> None:
    def second_revoke(aws: Aws) -> str:
        aws.table()
        grant = {"Principal": READER, "Resource": {"Database": {"Name": "shop"}}, "Permissions": ["DESCRIBE"]}
        aws.lakeformation.grant_permissions(**grant)
        aws.lakeformation.revoke_permissions(**grant)
        return outcome(aws.lakeformation.revoke_permissions, **grant)

    assert second_revoke(aws) == "InvalidInputException"
    assert second_revoke(stock) == "done"
    failed = {"Id": "1", "Principal": READER, "Resource": {"Table": TABLE}, "Permissions": ["SELECT"]}
    (failure,) = aws.lakeformation.batch_revoke_permissions(Entries=[failed])["Failures"]
    assert failure["RequestEntry"] == failed
    assert failure["Error"]["ErrorMessage"] == "No permissions revoked. Grantee has no permissions on the resource."
    assert stock.lakeformation.batch_revoke_permissions(Entries=[failed])["Failures"] == []


def test_a_grant_names_columns_that_the_entry_has(aws: Aws, stock: Aws) -> None:
    def grant(aws: Aws, table: str, column: str) -> str:
        resource = {"TableWithColumns": {"DatabaseName": "shop", "Name": table, "ColumnNames": [column]}}
        return outcome(aws.lakeformation.grant_permissions, Principal=READER, Resource=resource, Permissions=["SELECT"])

    aws.table()
    stock.table()
    assert grant(aws, "events", "id") == "done"
    assert grant(aws, "events", "later") == "InvalidInputException"
    assert grant(aws, "missing", "id") == "EntityNotFoundException"
    assert grant(stock, "events", "later") == grant(stock, "missing", "id") == "done"


def test_grants_are_listed_in_pages(aws: Aws, stock: Aws) -> None:
    def pages(aws: Aws) -> list[int]:
        aws.glue.create_database(DatabaseInput={"Name": "shop"})
        of = {"Resource": {"Database": {"Name": "shop"}}}
        for role in ("reader", "writer", "admin"):
            principal = {"DataLakePrincipalIdentifier": f"arn:aws:iam::123456789012:role/{role}"}
            aws.lakeformation.grant_permissions(Principal=principal, **of, Permissions=["DESCRIBE"])
        first = aws.lakeformation.list_permissions(**of, MaxResults=2)
        if "NextToken" not in first:
            return [len(first["PrincipalResourcePermissions"])]
        second = aws.lakeformation.list_permissions(**of, MaxResults=2, NextToken=first["NextToken"])
        assert "NextToken" not in second
        return [len(first["PrincipalResourcePermissions"]), len(second["PrincipalResourcePermissions"])]

    aws.lakeformation.put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": []})
    assert pages(aws) == [2, 1]
    assert pages(stock) == [3]


def test_a_registration_keeps_its_options(aws: Aws, stock: Aws) -> None:
    def registered(aws: Aws) -> Any:
        location = "arn:aws:s3:::warehouse/shop"
        aws.lakeformation.register_resource(
            ResourceArn=location, RoleArn="arn:aws:iam::123456789012:role/registration", HybridAccessEnabled=True
        )
        return aws.lakeformation.describe_resource(ResourceArn=location)["ResourceInfo"].get("HybridAccessEnabled")

    assert registered(aws) is True
    assert registered(stock) is None
    update = {"ResourceArn": "arn:aws:s3:::warehouse/shop", "RoleArn": "arn:aws:iam::123456789012:role/other"}
    assert outcome(aws.lakeformation.update_resource, **update) == "done"
    assert aws.lakeformation.describe_resource(ResourceArn=update["ResourceArn"])["ResourceInfo"]["RoleArn"] == update["RoleArn"]
    assert outcome(stock.lakeformation.update_resource, **update) != "done"


def test_work_groups_are_updated(aws: Aws, stock: Aws) -> None:
    results = {"OutputLocation": "s3://results/reader/", "ExpectedBucketOwner": "123456789012"}
    aws.athena.create_work_group(Name="reader", Configuration={"ResultConfiguration": results, "BytesScannedCutoffPerQuery": 10**9})
    updates = {
        "ResultConfigurationUpdates": {"OutputLocation": "s3://results/other/", "RemoveExpectedBucketOwner": True},
        "RemoveBytesScannedCutoffPerQuery": True,
        "PublishCloudWatchMetricsEnabled": True,
    }
    aws.athena.update_work_group(WorkGroup="reader", Description="new", State="DISABLED", ConfigurationUpdates=updates)
    found = aws.athena.get_work_group(WorkGroup="reader")["WorkGroup"]
    assert (found["Description"], found["State"]) == ("new", "DISABLED")
    assert found["Configuration"]["ResultConfiguration"] == {"OutputLocation": "s3://results/other/"}
    assert found["Configuration"]["PublishCloudWatchMetricsEnabled"] is True
    assert "BytesScannedCutoffPerQuery" not in found["Configuration"]
    assert outcome(aws.athena.update_work_group, WorkGroup="missing") == "InvalidRequestException"
    stock.athena.create_work_group(Name="reader")
    assert outcome(stock.athena.update_work_group, WorkGroup="reader", Description="new") == "500"


def test_named_queries_are_updated_and_deleted(aws: Aws, stock: Aws) -> None:
    def named_query(aws: Aws) -> str:
        return aws.athena.create_named_query(Name="sample", Database="shop", QueryString="SELECT 1")["NamedQueryId"]

    identifier = named_query(aws)
    aws.athena.update_named_query(NamedQueryId=identifier, Name="sample", QueryString="SELECT 2")
    assert aws.athena.get_named_query(NamedQueryId=identifier)["NamedQuery"]["QueryString"] == "SELECT 2"
    aws.athena.delete_named_query(NamedQueryId=identifier)
    assert outcome(aws.athena.get_named_query, NamedQueryId=identifier) == "InvalidRequestException"
    identifier = named_query(stock)
    assert outcome(stock.athena.update_named_query, NamedQueryId=identifier, Name="sample", QueryString="SELECT 2") == "500"
    assert outcome(stock.athena.delete_named_query, NamedQueryId=identifier) == "500"
    assert outcome(stock.athena.get_named_query, NamedQueryId="missing") == "500"


def test_a_work_group_may_have_no_tags(aws: Aws, stock: Aws) -> None:
    def tags(aws: Aws) -> str:
        aws.athena.create_work_group(Name="reader")
        return outcome(aws.athena.list_tags_for_resource, ResourceARN="arn:aws:athena:eu-central-1:123456789012:workgroup/reader")

    assert tags(aws) == "done"
    assert tags(stock) == "InvalidRequestException"


def bucket(aws: Aws, name: str, *statements: dict[str, Any]) -> None:
    """A new bucket; the statements' resources are the bucket itself and paths in it."""
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements}).replace("BUCKET", f"arn:aws:s3:::{name}")
        aws.s3.put_bucket_policy(Bucket=name, Policy=policy)


DENY = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["BUCKET", "BUCKET/*"]}
DENY_WITHOUT_TLS = {**DENY, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
DENY_OLD_TLS = {**DENY, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}}


def test_a_bucket_policy_may_demand_tls(aws: Aws, stock: Aws) -> None:
    def put(aws: Aws, name: str, *statements: dict[str, Any]) -> str:
        bucket(aws, name, *statements)
        return outcome(aws.s3.put_object, Bucket=name, Key="a", Body=b"")

    assert put(aws, "with-tls", DENY_WITHOUT_TLS, DENY_OLD_TLS) == "done"
    assert put(aws, "closed", DENY_WITHOUT_TLS, DENY) == "403"
    assert put(stock, "with-tls", DENY_WITHOUT_TLS) == put(stock, "with-new-tls", DENY_OLD_TLS) == "403"


def test_a_log_bucket_may_have_a_tls_policy_and_lists_in_its_own(aws: Aws, stock: Aws) -> None:
    def log(aws: Aws, name: str, resource: str | list[str], *more: dict[str, Any]) -> str:
        service = {"Service": ["logging.s3.amazonaws.com"] if isinstance(resource, list) else "logging.s3.amazonaws.com"}
        bucket(aws, name, *more, {"Effect": "Allow", "Principal": service, "Action": ["s3:PutObject"], "Resource": resource})
        target = {"LoggingEnabled": {"TargetBucket": name, "TargetPrefix": "logs/data/"}}
        return outcome(aws.s3.put_bucket_logging, Bucket="data", BucketLoggingStatus=target)

    bucket(aws, "data")
    bucket(stock, "data")
    assert log(aws, "logs", ["BUCKET/logs/*"], DENY_WITHOUT_TLS) == "done"
    assert log(aws, "other-logs", ["BUCKET/other/*"], DENY_WITHOUT_TLS) == "InvalidTargetBucketForLogging"
    assert log(stock, "logs", ["BUCKET/logs/*"]) == "InvalidTargetBucketForLogging"
    assert log(stock, "other-logs", "BUCKET/logs/data/*", DENY_WITHOUT_TLS) == "500"


def service(aws: Aws) -> Any:
    """A new service of two tasks, as it is described."""
    aws.ecs.create_cluster(clusterName="lake")
    container = {"name": "server", "image": "server:1", "memory": 128}
    aws.ecs.register_task_definition(family="server", containerDefinitions=[container])
    aws.ecs.create_service(
        cluster="lake",
        serviceName="server",
        taskDefinition="server",
        desiredCount=2,
        healthCheckGracePeriodSeconds=60,
        availabilityZoneRebalancing="ENABLED",
        deploymentConfiguration={"maximumPercent": 200, "minimumHealthyPercent": 100},
    )
    return aws.ecs.describe_services(cluster="lake", services=["server"])["services"][0]


def test_a_service_runs_and_keeps_its_settings(aws: Aws, stock: Aws) -> None:
    running = service(aws)
    assert (running["runningCount"], running["pendingCount"]) == (2, 0)
    assert [deployment["rolloutState"] for deployment in running["deployments"]] == ["COMPLETED"]
    assert (running["healthCheckGracePeriodSeconds"], running["availabilityZoneRebalancing"]) == (60, "ENABLED")
    assert running["deploymentConfiguration"] == {"maximumPercent": 200, "minimumHealthyPercent": 100}
    waiting = service(stock)
    assert (waiting["runningCount"], waiting["pendingCount"]) == (0, 2)
    assert not {"healthCheckGracePeriodSeconds", "availabilityZoneRebalancing", "deploymentConfiguration"} & set(waiting)


def test_scalable_targets_have_tags(aws: Aws, stock: Aws) -> None:
    def register(aws: Aws) -> Any:
        service(aws)
        scaling = getattr(aws, "application-autoscaling")
        target = {"ServiceNamespace": "ecs", "ResourceId": "service/lake/server", "ScalableDimension": "ecs:service:DesiredCount"}
        arn = scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2, Tags={"team": "data"})["ScalableTargetARN"]
        return scaling, arn

    scaling, arn = register(aws)
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "data"}
    scaling.tag_resource(ResourceARN=arn, Tags={"cost": "lake"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["team"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"cost": "lake"}
    assert outcome(scaling.list_tags_for_resource, ResourceARN=f"{arn}0") == "ResourceNotFoundException"
    stock_scaling, stock_arn = register(stock)
    assert outcome(stock_scaling.list_tags_for_resource, ResourceARN=stock_arn) == "500"


def test_rules_about_groups_and_prefix_lists_keep_their_descriptions(aws: Aws, stock: Aws) -> None:
    def descriptions(aws: Aws) -> list[str | None]:
        vpc = aws.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        group = aws.ec2.create_security_group(GroupName="server", Description="server", VpcId=vpc)["GroupId"]
        prefix_list = aws.ec2.describe_managed_prefix_lists()["PrefixLists"][0]["PrefixListId"]
        ports = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
        others = [
            {"IpRanges": [{"CidrIp": "10.0.0.0/16", "Description": "addresses"}]},
            {"UserIdGroupPairs": [{"GroupId": group, "Description": "a group"}]},
            {"PrefixListIds": [{"PrefixListId": prefix_list, "Description": "a prefix list"}]},
        ]
        for other in others:
            aws.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{**ports, **other}])
        rules = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
        return [rule.get("Description") for rule in rules if not rule["IsEgress"]]

    assert descriptions(aws) == ["addresses", "a group", "a prefix list"]
    assert descriptions(stock) == ["addresses", None, None]


def test_a_reset_forgets_everything(server: AwsServer, aws: Aws) -> None:
    for _ in range(2):
        aws.table()
        fault = server.faults.inject("glue:*", throttled, times=None)
        server.reset()
        assert aws.glue.get_databases()["DatabaseList"] == []
        assert aws.principals() == []
        assert fault.met == 0


@pytest.mark.parametrize(
    ("answer", "glue", "s3", "iam"),
    [
        (throttled, ("ThrottlingException", 400), ("SlowDown", 503), ("Throttling", 400)),
        (internal_error, ("InternalFailure", 500), ("InternalError", 500), ("InternalFailure", 500)),
        (access_denied, ("AccessDeniedException", 400), ("AccessDenied", 403), ("AccessDenied", 403)),
    ],
)
def test_a_fault_has_the_form_of_its_service(server: AwsServer, aws: Aws, answer: Any, glue: Any, s3: Any, iam: Any) -> None:
    bucket(aws, "warehouse")
    calls = {
        "glue:GetDatabases": (aws.glue.get_databases, {}, glue),
        "s3:PUT warehouse/a/*.json": (aws.s3.put_object, {"Bucket": "warehouse", "Key": "a/b/c.json", "Body": b"x"}, s3),
        "iam:ListRoles": (aws.iam.list_roles, {}, iam),
        "lakeformation:ListPermissions": (aws.lakeformation.list_permissions, {}, glue),
    }
    for match, (call, arguments, expected) in calls.items():
        fault = server.faults.inject(match, answer)
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == expected
        assert outcome(call, **arguments) == "done"
        assert fault.met == 1


def test_an_update_of_an_item_keeps_bytes(aws: Aws, stock: Aws) -> None:
    def written(aws: Aws) -> Any:
        dynamodb = aws.dynamodb
        key = {"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "k", "KeyType": "HASH"}
        dynamodb.create_table(TableName="objs", AttributeDefinitions=[key[0]], KeySchema=[key[1]], BillingMode="PAY_PER_REQUEST")
        dynamodb.update_item(TableName="objs", Key={"k": {"S": "a"}}, AttributeUpdates={"v": {"Value": {"B": b"\x00\xff"}}})
        return dynamodb.get_item(TableName="objs", Key={"k": {"S": "a"}})["Item"]["v"]

    assert written(aws) == {"B": b"\x00\xff"}
    assert written(stock) != {"B": b"\x00\xff"}


def test_a_fault_meets_only_its_calls_and_only_so_often(server: AwsServer, aws: Aws) -> None:
    fault = server.faults.inject("glue:UpdateTable", throttled, times=2)
    aws.table()
    update = {"DatabaseName": "shop", "TableInput": entry("a")}
    assert [outcome(aws.glue.update_table, **update) for _ in range(3)] == ["ThrottlingException", "ThrottlingException", "done"]
    assert fault.met == 2


def test_a_lost_answer_is_of_a_call_that_was_done(server: AwsServer, aws: Aws) -> None:
    server.faults.inject("glue:CreateDatabase", lost_answer)
    assert outcome(aws.glue.create_database, DatabaseInput={"Name": "one"}) == "InternalFailure"
    server.faults.inject("glue:CreateDatabase", closed_connection)
    with pytest.raises(ConnectionClosedError):
        aws.glue.create_database(DatabaseInput={"Name": "two"})
    assert [database["Name"] for database in aws.glue.get_databases()["DatabaseList"]] == ["one", "two"]


def test_another_writer_can_win_just_before_a_commit(server: AwsServer, aws: Aws) -> None:
    bucket(aws, "warehouse")
    catalog = load_catalog(
        "glue", **{"type": "glue", "warehouse": "s3://warehouse", "s3.endpoint": server.endpoint, "s3.region": "eu-central-1"}
    )
    catalog.create_namespace("shop")
    rows = pa.table({"id": [1]})
    table = catalog.create_table("shop.events", rows.schema)
    other = catalog.load_table("shop.events")
    fault = server.faults.inject("glue:UpdateTable", before(lambda: other.append(rows)))
    with pytest.raises(CommitFailedException, match="concurrent update"):
        table.append(rows)
    assert fault.met == 1
    assert table.refresh().scan().to_arrow().num_rows == 1
    slow = server.faults.inject("s3:PUT warehouse/*.metadata.json*", throttled)
    table.append(rows)
    assert slow.met == 1
    assert table.refresh().scan().to_arrow().num_rows == 2


def test_the_command_prints_what_a_shell_needs_and_stops_when_told(aws: Aws) -> None:
    path = Path(__file__).parents[1] / "aws_server.py"
    with subprocess.Popen([sys.executable, str(path), "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = list(iter(process.stdout.readline, "\n"))
        variables = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export "))
        assert Aws(variables["AWS_ENDPOINT_URL"]).glue.get_databases()["DatabaseList"] == []
        process.terminate()
        assert process.wait(10) == 0
    assert set(AwsServer.removed) == set(next(line for line in lines if line.startswith("unset ")).split()[1:])
    assert variables.keys() == {name for name in os.environ if name in variables}
