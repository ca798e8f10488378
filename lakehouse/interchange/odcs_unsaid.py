"""What a data contract says and a template does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lakehouse.interchange.odcs_types import mapping, mappings, texts

_KNOWN_OF_CONTRACT = {
    "apiVersion",
    "kind",
    "id",
    "name",
    "version",
    "status",
    "domain",
    "description",
    "schema",
    "team",
    "slaProperties",
    "tags",
}
_KNOWN_OF_TABLE = {"id", "name", "physicalName", "logicalType", "physicalType", "description", "tags", "properties", "customProperties"}
_KNOWN_OF_TYPE = {"id", "name", "physicalName", "logicalType", "logicalTypeOptions", "physicalType", "properties", "items", "map"}
_KNOWN_OF_COLUMN = _KNOWN_OF_TYPE | {
    "required", "description", "primaryKey", "primaryKeyPosition", "partitioned", "partitionKeyPosition",
    "classification", "customProperties", "tags",
}  # fmt: skip
_CUSTOM_OF_TABLE = {"partitionSpec", "sortOrder", "icebergProperties"}
_CUSTOM_OF_COLUMN = {"pii", "renamedFrom"}


def unsaid(contract: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    """A note of all that is said of a table, an object of the contract's schema, and that a template has no key for."""
    found = {key for key in contract if key not in _KNOWN_OF_CONTRACT}
    promised = {str(level.get("property")) for level in mappings(contract.get("slaProperties"))}
    found |= {f"slaProperties.{name}" for name in promised - {"freshness"}}
    found |= {f"schema.{key}" for key in table if key not in _KNOWN_OF_TABLE}
    found |= {f"schema.customProperties.{key}" for key in custom_properties(table).keys() - _CUSTOM_OF_TABLE}
    for column in mappings(table.get("properties")):
        found |= {f"schema.properties.{key}" for key in column if key not in _KNOWN_OF_COLUMN}
        found |= {f"schema.properties.customProperties.{key}" for key in custom_properties(column).keys() - _CUSTOM_OF_COLUMN}
        found |= {f"schema.properties.tags {tag}" for tag in texts(column.get("tags")) if tag.lower() != "pii"}
        found |= set(_unsaid_of_values(column))
    if found:
        yield f"The template does not say, because it has no key for it: {', '.join(sorted(map(str, found)))}."


def custom_properties(element: Mapping[str, Any]) -> dict[str, Any]:
    """The custom properties of a table or a column, by name."""
    return {str(found.get("property")): found.get("value") for found in mappings(element.get("customProperties"))}


def _unsaid_of_values(element: Mapping[str, Any]) -> Iterator[str]:
    """What is said of a column's values, and of nested fields."""
    yield from (f"logicalTypeOptions.{key}" for key in mapping(element.get("logicalTypeOptions")) if key not in ("format", "timezone"))
    pair = mapping(element.get("map"))
    for inner in mappings([*mappings(element.get("properties")), element.get("items"), pair.get("key"), pair.get("value")]):
        yield from (f"schema.properties.properties.{key}" for key, value in inner.items() if key not in _KNOWN_OF_TYPE and value)
        yield from _unsaid_of_values(inner)
