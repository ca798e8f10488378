"""event_stream: new source files are appended, each exactly once."""

from __future__ import annotations

from dagster import AssetsDefinition, asset

from dagster_project.assets.common import asset_attributes
from lakehouse.engines import AppendFiles
from lakehouse.template import TableTemplate


def event_stream_asset(template: TableTemplate) -> AssetsDefinition | None:
    """The asset of a template with an event_stream pipeline, or with the short form's ``source``."""
    if template.event_stream is None:
        return None

    @asset(**asset_attributes(template))
    def event_stream() -> AppendFiles:
        return AppendFiles(template)

    return event_stream
