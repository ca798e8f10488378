"""What maintenance says that it did to a table, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lakehouse.errors import LakehouseError

Step = Literal["retention", "compact", "expire", "orphans"]
STEPS: tuple[Step, ...] = ("retention", "compact", "expire", "orphans")


class MaintenanceError(LakehouseError):
    """Steps that failed; all others are done."""


@dataclass(frozen=True)
class StepReport:
    """What one step did to a table, or would do.

    Attributes:
        action: ``skipped``: the table, or its template, does not have it done; ``detail`` says why, or what was done.
        rows: rows deleted; snapshots: expired.
        files, bytes: data files rewritten or taken out; of the step ``orphans``, files deleted.
    """

    step: Step | Literal["pointer"]
    action: Literal["done", "planned", "nothing", "skipped", "failed"]
    detail: str = ""
    rows: int = 0
    snapshots: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class TableReport:
    """What was done to one table, or would be."""

    table: str
    steps: list[StepReport] = field(default_factory=list[StepReport])

    @property
    def failures(self) -> list[str]:
        """Why steps failed."""
        return [f"{self.table}: {step.step}: {step.detail}" for step in self.steps if step.action == "failed"]

    @property
    def freed(self) -> int:
        """Bytes that were deleted from storage, or would be."""
        return sum(step.bytes for step in self.steps if step.step == "orphans")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"table": self.table, "freed_bytes": self.freed, "steps": [asdict(step) for step in self.steps]}
