"""The README's two commands, as a newcomer types them in a clean clone. The first, with what is installed here: test_dagster_page.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from clean_clone import clean_clone, first_commands, run

# All tests would be this one as well. The command runs Spark's by themselves.
FEW = "tests/unit/test_days.py tests/integration/test_spark_engine.py::test_what_spark_says_of_a_failure_is_told_without_values"


def test_the_readme_begins_with_a_demo_and_the_tests() -> None:
    assert first_commands() == ["make demo", "make test"]


@pytest.mark.slow
def test_its_tests_run_in_a_clean_clone(tmp_path: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    printed = run(first_commands()[1], clone, PYTEST_ADDOPTS=FEW)
    assert f"rootdir: {clone}" in printed
    assert printed.count(" passed in ") == 2


@pytest.mark.standup
@pytest.mark.timeout(1500)
def test_both_commands_need_nothing_but_the_clone(tmp_path: Path) -> None:
    """With an environment of its own, for which all packages are downloaded."""
    clone = clean_clone(tmp_path / "clone", with_packages=False)
    demo, test = first_commands()
    assert "60,493 rows" in run(demo, clone)
    assert " passed in " in run(test, clone, PYTEST_ADDOPTS=FEW)
