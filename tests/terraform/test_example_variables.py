"""The values of every example pass the types and rules of their root's variables; the templates they name pass lint.

Without provider, modules or state: Terraform itself reads the variables, in a folder that has nothing else.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from terraform_cli import ROOT, Terraform, require_terraform

from lakehouse.lint import lint_templates

EXAMPLES = [*ROOT.glob("terraform/*/examples/*.tfvars"), *ROOT.glob("examples/*/*/*.tfvars")]
TENANTS = sorted((ROOT / "examples" / "multi-tenant" / "tenants").iterdir())
ENVIRONMENTS = ROOT / "examples" / "multi-environment"


def cloud_of(example: Path) -> str:
    return next(part for part in example.relative_to(ROOT).parts if part in ("aws", "gcp"))


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Terraform]:
    """By cloud, the variables alone, with the templates where they are in the repository."""
    require_terraform()
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "table-templates", folder / "table-templates")
    shutil.copytree(ROOT / "examples" / "multi-tenant", folder / "examples" / "multi-tenant")
    for cloud in ("aws", "gcp"):
        (folder / "terraform" / cloud).mkdir(parents=True)
        shutil.copy(ROOT / "terraform" / cloud / "variables.tf", folder / "terraform" / cloud)
    return {cloud: Terraform(folder / "terraform" / cloud) for cloud in ("aws", "gcp")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_has_values_that_its_root_takes(example: Path, variables: dict[str, Terraform]) -> None:
    run = variables[cloud_of(example)].run("plan", "-input=false", "-lock=false", "-compact-warnings", f"-var-file={example}")
    assert run.ok, run.text
    assert "undeclared" not in run.text, run.text


def test_a_wrong_value_or_name_is_found(variables: dict[str, Terraform], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tfvars"
    for text, found in (('region = "nowhere"', "Invalid value for variable"), ('region = "eu-west-1"\nregoin = "x"', "undeclared")):
        wrong.write_text(text)
        assert found in variables["aws"].run("plan", "-input=false", "-lock=false", "-compact-warnings", f"-var-file={wrong}").text


def test_there_is_an_example_for_each_environment_and_tenant() -> None:
    names = {(cloud_of(path), path.parent.parent.name, path.stem) for path in EXAMPLES}
    for cloud, suffix in (("aws", "s3"), ("gcp", "gcs")):
        for environment in ("dev", "staging", "prod"):
            assert (cloud, "multi-environment", environment) in names
            assert (ENVIRONMENTS / cloud / f"{environment}.{suffix}.tfbackend").exists()
        for tenant in TENANTS:
            assert (cloud, "multi-tenant", tenant.name) in names


@pytest.mark.parametrize("tenant", TENANTS, ids=lambda path: path.name)
def test_a_tenant_s_templates_are_without_findings_and_in_its_namespace(tenant: Path) -> None:
    result = lint_templates(tenant, {"LAKEHOUSE_LANDING"})
    assert [str(finding) for finding in result.problems] == []
    assert {template.namespace for template in result.templates} == {tenant.name}
