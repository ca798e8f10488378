"""Settings come from the environment, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import SettingsError
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings, configuration_table

VARIABLES = [str(field.validation_alias) for field in LakehouseSettings.model_fields.values()]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and none of the variables set."""
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def _load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> LakehouseSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return LakehouseSettings.load()


def test_defaults_need_nothing() -> None:
    settings = LakehouseSettings.load()
    assert settings.backend == "local"
    assert settings.warehouse_folder == PROJECT_ROOT / "data" / "warehouse"
    assert settings.warehouse_uri == f"file://{PROJECT_ROOT}/data/warehouse"
    assert settings.landing == str(PROJECT_ROOT / "data" / "landing")
    assert settings.templates == PROJECT_ROOT / "table-templates"
    assert (settings.catalog_name, settings.write_memory, settings.commit_timeout) == ("lakehouse", 1024**3, 600)


S3, GS = {"LAKEHOUSE_WAREHOUSE": "s3://bucket/x/"}, {"LAKEHOUSE_WAREHOUSE": "gs://bucket"}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LAKEHOUSE_BACKEND": "azure"}, ["LAKEHOUSE_BACKEND", "'aws-glue'"]),
        ({"LAKEHOUSE_BACKEND": "aws-glue"}, ["AWS_REGION", "LAKEHOUSE_WAREHOUSE", "s3://"]),
        ({"LAKEHOUSE_BACKEND": "aws-glue", **S3}, ["AWS_REGION"]),
        ({"LAKEHOUSE_BACKEND": "aws-glue", **S3, "AWS_REGION": ""}, ["AWS_REGION"]),
        ({"LAKEHOUSE_BACKEND": "aws-nessie", **S3}, ["AWS_REGION", "NESSIE_URI"]),
        ({"LAKEHOUSE_BACKEND": "aws-nessie", **S3, "AWS_REGION": "eu-west-1"}, ["NESSIE_URI"]),
        ({"LAKEHOUSE_BACKEND": "gcp", **GS}, ["GOOGLE_CLOUD_PROJECT"]),
        ({"LAKEHOUSE_BACKEND": "gcp", **S3}, ["GOOGLE_CLOUD_PROJECT", "LAKEHOUSE_WAREHOUSE", "gs://"]),
        ({"LAKEHOUSE_BACKEND": "aws-glue", **GS, "AWS_REGION": "eu-west-1"}, ["LAKEHOUSE_WAREHOUSE", "s3://"]),
        ({"LAKEHOUSE_BACKEND": "aws-glue", "LAKEHOUSE_WAREHOUSE": "a", "AWS_REGION": "x"}, ["LAKEHOUSE_WAREHOUSE", "s3://"]),
        (S3, ["LAKEHOUSE_WAREHOUSE", "needs a folder"]),
        ({"LAKEHOUSE_WAREHOUSE": "file://data/x"}, ["LAKEHOUSE_WAREHOUSE", "file:///"]),
        ({"LAKEHOUSE_WAREHOUSE": "file:x"}, ["LAKEHOUSE_WAREHOUSE", "file:///"]),
        *(({"LAKEHOUSE_WAREHOUSE": path}, ["LAKEHOUSE_WAREHOUSE", "#, ? and %"]) for path in ("/a#b", "a?b", "/a%20b", "file:///a#b", "file:///a%23b")),
        ({"LAKEHOUSE_WRITE_MEMORY": "much"}, ["LAKEHOUSE_WRITE_MEMORY"]),
        ({"LAKEHOUSE_WRITE_MEMORY": "1MiB"}, ["LAKEHOUSE_WRITE_MEMORY"]),
        ({"LAKEHOUSE_COMMIT_TIMEOUT": "0"}, ["LAKEHOUSE_COMMIT_TIMEOUT"]),
        ({"LAKEHOUSE_BACKEND": "x", "LAKEHOUSE_WRITE_MEMORY": "y"}, ["LAKEHOUSE_BACKEND", "LAKEHOUSE_WRITE_MEMORY"]),
        ({"LAKEHOUSE_BACKEND": "gcp", **GS, "GOOGLE_CLOUD_PROJECT": "p", "LAKEHOUSE_GCP_CREDENTIALS": "x"}, ["LAKEHOUSE_GCP_CREDENTIALS"]),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        _load(monkeypatch, **variables)
    assert all(name in str(error.value) for name in named)
    assert not [name for name in VARIABLES if name in str(error.value) and name not in named]


@pytest.mark.parametrize(
    ("variables", "uri"),
    [
        ({"LAKEHOUSE_BACKEND": "aws-glue", **S3, "AWS_REGION": "eu-west-1"}, "s3://bucket/x"),
        ({"LAKEHOUSE_BACKEND": "aws-nessie", **S3, "AWS_REGION": "eu-west-1", "NESSIE_URI": "http://nessie:19120"}, "s3://bucket/x"),
        ({"LAKEHOUSE_BACKEND": "gcp", **GS, "GOOGLE_CLOUD_PROJECT": "p"}, "gs://bucket"),
        ({"LAKEHOUSE_WAREHOUSE": "/data/w"}, "file:///data/w"),
        ({"LAKEHOUSE_WAREHOUSE": "/data/w/"}, "file:///data/w"),
        ({"LAKEHOUSE_WAREHOUSE": "file:///data/w/"}, "file:///data/w"),
        ({"LAKEHOUSE_WAREHOUSE": "file:///data/my%20tables"}, "file:///data/my tables"),
    ],
)
def test_each_backend_with_what_it_needs(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], uri: str) -> None:
    assert _load(monkeypatch, **variables).warehouse_uri == uri


def test_a_relative_folder_is_below_the_working_directory(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = _load(monkeypatch, LAKEHOUSE_WAREHOUSE="w/x", LAKEHOUSE_LANDING="l")
    assert settings.warehouse_folder == folder / "w" / "x"
    monkeypatch.chdir("/")  # a setting means the same for the whole run
    assert settings.warehouse_uri == f"file://{folder}/w/x"


def test_the_environment_precedes_the_file_precedes_the_default(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env").write_text("LAKEHOUSE_CATALOG=file\nLAKEHOUSE_BRANCH=file\nUNRELATED=x\n")
    monkeypatch.setenv("LAKEHOUSE_BRANCH", "environment")
    settings = LakehouseSettings.load()
    assert (settings.catalog_name, settings.branch, settings.backend) == ("file", "environment", "local")
    assert LakehouseSettings.load(branch="argument").branch == "argument"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"NESSIE_TOKEN": "top-secret-1", "NESSIE_CREDENTIAL": "id:top-secret-2"}
    settings = _load(monkeypatch, **secrets)
    assert settings.nessie_token
    assert settings.nessie_token.get_secret_value() == "top-secret-1"
    with pytest.raises(SettingsError) as wrong_value:
        _load(monkeypatch, LAKEHOUSE_WRITE_MEMORY="much")
    with pytest.raises(SettingsError) as missing:
        _load(monkeypatch, LAKEHOUSE_BACKEND="aws-nessie", LAKEHOUSE_WRITE_MEMORY="1GiB")
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        str(wrong_value.value),
        str(missing.value),
    ):
        assert "top-secret" not in shown


def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, TEAM_FOLDER="team")
    landing = PROJECT_ROOT / "data" / "landing"
    assert settings.fill_in("${LAKEHOUSE_LANDING}/${TEAM_FOLDER}/$x", "here") == f"{landing}/team/$x"
    assert settings.fill_in("s3://no/variable", "here") == "s3://no/variable"
    assert settings.variables.keys() >= {"TEAM_FOLDER", "LAKEHOUSE_LANDING", "LAKEHOUSE_WAREHOUSE"}


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    settings = _load(monkeypatch, **({} if value is None else {"TEAM_FOLDER": value}))
    with pytest.raises(SettingsError, match=r"trips\.yaml: source\.path uses \$\{TEAM_FOLDER\}.*Set the environment variable TEAM_FOLDER"):
        settings.fill_in("${TEAM_FOLDER}/x", "trips.yaml: source.path")


def test_the_table_documents_every_variable() -> None:
    table = configuration_table()
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == VARIABLES
    assert all(line.split("|")[3].strip() for line in table.splitlines()[2:])
    assert str(PROJECT_ROOT) not in table
