"""Files of a table whose credentials the catalog lends: for an hour, and for the table's own files alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyiceberg.io import GCS_TOKEN, GCS_TOKEN_EXPIRES_AT_MS, FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from lakehouse.errors import LakehouseError

# Google writes it with an underscore, Iceberg with a hyphen.
_EXPIRES = (GCS_TOKEN_EXPIRES_AT_MS, "gcs.oauth2.token_expires_at", "expiration-time")
# Seconds for which a token is taken to be good where nothing is said. Google's are for an hour.
_LIFE = 1800.0


@dataclass(frozen=True)
class Loan:
    """Credentials of files.

    Attributes:
        until: when they end, and ``renewal`` when others are asked for, in seconds since the epoch.
    """

    token: str
    until: float
    renewal: float

    @classmethod
    def of(cls, config: Mapping[str, str]) -> Loan | None:
        """The credentials in what a catalog says of a table, or of a place; None where there are none."""
        if not (token := config.get(GCS_TOKEN)):
            return None
        now = time.time()
        said = next((config[key] for key in _EXPIRES if str(config.get(key, "")).isdigit()), None)
        until = int(said) / 1000 if said else now + _LIFE
        # Half of it is left for whoever opens a file at the last moment.
        return cls(token, until, now + (until - now) / 2)


class LentFileIO(FileIO):
    """PyArrow's files with the catalog's credentials, renewed in time, in the table's location; elsewhere with the caller's own.

    Args:
        properties: PyIceberg's.
        place: the table's location.
        loan: what came with the table, if it did.
        renew: asks the catalog for credentials. Raises LakehouseError.
    """

    def __init__(self, properties: Mapping[str, str], place: str, loan: Loan | None, renew: Callable[[], Loan]) -> None:
        own = {key: value for key, value in properties.items() if key not in (GCS_TOKEN, *_EXPIRES)}
        super().__init__(own)
        self._place, self._loan, self._renew = place.rstrip("/") + "/", loan, renew
        self._own, self._lent = PyArrowFileIO(own), self._io(loan) if loan else None
        self._lock = threading.Lock()

    def new_input(self, location: str) -> InputFile:
        """The file at a location."""
        return self._of(location).new_input(location)

    def new_output(self, location: str) -> OutputFile:
        """The file to write at a location."""
        return self._of(location).new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Deletes a file. Raises FileNotFoundError where there is none."""
        where = location if isinstance(location, str) else location.location
        self._of(where).delete(where)

    def arrow(self, location: str) -> PyArrowFileIO:
        """PyArrow's files with the credentials of a location, for now: for who lists them."""
        return self._of(location)

    def _of(self, location: str) -> PyArrowFileIO:
        if not location.startswith(self._place):
            return self._own
        with self._lock:
            now = time.time()
            if self._loan is None or self._lent is None or now >= self._loan.renewal:
                try:
                    self._loan = self._renew()
                except LakehouseError:
                    if self._loan is None or self._lent is None or now >= self._loan.until:
                        raise
                    return self._lent  # good for some time yet
                self._lent = self._io(self._loan)
            return self._lent

    def _io(self, loan: Loan) -> PyArrowFileIO:
        return PyArrowFileIO({**self.properties, GCS_TOKEN: loan.token, GCS_TOKEN_EXPIRES_AT_MS: str(int(loan.until * 1000))})
