"""``terraform/aws`` with ``catalog_type = "nessie"``: what the server is told, what each variable reaches, what the roles may do.

Its whole life on moto, with DynamoDB and a server that runs, is in ``tests/e2e/test_nessie_rehearsal.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_server import AwsServer
from nessie_environment import container, container_environment
from terraform_cli import ROOT, Terraform

from lakehouse.iam_policies import is_allowed

ACCOUNT, REGION = "123456789012", "eu-central-1"
NESSIE = {"catalog_type": "nessie", "manage_lakeformation_settings": True, "bucket_prefix": "example", "nessie_deletion_protection": False}
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mirror/nessie"
# What an example without Nessie creates; test_examples.py sees to it that this is so.
QUICKSTART = Path(__file__).parent / "__snapshots__" / "test_examples" / "test_an_example_creates_what_its_inventory_lists[quickstart].json"
MODULES = ("-target=module.network", "-target=module.nessie")
S3 = "nessie.catalog.service.s3.default-options"


def planned(terraform: Terraform, *options: str) -> dict[str, Any]:
    """The JSON of a plan."""
    made = terraform.plan("-out=plan", *options)
    assert made.ok, "\n".join(made.errors)
    plan: dict[str, Any] = json.loads(terraform.run("show", "-json", "plan").text)
    return plan


# --- Stood up


def live_container(client: Callable[[str], Any]) -> dict[str, Any]:
    ecs = client("ecs")
    (arn,) = ecs.list_task_definitions()["taskDefinitionArns"]
    (definition,) = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"]
    return dict(definition)


def listeners(client: Callable[[str], Any]) -> dict[int, str]:
    """Port => what a listener of the load balancer does."""
    elb = client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    found = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    return {listener["Port"]: listener["DefaultActions"][0]["Type"] for listener in found}


@pytest.mark.standup
def test_nessie_on_postgres_over_https_and_without_a_nat_is_stood_up_and_left_alone(
    aws: AwsServer, aws_root: Callable[..., Terraform], client: Callable[[str], Any]
) -> None:
    aws.reset()
    certificate = client("acm").request_certificate(DomainName="nessie.example.com")["CertificateArn"]
    secured = {"certificate_arn": certificate, "nessie_host": "nessie.example.com"}
    root = aws_root(**NESSIE, **secured, nessie_version_store="postgres", egress="endpoints", nessie_image=ECR)
    applied = root.apply(*MODULES)
    assert applied.ok, "\n".join(applied.errors)
    plan = planned(root, *MODULES)
    assert [change["address"] for change in plan["resource_changes"] if change["change"]["actions"] not in (["no-op"], ["read"])] == []
    live = live_container(client)
    told = {variable["name"]: variable["value"] for variable in live["environment"]}
    assert told == container_environment(plan)
    (database,) = client("rds").describe_db_instances()["DBInstances"]
    host, port = database["Endpoint"]["Address"], database["Endpoint"]["Port"]
    assert told["quarkus.datasource.postgresql.jdbc.url"] == f"jdbc:postgresql://{host}:{port}/nessie?sslmode=require"
    password = next(secret["valueFrom"] for secret in live["secrets"] if secret["name"] == "quarkus.datasource.postgresql.password")
    assert password == f"{database['MasterUserSecret']['SecretArn']}:password::"
    assert listeners(client) == {80: "redirect", 443: "forward"}


# --- What each variable reaches


class Plan:
    """What a plan will make of Nessie; ``json`` is the plan itself."""

    def __init__(self, terraform: Terraform) -> None:
        self.json = planned(terraform)
        self._resources = {change["address"]: change["change"]["after"] for change in self.json["resource_changes"]}

    def made(self, pattern: str) -> set[str]:
        """Addresses of the resources that it creates."""
        changes = {change["address"]: change["change"]["actions"] for change in self.json["resource_changes"]}
        return {address for address, actions in changes.items() if actions == ["create"] and re.search(pattern, address)}

    def of(self, address: str, *path: str | int) -> Any:
        """An attribute of ``module.<this address>``; None where the resource or the attribute is not there."""
        module, _, resource = address.partition(".")
        value: Any = self._resources.get(f'module.{module}["this"].{resource}')
        for part in path:
            if value is None or (isinstance(part, int) and part >= len(value)):
                return None
            value = value[part]
        return value

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, address) is not None for address in self._resources)

    def environment(self, name: str) -> str | None:
        return container_environment(self.json).get(name)

    def uri(self) -> str | None:
        """As Python gets it, as far as it is known."""
        found: str | None = self.json["output_changes"]["environment"]["after"].get("NESSIE_URI")
        return found

    def image(self) -> str:
        return str(container(self.json)["image"])


@dataclass(frozen=True)
class Effect:
    """What is read from a plan, and what it is by default and with the variable changed; in which of the two changed plans."""

    read: Callable[[Plan], Any]
    default: Any
    value: Any
    changed: Any
    plan: str = "changed"


def at(address: str, *path: str | int) -> Callable[[Plan], Any]:
    return lambda plan: plan.of(address, *path)


def told(name: str) -> Callable[[Plan], Any]:
    return lambda plan: plan.environment(name)


DATABASE = 'nessie.aws_db_instance.this["this"]'
OIDC = {"issuer": "https://id.example.com/realms/lake", "client_id": "nessie"}
EFFECTS = {
    "vpc_cidr": Effect(at("network.aws_vpc.this", "cidr_block"), "10.0.0.0/16", "10.8.0.0/16", "10.8.0.0/16"),
    "availability_zones": Effect(
        at('network.aws_subnet.private["eu-central-1c"]', "cidr_block"), None, ["eu-central-1c", "eu-central-1a"], "10.8.0.0/20"
    ),
    "egress": Effect(lambda plan: plan.count("aws_nat_gateway"), 1, "nat_per_zone", 2),
    "interface_endpoints": Effect(
        lambda plan: plan.count("aws_vpc_endpoint.interface"), 0, ["ecr.api", "ecr.dkr", "logs", "secretsmanager"], 4, plan="closed"
    ),
    "cloudwatch_retention_days": Effect(
        lambda plan: [
            plan.of(group, "retention_in_days")
            for group in ("nessie.aws_cloudwatch_log_group.this", "network.aws_cloudwatch_log_group.flow")
        ],
        [365, 365],
        30,
        [30, 30],
    ),
    "nessie_image": Effect(Plan.image, "ghcr.io/projectnessie/nessie:0.99.0", ECR, f"{ECR}:0.100.0"),
    "nessie_image_tag": Effect(lambda plan: plan.image().rpartition(":")[2], "0.99.0", "0.100.0", "0.100.0"),
    "nessie_tasks": Effect(
        lambda plan: [
            plan.of("nessie.aws_ecs_task_definition.this", "memory"),
            plan.of("nessie.aws_appautoscaling_target.this", "max_capacity"),
        ],
        ["2048", 4],
        {"memory": 4096, "max": 8},
        ["4096", 8],
    ),
    "nessie_version_store": Effect(
        lambda plan: (plan.count("dynamodb_table"), plan.count("db_instance")), (2, 0), "postgres", (0, 1), "closed"
    ),
    "nessie_postgres": Effect(at(DATABASE, "instance_class"), None, {"instance_class": "db.m7g.large"}, "db.m7g.large", "closed"),
    "nessie_deletion_protection": Effect(at("nessie.aws_lb.this", "enable_deletion_protection"), True, False, False),
    "certificate_arn": Effect(at('nessie.aws_lb_listener.https["this"]', "certificate_arn"), None, CERTIFICATE, CERTIFICATE),
    "nessie_host": Effect(Plan.uri, None, "nessie.example.com", "https://nessie.example.com"),
    "nessie_public": Effect(at("nessie.aws_lb.this", "internal"), True, True, False),
    "nessie_allowed_cidrs": Effect(
        at('nessie.aws_vpc_security_group_ingress_rule.clients["198.51.100.0/24 443"]', "cidr_ipv4"),
        None,
        ["198.51.100.0/24"],
        "198.51.100.0/24",
    ),
    "nessie_oidc": Effect(told("quarkus.oidc.auth-server-url"), None, OIDC, OIDC["issuer"]),
    "nessie_authorization_rules": Effect(
        told("nessie.server.authorization.rules.pipelines"), None, {"pipelines": "role=='dagster'"}, "role=='dagster'"
    ),
    "nessie_vend_credentials": Effect(told(f"{S3}.client-iam.enabled"), "false", True, "true"),
    "nessie_alarm_emails": Effect(lambda plan: plan.count("sns_topic_subscription"), 0, ["data@example.com"], 1),
    "nessie_alarm_thresholds": Effect(at('nessie.aws_cloudwatch_metric_alarm.this["cpu"]', "threshold"), 85, {"cpu": 70}, 70),
}


@pytest.fixture(scope="module")
def plans(aws_root: Callable[..., Terraform]) -> dict[str, Plan]:
    """With all variables' defaults, and changed: open to the internet, and closed to it, since the two exclude each other."""
    least = {"catalog_type": "nessie", "manage_lakeformation_settings": True}
    changed = {name: effect.value for name, effect in EFFECTS.items() if effect.plan == "changed"}
    closed = {name: effect.value for name, effect in EFFECTS.items() if effect.plan == "closed"}
    closed |= {"egress": "endpoints", "nessie_image": ECR}
    return {name: Plan(aws_root(**least, **variables)) for name, variables in {"default": {}, "changed": changed, "closed": closed}.items()}


def test_every_variable_of_nessie_has_a_test() -> None:
    text = (ROOT / "terraform" / "aws" / "variables.tf").read_text().partition("# Nessie and its network")[2]
    assert {*EFFECTS, "catalog_type"} == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))


@pytest.mark.parametrize("variable", EFFECTS)
def test_a_variable_reaches_nessie(variable: str, plans: dict[str, Plan]) -> None:
    effect = EFFECTS[variable]
    assert effect.read(plans["default"]) == effect.default
    assert effect.read(plans[effect.plan]) == effect.changed


def test_with_glue_there_is_neither_nessie_nor_a_network_and_all_else_is_the_same(plans: dict[str, Plan]) -> None:
    of_nessie, named = r"^module\.(nessie|network)\b", "named_query"
    with_glue = {address for address in json.loads(QUICKSTART.read_text())["create"] if named not in address}
    assert [address for address in with_glue if re.search(of_nessie, address)] == []
    assert plans["default"].made(of_nessie) != set()
    assert plans["default"].made("") - plans["default"].made(of_nessie) == with_glue


def test_a_first_plan_has_every_variable_that_the_server_needs(plans: dict[str, Plan]) -> None:
    plan = plans["default"].json
    environment = container_environment(plan)
    tables = {change["change"]["after"]["name"] for change in plan["resource_changes"] if change["type"] == "aws_dynamodb_table"}
    prefix = environment["nessie.version.store.persist.dynamodb.table-prefix"]
    assert tables == {f"{prefix}_refs", f"{prefix}_objs"}
    (bucket,) = (
        change["change"]["after"]["bucket"]
        for change in plan["resource_changes"]
        if change["address"] == 'module.storage.aws_s3_bucket.this["warehouse"]'
    )
    needed = {
        "nessie.version.store.type": "DYNAMODB2",
        "quarkus.dynamodb.aws.region": REGION,
        "nessie.catalog.default-warehouse": "lakehouse",
        "nessie.catalog.warehouses.lakehouse.location": f"s3://{bucket}",
        f"{S3}.region": REGION,
        f"{S3}.auth-type": "APPLICATION_GLOBAL",
        f"{S3}.request-signing-enabled": "false",
        "quarkus.http.port": "19120",
        "quarkus.management.port": "9000",
    }
    assert {name: environment.get(name) for name in needed} == needed
    ports = [mapping["containerPort"] for mapping in container(plan)["portMappings"]]
    assert ports == [19120, 9000]


# --- What the roles may do


@pytest.fixture(scope="module")
def policies(aws_root: Callable[..., Terraform], client: Callable[[str], Any], aws: AwsServer) -> dict[str, Any]:
    """Role => its policies after an apply of all that has some, with DynamoDB, an image in ECR, and vending; key => its ARN."""
    aws.reset()
    secured = {"certificate_arn": CERTIFICATE, "nessie_host": "nessie.example.com", "nessie_oidc": OIDC}
    root = aws_root(**NESSIE, **secured, nessie_vend_credentials=True, nessie_image=ECR)
    roles = ("task", "execution", "vended")
    applied = root.apply(*(f'-target=module.nessie["this"].aws_iam_role_policy.{role}' for role in roles))
    assert applied.ok, "\n".join(applied.errors)
    iam = client("iam")
    found: dict[str, Any] = {}
    for role, name in {"task": "lakehouse-nessie", "execution": "lakehouse-nessie-execution", "vended": "lakehouse-nessie-vended"}.items():
        names = iam.list_role_policies(RoleName=name)["PolicyNames"]
        found[role] = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in names]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    (found["key"],) = {
        resource for statement in found["task"][0]["Statement"] if statement["Sid"] == "FilesKey" for resource in statement["Resource"]
    }
    return found


FILE = "arn:aws:s3:::example-warehouse/lakehouse/event_stream/metadata/1.json"
TABLES = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/lakehouse_nessie_{table}" for table in ("refs", "objs")]
VENDED = f"arn:aws:iam::{ACCOUNT}:role/lakehouse-nessie-vended"
ITEMS = ("GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "DescribeTable")
FILES = [
    *(f"s3:{action} {FILE}" for action in ("GetObject", "PutObject", "DeleteObject")),
    "s3:ListBucket arn:aws:s3:::example-warehouse",
    "kms:Decrypt key s3",
    "kms:GenerateDataKey key s3",
]
MAY = {
    "task": [
        *FILES,
        *(f"dynamodb:{item} {table}" for item in ITEMS for table in TABLES),
        "kms:Decrypt key dynamodb",
        f"sts:AssumeRole {VENDED}",
    ],
    "vended": FILES,
    "execution": [
        "ecr:GetAuthorizationToken *",
        *(
            f"ecr:{action} arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mirror/nessie"
            for action in ("BatchGetImage", "GetDownloadUrlForLayer")
        ),
        f"logs:PutLogEvents arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/lakehouse/nessie:log-stream:nessie/1",
    ],
}
NO_ONE_MAY = [
    *(f"s3:{action} arn:aws:s3:::example-{bucket}/x" for bucket in ("landing", "results", "logs") for action in ("GetObject", "PutObject")),
    *(f"s3:{action} arn:aws:s3:::example-warehouse" for action in ("DeleteBucket", "PutBucketPolicy", "PutBucketVersioning")),
    f"s3:DeleteObjectVersion {FILE}",
    *(f"dynamodb:{action} {table}" for action in ("DeleteTable", "CreateTable", "UpdateTable", "DeleteBackup") for table in TABLES),
    f"dynamodb:GetItem arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/another",
    *(f"kms:{action} key s3" for action in ("ScheduleKeyDeletion", "PutKeyPolicy", "CreateGrant")),
    f"sts:AssumeRole arn:aws:iam::{ACCOUNT}:role/lakehouse-admin",
    f"ecr:BatchGetImage arn:aws:ecr:{REGION}:{ACCOUNT}:repository/another",
    f"glue:UpdateTable arn:aws:glue:{REGION}:{ACCOUNT}:table/lakehouse/event_stream",
    "iam:PassRole *",
]


def permits(policies: dict[str, Any], role: str, request: str) -> bool:
    """Whether a role may do ``<action> <arn, or key> [<the service through which the key is asked for>]``."""
    action, resource, *service = request.split(" ")
    context = {"aws:SecureTransport": "true", "aws:ResourceAccount": ACCOUNT}
    if service:
        context["kms:ViaService"] = f"{service[0]}.{REGION}.amazonaws.com"
    return is_allowed(policies[role], action, policies["key"] if resource == "key" else resource, context)


@pytest.mark.parametrize("role", ["task", "vended", "execution"])
def test_a_role_may_what_it_needs_and_nothing_that_another_needs(role: str, policies: dict[str, Any]) -> None:
    everything = {request for requests in MAY.values() for request in requests}
    assert {request for request in everything if permits(policies, role, request)} == set(MAY[role])


@pytest.mark.parametrize("role", ["task", "vended", "execution"])
def test_no_role_of_nessie_reaches_beyond(role: str, policies: dict[str, Any]) -> None:
    assert [request for request in NO_ONE_MAY if permits(policies, role, request)] == []
