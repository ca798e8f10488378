"""One factory per pipeline pattern. A new pattern is a module here and a line in ``_FACTORIES``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dagster import AssetsDefinition, AssetSpec

from dagster_project.assets.common import asset_attributes, code_references
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


def build_assets(templates: Iterable[TableTemplate], repository_url: str | None = None) -> list[AssetsDefinition | AssetSpec]:
    """An asset for each template, with a link to it; one without a pipeline is an external asset, which others fill."""
    by_table = {template.table_name: template for template in templates}
    return [_with_links(_asset(template, by_table), template, repository_url) for template in by_table.values()]


def _asset(template: TableTemplate, templates: Mapping[str, TableTemplate]) -> AssetsDefinition | AssetSpec:
    made = (factory(template, templates) for factory in _FACTORIES)
    return next((asset for asset in made if asset is not None), None) or _external_asset(template)


def _with_links(asset: AssetsDefinition | AssetSpec, template: TableTemplate, repository_url: str | None) -> AssetsDefinition | AssetSpec:
    links = {"dagster/code_references": code_references(template, repository_url)}
    if isinstance(asset, AssetSpec):
        return asset.merge_attributes(metadata=links)
    return asset.map_asset_specs(lambda spec: spec.merge_attributes(metadata=links))


def _external_asset(template: TableTemplate) -> AssetSpec:
    attributes = asset_attributes(template)
    del attributes["pool"]  # there are no runs that could wait for each other
    return AssetSpec(**{**attributes, "kinds": {"iceberg"}})
