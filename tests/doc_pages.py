"""The pages of the documentation, their code blocks, and the commands in those that are for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
# GitHub's dialect, but for bare addresses.
MARKDOWN = MarkdownIt("gfm-like").disable("linkify")
SHELL = ("sh", "shell", "bash", "console")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what follows the fence, what is in it."""

    page: str
    line: int
    info: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def language(self) -> str:
        return self.info[0] if self.info else ""


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    name = str(page.relative_to(ROOT))
    fences = (token for token in MARKDOWN.parse(page.read_text()) if token.type == "fence" and token.map)
    return [Block(name, token.map[0] + 1, tuple(token.info.split()), token.content) for token in fences if token.map]


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a shell script, without comments, redirections and the text of here-documents.

    Variables that are set before a command are left out; of a command that runs in a container, the inner one is taken.
    """
    script = re.sub(r"(<<-?\s*'?(\w+)'?[^\n]*\n).*?^\s*\2$", r"\1", script, flags=re.DOTALL | re.MULTILINE).replace("\\\n", " ")
    # Comments, and not what is in quotes; then the 2 of 2>.
    script = re.sub(r"""('[^']*'|"(?:\\.|[^"\\])*")|(?:^|(?<=\s))#[^\n]*""", lambda found: found[1] or "", script, flags=re.MULTILINE)
    lexer = shlex.shlex(re.sub(r"(?<=\s)\d(?=[<>])", "", script), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("();&|\n"):
            yield from filter(None, [_innermost(words)])
            words = []
        else:
            words.append(token)


def _innermost(words: list[str]) -> list[str]:
    plain = [word for number, word in enumerate(words) if not _redirects(words, number)]
    while plain and (re.match(r"\w+=", plain[0]) or plain[0] in ("export", "env", "time", "!", "if", "then", "do", "$")):
        plain = plain[1:]
    if plain[:1] == ["as_role"]:  # role command …, a function that the pages about AWS define
        return plain[2:]
    if plain[:2] == ["docker", "compose"] and "exec" in plain:  # exec [options] service command …
        after = [word for word in plain[plain.index("exec") + 1 :] if not word.startswith("-")]
        return after[1:]
    return plain


def _redirects(words: list[str], number: int) -> bool:
    signs = set("<>&")
    return set(words[number]) <= signs or (number > 0 and set(words[number - 1]) <= signs)
