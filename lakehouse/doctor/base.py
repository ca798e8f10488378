"""What a check knows, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT_ROOT, LakehouseSettings

Status = Literal["ok", "warning", "error"]


class NotChecked(Exception):  # noqa: N818  # no error: something else is, and says so itself
    """A check that cannot be made because of what another check tells."""


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Attributes:
        message: what it found, and what to do about it; no secret.
        check, meaning: its name, and what is to hold; filled in by ``diagnose``.
    """

    status: Status
    message: str
    check: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Setup:
    """What is to be checked.

    Attributes:
        loaded: the settings, or why there are none.
        terraform: the Terraform root that the settings came from.
    """

    loaded: LakehouseSettings | LakehouseError
    terraform: Path | None

    @classmethod
    def read(cls, terraform: Path | None) -> Setup:
        """That of this process."""
        try:
            settings = LakehouseSettings.load()
        except LakehouseError as error:
            return cls(error, terraform)
        cloud = "gcp" if settings.backend == "gcp" else "aws"
        root = None if settings.backend == "local" else PROJECT_ROOT / "terraform" / cloud
        return cls(settings, terraform or root)

    @property
    def settings(self) -> LakehouseSettings:
        """The settings. Raises NotChecked where they cannot be used."""
        if isinstance(self.loaded, LakehouseError):
            raise NotChecked("the settings cannot be used.")
        return self.loaded


Check = Callable[[Setup], Answer]
