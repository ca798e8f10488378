"""The part of YAML on which two readers agree."""

from __future__ import annotations

from itertools import product

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.yaml_reader import MAX_BYTES, read_yaml


def _cases(word: str) -> list[str]:
    """A word in every mix of lower and upper case."""
    return ["".join(letters) for letters in product(*({letter.lower(), letter.upper()} for letter in word))]


AMBIGUOUS = [
    *(text for word in ("y", "n", "yes", "no", "on", "off") for text in sorted(_cases(word))),
    *("=", "<<", "017", "0o17", "0x1f", "0X1F", "0b1", "-0", "+1", "-017", "00", "1_000", "9223372036854775808"),
    *("1e3", "1E3", "1.5e3", "1.e+3", ".5", "-.5", "1.", ".", "+1.5", "1_0.5", "0.1234567890123456789", "9" * 400 + ".0"),
    *(".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NaN", ".NAN", "1:30", "190:20:30", "1:30.5"),
    *("2024-01-01", "2024-1-1", "2024-01-01T00:00:00Z", "2024-01-01t10:00:00.5-05:00", "2024-01-01 10:00:00"),
]
PLAIN = {
    "true": True, "True": True, "FALSE": False, "null": None, "~": None, "": None, "0": 0, "-7": -7, "42": 42, "1.5": 1.5, "-0.25": -0.25,
    "0.00001": 0.00001, "a": "a", "yesterday": "yesterday", "v1.2.3": "v1.2.3", "1.2.3": "1.2.3", "7d": "7d", "1:60": "1:60", "a=b": "a=b",
    "list<int>": "list<int>", "s3://bucket/key": "s3://bucket/key", "nan": "nan", "é": "é",
}  # fmt: skip


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_scalar_that_readers_take_differently_is_refused_unless_quoted(text: str) -> None:
    for before, column in (("a: ", 4), ("a: [", 5), ("- a: ", 6)):
        document = read_yaml(f"x: 1\n{before}{text}{']' * ('[' in before)}\n".replace("x: 1\n", "- 1\n" * (before[0] == "-")).encode())
        (finding,) = document.findings
        assert (finding.rule, finding.line, finding.column) == ("yaml-ambiguous", 1 + (before[0] == "-"), column)
        assert f"`{text}`" in finding.message
        assert f'"{text}"' in finding.remedy
    for quote in "'\"":
        document = read_yaml(f"{quote}{text}{quote}: {quote}{text}{quote}".encode())
        assert (document.findings, document.data) == ([], {text: text})


@pytest.mark.parametrize("text", [*AMBIGUOUS, "true", "null", "~", "1", "1.5"])
def test_a_key_that_is_no_string_is_refused(text: str) -> None:
    assert {finding.rule for finding in read_yaml(f"{text}: 1".encode()).findings} & {"yaml-ambiguous", "yaml-key"}


@pytest.mark.parametrize(("text", "value"), PLAIN.items())
def test_other_scalars_are_read(text: str, value: object) -> None:
    document = read_yaml(f"a: {text}".encode())
    assert (document.findings, document.data) == ([], {"a": value})


@pytest.mark.parametrize(
    ("content", "rule", "line", "column"),
    [
        ("a: [1\nb: 2", "yaml-syntax", 2, 2),
        ("a: 1\n  b: 2", "yaml-syntax", 2, 4),
        ("a: b: c", "yaml-syntax", 1, 5),
        ('b: 1\na: "x', "yaml-syntax", 2, 6),
        ("a: {b: c\n\n\n", "yaml-syntax", 1, 4),
        ("a: [\n  1,\n", "yaml-syntax", 2, 1),
        ("\ta: 1", "yaml-syntax", 1, 1),
        ("a: 1\nb: \x01", "yaml-syntax", 2, 4),
        ("# éééééééé\nb: \x7f\nc: 1\nd: 2", "yaml-syntax", 2, 4),
        ("a: 'x\ufeff'", "yaml-syntax", 1, 6),
        ("a: \ufffe", "yaml-syntax", 1, 4),
        ("a: 1\né: \xff".encode("latin-1"), "yaml-encoding", 2, 1),
        ("\ufeffa: 1", "yaml-encoding", 1, 1),
        ("a: 1".encode("utf-16"), "yaml-encoding", 1, 1),
        (b"#" * (MAX_BYTES + 1), "yaml-size", 1, 1),
        ("a: 1\n---\nb: 2", "yaml-documents", 2, 1),
        ("%YAML 1.1\n---\na: 1", "yaml-directive", 1, 1),
        ("%TAG ! x:\n---\na: 1", "yaml-directive", 1, 1),
        ("a: &x 1", "yaml-anchor", 1, 4),
        ("a: *x", "yaml-anchor", 1, 4),
        ("a: &x [1]\nb: *x", "yaml-anchor", 1, 4),
        ("a: !!str 1", "yaml-tag", 1, 4),
        ("a: !x {b: 1}", "yaml-tag", 1, 4),
        ("a: !!python/object/apply:os.system [x]", "yaml-tag", 1, 4),
        ("a: 1\nb: 2\na: 3", "yaml-duplicate-key", 3, 1),
        ("a:\n  - b: {c: 1, c: 2}", "yaml-duplicate-key", 2, 15),
        ("a: 1\n'a': 2", "yaml-duplicate-key", 2, 1),
        ("? [a]\n: 1", "yaml-key", 1, 3),
        ("{a: 1}: 2", "yaml-key", 1, 1),
        ("1: a", "yaml-key", 1, 1),
        ("[" * 100_000, "yaml-depth", 1, 66),
        ("- " * 1_000, "yaml-depth", 1, 131),
    ],
)
def test_what_is_refused_is_named_with_its_place(content: str | bytes, rule: str, line: int, column: int) -> None:
    document = read_yaml(content.encode() if isinstance(content, str) else content)
    (finding,) = document.findings
    assert (finding.rule, finding.line, finding.column) == (rule, line, column)
    assert finding.message.endswith(".")
    assert finding.remedy


def test_a_bomb_of_aliases_is_not_expanded() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 50)]
    assert [finding.rule for finding in read_yaml("\n".join(lines).encode()).findings] == ["yaml-anchor"]


def test_every_finding_that_leaves_the_rest_readable_is_reported() -> None:
    document = read_yaml(b"a: yes\nb: !x 1\nb: 017\nc: ok")
    assert [(finding.rule, finding.line) for finding in document.findings] == [
        ("yaml-ambiguous", 1),
        ("yaml-tag", 2),
        ("yaml-duplicate-key", 3),
        ("yaml-ambiguous", 3),
    ]
    assert document.data["c"] == "ok"


def test_positions_are_of_keys_and_items() -> None:
    document = read_yaml(b"a:\n  - b: 1\n    c: 2\n")
    assert document.position(("a", 0, "c")) == (3, 5)
    assert document.position(("a", 0, "missing")) == document.position(("a", 0)) == (2, 5)
    assert document.position(("missing",)) == (1, 1)


@pytest.mark.parametrize("content", ["", "\n# only a comment\n", "---\n", "null"])
def test_an_empty_file_has_no_data(content: str) -> None:
    assert (read_yaml(content.encode()).data, read_yaml(content.encode()).findings) == (None, [])


YAML_LIKE = st.text(alphabet="ab:-[]{}\"'|>\n #&*!%?,0189.eExo_yn~=<+\t\x00\x85é", max_size=40)


@given(st.one_of(st.binary(max_size=60), st.one_of(st.text(max_size=60), YAML_LIKE).map(str.encode)))
@example(b"a: |\n  x\n\n  y\n")
@example("\ud7ff\ue000\U0001f600: '\U0001f600'".encode())
def test_any_bytes_are_read_as_other_readers_do_or_refused(content: bytes) -> None:
    document = read_yaml(content)
    if document.findings:
        return
    try:
        expected = yaml.safe_load(content)
    except yaml.YAMLError:  # PyYAML's own scanner refuses some tabs that libyaml, and Terraform, take for spaces
        return
    assert document.data == expected
