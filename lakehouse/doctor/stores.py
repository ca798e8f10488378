"""What is reached: catalog, files, credentials, and what points at tables."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pyiceberg.io import FileIO

from lakehouse.catalog import catalog_errors, catalog_properties, open_catalog
from lakehouse.doctor.base import Answer, NotChecked, Setup
from lakehouse.errors import without_credentials
from lakehouse.inspect import list_tables
from lakehouse.lint import lint_templates
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


def check_catalog(setup: Setup) -> Answer:
    """The catalog answers."""
    settings = setup.settings
    _wait_for_first_apply(settings)
    with catalog_errors(f"The catalog of the backend {settings.backend} does not answer"):
        namespaces = open_catalog(settings).list_namespaces()
    return Answer("ok", f"{settings.backend} answers, with {len(namespaces)} namespaces.")


def check_nessie(setup: Setup) -> Answer:
    """Nessie is a server of the version that the project speaks to, and has the branch."""
    settings = setup.settings
    if settings.backend != "aws-nessie":
        return Answer("ok", f"The backend {settings.backend} has no Nessie.")
    from lakehouse.branches import open_client

    client = open_client(settings)
    said = client.configuration()
    newest = int(said.get("maxSupportedApiVersion") or 0)
    if newest < 2:
        return Answer("error", f"The server speaks Nessie's API up to version {newest}, and 2 is needed. Run a newer server.")
    branch = client.branch(settings.branch)
    return Answer("ok", f"Nessie's API {said.get('specVersion', newest)}; the branch {branch.name} is at {branch.hash[:12]}.")


def check_namespaces(setup: Setup) -> Answer:
    """The catalog has the templates' namespaces and tables."""
    settings = setup.settings
    _wait_for_first_apply(settings)
    templates = _templates(settings)
    catalog = open_catalog(settings)
    with catalog_errors("The catalog does not list its tables"):
        have = {".".join(found) for found in catalog.list_namespaces()}
        missing = sorted({template.namespace for template in templates} - have)
        tables = {template.table_name for template in templates} - set(list_tables(catalog))
    if missing and settings.backend != "local":
        return Answer("error", f"There is no namespace {', '.join(missing)}. Terraform makes them: terraform apply, then lakehouse apply")
    if missing or tables:
        return Answer("warning", f"There is no table {', '.join(sorted(tables)) or missing} yet. Make what is missing: lakehouse apply")
    return Answer("ok", f"All {len(templates)} tables are there.")


def check_warehouse(setup: Setup) -> Answer:
    """Files can be written to the warehouse, read and deleted."""
    settings = setup.settings
    if settings.backend == "local" and not settings.warehouse_folder.exists():
        return Answer("warning", f"There is no folder {settings.warehouse_folder} yet. Make it: lakehouse apply")
    from pyiceberg.io.pyarrow import PyArrowFileIO

    location = f"{settings.warehouse_uri}/_lakehouse/doctor-{uuid.uuid4().hex}"
    files, content = PyArrowFileIO(catalog_properties(settings)), uuid.uuid4().bytes
    step = "written"
    try:
        with files.new_output(location).create() as output:
            output.write(content)
        step = "read"
        with files.new_input(location).open() as stream:
            found = stream.read()
        step = "deleted"
        _delete(settings, files, location)
    except Exception as error:  # whatever the store's client raises
        left = "" if step == "written" else " It is left behind."
        what = next(iter(str(error).splitlines()), "")
        return Answer(
            "error",
            f"{location} cannot be {step}: {type(error).__name__}: {what}.{left} See LAKEHOUSE_WAREHOUSE and the role's permissions.",
        )
    if settings.backend == "local":
        with suppress(OSError):  # there are ledgers in it, or there is nothing
            (settings.warehouse_folder / "_lakehouse").rmdir()
    if found != content:
        return Answer("error", f"{location} was read otherwise than it was written. See what is between here and the store.")
    return Answer("ok", f"{settings.warehouse_uri} was written to, read, and cleaned up.")


def _delete(settings: LakehouseSettings, files: FileIO, location: str) -> None:
    """Deletes a file. On S3 not by PyArrow, which leaves an empty object that stands for the folder."""
    if not settings.backend.startswith("aws"):
        files.delete(location)
        return
    import boto3  # type: ignore[import-untyped]

    bucket, _, key = location.removeprefix("s3://").partition("/")
    boto3.client("s3", region_name=settings.aws_region).delete_object(Bucket=bucket, Key=key)


def check_landing(setup: Setup) -> Answer:
    """The folder of source files can be listed."""
    from pyarrow import fs

    location = setup.settings.landing
    shown = without_credentials(location)
    if "://" not in location or location.startswith("file://"):
        folder = Path(location.removeprefix("file://")).expanduser()
        if not folder.is_dir():
            return Answer("warning", f"There is no folder {folder}. Make it, or set LAKEHOUSE_LANDING.")
        next(folder.iterdir(), None)
        return Answer("ok", f"{folder} can be read.")
    try:
        filesystem, root = fs.FileSystem.from_uri(location)
        if filesystem.get_file_info(root.split("/")[0]).type == fs.FileType.NotFound:
            return Answer(
                "error", f"There is no bucket of {shown}, or it may not be listed. Correct LAKEHOUSE_LANDING, or the permissions."
            )
        filesystem.get_file_info(fs.FileSelector(root, recursive=False, allow_not_found=True))
    except (OSError, ValueError) as error:
        told = next(iter(str(error).splitlines()), type(error).__name__)
        return Answer("error", f"{shown} cannot be listed: {told}. See LAKEHOUSE_LANDING, and the role's permissions.")
    return Answer("ok", f"{shown} can be listed.")


def check_credentials(setup: Setup) -> Answer:
    """The cloud knows who asks."""
    return _IDENTITIES[setup.settings.backend](setup.settings)


def check_pointers(setup: Setup) -> Answer:
    """What readers query follows the tables."""
    from lakehouse.pointers import open_pointers

    settings = setup.settings
    pointers = open_pointers(settings)
    if pointers is not None:
        templates = _templates(settings)
        if templates:
            _ = pointers.read(templates[0].table_name)
        return Answer("ok", "They are looked after with each commit; see whether they are in step: lakehouse sync --dry-run")
    if settings.backend == "aws-nessie" and settings.branch != "main":
        return Answer("ok", f"Readers are shown main, and LAKEHOUSE_BRANCH is {settings.branch}: nothing is to follow.")
    if settings.backend == "aws-nessie":
        return Answer("warning", "GLUE_CATALOG_ID is not set: Athena's readers see nothing of what is committed. Set it to the account.")
    if settings.backend == "gcp":
        return Answer(
            "warning",
            "LAKEHOUSE_BIGQUERY_CONNECTION is not set: BigQuery's readers see nothing of what is committed. Set it to Terraform's output.",
        )
    return Answer("ok", f"Readers of the backend {settings.backend} ask the catalog itself.")


def _templates(settings: LakehouseSettings) -> list[TableTemplate]:
    result = lint_templates(settings.templates, settings.variables, ("-",))  # without what looks at others: columns are not asked for
    if not result.templates:
        raise NotChecked("no template can be used.")
    return result.templates


def _wait_for_first_apply(settings: LakehouseSettings) -> None:
    """A look must not make a catalog."""
    if settings.backend == "local" and not (settings.warehouse_folder / "catalog.db").is_file():
        raise NotChecked(f"there is no catalog in {settings.warehouse_folder} yet. Make it: lakehouse apply")


def _amazon(settings: LakehouseSettings) -> Answer:
    from lakehouse.catalog import require_extra

    require_extra("boto3", "aws", f"The backend {settings.backend}")
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        caller = boto3.client("sts", region_name=settings.aws_region).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        told = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else str(error)
        return Answer(
            "error", f"AWS does not take the credentials: {type(error).__name__}: {told}. Log in: aws sso login, or set AWS_PROFILE."
        )
    return Answer("ok", f"{caller['Arn']} in the account {caller['Account']}.")


def _google(settings: LakehouseSettings) -> Answer:
    from lakehouse.catalog import require_extra

    require_extra("google.auth", "gcp", "The backend gcp")
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, project = google.auth.default()
    except GoogleAuthError as error:
        told = next(iter(str(error).splitlines()), "")
        return Answer("error", f"There are no credentials for Google: {told} Log in: gcloud auth application-default login")
    who = getattr(credentials, "service_account_email", None) or "a user's credentials"
    if project and project != settings.google_project:
        return Answer("warning", f"{who}, of the project {project}; GOOGLE_CLOUD_PROJECT, which is billed, is {settings.google_project}.")
    return Answer("ok", f"{who}; the project {settings.google_project} is billed.")


def _nobody(settings: LakehouseSettings) -> Answer:
    return Answer("ok", f"The backend {settings.backend} asks for none.")


_IDENTITIES: dict[str, Callable[[LakehouseSettings], Answer]] = {
    "local": _nobody,
    "aws-glue": _amazon,
    "aws-nessie": _amazon,
    "gcp": _google,
}
