"""What the examples of ``terraform/aws`` create, with the checked-in templates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension
from terraform_cli import ROOT, Terraform

EXAMPLES = sorted(path.stem for path in (ROOT / "terraform" / "aws" / "examples").glob("*.tfvars"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_creates_what_its_inventory_lists(
    example: str, aws_root: Callable[..., Terraform], snapshot: SnapshotAssertion, request: pytest.FixtureRequest
) -> None:
    if example != "quickstart":  # which is for an account whose Lake Formation has no administrator yet
        request.getfixturevalue("caller_is_administrator")
    run = aws_root().plan(f"-var-file=examples/{example}.tfvars")
    assert run.ok, "\n".join(run.errors)
    inventory: dict[str, list[str]] = defaultdict(list)
    for address, action in run.changes.items():
        inventory[action].append(address)
    assert {action: sorted(addresses) for action, addresses in inventory.items()} == snapshot(extension_class=JSONSnapshotExtension), (
        "The plan has changed. If that is meant: .venv/bin/python -m pytest tests/terraform/test_examples.py --snapshot-update"
    )
