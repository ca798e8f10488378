"""Attempts to commit: tried again after conflicts and unknown outcomes, until the fresh table shows the commit or cannot take it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, ValidationException
from pyiceberg.table import Table

from lakehouse.errors import CatalogError, CommitConflictError, CommitUnknownError, LakehouseError
from lakehouse.history import winner

# Seconds between attempts: random up to a bound that doubles, so that writers do not meet again and again.
_FIRST_WAIT = 0.05
_MAX_WAIT = 5.0
_UNKNOWN_ATTEMPTS = 5

Done = TypeVar("Done")


def commit_until_known(
    table: Table,
    attempt: Callable[[Table], None],
    done: Callable[[Table], Done | None],
    timeout: float,
    what: str,
    if_unknown: str,
    discard: Callable[[], None] = lambda: None,
) -> Done:
    """Commits, and tries again after a conflict or an unknown outcome, if the fresh table does not say that it is done.

    Args:
        attempt: one commit to the table that it is given.
        done: what to return once a table shows that the commit happened, else None.
        timeout: seconds for which conflicts are tried again.
        what: the commit, for messages; if_unknown: what to do where its outcome could not be learned.
        discard: called before an error that means that nothing was committed.

    Raises:
        CommitConflictError: conflicts until the timeout, or one of ``attempt`` or ``done``; CommitUnknownError: the outcome.
    """
    deadline, unknown, tries = time.monotonic() + timeout, 0, 0
    name, fresh = ".".join(table.name()), table
    late: Exception | None = None
    while True:
        conflict: Exception | None = None
        try:
            # Also when it is late: the conflict may be with this very commit, where an HTTP client sent it twice.
            if (found := done(fresh)) is not None:
                return found
            if late is not None:
                message = f"{name} was changed by others for {timeout:.0f} s, last by {winner(fresh, table)}. Run it again."
                raise CommitConflictError(message) from late
            attempt(fresh)
            continue  # to the top, where it is found
        except LakehouseError:
            if not unknown:
                discard()
            raise
        except (CommitFailedException, ValidationException) as error:
            conflict = error
        except Exception as error:
            # A time-out or a lost connection: the commit may have happened. A database that is locked: it may not.
            unknown += 1
            if unknown >= _UNKNOWN_ATTEMPTS:
                message = f"Whether {what} happened is not known: {type(error).__name__}: {error}. {if_unknown}"
                raise CommitUnknownError(message) from error
        tries += 1
        late = conflict if time.monotonic() > deadline else None
        if late is None:
            time.sleep(random.uniform(0, min(_MAX_WAIT, _FIRST_WAIT * 2 ** min(tries, 10))))
        try:
            fresh = table.catalog.load_table(table.name())
        except NoSuchTableError:
            if not unknown:
                discard()
            raise CatalogError(f"{name} was dropped while this run wrote. Create it from its template: lakehouse apply") from None
        except Exception as error:
            message = f"Whether {what} happened is not known: the catalog does not answer ({type(error).__name__}). {if_unknown}"
            raise CommitUnknownError(message) from error
