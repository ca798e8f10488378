"""What exporters share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from lakehouse.template import TableTemplate


@dataclass(frozen=True)
class Exported:
    """A file of another standard.

    Attributes:
        file: its name.
        notes: what it does not say of the templates; a sentence each.
    """

    file: str
    text: str
    notes: list[str] = field(default_factory=list[str])


class Exporter(ABC):
    """Writes templates in another standard's words.

    Args:
        backend: as the settings have it; who reads the tables by what types it is read depends on it.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend

    @abstractmethod
    def export(self, templates: Sequence[TableTemplate]) -> list[Exported]:
        """The files of some tables. Names no value of a row, and nothing of the environment."""


def unsaid(template: TableTemplate, keys: Sequence[str]) -> list[str]:
    """A note of which of a template's keys a format does not say."""
    said = [key for key in keys if key in template.model_fields_set and getattr(template, key) not in (None, "", [], {})]
    return [f"{template.table_name}: the format does not say its {', '.join(said)}."] if said else []
