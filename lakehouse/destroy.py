"""Whether a destroy of a Terraform root would lose files or tables. Terraform finds out too late, when half of it is gone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lakehouse.catalog import catalog_errors, require_extra
from lakehouse.errors import NotEmptyError, SettingsError
from lakehouse.settings import LakehouseSettings
from lakehouse.terraform import terraform_json

_FILES = ("warehouse", "landing")
_TIMEOUT = 30  # seconds
# Type of a resource => its instances: what is behind for_each's key, and its attributes.
_State = Mapping[str, Sequence[tuple[Any, Mapping[str, Any]]]]


def check_destroy(root: Path) -> list[str]:
    """What of the root's state holds files or tables that are nowhere else, if all of it is empty.

    On AWS the buckets warehouse and landing; on Google Cloud these, datasets, and the catalog's namespaces. After a destroy that
    stopped, what is gone is not asked about.

    Raises:
        NotEmptyError: something is not empty, older versions of files counted; SettingsError: there is no such root, or it says
            itself that nothing is to be deleted; CatalogError: something cannot be looked at.
    """
    # Not from the outputs: a destroy that stops has taken them away already.
    state: dict[str, list[tuple[Any, Mapping[str, Any]]]] = {}
    for resource in terraform_json(root, "state", "pull").get("resources", []):
        found = [(instance.get("index_key"), instance["attributes"]) for instance in resource["instances"]]
        state.setdefault(str(resource["type"]), []).extend(found)
    return _google(root, state) if any(kind.startswith("google_") for kind in state) else _amazon(state)


def _amazon(state: _State) -> list[str]:
    require_extra("boto3", "aws", "AWS")
    import boto3  # type: ignore[import-untyped]

    buckets = [str(bucket["bucket"]) for key, bucket in state.get("aws_s3_bucket", ()) if key in _FILES]
    with catalog_errors("The buckets cannot be looked at"):
        s3 = boto3.client("s3")
        answers = {bucket: s3.list_object_versions(Bucket=bucket, MaxKeys=1) for bucket in sorted(buckets)}
    if full := [bucket for bucket, answer in answers.items() if answer.get("Versions") or answer.get("DeleteMarkers")]:
        raise NotEmptyError(
            f"{', '.join(full)} still {'has' if len(full) == 1 else 'have'} files, or older versions of files. A destroy would take the "
            "catalog's entries and the buckets' protection, and then stop. Delete every version of every file first, if that is meant."
        )
    return list(answers)


def _google(root: Path, state: _State) -> list[str]:
    require_extra("google.auth", "gcp", "Google Cloud")
    with catalog_errors("What a destroy would delete cannot be looked at"):
        full = {name: _holds_any(url, key, project) for name, (url, key, project) in _questions(state).items()}
    if found := [name for name, holds_any in full.items() if holds_any]:
        raise NotEmptyError(
            f"{', '.join(found)} still {'holds' if len(found) == 1 else 'hold'} files, older versions of files, or tables. A destroy would "
            "take everybody's rights away, and then stop. Empty it first, if that is meant: docs/gcp.md, The end."
        )
    kinds = ("google_biglake_iceberg_catalog", "google_biglake_iceberg_namespace", "google_bigquery_dataset")
    if any(attributes.get("deletion_policy") == "PREVENT" for kind in kinds for _, attributes in state.get(kind, ())):
        raise SettingsError(
            f"{root} has deletion_protection: a destroy would take everybody's rights away, and stop at datasets and namespaces. "
            "Set it to false, and apply, first."
        )
    return [name for name, holds_any in full.items() if holds_any is not None]


def _questions(state: _State) -> dict[str, tuple[str, str, str]]:
    """What is asked about: its name => an URL, the key under which the answer has what is in it, and the project that asks."""
    storage = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
    bigquery = os.environ.get("BIGQUERY_EMULATOR_HOST") or "https://bigquery.googleapis.com"
    questions = {}
    for key, bucket in state.get("google_storage_bucket", ()):
        if key in _FILES:
            url = f"{storage}/storage/v1/b/{bucket['name']}/o?versions=true&maxResults=1"
            questions[f"gs://{bucket['name']}"] = (url, "items", bucket["project"])
    for _, dataset in state.get("google_bigquery_dataset", ()):
        url = f"{bigquery}/bigquery/v2/projects/{dataset['project']}/datasets/{dataset['dataset_id']}/tables?maxResults=1"
        questions[f"the dataset {dataset['dataset_id']}"] = (url, "tables", dataset["project"])
    for _, namespace in state.get("google_biglake_iceberg_namespace", ()):
        catalog = f"{LakehouseSettings.load().rest_uri}/v1/projects/{namespace['project']}/catalogs/{namespace['catalog']}"
        url = f"{catalog}/namespaces/{namespace['namespace_id']}/tables"
        questions[f"the namespace {namespace['namespace_id']}"] = (url, "identifiers", namespace["project"])
    return questions


def _holds_any(url: str, key: str, project: str) -> bool | None:
    """Whether there is anything in the list that a Google API answers; None where there is no such thing any more."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]
        response = session.get(url, headers={"x-goog-user-project": project}, timeout=_TIMEOUT)
    if response.status_code == 404:
        return None
    response.raise_for_status()
    return bool(response.json().get(key))
