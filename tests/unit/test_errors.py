"""What errors tell their reader to do."""

from __future__ import annotations

from lakehouse.errors import BadRowsError


def test_rows_that_do_not_fit_have_a_remedy_for_files_and_for_other_writes() -> None:
    error = BadRowsError("lake.t", 1200, ["row 1, column a: null"])
    assert str(error).startswith(
        "1,200 rows do not fit lake.t, for example:\n  row 1, column a: null\nNone of them is written. Correct them."
    )
    assert "a pipeline's source files" in str(error)
