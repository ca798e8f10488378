"""Opens the catalog that the settings name. What each backend needs is one function."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from sqlalchemy.exc import OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from lakehouse.errors import CatalogError, LakehouseError, MissingExtraError, SettingsError
from lakehouse.settings import LakehouseSettings

# Writers wait for each other's SQLite lock this long, in seconds, before a commit is tried again.
SQLITE_TIMEOUT = 30
CATALOG_REMEDY = "See whether the catalog can be reached, the credentials, and the settings: lakehouse env"


def open_catalog(settings: LakehouseSettings) -> Catalog:
    """The PyIceberg catalog of the settings' backend.

    Raises:
        CatalogError: it cannot be opened; MissingExtraError: its client is not installed; SettingsError: it has no branches.
    """
    check_branch(settings)
    with catalog_errors(f"The catalog of the backend {settings.backend} does not open"):
        return _load(settings.catalog_name, catalog_properties(settings))


def check_branch(settings: LakehouseSettings) -> None:
    """Raises SettingsError where the backend has no branches, and one is set: the rows would go where everybody reads them."""
    if settings.branch != "main" and settings.backend != "aws-nessie":
        raise SettingsError(f"LAKEHOUSE_BRANCH is {settings.branch!r}, and the backend {settings.backend} has no branches. Unset it.")


@contextmanager
def catalog_errors(what: str) -> Iterator[None]:
    """Turns whatever a catalog, its store or their clients raise inside into a CatalogError that starts with ``what``."""
    try:
        yield
    except LakehouseError:
        raise
    except Exception as error:
        raise CatalogError(f"{what}: {type(error).__name__}: {error}\n{CATALOG_REMEDY}") from error


def catalog_properties(settings: LakehouseSettings) -> dict[str, str]:
    """PyIceberg's properties for the settings' backend, secrets included: never to be printed."""
    return {"warehouse": settings.warehouse_uri, **_BACKENDS[settings.backend](settings)}


def load_table(catalog: Catalog, table_name: str) -> Table:
    """A live table. Raises CatalogError with the remedy where it is not there."""
    try:
        if "." not in table_name:  # PyIceberg's catalogs differ on what they raise
            raise NoSuchTableError
        return catalog.load_table(table_name)
    except NoSuchTableError:
        raise CatalogError(f"There is no table {table_name} in the catalog. Create it from its template: lakehouse apply") from None


def load_newest(catalog: Catalog, table_name: str) -> Table:
    """A live table as it is now: on Nessie without its older snapshots, each of which is a file to be read. Raises NoSuchTableError."""
    load: Callable[[str], Table] = getattr(catalog, "load_without_history", catalog.load_table)
    return load(table_name)


def table_location(settings: LakehouseSettings, namespace: str, name: str) -> str:
    """Where a table's files are; Terraform gives its entries the same location."""
    return f"{settings.warehouse_uri}/{namespace}/{name}"


# Two processes that open a new SQLite catalog at once both make its tables; one of them fails, and then finds them.
@retry(retry=retry_if_exception_type(OperationalError), stop=stop_after_attempt(5), wait=wait_random(0.05, 0.3), reraise=True)
def _load(name: str, properties: dict[str, str]) -> Catalog:
    return load_catalog(name, **properties)


def _local(settings: LakehouseSettings) -> dict[str, str]:
    folder = settings.warehouse_folder
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "type": "sql",
        "uri": f"sqlite:///{quote(str(folder))}/catalog.db?timeout={SQLITE_TIMEOUT}",
        "py-io-impl": "lakehouse.local_io.LocalFileIO",
    }


def _aws_glue(settings: LakehouseSettings) -> dict[str, str]:
    require_extra("boto3", "aws", "The backend aws-glue")
    region = settings.aws_region or ""
    catalog_id = {"glue.id": settings.glue_catalog_id} if settings.glue_catalog_id else {}
    return {"type": "glue", "glue.region": region, "s3.region": region, **catalog_id, **_s3()}


def _aws_nessie(settings: LakehouseSettings) -> dict[str, str]:
    branch = "" if settings.branch == "main" else f"/{settings.branch}"
    return {
        "py-catalog-impl": "lakehouse.nessie.NessieCatalog",
        "uri": f"{nessie_server(settings)}/iceberg{branch}",
        "s3.region": settings.aws_region or "",
        **_s3(),
        **nessie_login(settings),
    }


def nessie_server(settings: LakehouseSettings) -> str:
    """Nessie's URL without a path."""
    return (settings.nessie_uri or "").rstrip("/")


def nessie_login(settings: LakehouseSettings) -> dict[str, str]:
    """How to log in to Nessie, as properties of PyIceberg; secrets, never to be printed."""
    found = {
        "token": settings.nessie_token.get_secret_value() if settings.nessie_token else None,
        "credential": settings.nessie_credential.get_secret_value() if settings.nessie_credential else None,
        "oauth2-server-uri": settings.nessie_oauth_uri,
        "scope": settings.nessie_scope,
    }
    return {key: value for key, value in found.items() if value}


def _gcp(settings: LakehouseSettings) -> dict[str, str]:
    require_extra("google.auth", "gcp", "The backend gcp")
    vended = {"header.X-Iceberg-Access-Delegation": "vended-credentials"} if settings.gcp_credentials == "vended" else {}
    return {
        "py-catalog-impl": "lakehouse.biglake.BigLakeCatalog",
        "uri": settings.rest_uri.rstrip("/"),
        "header.x-goog-user-project": settings.google_project or "",
        **vended,
    }


def s3_endpoint() -> str | None:
    """Where S3 is, if not at AWS. AWS's own clients read these variables, PyArrow's S3 does not."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _s3() -> dict[str, str]:
    endpoint = s3_endpoint()
    return {"s3.endpoint": endpoint} if endpoint else {}


def require_extra(module: str, extra: str, purpose: str) -> None:
    """Raises MissingExtraError where a module that comes with an extra is not there."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingExtraError(extra, purpose)


_BACKENDS: dict[str, Callable[[LakehouseSettings], dict[str, str]]] = {
    "local": _local,
    "aws-glue": _aws_glue,
    "aws-nessie": _aws_nessie,
    "gcp": _gcp,
}
