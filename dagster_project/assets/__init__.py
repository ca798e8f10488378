"""One factory per pipeline pattern. A new pattern is a module here and a line in ``_FACTORIES``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dagster import AssetsDefinition

from dagster_project.assets.dimensions import dimension_asset
from dagster_project.assets.event_streams import event_stream_asset
from dagster_project.assets.features import feature_asset
from lakehouse.template import TableTemplate

# Each makes an asset of a template whose pipeline has its pattern, and None of any other. It is given all templates, too.
_FACTORIES: tuple[Callable[[TableTemplate, Mapping[str, TableTemplate]], AssetsDefinition | None], ...] = (
    lambda template, _: event_stream_asset(template),
    lambda template, _: dimension_asset(template),
    feature_asset,
)


def build_assets(templates: Iterable[TableTemplate]) -> list[AssetsDefinition]:
    """The assets of all templates whose pattern has a factory."""
    by_table = {template.table_name: template for template in templates}
    return [asset for template in by_table.values() for factory in _FACTORIES if (asset := factory(template, by_table)) is not None]
