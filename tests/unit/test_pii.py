"""Which columns are taken for personal data."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.pii import guess_pii


@pytest.mark.parametrize(
    ("name", "values", "guessed"),
    [
        ("customer_email", [], True),
        ("dob", [], True),
        ("display_name", [], True),
        ("user_id", [], True),
        ("event_name", ["page_view"], False),
        ("product_id", ["17", "18"], False),
        ("shipping", ["express"], False),
        ("ipad_version", ["9.3.5.1x"], False),
        ("note", ["call a@example.com"], False),
        ("c", ["a@example.com", "??", "??"], True),
        ("c", ["2001:db8::1"], True),
        ("c", ["192.168.0.1"], True),
        ("c", ["DE89370400440532013000"], True),
        ("c", ["4111 1111 1111 1111"], True),
        ("c", ["4111 1111 1111 1112"], False),
        ("c", ["2024-01-01 10:00:00"], False),
        ("c", [1704103200000, 1704103200001], False),
        ("c", [{"contact": {"phone": None}}], True),
    ],
)
def test_guesses_of_personal_data(name: str, values: list[Any], guessed: bool) -> None:
    why = guess_pii(name, values)
    assert (why is not None) == guessed
    assert not any(str(value) in (why or "") for value in values)
