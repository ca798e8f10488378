"""What a test needs and a machine may not have: skipped there, and an error where it must be, on CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(reason: str | Exception, required_by: str = "CI") -> NoReturn:
    """Skips the test that runs, and says why.

    Args:
        required_by: a variable by which, as by ``CI``, the test fails instead.
    """
    if os.environ.get("CI") or os.environ.get(required_by):
        pytest.fail(f"{reason} It may be missing elsewhere, not on CI.", pytrace=False)
    pytest.skip(str(reason))
