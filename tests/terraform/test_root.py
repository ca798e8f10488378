"""``terraform/aws``: its own tests with mocks, and that each of its variables reaches the resource that it is about."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aws_server import AwsServer, internal_error
from terraform_cli import ROOT, Terraform, provider_that_stays

ACCOUNT = "123456789012"
REGION = "eu-central-1"


@pytest.mark.slow
def test_the_roots_own_tests_pass(aws_root: Callable[..., Terraform]) -> None:
    root = aws_root()
    with provider_that_stays(root, "aws") as attached:
        run = replace(root, environment={**root.environment, **attached}).run("test")
    assert run.ok, run.text
    assert re.search(r"[1-9]\d* passed, 0 failed", run.text), run.text


class Plan:
    """A plan's JSON."""

    def __init__(self, terraform: Terraform) -> None:
        made = terraform.plan("-out=plan")
        assert made.ok, "\n".join(made.errors)
        self._plan = json.loads(terraform.run("show", "-json", "plan").text)
        self._resources = {change["address"]: change["change"]["after"] for change in self._plan["resource_changes"]}

    def of(self, address: str, *path: str | int) -> Any:
        """What an attribute will be; None where the resource or the attribute is not there."""
        value: Any = self._resources.get(address)
        for part in path:
            if value is None or (isinstance(part, int) and part >= len(value)):
                return None
            value = value[part]
        return value

    def matching(self, pattern: str) -> list[str]:
        """Addresses."""
        return sorted(address for address in self._resources if re.search(pattern, address))

    def output(self, name: str) -> Any:
        """As much of it as is known."""
        return self._plan["output_changes"][name]["after"]

    def region(self) -> str:
        """The region in which the provider works."""
        modules = {module["address"]: module["resources"] for module in self._plan["prior_state"]["values"]["root_module"]["child_modules"]}
        return next(data["values"]["name"] for data in modules["module.iam"] if data["type"] == "aws_region")


@dataclass(frozen=True)
class Effect:
    """What is read from a plan, and what it is by default and with the variable changed."""

    read: Callable[[Plan], Any]
    default: Any
    value: Any
    changed: Any


@contextmanager
def administrators(client: Callable[[str], Any], *arns: str, **settings: Any) -> Iterator[None]:
    """Lake Formation's list of administrators, and other settings of the account, which are empty afterwards."""
    entries = [{"DataLakePrincipalIdentifier": arn} for arn in arns]
    client("lakeformation").put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": entries, **settings})
    try:
        yield
    finally:
        client("lakeformation").put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": []})


def rule(kind: str, name: str, *path: str | int) -> Callable[[Plan], Any]:
    """An attribute of a bucket's lifecycle rule."""

    def read(plan: Plan) -> Any:
        rules = plan.of(f'module.storage.aws_s3_bucket_lifecycle_configuration.this["{kind}"]', "rule")
        found: Any = next((rule for rule in rules if rule["id"] == name), None)
        for part in path if found is not None else ():
            found = found[part]
        return found

    return read


def at(address: str, *path: str | int) -> Callable[[Plan], Any]:
    return lambda plan: plan.of(address, *path)


def addresses(pattern: str) -> Callable[[Plan], Any]:
    return lambda plan: plan.matching(pattern)


def trusted(plan: Plan) -> Any:
    statements = json.loads(plan.of('module.iam.aws_iam_role.this["reader"]', "assume_role_policy"))["Statement"]
    return [statement["Principal"] for statement in statements]


WORKGROUP = 'module.athena.aws_athena_workgroup.this["reader"]'
BUCKET = 'module.storage.aws_s3_bucket.this["warehouse"]'
SETTINGS = 'module.iam.aws_lakeformation_data_lake_settings.this["this"]'
ANALYSTS = f"arn:aws:iam::{ACCOUNT}:role/analysts"
ENTRIES = r"aws_glue_catalog_table\.this"

# Both plans are made once, with all defaults and with all values.
EFFECTS = {
    "name": Effect(at('module.iam.aws_iam_role.this["reader"]', "name"), "lakehouse-reader", "other", "other-reader"),
    "region": Effect(
        lambda plan: (plan.region(), plan.output("environment")["AWS_REGION"]), (REGION, REGION), "eu-west-1", ("eu-west-1", "eu-west-1")
    ),
    "tags": Effect(
        at(WORKGROUP, "tags_all"),
        {"lakehouse": "lakehouse", "managed_by": "terraform"},
        {"team": "data"},
        {"lakehouse": "other", "managed_by": "terraform", "team": "data"},
    ),
    "templates": Effect(
        addresses(ENTRIES),
        [
            'module.table["event_stream"].aws_glue_catalog_table.this["lakehouse.event_stream"]',
            'module.table["event_stream"].aws_glue_catalog_table.this["lakehouse.event_stream__quarantine"]',
            'module.table["feature_table"].aws_glue_catalog_table.this["lakehouse.feature_table"]',
            'module.table["scd_type2"].aws_glue_catalog_table.this["lakehouse.scd_type2"]',
        ],
        "tests/templates",
        [
            'module.table["orders"].aws_glue_catalog_table.this["shop.orders"]',
            'module.table["orders"].aws_glue_catalog_table.this["shop.orders__quarantine"]',
            'module.table["passwords"].aws_glue_catalog_table.this["web.passwords"]',
            'module.table["visits"].aws_glue_catalog_table.this["web.visits"]',
        ],
    ),
    "bucket_prefix": Effect(at(BUCKET, "bucket"), f"lakehouse-{ACCOUNT}-{REGION}-warehouse", "mine", "mine-warehouse"),
    "kms_deletion_window_days": Effect(at("module.storage.aws_kms_key.this", "deletion_window_in_days"), 30, 7, 7),
    "infrequent_access_days": Effect(rule("warehouse", "infrequent-access", "transition", 0, "days"), 90, 60, 60),
    "noncurrent_version_days": Effect(rule("warehouse", "clean-up", "noncurrent_version_expiration", 0, "noncurrent_days"), 30, 90, 90),
    "landing_expiration_days": Effect(rule("landing", "expire", "expiration", 0, "days"), None, 14, 14),
    "results_expiration_days": Effect(rule("results", "expire", "expiration", 0, "days"), 30, 3, 3),
    "log_retention_days": Effect(rule("logs", "expire", "expiration", 0, "days"), 365, 730, 730),
    "data_events": Effect(addresses("aws_cloudtrail"), [], True, ['module.storage.aws_cloudtrail.warehouse["this"]']),
    "encrypt_catalog": Effect(
        addresses("encryption_settings"), [], True, ['module.glue.aws_glue_data_catalog_encryption_settings.this["this"]']
    ),
    "bytes_scanned_cutoff": Effect(
        at(WORKGROUP, "configuration", 0, "bytes_scanned_cutoff_per_query"), 100 * 1024**3, {"reader": 10485760}, 10485760
    ),
    "named_query_tables": Effect(
        addresses("aws_athena_named_query.*reader"),
        [],
        ["visits"],
        ['module.table["visits"].aws_athena_named_query.this["web.visits/reader/sample"]'],
    ),
    "optimizers": Effect(
        addresses("optimizer"),
        [],
        ["retention"],
        [
            'module.table["orders"].aws_glue_catalog_table_optimizer.this["shop.orders/retention"]',
            'module.table["passwords"].aws_glue_catalog_table_optimizer.this["web.passwords/retention"]',
            'module.table["visits"].aws_glue_catalog_table_optimizer.this["web.visits/retention"]',
        ],
    ),
    "trust": Effect(trusted, [{"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}], {"reader": {"principals": [ANALYSTS]}}, [{"AWS": [ANALYSTS]}]),
    "manage_lakeformation_settings": Effect(addresses(r"data_lake_settings"), [], True, [SETTINGS]),
}
# What no plan shows: the tests at the end.
OTHERS = {"max_retries", "retired_tables", "lakeformation_admins"}


@pytest.fixture(scope="module")
def plans(aws_root: Callable[..., Terraform], client: Callable[[str], Any]) -> tuple[Plan, Plan]:
    """With all variables' defaults, and with all of them changed."""
    with administrators(client, client("sts").get_caller_identity()["Arn"]):
        default = Plan(aws_root())
    return default, Plan(aws_root(**{name: effect.value for name, effect in EFFECTS.items()}))


@pytest.fixture
def empty_account(aws: AwsServer) -> None:
    """Nothing that another test applied."""
    aws.reset()


def test_every_variable_has_a_test() -> None:
    # Those of Nessie, from that line on, are in test_nessie_root.py.
    text = (ROOT / "terraform" / "aws" / "variables.tf").read_text().partition("# Nessie and its network")[0]
    assert {*EFFECTS, *OTHERS} == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))


@pytest.mark.parametrize("variable", EFFECTS)
def test_a_variable_reaches_its_resource(variable: str, plans: tuple[Plan, Plan]) -> None:
    effect = EFFECTS[variable]
    default, changed = plans
    assert effect.read(default) == effect.default
    assert effect.read(changed) == effect.changed


def test_google_cloud_shows_the_reader_the_same_columns(plans: tuple[Plan, Plan], gcp_root: Callable[..., Terraform]) -> None:
    default, changed = (plan.output("tables") for plan in plans)
    root = gcp_root(project="my-project", location="EU", templates="templates")
    for templates in (ROOT / "table-templates", ROOT / "terraform" / "aws" / "tests" / "templates"):
        shutil.copytree(templates, root.folder / "templates", dirs_exist_ok=True)
    assert len({**default, **changed}) == len(default) + len(changed)
    assert Plan(root).output("tables") == {**default, **changed}


def test_the_provider_gives_up_after_max_retries_calls(aws: AwsServer, aws_root: Callable[..., Terraform]) -> None:
    fault = aws.faults.inject("sts:GetCallerIdentity", internal_error, times=None)
    try:
        run = aws_root(max_retries=3).plan()
    finally:
        aws.faults.clear()
    assert not run.ok
    assert fault.met == 3  # the provider counts the first call as well
    assert "InternalFailure" in run.errors[0]


def test_who_may_grant_nothing_is_told_by_the_plan(aws_root: Callable[..., Terraform]) -> None:
    run = aws_root().plan("-target=module.iam.aws_lakeformation_resource.warehouse")
    assert not run.ok
    assert "is no administrator of Lake Formation" in run.errors[0]
    assert "manage_lakeformation_settings = true" in run.errors[0]


@pytest.mark.usefixtures("empty_account")
def test_administrators_of_lake_formation_are_added_and_no_setting_is_lost(
    aws_root: Callable[..., Terraform], client: Callable[[str], Any]
) -> None:
    others = [f"arn:aws:iam::{ACCOUNT}:role/platform", f"arn:aws:iam::{ACCOUNT}:user/founder"]
    everybody = {"Principal": {"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"}, "Permissions": ["ALL"]}
    settings = {
        "ReadOnlyAdmins": [{"DataLakePrincipalIdentifier": f"arn:aws:iam::{ACCOUNT}:role/auditor"}],
        "CreateDatabaseDefaultPermissions": [everybody],
        "CreateTableDefaultPermissions": [everybody],
        "TrustedResourceOwners": ["444455556666"],
        "AllowExternalDataFiltering": True,
        "ExternalDataFilteringAllowList": [{"DataLakePrincipalIdentifier": "444455556666"}],
        "AuthorizedSessionTagValueList": ["Amazon EMR"],
    }
    root = aws_root(manage_lakeformation_settings=True, lakeformation_admins=[ANALYSTS])
    with administrators(client, *others, **settings):
        run = root.apply("-target=module.iam.aws_lakeformation_data_lake_settings.this")
        assert run.ok, "\n".join(run.errors)
        found = client("lakeformation").get_data_lake_settings()["DataLakeSettings"]
    caller, admin = client("sts").get_caller_identity()["Arn"], f"arn:aws:iam::{ACCOUNT}:role/lakehouse-admin"
    assert sorted(entry["DataLakePrincipalIdentifier"] for entry in found["DataLakeAdmins"]) == sorted([*others, ANALYSTS, caller, admin])
    assert {name: found.get(name) for name in settings} == settings


@pytest.mark.slow
@pytest.mark.usefixtures("empty_account")
def test_files_without_a_template_stop_the_plan(aws_root: Callable[..., Terraform], client: Callable[[str], Any]) -> None:
    guard = "-target=terraform_data.no_table_is_lost"
    root = aws_root(templates="tests/templates", bucket_prefix="example")
    with administrators(client, client("sts").get_caller_identity()["Arn"]):
        made = root.apply(guard)
        assert made.ok, "\n".join(made.errors)
        for key in (
            "shop/orders/data/1.parquet",
            "shop/invoices/data/1.parquet",
            "old/visits/data/1.parquet",
            "_lakehouse/ledger/1.parquet",
        ):
            client("s3").put_object(Bucket="example-warehouse", Key=key)
        refused = root.plan(guard)
        assert not refused.ok
        assert "old.*, shop.invoices. Bring their YAML files back" in refused.errors[0]
        root.variables["retired_tables"] = ["shop.invoices", "old.*"]
        accepted = root.plan(guard)
    assert accepted.ok, "\n".join(accepted.errors)
    assert accepted.changes == {}
