"""Guesses which columns hold personal data, by their names and by what their values look like. For people to confirm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

# Words of names, between underscores; some together.
_WORDS = {
    **dict.fromkeys(["email", "mail", "phone", "telephone", "mobile", "fax", "msisdn", "whatsapp"], "a contact"),
    **dict.fromkeys(["ip", "ipv4", "ipv6", "mac", "imei", "idfa", "gaid", "fingerprint", "cookie"], "a device"),
    **dict.fromkeys(["firstname", "lastname", "surname", "fullname", "username", "forename", "nickname", "initials"], "a person's name"),
    **dict.fromkeys(["address", "street", "zip", "zipcode", "postcode", "postal", "latitude", "longitude", "lat", "lon", "lng"], "a place"),
    **dict.fromkeys(["birthday", "birthdate", "birth", "dob", "gender", "sex", "ethnicity", "religion", "nationality"], "a person"),
    **dict.fromkeys(["ssn", "passport", "iban", "bic", "pan", "cvv", "salary", "password", "passwd", "tin", "nino"], "an account"),
}
_PHRASES = {
    r"(first|last|full|middle|family|given|maiden|display|customer|person|contact|user|account_holder)_name": "a person's name",
    r"e_mail": "a contact",
    r"(user|customer|client|person|visitor|device|session|patient|employee|member|account)_(id|key|uuid|number)": "a person's id",
    r"(credit_)?card_(number|no|num)|account_(number|no)|tax_(id|number)|national_id|driver.*licen[cs]e": "an account",
    r"date_of_birth": "a person",
}
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_PHONE = re.compile(r"(\+|00)\d[\d ()/.-]{6,18}\d|\(?0\d{1,4}\)?[ /-][\d ()/-]{5,14}\d|\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9 ]{11,30}")
_CARD = re.compile(r"(?:\d[ -]?){13,19}")
# How many values are looked at.
_VALUES = 1_000


def guess_pii(name: str, values: Sequence[Any]) -> str | None:
    """Why a column is taken for personal data, in words that hold no value of it; None where it is not."""
    for pattern, what in _PHRASES.items():
        if re.search(rf"(^|_)({pattern})(_|$)", name):
            return f"its name is that of {what}"
    for word in name.split("_"):
        if word in _WORDS:
            return f"its name is that of {_WORDS[word]}"
    texts = [text for value in values[:_VALUES] for text in _texts(value)]
    for what, (share, looks_like) in _LOOKS.items():
        if texts and sum(map(looks_like, texts)) >= share * len(texts):
            return f"its values look like {what}"
    fields = {key for value in values[:_VALUES] for key in _keys(value)}
    inner = next((found for key in sorted(fields) if (found := guess_pii(key.lower(), []))), None)
    return inner and f"a field in it: {inner}"


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _keys(item)


def _is_ip(text: str) -> bool:
    try:
        return ("." in text or ":" in text) and bool(ip_address(text))
    except ValueError:
        return False


def _is_card(text: str) -> bool:
    """Whether the last digit is the check digit, as of every payment card: https://en.wikipedia.org/wiki/Luhn_algorithm."""
    if not _CARD.fullmatch(text):
        return False
    digits = [int(digit) for digit in text if digit.isdigit()][::-1]
    return sum(digits[::2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) % 10


# A column is suspect from this share of its values on: few are filled in by rule; one number of ten has a card's check digit by chance.
_LOOKS: dict[str, tuple[float, Callable[[str], bool]]] = {
    "e-mail addresses": (0.2, lambda text: bool(_EMAIL.fullmatch(text))),
    "IP addresses": (0.2, _is_ip),
    "telephone numbers": (0.2, lambda text: bool(_PHONE.fullmatch(text))),
    "IBANs": (0.2, lambda text: bool(_IBAN.fullmatch(text))),
    "card numbers": (0.8, _is_card),
}
