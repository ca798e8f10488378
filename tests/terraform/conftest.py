"""What the Terraform tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from terraform_cli import require_terraform, terraform_folder


@pytest.fixture(scope="session")
def terraform_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``terraform/`` to run in."""
    require_terraform()
    return terraform_folder(tmp_path_factory.mktemp("terraform") / "terraform")
