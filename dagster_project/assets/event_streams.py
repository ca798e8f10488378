"""event_stream: new source files are appended, each exactly once."""

from __future__ import annotations

from collections.abc import Callable

from dagster import AssetsDefinition, asset

from dagster_project.assets.common import asset_attributes
from lakehouse.engines import AppendFiles
from lakehouse.template import TableTemplate


def event_stream_asset(template: TableTemplate) -> AssetsDefinition | None:
    """The asset of a template with an event_stream pipeline, or with the short form's ``source``."""
    if template.event_stream is None:
        return None

    def event_stream() -> AppendFiles:
        return AppendFiles(template)

    as_asset: Callable[[Callable[[], AppendFiles]], AssetsDefinition] = asset(**asset_attributes(template))
    return as_asset(event_stream)
