"""One factory per pipeline pattern. A new pattern is a module here and a line in ``_FACTORIES``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dagster import AssetsDefinition

from dagster_project.assets.event_streams import event_stream_asset
from lakehouse.template import TableTemplate

# Each makes an asset of a template whose pipeline has its pattern, and None of any other.
_FACTORIES: tuple[Callable[[TableTemplate], AssetsDefinition | None], ...] = (event_stream_asset,)


def build_assets(templates: Iterable[TableTemplate]) -> list[AssetsDefinition]:
    """The assets of all templates whose pattern has a factory."""
    return [asset for template in templates for factory in _FACTORIES if (asset := factory(template)) is not None]
