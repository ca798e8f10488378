"""Every error of quality checks that a user can cause or meet."""

from __future__ import annotations

from lakehouse.errors import LakehouseError


class QualityError(LakehouseError):
    """The root: checks that cannot be run, or that could not say what they found."""


class ChecksError(QualityError):
    """A table's checks, in its template or its SodaCL file, cannot be used. The message has file, line and remedy."""


class ScanTimeoutError(QualityError):
    """A scan took longer than it may, and was ended."""


class ScanCrashedError(QualityError):
    """Soda ended without a result."""


class InvalidChecksError(QualityError):
    """Soda does not take a table's checks."""


class DataSourceUnreachableError(QualityError):
    """Soda does not reach its data source."""
