"""The evaluation of IAM policies, against the rules of AWS's documentation."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.iam_policies import is_allowed, may_be_allowed

ROLE = "arn:aws:iam::111122223333:role/team/reader"
FILE = "arn:aws:s3:::lake/users/data/1.parquet"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    filled = [{"Effect": "Allow", **statement} for statement in statements]
    filled = [statement if {"Action", "NotAction"} & statement.keys() else {"Action": "s3:*", **statement} for statement in filled]
    filled = [statement if {"Resource", "NotResource"} & statement.keys() else {"Resource": "*", **statement} for statement in filled]
    return {"Version": "2012-10-17", "Statement": filled}


def allowed(*statements: dict[str, Any], context: dict[str, Any] | None = None, resource: str = FILE) -> bool:
    return is_allowed([policy(*statements)], "s3:GetObject", resource, context, ROLE)


def may(*statements: dict[str, Any], context: dict[str, Any] | None = None, resource: str = FILE) -> bool:
    return may_be_allowed([policy(*statements)], "s3:GetObject", resource, context, ROLE)


def test_what_nothing_allows_is_denied() -> None:
    assert not is_allowed([], "s3:GetObject", FILE)
    assert not allowed({"Action": "s3:PutObject"})
    assert not allowed({"Resource": "arn:aws:s3:::lake/orders/*"})


def test_a_deny_wins_over_an_allow_wherever_it_stands() -> None:
    allow, deny = policy({}), policy({"Effect": "Deny", "Resource": "arn:aws:s3:::lake/users/*"})
    for order in ([allow, deny], [deny, allow]):
        assert not is_allowed(order, "s3:GetObject", FILE)
        assert is_allowed(order, "s3:GetObject", "arn:aws:s3:::lake/orders/1")


def test_one_statement_needs_no_list() -> None:
    assert is_allowed([{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}], "s3:GetObject", FILE)


@pytest.mark.parametrize(
    ("action", "matches"),
    [("*", True), ("s3:Get*", True), ("S3:getobject", True), ("s3:GetObjec?", True), ("s3:GetObject?", False), ("s3:Put*", False),
     (["s3:PutObject", "s3:GetObject"], True)],
)  # fmt: skip
def test_actions_have_wildcards_and_no_case(action: Any, matches: bool) -> None:
    assert allowed({"Action": action}) is matches
    assert allowed({"NotAction": action}) is not matches


@pytest.mark.parametrize(
    ("resource", "matches"),
    [("*", True), ("arn:aws:s3:::lake/*", True), ("arn:aws:s3:::lake/users/data/?.parquet", True), ("arn:aws:s3:::LAKE/*", False),
     ("arn:aws:s3:::lake", False), ("arn:aws:s3:::lake/users/data/1xparquet", False)],
)  # fmt: skip
def test_resources_have_wildcards_and_case(resource: str, matches: bool) -> None:
    assert allowed({"Resource": [resource]}) is matches
    assert allowed({"NotResource": [resource]}) is not matches
    assert may({"Resource": [resource]}) is matches
    assert may({"NotResource": [resource]}) is not matches


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "holds"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", ["b", "a"], "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringLike", "a/*", "a/b/c", True),
        ("StringLike", "a/?", "a/bc", False),
        ("StringNotLike", "a/*", "b", True),
        ("ArnLike", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/x", True),
        ("ArnEquals", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/y", False),
        ("ArnNotLike", "arn:aws:iam::*:role/x", "arn:aws:iam::1:role/y", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("Bool", "true", None, False),
        ("BoolIfExists", "false", None, True),
        ("BoolIfExists", "false", "true", False),
        ("Null", "true", None, True),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
        ("NumericLessThan", "1.2", "1.1", True),
        ("NumericLessThan", 1.2, "1.2", False),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("ForAnyValue:StringEquals", ["a"], ["b", "a"], True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAllValues:StringEquals", ["a"], ["b", "a"], False),
        ("ForAllValues:StringEquals", ["a", "b"], ["b", "a"], True),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringNotEquals", ["a"], ["b", "a"], True),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "a"], False),
    ],
)
def test_conditions(operator: str, wanted: Any, value: Any, holds: bool) -> None:
    condition = {"Condition": {operator: {"s3:Key": wanted}}}
    context = {} if value is None else {"S3:key": value}
    assert allowed(condition, context=context) is holds
    assert allowed({}, {"Effect": "Deny", **condition}, context=context) is not holds


def test_all_lines_of_a_condition_must_hold() -> None:
    condition = {"Condition": {"StringEquals": {"a": "1", "b": "2"}, "Bool": {"c": "true"}}}
    assert allowed(condition, context={"a": "1", "b": "2", "c": "true"})
    for wrong in ({"a": "0"}, {"b": "0"}, {"c": "false"}):
        assert not allowed(condition, context={"a": "1", "b": "2", "c": "true", **wrong})


@pytest.mark.parametrize("line", [{"BinaryEquals": {"k": "x"}}, {"NumericLessThan": {"k": "x"}}, {"ForSomeValues:Bool": {"k": "true"}}])
def test_what_cannot_be_judged_is_closed_for_is_allowed_and_open_for_may_be_allowed(line: dict[str, Any]) -> None:
    condition, context = {"Condition": line}, {"k": "y"}
    assert not allowed(condition, context=context)
    assert not allowed({}, {"Effect": "Deny", **condition}, context=context)
    assert may(condition, context=context)
    assert may({}, {"Effect": "Deny", **condition}, context=context)


def test_a_key_that_the_context_lacks_leaves_it_open_what_may_be() -> None:
    from_office = {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {"aws:SourceVpc": "vpc-1"}}}
    assert may(from_office)
    assert may({}, {"Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}})
    assert not may({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, context={"aws:SourceVpc": "vpc-2"})
    assert not may({}, {"Effect": "Deny", "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, context={"aws:SourceVpc": "vpc-2"})


def test_a_part_of_the_resources_may_be_allowed_until_all_of_them_are_denied() -> None:
    asked = "arn:aws:s3:::lake/users/*"
    part = {"Resource": "arn:aws:s3:::lake/*/metadata/*"}
    assert may(part, resource=asked)
    assert not allowed(part, resource=asked)
    assert may(part, {"Effect": "Deny", "Resource": "arn:aws:s3:::lake/users/data/*"}, resource=asked)
    assert may(part, {"Effect": "Deny", "Resource": "arn:aws:s3:::lake/users/?"}, resource=asked)
    assert not may(part, {"Effect": "Deny", "Resource": "arn:aws:s3:::lake/*"}, resource=asked)
    assert not may({"NotResource": "arn:aws:s3:::lake/*"}, resource=asked)
    assert may({"NotResource": "arn:aws:s3:::lake/users/data/*"}, resource=asked)
    assert not may({"Resource": "arn:aws:s3:::lake/orders/*"}, resource=asked)


def test_a_policy_variable_may_be_any_text() -> None:
    own = {"Resource": "arn:aws:s3:::lake/${aws:username}/*"}
    assert may(own)
    assert not allowed(own)
    assert not allowed({}, {"Effect": "Deny", **own})


@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=6), st.text("ab", max_size=6))
def test_patterns_overlap_where_a_text_matches_both(one: str, other: str, text: str) -> None:
    both = fnmatch.fnmatchcase(text, one) and fnmatch.fnmatchcase(text, other)
    if both:
        assert may({"Resource": one}, resource=other)
    if fnmatch.fnmatchcase(text, other) and not fnmatch.fnmatchcase(text, one):
        assert may({}, {"Effect": "Deny", "Resource": one}, resource=other)


@given(st.text("ab*?", max_size=4), st.text("ab*?", max_size=4))
def test_patterns_without_a_common_text_do_not_overlap(one: str, other: str) -> None:
    texts = [""]
    for _ in range(8):  # two patterns of four characters that have a common text have one of at most eight
        texts += [text + char for text in texts if len(text) == len(texts[-1]) for char in "ab"]
    common = any(fnmatch.fnmatchcase(text, one) and fnmatch.fnmatchcase(text, other) for text in texts)
    assert may({"Resource": one}, resource=other) is common


@pytest.mark.parametrize(
    ("principal", "allows", "denies"),
    [
        ("*", True, True),
        ({"AWS": "*"}, True, True),
        ({"AWS": ["arn:aws:iam::111122223333:role/other", ROLE]}, True, True),
        # An Allow for the account leaves it to the role's own policies.
        ({"AWS": "arn:aws:iam::111122223333:root"}, False, True),
        ({"AWS": "111122223333"}, False, True),
        ({"AWS": "arn:aws:iam::111122223333:role/reader"}, False, False),
        ({"AWS": "arn:aws:iam::444455556666:root"}, False, False),
        ({"Service": "cloudtrail.amazonaws.com"}, False, False),
    ],
)
def test_principals_of_a_bucket_policy(principal: Any, allows: bool, denies: bool) -> None:
    assert allowed({"Principal": principal}) is allows
    assert allowed({}, {"Effect": "Deny", "Principal": principal}) is not denies


def test_a_session_of_the_role_may_be_a_principal() -> None:
    session = {"Principal": {"AWS": "arn:aws:sts::111122223333:assumed-role/reader/ann"}}
    assert may(session)
    assert not allowed(session)
    assert may({}, {"Effect": "Deny", **session})


def test_not_principal_is_everybody_else() -> None:
    deny = {"Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:iam::111122223333:role/admin"]}}
    assert not allowed({}, deny)
    assert allowed({}, {"Effect": "Deny", "NotPrincipal": {"AWS": [ROLE]}})
