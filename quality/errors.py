"""Every error of quality checks that a user can cause or meet."""

from __future__ import annotations

from lakehouse.errors import LakehouseError


class QualityError(LakehouseError):
    """The root: checks that cannot be run, or that could not say what they found."""


class ChecksError(QualityError):
    """A table's checks, in its template or its SodaCL file, cannot be used.

    Attributes:
        message, remedy: a sentence or two each; what the error says, without the place.
        file, line, column, key: the place, line and column from 1; empty or 0 where there is none.
    """

    def __init__(self, message: str, remedy: str = "", *, file: str = "", line: int = 0, column: int = 0, key: str = "") -> None:
        self.message, self.remedy, self.file, self.line, self.column, self.key = message, remedy, file, line, column, key
        place = ":".join(str(part) for part in (file, line, column) if part)
        super().__init__(f"{place}: {message} {remedy}".strip() if place else f"{message} {remedy}".strip())


class ScanTimeoutError(QualityError):
    """A scan took longer than it may, and was ended."""


class ScanCrashedError(QualityError):
    """Soda ended without a result."""


class InvalidChecksError(QualityError):
    """Soda does not take a table's checks."""


class DataSourceUnreachableError(QualityError):
    """Soda does not reach its data source."""
