"""Table properties."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from lakehouse.rules.base import Context, Rule, Violation
from lakehouse.template import NO_BOUNDS, TableTemplate

# The numbers among the properties that Iceberg's writers read, by how their names end.
_NUMBER = re.compile(r"(write|commit|history)\..+-(bytes|limit|level|max|ms|to-keep|to-merge)")
_CODEC, _LEVEL = "write.parquet.compression-codec", "write.parquet.compression-level"
_CODECS = ("uncompressed", "snappy", "gzip", "lz4", "zstd", "brotli")


class HiddenBounds(Rule):
    """Bounds of a pii or restricted column stay out of manifests and Parquet footers."""

    id = "hidden-bounds"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for (key, value), (prefix, off) in product(template.properties.items(), NO_BOUNDS.items()):
            column = key.removeprefix(prefix)
            if column != key and column.split(".")[0] in template.hidden_columns and value != off:
                message = f"it would write bounds of `{column}`, which is pii or restricted, into metadata."
                yield Violation(("properties", key), message, "Remove it.")


class ManagedProperty(Rule):
    """Some properties are set by the project and break it otherwise."""

    id = "managed-property"
    _managed = ("commit.retry.num-retries", "format-version", "location")

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key in template.properties:
            if key in self._managed or key.startswith("lakehouse."):
                yield Violation(("properties", key), f"`{key}` is set by the project.", "Remove it.")


class PropertyValue(Rule):
    """A property holds what the writer can read: whole numbers, and a codec that Iceberg knows."""

    id = "property-value"

    def check(self, template: TableTemplate, context: Context) -> Iterator[Violation]:
        for key, value in template.properties.items():
            if key == _CODEC and value not in _CODECS:
                yield Violation(("properties", key), f"`{value}` is not a codec.", f"Use {', '.join(_CODECS[:-1])} or {_CODECS[-1]}.")
            elif key == _LEVEL and template.properties.get(_CODEC) in ("uncompressed", "snappy"):
                yield Violation(("properties", key), f"the codec {template.properties[_CODEC]} has no levels.", "Remove it.")
            elif _NUMBER.fullmatch(key):
                is_size = key.endswith(("-bytes", "-group-limit", "-row-limit"))
                if not re.fullmatch("0*[1-9][0-9]{0,17}" if is_size else "-?[0-9]{1,18}", value):
                    remedy = "Write bytes: 64 MiB is 67108864." if key.endswith("-bytes") else "Write the number alone."
                    yield Violation(("properties", key), f"`{value}` is not a whole number{' above 0' if is_size else ''}.", remedy)
