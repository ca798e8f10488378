"""The configuration that Spark and the services that run it are given."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import botocore.session
import pytest
from botocore.validate import ParamValidator
from typer.testing import CliRunner, Result

from lakehouse import cli
from lakehouse.catalog import catalog_properties
from lakehouse.engines.spark import versions
from lakehouse.engines.spark.conf import job_properties, spark_properties, spark_secrets
from lakehouse.errors import SettingsError
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

AWS = {"LAKEHOUSE_BACKEND": "aws-glue", "LAKEHOUSE_WAREHOUSE": "s3://lake/wh/", "AWS_REGION": "eu-central-1"}
NESSIE = {**AWS, "LAKEHOUSE_BACKEND": "aws-nessie", "NESSIE_URI": "https://nessie.example.com/"}
GCP = {"LAKEHOUSE_BACKEND": "gcp", "LAKEHOUSE_WAREHOUSE": "gs://lake", "GOOGLE_CLOUD_PROJECT": "p1"}
CATALOG = "spark.sql.catalog.lakehouse"
S3 = {"io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "client.region": "eu-central-1"}
BIGLAKE = {
    "type": "rest",
    "warehouse": "gs://lake",
    "uri": "https://biglake.googleapis.com/iceberg/v1/restcatalog",
    "io-impl": "org.apache.iceberg.gcp.gcs.GCSFileIO",
    "rest.auth.type": "google",
    "header.x-goog-user-project": "p1",
    "rest-metrics-reporting-enabled": "false",
}
EMR = {"applicationId": "app", "clientToken": "token", "executionRoleArn": "arn:aws:iam::123456789012:role/writer"}
VENDED = {"header.X-Iceberg-Access-Delegation": "vended-credentials"}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        *(str(field.validation_alias) for field in LakehouseSettings.model_fields.values()),
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
    ):
        monkeypatch.delenv(name, raising=False)


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> LakehouseSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return LakehouseSettings.load()


def spark_conf(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["spark-conf", *arguments])


def printed(*arguments: str) -> str:
    result = spark_conf(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.rstrip("\n")


def catalog_of(properties: dict[str, str]) -> dict[str, str]:
    return {key.removeprefix(f"{CATALOG}."): value for key, value in properties.items() if key.startswith(f"{CATALOG}.")}


# --- The catalog


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (AWS, {"type": "glue", "warehouse": "s3://lake/wh", **S3}),
        (
            {**AWS, "GLUE_CATALOG_ID": "123456789012", "AWS_ENDPOINT_URL": "http://127.0.0.1:5000"},
            {"type": "glue", "warehouse": "s3://lake/wh", "glue.id": "123456789012", **S3, "s3.endpoint": "http://127.0.0.1:5000",
             "s3.path-style-access": "true"},
        ),
        (NESSIE, {"type": "rest", "warehouse": "s3://lake/wh", "uri": "https://nessie.example.com/iceberg", **VENDED, **S3}),
        (
            {**NESSIE, "LAKEHOUSE_BRANCH": "dev", "NESSIE_TOKEN": "hush"},
            {"type": "rest", "warehouse": "s3://lake/wh", "uri": "https://nessie.example.com/iceberg/dev", **VENDED, **S3,
             "rest.auth.type": "oauth2", "token": "env:NESSIE_TOKEN", "token-refresh-enabled": "false"},
        ),
        (
            {**NESSIE, "NESSIE_CREDENTIAL": "id:hush", "NESSIE_OAUTH_URI": "https://id.example.com/token", "NESSIE_SCOPE": "catalog"},
            {"type": "rest", "warehouse": "s3://lake/wh", "uri": "https://nessie.example.com/iceberg", **VENDED, **S3,
             "rest.auth.type": "oauth2", "credential": "env:NESSIE_CREDENTIAL", "oauth2-server-uri": "https://id.example.com/token",
             "scope": "catalog"},
        ),
        (GCP, {**BIGLAKE, **VENDED}),
        ({**GCP, "LAKEHOUSE_GCP_CREDENTIALS": "own"}, BIGLAKE),
    ],
)  # fmt: skip
def test_spark_is_told_of_the_catalog_of_each_backend(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: dict[str, str]
) -> None:
    properties = spark_properties(use(monkeypatch, environment))
    assert catalog_of(properties) == {**expected, "cache-enabled": "false"}
    assert properties[CATALOG] == "org.apache.iceberg.spark.SparkCatalog"
    assert "hush" not in json.dumps(properties)


def test_the_local_catalog_is_the_database_that_pyiceberg_has_under_the_same_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = use(monkeypatch, {"LAKEHOUSE_WAREHOUSE": str(tmp_path / "a folder"), "LAKEHOUSE_CATALOG": "shop"})
    properties = spark_properties(settings)
    assert properties["spark.sql.defaultCatalog"] == "shop"
    assert properties["spark.sql.catalog.shop.uri"] == f"jdbc:sqlite:{tmp_path}/a folder/catalog.db"
    # SQLite's waiting time: in milliseconds here, in seconds there.
    seconds = re.search(r"\?timeout=(\d+)$", catalog_properties(settings)["uri"])
    assert seconds is not None
    assert properties["spark.sql.catalog.shop.jdbc.busy_timeout"] == f"{seconds[1]}000"
    assert properties["spark.sql.catalog.shop.warehouse"] == catalog_properties(settings)["warehouse"]


def test_the_secrets_are_those_that_the_properties_refer_to(monkeypatch: pytest.MonkeyPatch) -> None:
    nessie = {"NESSIE_CREDENTIAL": "id:hush", "NESSIE_OAUTH_URI": "https://id.example.com/token", "NESSIE_TOKEN": "hush"}
    settings = use(monkeypatch, {**NESSIE, **nessie})
    names = set(re.findall(r"env:(\w+)", json.dumps(spark_properties(settings))))
    assert spark_secrets(settings) == {name: nessie[name] for name in names}
    # What another backend does not need is not asked for.
    assert spark_secrets(use(monkeypatch, AWS)) == {}


def test_pyspark_is_pinned_to_the_version_that_the_runtime_is_for() -> None:
    pyproject = (PROJECT_ROOT / "pyproject.toml").read_text()
    assert f'"pyspark[connect]=={versions.SPARK}"' in pyproject
    assert versions.SPARK.startswith(f"{versions.SPARK_MINOR}.")
    assert f"pyspark=={versions.SPARK} " in re.sub(r"\[connect\]", "", (PROJECT_ROOT / "requirements-spark.lock").read_text())


# --- The command


def test_spark_submit_is_given_a_file_or_arguments_with_the_same_properties(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = use(monkeypatch, {"LAKEHOUSE_WAREHOUSE": str(tmp_path / "a folder")})
    wanted = spark_properties(settings)
    assert json.loads(printed("--json")) == {"properties": wanted, "environment": []}
    assert dict(line.split(" ", 1) for line in printed().splitlines()) == wanted
    arguments = shlex.split(printed("--format", "submit"))
    assert set(arguments[::2]) == {"--conf"}
    assert dict(argument.split("=", 1) for argument in arguments[1::2]) == wanted
    older = json.loads(printed("--json", "--spark-version", "3.5"))["properties"]["spark.jars.packages"]
    assert older == wanted["spark.jars.packages"].replace("runtime-4.1_2.13", "runtime-3.5_2.12")


def accepted(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """Whether AWS's own client takes the parameters of a call."""
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    assert ParamValidator().validate(parameters, model.input_shape).generate_report() == ""


def test_only_plain_spark_is_told_how_to_read_source_files_on_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = use(monkeypatch, {**AWS, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:5000"})
    plain = json.loads(printed("--json"))["properties"]
    more = {name: value for name, value in plain.items() if job_properties(settings).get(name) != value}
    assert {name.removeprefix("spark.hadoop.") for name in more} == {
        *("spark.jars.packages", "spark.jars.excludes", "fs.s3.impl", "fs.s3a.aws.credentials.provider"),
        *("fs.s3a.endpoint.region", "fs.s3a.endpoint", "fs.s3a.path.style.access"),
    }
    assert more["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:5000"
    assert f"org.apache.hadoop:hadoop-aws:{versions.HADOOP}" in more["spark.jars.packages"].split(",")
    # A service has its own, and so has who brings the jars or another Spark.
    for arguments in (["--format", "emr-serverless"], ["--jars", "s3://jars"], ["--spark-version", "4.0"]):
        properties = json.loads(printed("--json", *arguments))["properties"]
        assert [name for name in properties if name.startswith("spark.hadoop.")] == []
        assert "hadoop-aws" not in json.dumps(properties)


def jar_names(jars: str, folder: str) -> list[str]:
    names = jars.split(",")
    assert all(name.startswith(f"{folder}/") for name in names)
    return [name.removeprefix(f"{folder}/").removesuffix(f"-{versions.ICEBERG}.jar") for name in names]


def test_emr_serverless_is_given_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, {**NESSIE, "NESSIE_TOKEN": "hush"})
    result = spark_conf("--format", "emr-serverless", "--jars", "s3://jars/iceberg/")
    overrides = json.loads(result.stdout)
    accepted("emr-serverless", "StartJobRun", {**EMR, "configurationOverrides": overrides})
    session = json.loads(printed("--format", "emr-serverless-session", "--jars", "s3://jars/iceberg/"))
    accepted("emr-serverless", "StartSession", {**EMR, "configurationOverrides": session})
    assert session["runtimeConfiguration"] == overrides["applicationConfiguration"]
    (classification,) = overrides["applicationConfiguration"]
    assert classification["classification"] == "spark-defaults"
    properties: dict[str, str] = classification["properties"]
    assert "spark.jars.packages" not in properties
    assert jar_names(properties["spark.jars"], "s3://jars/iceberg") == ["iceberg-spark-runtime-4.1_2.13", "iceberg-aws-bundle"]
    assert catalog_of(properties)["token"] == "env:NESSIE_TOKEN"
    assert "spark.emr-serverless.driverEnv.NESSIE_TOKEN" in result.stderr
    assert "hush" not in result.output
    assert "network" not in result.stderr
    assert "network" in spark_conf("--format", "emr-serverless").stderr


def test_glue_is_given_job_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = use(monkeypatch, AWS)
    arguments = json.loads(printed("--format", "glue", "--jars", "s3://jars"))
    accepted("glue", "CreateJob", {"Name": "job", "Role": "role", "Command": {}, "DefaultArguments": arguments})
    assert jar_names(arguments["--extra-jars"], "s3://jars") == ["iceberg-spark-runtime-3.5_2.12", "iceberg-aws-bundle"]
    assert arguments["--user-jars-first"] == "true"
    wanted = job_properties(settings)
    del wanted["spark.jars.packages"]
    assert dict(text.split("=", 1) for text in arguments["--conf"].split(" --conf ")) == wanted


def test_dataproc_serverless_is_given_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, GCP)

    def properties(*arguments: str) -> dict[str, str]:
        value = printed("--format", "dataproc", *arguments)
        separator = re.match(r"\^(.)\^", value)
        assert separator is not None
        return dict(text.split("=", 1) for text in value[3:].split(separator[1]))

    assert catalog_of(properties()) == {**BIGLAKE, **VENDED, "cache-enabled": "false"}
    assert "runtime-4.0_2.13:" in properties()["spark.jars.packages"]
    # Its runtimes of 3.5 that are still supported are built with Scala 2.13.
    older = properties("--spark-version", "3.5", "--jars", "gs://jars")["spark.jars"]
    assert jar_names(older, "gs://jars") == ["iceberg-spark-runtime-3.5_2.13", "iceberg-gcp-bundle"]


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({"LAKEHOUSE_BRANCH": "dev"}, ["properties"], "has no branches"),
        ({}, ["emr-serverless"], "EMR Serverless does not reach the tables of the backend local"),
        (GCP, ["glue", "--jars", "s3://jars"], "Set LAKEHOUSE_BACKEND to aws-glue or aws-nessie"),
        (AWS, ["dataproc"], "Set LAKEHOUSE_BACKEND to gcp"),
        (AWS, ["glue"], "Copy them to S3 and add --jars"),
        (AWS, ["emr-serverless", "--jars", "/jars"], "takes jars from s3://"),
        ({**NESSIE, "NESSIE_TOKEN": "hush"}, ["glue", "--jars", "s3://jars"], "cannot be given NESSIE_TOKEN"),
        ({**AWS, "LAKEHOUSE_CATALOG": "my lake"}, ["glue", "--jars", "s3://jars"], "no property with a space"),
    ],
)
def test_what_a_service_cannot_do_is_said(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], message: str
) -> None:
    use(monkeypatch, environment)
    result: Any = spark_conf("--format", *arguments)
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)
    assert "hush" not in str(result.exception)


def test_every_version_of_spark_has_a_runtime() -> None:
    assert {versions.iceberg_runtime(version).split(":")[1] for version in get_args(versions.SparkVersion)} == {
        "iceberg-spark-runtime-4.1_2.13",
        "iceberg-spark-runtime-4.0_2.13",
        "iceberg-spark-runtime-3.5_2.12",
    }
