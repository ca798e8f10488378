"""What PyIceberg is told about each backend, and what a missing part is answered with."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from lakehouse.catalog import catalog_properties, load_table, open_catalog, table_location
from lakehouse.errors import CatalogError, MissingExtraError, SettingsError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse

AWS = {"LAKEHOUSE_WAREHOUSE": "s3://lake/wh/", "AWS_REGION": "eu-central-1"}
NESSIE = {**AWS, "LAKEHOUSE_BACKEND": "aws-nessie", "NESSIE_URI": "http://nessie:19120/"}
GCP = {"LAKEHOUSE_BACKEND": "gcp", "LAKEHOUSE_WAREHOUSE": "gs://lake", "GOOGLE_CLOUD_PROJECT": "p1"}


def settings(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> LakehouseSettings:
    for field in LakehouseSettings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return LakehouseSettings.load()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {**AWS, "LAKEHOUSE_BACKEND": "aws-glue"},
            {"type": "glue", "warehouse": "s3://lake/wh", "glue.region": "eu-central-1", "s3.region": "eu-central-1"},
        ),
        (
            {**AWS, "LAKEHOUSE_BACKEND": "aws-glue", "GLUE_CATALOG_ID": "123456789012"},
            {"type": "glue", "warehouse": "s3://lake/wh", "glue.region": "eu-central-1", "s3.region": "eu-central-1",
             "glue.id": "123456789012"},
        ),
        (
            NESSIE,
            {"py-catalog-impl": "lakehouse.nessie.NessieCatalog", "warehouse": "s3://lake/wh", "uri": "http://nessie:19120/iceberg",
             "s3.region": "eu-central-1"},
        ),
        (
            {**NESSIE, "LAKEHOUSE_BRANCH": "dev", "NESSIE_TOKEN": "t"},
            {"py-catalog-impl": "lakehouse.nessie.NessieCatalog", "warehouse": "s3://lake/wh", "uri": "http://nessie:19120/iceberg/dev",
             "s3.region": "eu-central-1", "token": "t"},
        ),
        (
            {**NESSIE, "NESSIE_CREDENTIAL": "i:s", "NESSIE_OAUTH_URI": "https://id/token", "NESSIE_SCOPE": "catalog"},
            {"py-catalog-impl": "lakehouse.nessie.NessieCatalog", "warehouse": "s3://lake/wh", "uri": "http://nessie:19120/iceberg",
             "s3.region": "eu-central-1", "credential": "i:s", "oauth2-server-uri": "https://id/token", "scope": "catalog"},
        ),
        (
            GCP,
            {"py-catalog-impl": "lakehouse.biglake.BigLakeCatalog", "warehouse": "gs://lake",
             "uri": "https://biglake.googleapis.com/iceberg/v1/restcatalog",
             "header.x-goog-user-project": "p1", "header.X-Iceberg-Access-Delegation": "vended-credentials"},
        ),
        (
            {**GCP, "LAKEHOUSE_GCP_CREDENTIALS": "own", "ICEBERG_REST_URI": "http://localhost:1"},
            {"py-catalog-impl": "lakehouse.biglake.BigLakeCatalog", "warehouse": "gs://lake", "uri": "http://localhost:1",
             "header.x-goog-user-project": "p1"},
        ),
    ],
)  # fmt: skip
def test_properties_of_each_cloud(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: dict[str, Any]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert catalog_properties(settings(monkeypatch, environment)) == expected


def test_the_local_catalog(lakehouse: Lakehouse) -> None:
    folder = lakehouse.settings.warehouse_folder
    properties = catalog_properties(lakehouse.settings)
    assert properties == {
        "type": "sql", "warehouse": f"file://{folder}", "uri": f"sqlite:///{folder}/catalog.db?timeout=30",
        "py-io-impl": "lakehouse.local_io.LocalFileIO",
    }  # fmt: skip
    assert table_location(lakehouse.settings, "lake", "t") == f"file://{folder}/lake/t"
    lakehouse.template("name: t\nnamespace: lake\ncolumns: [{name: id, type: int}]\n")
    assert lakehouse.table("lake.t").location() == f"file://{folder}/lake/t"
    assert (folder / "catalog.db").exists()
    with pytest.raises(CatalogError, match=r"There is no table lake.x in the catalog(.|\n)*lakehouse apply"):
        load_table(lakehouse.catalog, "lake.x")


@pytest.mark.parametrize("name", ["with space", "ünïcode", "a+b&c"])
def test_a_local_warehouse_with_an_unusual_name(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE", str(lakehouse.landing / "sub" / name))
    lakehouse.settings = LakehouseSettings.load()
    template = lakehouse.template("""\
        name: t
        namespace: lake
        columns: [{name: id, type: int}]
        source: {path: "${LAKEHOUSE_LANDING}/in", format: jsonl}
    """)
    lakehouse.land("in/a.jsonl", '{"id": 1}')
    assert lakehouse.run(template).rows == 1
    assert lakehouse.rows("lake.t").num_rows == 1
    assert (lakehouse.landing / "sub" / name / "catalog.db").exists()
    # PyArrow's FileIO and the one that reads metadata without it mean the same file.
    table = lakehouse.table("lake.t")
    ours, arrows = (io.new_input(table.metadata_location) for io in (table.io, PyArrowFileIO(table.io.properties)))
    assert type(ours) is not type(arrows)
    assert (len(ours), ours.exists(), ours.open().read()) == (len(arrows), arrows.exists(), arrows.open().read())
    table.io.delete(ours)
    assert (ours.exists(), arrows.exists()) == (False, False)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LAKEHOUSE_BACKEND": "abacus"}, "LAKEHOUSE_BACKEND: Input should be 'local', 'aws-glue', 'aws-nessie' or 'gcp'"),
        ({"LAKEHOUSE_BACKEND": "aws-nessie", "LAKEHOUSE_WAREHOUSE": "s3://x"}, "needs AWS_REGION, NESSIE_URI"),
        ({**AWS, "LAKEHOUSE_BACKEND": "gcp"}, "GOOGLE_CLOUD_PROJECT(.|\n)*gs://"),
    ],
)
def test_settings_that_name_no_catalog(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(monkeypatch, environment)


def _no_module(name: str) -> None:
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("find_spec", [lambda name: None, _no_module], ids=["package", "parent package"])
@pytest.mark.parametrize(("environment", "extra"), [({**AWS, "LAKEHOUSE_BACKEND": "aws-glue"}, "aws"), (GCP, "gcp")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], extra: str, find_spec: Any) -> None:
    found = settings(monkeypatch, environment)
    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(
        MissingExtraError, match=rf"The backend \S+ needs the extra \[{extra}\]. Install it: pip install '.*\[{extra}\]'"
    ) as error:
        open_catalog(found)
    assert error.value.extra == extra
