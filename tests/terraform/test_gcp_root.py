"""``terraform/gcp``: its own tests with mocks, what its variables reach, what a plan lets the reader do, and its whole life.

The life needs a provider that makes up what Google would answer: the real one asks Google.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension
from terraform_cli import ROOT, Terraform

from lakehouse.settings import LakehouseSettings
from lakehouse.terraform import terraform_environment

LEAST = {"project": "my-project", "location": "EU"}
READER = "serviceAccount:{name}-reader@{project}.iam.gserviceaccount.com"
TAG = "projects/example-corp-data/locations/europe-west3/taxonomies/1/policyTags/2"


class Plan:
    """A plan's JSON."""

    def __init__(self, terraform: Terraform, *options: str) -> None:
        made = terraform.plan("-out=plan", *options)
        assert made.ok, "\n".join(made.errors)
        self._plan = json.loads(terraform.run("show", "-json", "plan").text)
        self.resources: dict[str, dict[str, Any]] = {
            change["address"]: {"type": change["type"], **(change["change"]["after"] or {})}
            for change in self._plan["resource_changes"]
            if change["mode"] == "managed"
        }

    def of(self, address: str, *path: str | int) -> Any:
        """What an attribute will be; None where the resource or the attribute is not there."""
        value: Any = self.resources.get(address)
        for part in path:
            if value is None or (isinstance(part, int) and part >= len(value)):
                return None
            value = value[part]
        return value

    def matching(self, pattern: str) -> list[str]:
        """Addresses."""
        return sorted(address for address in self.resources if re.search(pattern, address))

    def output(self, name: str) -> Any:
        """As much of it as is known."""
        return self._plan["output_changes"][name]["after"]

    def default_labels(self) -> list[str]:
        """What the provider's default labels are made of."""
        return sorted(self._plan["configuration"]["provider_config"]["google"]["expressions"]["default_labels"]["references"])

    def inventory(self) -> dict[str, list[str]]:
        """Action => addresses."""
        found: dict[str, list[str]] = defaultdict(list)
        for change in self._plan["resource_changes"]:
            if change["mode"] == "managed":
                found["/".join(change["change"]["actions"])].append(change["address"])
        return {action: sorted(addresses) for action, addresses in found.items()}


@pytest.mark.slow
def test_the_roots_own_tests_pass(gcp_root: Callable[..., Terraform]) -> None:
    run = gcp_root().run("test")
    assert run.ok, run.text
    assert re.search(r"[1-9]\d* passed, 0 failed", run.text), run.text


# --- Variables


@dataclass(frozen=True)
class Effect:
    """What is read from a plan, and what it is by default and with the variable changed."""

    read: Callable[[Plan], Any]
    default: Any
    value: Any
    changed: Any


def at(address: str, *path: str | int) -> Callable[[Plan], Any]:
    return lambda plan: plan.of(address, *path)


def addresses(pattern: str) -> Callable[[Plan], Any]:
    return lambda plan: plan.matching(pattern)


def days(kind: str, action: str, condition: str) -> Callable[[Plan], Any]:
    """Of a bucket's lifecycle rule."""

    def read(plan: Plan) -> Any:
        rules = plan.of(f'module.storage.google_storage_bucket.this["{kind}"]', "lifecycle_rule")
        found = [rule["condition"][0] for rule in rules if rule["action"][0]["type"] == action]
        return next((rule[condition] for rule in found if rule[condition]), None)

    return read


WAREHOUSE = 'module.storage.google_storage_bucket.this["warehouse"]'
LOGS = 'module.storage.google_storage_bucket.this["logs"]'
KEY = 'module.storage.google_kms_crypto_key.this["this"]'
CATALOG = "module.biglake.google_biglake_iceberg_catalog.this"
ANALYSTS = "group:analysts@example.com"

# Both plans are made once, with all defaults and with all values.
EFFECTS = {
    "project": Effect(at(CATALOG, "project"), "my-project", "other-project", "other-project"),
    "location": Effect(
        # The real provider writes a bucket's location in capitals.
        lambda plan: (plan.of(WAREHOUSE, "location").lower(), plan.of("module.iam.google_data_catalog_taxonomy.this", "region")),
        ("eu", "eu"),
        "europe-west3",
        ("europe-west3", "europe-west3"),
    ),
    "name": Effect(at('module.iam.google_service_account.this["reader"]', "account_id"), "lakehouse-reader", "other", "other-reader"),
    # What the provider makes of them only the real one shows.
    "labels": Effect(lambda plan: plan.default_labels(), ["var.labels", "var.name"], {"team": "data"}, ["var.labels", "var.name"]),
    "templates": Effect(
        addresses("dataset.this"),
        ['module.biglake.google_bigquery_dataset.this["lakehouse"]'],
        "../aws/tests/templates",
        ['module.biglake.google_bigquery_dataset.this["shop"]', 'module.biglake.google_bigquery_dataset.this["web"]'],
    ),
    "bucket_prefix": Effect(at(CATALOG, "name"), "lakehouse-my-project-warehouse", "mine", "mine-warehouse"),
    "cmek": Effect(addresses("google_kms_crypto_key.this"), [], True, [KEY]),
    "key_rotation_days": Effect(at(KEY, "rotation_period"), None, 30, "2592000s"),
    "key_destroy_days": Effect(at(KEY, "destroy_scheduled_duration"), None, 7, "604800s"),
    "nearline_days": Effect(days("warehouse", "SetStorageClass", "age"), 90, 60, 60),
    "noncurrent_version_days": Effect(days("warehouse", "Delete", "days_since_noncurrent_time"), 30, 90, 90),
    "soft_delete_days": Effect(at(WAREHOUSE, "soft_delete_policy", 0, "retention_duration_seconds"), 604800, 14, 1209600),
    "landing_expiration_days": Effect(days("landing", "Delete", "age"), None, 14, 14),
    "log_retention_days": Effect(at(LOGS, "retention_policy", 0, "retention_period"), str(365 * 86400), 730, str(730 * 86400)),
    "data_access_logs": Effect(
        addresses("audit_config"),
        [],
        True,
        [f'module.storage.google_project_iam_audit_config.this["{service}"]' for service in ("biglake", "storage")],
    ),
    "credentials": Effect(
        lambda plan: (plan.of(CATALOG, "credential_mode"), plan.output("environment")["LAKEHOUSE_GCP_CREDENTIALS"]),
        ("CREDENTIAL_MODE_VENDED_CREDENTIALS", "vended"),
        "own",
        ("CREDENTIAL_MODE_END_USER", "own"),
    ),
    "deletion_protection": Effect(at(CATALOG, "deletion_policy"), "PREVENT", False, "DELETE"),
    "trust": Effect(
        addresses("iam_member.trust"),
        [],
        {"reader": {"members": [ANALYSTS]}},
        [f'module.iam.google_service_account_iam_member.trust["reader/{ANALYSTS}"]'],
    ),
    "masking": Effect(
        at('module.iam.google_bigquery_datapolicy_data_policy.mask["restricted"]', "data_masking_policy", 0, "predefined_expression"),
        None,
        "ALWAYS_NULL",
        "ALWAYS_NULL",
    ),
}
EXAMPLES = sorted(path.stem for path in (ROOT / "terraform" / "gcp" / "examples").glob("*.tfvars"))


@pytest.fixture(scope="module")
def plans(gcp_root: Callable[..., Terraform]) -> dict[str, Plan]:
    """Of each example, and with all variables changed."""
    root = gcp_root()
    made = {example: Plan(root, f"-var-file=examples/{example}.tfvars") for example in EXAMPLES}
    root.variables = {name: effect.value for name, effect in EFFECTS.items()}
    return {**made, "changed": Plan(root)}


def test_every_variable_has_a_test() -> None:
    text = (ROOT / "terraform" / "gcp" / "variables.tf").read_text()
    assert {*EFFECTS} == set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))


@pytest.mark.parametrize("variable", EFFECTS)
def test_a_variable_reaches_its_resource(variable: str, plans: dict[str, Plan]) -> None:
    effect = EFFECTS[variable]
    assert effect.read(plans["quickstart"]) == effect.default
    assert effect.read(plans["changed"]) == effect.changed


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_creates_what_its_inventory_lists(example: str, plans: dict[str, Plan], snapshot: SnapshotAssertion) -> None:
    assert plans[example].inventory() == snapshot(extension_class=JSONSnapshotExtension), (
        "The plan has changed. If that is meant: .venv/bin/python -m pytest tests/terraform/test_gcp_root.py --snapshot-update"
    )


# --- The reader


def bindings(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Of each member of each binding: the kind of resource, the role, the member; of a whole policy, what its text has."""
    for resource in plan.resources.values():
        if (found := re.fullmatch(r"google_(\w+)_iam_(member|binding|policy)", resource["type"])) is None:
            continue
        for member in [resource["member"]] if resource.get("member") else resource.get("members") or []:
            yield found.group(1), resource["role"], member
        for policy in [json.loads(resource["policy_data"])] if resource.get("policy_data") else []:
            yield from ((found.group(1), entry["role"], member) for entry in policy["bindings"] for member in entry["members"])


@pytest.mark.parametrize(("plan", "project", "name"), [("quickstart", "my-project", "lakehouse"), ("changed", "other-project", "other")])
def test_the_reader_may_query_and_nothing_else(plan: str, project: str, name: str, plans: dict[str, Plan]) -> None:
    reader = READER.format(name=name, project=project)
    found = {(kind, role) for kind, role, member in bindings(plans[plan]) if member == reader}
    masked = {("bigquery_datapolicy_data_policy", "roles/bigquerydatapolicy.maskedReader")} if plan == "changed" else set()
    assert found == masked | {
        ("project", "roles/bigquery.jobUser"),
        ("bigquery_dataset", "roles/bigquery.dataViewer"),
        ("data_catalog_policy_tag", "roles/datacatalog.categoryFineGrainedReader"),
    }
    tags = plans[plan].matching(r'fine_grained_reader\["\w+/reader"\]')
    assert tags == ['module.iam.google_data_catalog_policy_tag_iam_member.fine_grained_reader["internal/reader"]']


def test_no_role_is_granted_to_everybody_or_on_everything(plans: dict[str, Plan]) -> None:
    wide = re.compile(r"allUsers|allAuthenticatedUsers|domain:|project(Readers|Writers|Viewer|Editor)")
    basic = {"roles/owner", "roles/editor", "roles/viewer", "roles/bigquery.admin"}
    for plan in plans.values():
        found = list(bindings(plan))
        assert len(found) > 20
        assert [binding for binding in found if wide.search(binding[2]) or binding[1] in basic] == []
        on_project = {role.rpartition("/")[2] for kind, role, _ in found if kind == "project"}
        assert {re.sub(r"^(lakehouse|other)_", "", role) for role in on_project} == {
            "bigquery.jobUser",
            "serviceusage.serviceUsageConsumer",
            "auditor",
        }


# --- The whole life


@pytest.fixture(scope="module")
def lake(gcp_root: Callable[..., Terraform]) -> Terraform:
    """The example for production, applied."""
    root = gcp_root()
    shutil.copy(root.folder / "examples" / "production.tfvars", root.folder / "production.auto.tfvars")
    provider = next(root.folder.glob(".terraform/providers/*/hashicorp/google/*/*/terraform-provider-google*"))
    if not provider.read_bytes().startswith(b"#!"):
        pytest.skip("the real provider would ask Google; a stand-in, which is a script, makes its answers up")
    applied = root.apply()
    assert applied.ok, "\n".join(applied.errors)
    return root


def test_a_second_plan_has_nothing_to_do_and_an_edit_shows_its_table_alone(lake: Terraform) -> None:
    template = lake.folder.parents[1] / "table-templates" / "scd_type2.yaml"
    text = template.read_text()
    again = lake.plan()
    assert (again.ok, again.changes) == (True, {})
    template.write_text(text + "# edited\n")
    edited = lake.plan()
    template.write_text(text)
    assert edited.changes == {'module.table["scd_type2"].terraform_data.template': "update"}


def test_its_outputs_are_settings(lake: Terraform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LakehouseSettings.model_fields.values():
        monkeypatch.delenv(str(name.validation_alias), raising=False)
    monkeypatch.chdir(lake.folder)  # there is no .env
    state = lake.folder / "terraform.tfstate"
    made_up = json.loads(state.read_text())
    environment = made_up["outputs"]["environment"]["value"]
    for level in ("RESTRICTED", "INTERNAL"):  # names that Google gives
        environment[f"LAKEHOUSE_POLICY_TAG_{level}"] = TAG
    state.write_text(json.dumps(made_up))
    values = terraform_environment(lake.folder)
    assert values == environment
    settings = LakehouseSettings.load(**values)
    assert (settings.backend, settings.warehouse_uri, settings.google_location) == (
        "gcp",
        "gs://example-corp-lakehouse-warehouse",
        "europe-west3",
    )
    assert settings.bigquery_connection == "projects/example-corp-data/locations/europe-west3/connections/lakehouse"
    assert (settings.policy_tag_restricted, settings.reader_role) == (
        TAG,
        READER.format(name="lakehouse", project="example-corp-data")[15:],
    )


# The last one: it ends the life.
def test_a_destroy_leaves_tags_and_key_and_a_plain_one_is_refused(lake: Terraform) -> None:
    refused = lake.plan("-destroy")
    assert not refused.ok
    protected = {re.split(r"[ .]", line)[-1] for line in re.findall(r"Resource ([\w.]+)", " ".join(refused.errors))}
    assert refused.errors and all("prevent_destroy" in error for error in refused.errors), (protected, refused.errors)
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(r"^GCP_DESTROYED := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE)
    assert found is not None
    targets = found.group(1).replace("\\", " ").split()
    destroyed = lake.run("destroy", "-auto-approve", "-input=false", *(f"-target={target}" for target in targets))
    assert destroyed.ok, destroyed.text
    left = [line for line in lake.run("state", "list").text.splitlines() if not re.search(r"^google_project_service|\bdata\.", line)]
    assert sorted(left) == [
        'module.iam.google_data_catalog_policy_tag.this["internal"]',
        'module.iam.google_data_catalog_policy_tag.this["restricted"]',
        "module.iam.google_data_catalog_taxonomy.this",
        'module.storage.google_kms_crypto_key.this["this"]',
        'module.storage.google_kms_crypto_key_iam_member.storage["this"]',
        'module.storage.google_kms_key_ring.this["this"]',
    ]
