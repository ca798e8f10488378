"""Evaluates IAM policy documents: may a role do an action on a resource?

The rules are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html within one
account: an explicit Deny wins, then any Allow, and what nothing allows is denied. Permissions boundaries and service control
policies are other sets of policies: evaluate each by itself; the answer is yes where all of them say yes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

Policy = Mapping[str, Any]
Context = Mapping[str, str | list[str]]


def is_allowed(policies: Iterable[Policy], action: str, resource: str, context: Context | None = None, principal: str = "") -> bool:
    """Whether a request with exactly this context is allowed.

    Where a condition cannot be judged (an operator that this module does not know), an Allow does not apply and a Deny does:
    a yes is sure.

    Args:
        policies: documents, ``{"Statement": [...]}``; statements of a resource's policy (a bucket policy) have a Principal.
        action: e.g. ``s3:GetObject``.
        resource: an ARN.
        context: condition keys, in any case, and their values; what is not there is absent from the request.
        principal: the ARN of the role that asks; needed for policies of resources.
    """
    return _evaluate(policies, action, resource, context, principal, possibly=False)


def may_be_allowed(policies: Iterable[Policy], action: str, resource: str, context: Context | None = None, principal: str = "") -> bool:
    """Whether some request may be allowed: the question of who looks for what is too open. A no is sure.

    Where a condition is on a key that ``context`` does not have, or has an unknown operator, an Allow applies and a Deny does not.
    ``resource`` may have wildcards and stands for all that they match: an Allow of a part of it is enough for a yes, and only a
    Deny of all of it makes a no. The other arguments are those of ``is_allowed``.
    """
    return _evaluate(policies, action, resource, context, principal, possibly=True)


def _evaluate(policies: Iterable[Policy], action: str, resource: str, context: Context | None, principal: str, possibly: bool) -> bool:
    known = {key.lower(): _list(value) for key, value in (context or {}).items()}
    allowed = False
    for statement in (statement for policy in policies for statement in _list(policy.get("Statement"))):
        deny = statement["Effect"] == "Deny"
        # The wide reading of an Allow and the narrow one of a Deny lead to a yes, the other two to a no.
        wide = possibly != deny
        applies = (
            _is_about(statement, "Action", action, wide)
            and _is_about(statement, "Resource", resource, wide)
            and _is_principal(statement, principal, deny, wide)
            and _conditions_hold(statement.get("Condition", {}), known, possibly, unsure=wide)
        )
        if applies and deny:
            return False
        allowed = allowed or applies
    return allowed


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_about(statement: Mapping[str, Any], key: str, asked: str, wide: bool) -> bool:
    """Whether a statement is about what is asked: in the wide reading about a part of it, in the narrow one about all of it."""
    negated = f"Not{key}" in statement
    matches = _overlaps if wide != negated else _covers
    patterns = [str(pattern) for pattern in _list(statement.get(f"Not{key}" if negated else key))]
    if key == "Action":  # IAM compares the names of actions without case
        patterns, asked = [pattern.lower() for pattern in patterns], asked.lower()
    return any(matches(pattern, asked) for pattern in patterns) != negated


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    # A ? stands for one character, but not for a * in what is asked, which is many.
    return re.compile("".join({"*": ".*", "?": "[^*]"}.get(char, re.escape(char)) for char in pattern), re.DOTALL)


def _covers(pattern: str, asked: str) -> bool:
    return _regex(pattern).fullmatch(asked) is not None


@cache
def _overlaps(pattern: str, asked: str) -> bool:
    """Whether some text matches both patterns. A policy variable stands for any text."""
    one = re.sub(r"\$\{[^}]*\}", "*", pattern)
    if "*" not in asked and "?" not in asked:
        return _covers(one, asked)
    # fits[j]: whether the first characters of ``one`` and the first j of ``asked`` can match the same text.
    fits = [not asked[:end].strip("*") for end in range(len(asked) + 1)]
    for left in one:
        above, fits = fits, [fits[0] and left == "*"]
        for index, right in enumerate(asked, start=1):
            if "*" in (left, right):  # it stands for nothing more, or for the other's character as well
                fits.append(above[index] or fits[index - 1])
            else:
                fits.append(above[index - 1] and (left == right or "?" in (left, right)))
    return fits[-1]


def _is_principal(statement: Mapping[str, Any], principal: str, deny: bool, wide: bool) -> bool:
    key = "NotPrincipal" if "NotPrincipal" in statement else "Principal"
    if key not in statement:  # a policy of the role itself
        return True
    named = statement[key]
    arns = _list(named.get("AWS")) if isinstance(named, Mapping) else _list(named)
    _, partition, _, _, account, name = principal.split(":", 5) if principal else ("", "", "", "", "", "")
    own = {"*", principal}
    if deny:  # an Allow for the account only lets its own policies decide; a Deny for it is one for all in it
        own |= {account, f"arn:{partition}:iam::{account}:root"}
    session = f"arn:{partition}:sts::{account}:assumed-role/{name.split('/')[-1]}/"
    listed = any(arn in own or (wide and key == "Principal" and arn.startswith(session)) for arn in arns)
    return listed == (key == "Principal")


def _equal(value: str, wanted: str) -> bool:
    return value == wanted


def _equal_without_case(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


def _like(value: str, wanted: str) -> bool:
    return _covers(wanted, value)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: compare(float(value), float(wanted))


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": _equal_without_case,
    "StringLike": _like,
    "ArnEquals": _like,  # by the documentation the same as ArnLike
    "ArnLike": _like,
    "Bool": _equal_without_case,
    "NumericEquals": _number(lambda value, wanted: value == wanted),
    "NumericLessThan": _number(lambda value, wanted: value < wanted),
    "NumericLessThanEquals": _number(lambda value, wanted: value <= wanted),
    "NumericGreaterThan": _number(lambda value, wanted: value > wanted),
    "NumericGreaterThanEquals": _number(lambda value, wanted: value >= wanted),
}


def _conditions_hold(conditions: Mapping[str, Any], known: Mapping[str, list[str]], possibly: bool, unsure: bool) -> bool:
    answers = [
        None if possibly and key.lower() not in known else _condition_holds(operator, _list(wanted), known.get(key.lower()))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    ]
    return False not in answers and (unsure or None not in answers)


def _condition_holds(operator: str, wanted: list[Any], values: list[str] | None) -> bool | None:
    """Whether one line of a condition holds; None where this module cannot say."""
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in wanted]
    quantifier, _, rest = operator.rpartition(":")
    name = rest.removesuffix("IfExists")
    if name == "Null":
        return (values is None) in [text.lower() == "true" for text in texts]
    negated = name not in _OPERATORS and "Not" in name
    compare = _OPERATORS.get(name.replace("Not", "", 1) if negated else name)
    if compare is None or quantifier not in ("", "ForAnyValue", "ForAllValues"):
        return None
    if values is None:
        return quantifier == "ForAllValues" or (quantifier == "" and negated) or rest != name
    try:
        hits = [any(compare(value, text) for text in texts) for value in values]
    except ValueError:
        return None
    if quantifier == "":
        return any(hits) != negated
    return (all if quantifier == "ForAllValues" else any)(hit != negated for hit in hits)
