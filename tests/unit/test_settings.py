"""Settings come from the environment, and what is missing is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import SettingsError
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings, configuration_table, unknown_variables

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


@pytest.mark.parametrize("variable", ["NESSIE_URI", "NESSIE_OAUTH_URI", "ICEBERG_REST_URI", "LAKEHOUSE_REPOSITORY_URL"])
@pytest.mark.parametrize("value", ["https://user:geheim@host/x", "https://geheim@host", "user:geheim@host", "https://user:ge/heim@host"])
def test_a_url_with_a_login_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    more = {"LAKEHOUSE_BACKEND": "aws-nessie", "AWS_REGION": "eu-west-1", "NESSIE_URI": "http://nessie:19120", **S3}
    with pytest.raises(SettingsError) as error:
        _load(monkeypatch, **{**more, variable: value})
    assert variable in str(error.value) and "%40" in str(error.value) and "heim" not in str(error.value)


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
        *(({"LAKEHOUSE_DRIFT_TABLE_TIMEOUT": value}, ["LAKEHOUSE_DRIFT_TABLE_TIMEOUT"]) for value in ("0", "31", "inf", "nan")),
        *(({"LAKEHOUSE_ORPHAN_AGE_HOURS": value}, ["LAKEHOUSE_ORPHAN_AGE_HOURS"]) for value in ("23", "inf", "nan")),
        *(({"LAKEHOUSE_MAINTENANCE_CRON": value}, ["LAKEHOUSE_MAINTENANCE_CRON"]) for value in ("daily", "61 * * * *", "* * * *")),
        *(({"LAKEHOUSE_DRIFT_REPEAT_HOURS": value}, ["LAKEHOUSE_DRIFT_REPEAT_HOURS"]) for value in ("-1", "8761", "inf", "nan")),
        ({"LAKEHOUSE_BACKEND": "x", "LAKEHOUSE_WRITE_MEMORY": "y"}, ["LAKEHOUSE_BACKEND", "LAKEHOUSE_WRITE_MEMORY"]),
        ({"LAKEHOUSE_BACKEND": "gcp", **GS, "GOOGLE_CLOUD_PROJECT": "p", "LAKEHOUSE_GCP_CREDENTIALS": "x"}, ["LAKEHOUSE_GCP_CREDENTIALS"]),
        ({"LAKEHOUSE_BIGQUERY_CONNECTION": "europe-west3.lakehouse"}, ["LAKEHOUSE_BIGQUERY_CONNECTION"]),
        *(({name: "Restricted"}, [name]) for name in ("LAKEHOUSE_POLICY_TAG_RESTRICTED", "LAKEHOUSE_POLICY_TAG_INTERNAL")),
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
    assert LakehouseSettings.load(LAKEHOUSE_BRANCH="argument").branch == "argument"
    with pytest.raises(TypeError, match="no setting branch"):
        LakehouseSettings.load(branch="argument")


def test_variables_of_other_programs_are_no_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / ".env").write_text("REST_URI=x\n")
    generic = {name.upper(): "x" for name in LakehouseSettings.model_fields if name.upper() not in VARIABLES}
    assert {"BRANCH", "BACKEND", "WAREHOUSE", "TEMPLATES", "REST_URI"} <= generic.keys()
    assert _load(monkeypatch, **generic).model_fields_set == set()


def test_a_variable_that_is_no_setting_is_named_with_the_closest(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert unknown_variables() == []
    (folder / ".env").write_text("LAKEHOUSE_LANDNG=x\nOTHER=x\n")
    for name in ("LAKEHOUSE_WAREHOSE", "LAKEHOUSE_XYZZYPLUGHFROTZ", "LAKEHOUSE_CATALOG", "NESSIE_URL"):
        monkeypatch.setenv(name, "x")
    assert unknown_variables() == [
        "LAKEHOUSE_LANDNG is no setting; did you mean LAKEHOUSE_LANDING?",
        "LAKEHOUSE_WAREHOSE is no setting; did you mean LAKEHOUSE_WAREHOUSE?",
        "LAKEHOUSE_XYZZYPLUGHFROTZ is no setting; see docs/configuration-reference.md.",
    ]


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / ".env").write_bytes(b"LAKEHOUSE_LANDING=\xff")
    for read in (LakehouseSettings.load, unknown_variables):
        with pytest.raises(SettingsError, match=r"\.env cannot be read.*UTF-8"):
            read()


def test_the_home_folder_is_filled_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = _load(monkeypatch, HOME=str(folder), LAKEHOUSE_WAREHOUSE="~/w", LAKEHOUSE_LANDING="~/l", LAKEHOUSE_TEMPLATES="~/t")
    assert (settings.warehouse_folder, settings.landing, settings.templates) == (folder / "w", str(folder / "l"), folder / "t")
    with pytest.raises(SettingsError, match=r"LAKEHOUSE_LANDING: .*no home folder for ~nobody-at-all/l"):
        _load(monkeypatch, LAKEHOUSE_LANDING="~nobody-at-all/l")


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
    monkeypatch.setenv("EMPTY", "")
    assert "EMPTY" not in settings.variables  # as lint sees it: set and empty fails where the pipeline runs
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
