"""Who may read what, as each cloud has it: which backends have such grants, and who compares them with the templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lakehouse.errors import SettingsError
from lakehouse.grants import Finding, Outcome
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate


def has_live_grants(settings: LakehouseSettings) -> bool:
    """Whether there are grants on columns that can be compared: Lake Formation's, or BigQuery's policy tags."""
    return settings.has_glue_entries or (settings.backend == "gcp" and settings.bigquery_connection is not None)


def live_findings(settings: LakehouseSettings, templates: Iterable[TableTemplate]) -> list[Finding]:
    """What of the live grants is less or more than the templates say; what cannot be looked at is a finding, too.

    Raises:
        SettingsError: the backend has none, or a role is not set; MissingExtraError: the cloud's client is not installed.
    """
    if settings.backend == "gcp":
        from lakehouse.bigquery_governance import live_findings as bigquery_findings

        return bigquery_findings(settings, templates)
    from lakehouse.lakeformation import live_findings as lake_formation_findings

    return lake_formation_findings(settings, templates)


def close(settings: LakehouseSettings, findings: Iterable[Finding]) -> Iterator[Outcome]:
    """Takes away what is too open, where that is the project's to do. Raises SettingsError where it is not."""
    if settings.backend == "gcp":
        raise SettingsError(
            "--fix revokes Lake Formation's grants. On gcp lakehouse apply sets missing policy tags, and terraform -chdir=terraform/gcp "
            "apply what it grants; take the rest away in Google Cloud."
        )
    from lakehouse.lakeformation import close as close_lake_formation

    yield from close_lake_formation(settings, findings)
