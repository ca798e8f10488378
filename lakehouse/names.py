"""Other people's names as a template's."""

from __future__ import annotations

import re


def snake_case(name: str) -> str:
    """A name as lint takes it: ``orderId`` and ``Order ID`` are ``order_id``. Empty where nothing of it is left."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    text = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return f"c_{text}" if text[:1].isdigit() else text
