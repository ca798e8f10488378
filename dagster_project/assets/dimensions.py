"""scd_type2: change records of new source files are merged into the versions of their keys."""

from __future__ import annotations

from collections.abc import Callable

from dagster import AssetsDefinition, asset

from dagster_project.assets.common import asset_attributes
from lakehouse.engines import MergeFiles
from lakehouse.template import TableTemplate


def dimension_asset(template: TableTemplate) -> AssetsDefinition | None:
    """The asset of a template with an scd_type2 pipeline."""
    if template.scd_type2 is None:
        return None

    def dimension() -> MergeFiles:
        return MergeFiles(template)

    as_asset: Callable[[Callable[[], MergeFiles]], AssetsDefinition] = asset(**asset_attributes(template))
    return as_asset(dimension)
