"""Templates in other people's words: one module per standard, registered in ``_EXPORTERS``.

A new format is a module with a subclass of ``Exporter``, and a line here.
"""

from __future__ import annotations

from lakehouse.interchange.base import Exported, Exporter
from lakehouse.interchange.dbt_sources import DbtSourcesExporter
from lakehouse.interchange.json_schema import JsonSchemaExporter
from lakehouse.interchange.odcs_exporter import OdcsExporter

__all__ = ["EXPORT_FORMATS", "Exported", "Exporter", "create_exporter"]

_EXPORTERS: dict[str, type[Exporter]] = {
    "odcs": OdcsExporter,
    "jsonschema": JsonSchemaExporter,
    "dbt-sources": DbtSourcesExporter,
}
EXPORT_FORMATS = tuple(_EXPORTERS)


def create_exporter(name: str, backend: str) -> Exporter:
    """The exporter of a format, one of ``EXPORT_FORMATS``; ``backend`` as the settings have it."""
    return _EXPORTERS[name](backend)
