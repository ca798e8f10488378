"""What the Terraform tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import AwsServer
from terraform_cli import ROOT, Terraform, require_terraform, terraform_folder

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def terraform_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``terraform/`` to run in, with ``table-templates/`` beside it."""
    require_terraform()
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "table-templates", folder / "table-templates")
    return terraform_folder(folder / "terraform")


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    """AWS with nothing in it."""
    with AwsServer(region=REGION) as server:
        server.reset()
        yield server


@pytest.fixture(scope="module")
def client(aws: AwsServer) -> Callable[[str], Any]:
    """boto3's client of a service."""
    return lambda service: boto3.client(
        service, endpoint_url=aws.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


@pytest.fixture(scope="module")
def aws_root(terraform_source: Path, tmp_path_factory: pytest.TempPathFactory, aws: AwsServer) -> Callable[..., Terraform]:
    """Makes a copy of ``terraform/aws`` with these variables, initialised and without state, whose AWS is the server."""
    require_terraform()

    def root(**variables: Any) -> Terraform:
        repository = shutil.copytree(terraform_source.parent, tmp_path_factory.mktemp("root"), dirs_exist_ok=True)
        # What the server cannot do, it answers with a 500: the provider's own 25 retries would be a quarter of an hour.
        values = {"region": REGION, "max_retries": 2, **variables}
        terraform = Terraform(repository / "terraform" / "aws", values, {**aws.environment, **dict.fromkeys(aws.removed)})
        terraform.init()
        return terraform

    return root


@pytest.fixture(scope="module")
def gcp_root(terraform_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Terraform]:
    """Makes a copy of ``terraform/gcp`` with these variables, initialised and without state."""
    # A token that is none: the provider wants credentials, also for what asks Google nothing.
    environment = {"GOOGLE_OAUTH_ACCESS_TOKEN": "none", "GOOGLE_APPLICATION_CREDENTIALS": None, "GOOGLE_PROJECT": None}

    def root(**variables: Any) -> Terraform:
        repository = shutil.copytree(terraform_source.parent, tmp_path_factory.mktemp("root"), dirs_exist_ok=True)
        terraform = Terraform(repository / "terraform" / "gcp", variables, environment)
        terraform.init()
        return terraform

    return root


@pytest.fixture
def caller_is_administrator(client: Callable[[str], Any]) -> Iterator[None]:
    """Lake Formation's list of administrators has who runs Terraform."""
    caller = client("sts").get_caller_identity()["Arn"]
    lake_formation = client("lakeformation")
    lake_formation.put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": [{"DataLakePrincipalIdentifier": caller}]})
    yield
    lake_formation.put_data_lake_settings(DataLakeSettings={"DataLakeAdmins": []})
