"""Judges the regular expressions that tenants write: which may run for each request of a gateway.

Only a part of the syntax is taken, one that Python and PCRE read alike: literals, `.`, `\\d`,
`\\w`, classes, groups, `|`, and `? * + {m,n}`. What could match in many ways is refused, because a
matcher that backtracks tries them all.
"""

import dataclasses
import re
import string
from collections.abc import Sequence

MAX_LENGTH = 256
MOST_WAYS = 4096
"""For a pattern that must match the whole path."""
MOST_WAYS_ANYWHERE = 4
"""For one that is looked for at each place of the path."""

_PATH_LENGTH = 1024
_MOST_REPEATS = 64
_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_OTHER = "\N{REPLACEMENT CHARACTER}"
"""Stands in sets for all that is not ASCII."""
_ALL = frozenset([*map(chr, range(128)), _OTHER])
_CLASSES = {"d": _DIGITS, "w": _WORD}
_SPECIAL = frozenset(r".^$*+?{}[]\|()")

Chars = frozenset[str]


@dataclasses.dataclass(frozen=True)
class _Node:
    """A part of a pattern: one character of `chars`, or one of `branches`, repeated."""

    chars: Chars = frozenset()
    branches: tuple[tuple["_Node", ...], ...] = ()
    least: int = 1
    most: int | None = 1
    """None: without end."""


_Sequence = Sequence[_Node]


def problem(text: str, most_ways: int = MOST_WAYS) -> str | None:
    """Return what is wrong with a pattern, None when a gateway may run it."""
    if len(text) > MAX_LENGTH:
        return f"must have at most {MAX_LENGTH} characters"
    try:
        branches = _Reader(text).read()
        found = _ways_of(branches, frozenset())
    except ValueError as error:
        return str(error)
    if found > most_ways:
        return (
            "can match in too many ways: follow each repetition by something that it cannot take "
            "itself, as in /[^/]+/, and let alternatives begin differently"
        )
    return None


def groups(text: str) -> int:
    """Return how many groups a sound pattern captures."""
    return re.compile(text).groups


class _Reader:
    """Reads a pattern into branches of nodes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> tuple[tuple[_Node, ...], ...]:
        branches = self._branches()
        if self._at < len(self._text):
            raise ValueError("has a ) too many")
        return branches

    def _branches(self) -> tuple[tuple[_Node, ...], ...]:
        branches: list[tuple[_Node, ...]] = []
        nodes: list[_Node] = []
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                branches.append(tuple(nodes))
                nodes = []
            else:
                nodes.append(self._quantified(self._atom()))
        return (*branches, tuple(nodes))

    def _next(self) -> str:
        if self._at == len(self._text):
            raise ValueError("ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _atom(self) -> _Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return _Node(self._class())
        if char == "\\":
            return _Node(self._escaped())
        if char == ".":
            return _Node(_ALL - {"\n"})
        if char in _SPECIAL:
            raise ValueError(f"has {char} where it means nothing: write \\{char} for the character")
        return _Node(frozenset([_plain(char)]))

    def _group(self) -> _Node:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._text.startswith("?", self._at):
            raise ValueError("may have groups (…) and (?:…) only: no look-around, no options")
        branches = self._branches()
        if self._at == len(self._text):
            raise ValueError("has a ( without its )")
        self._at += 1
        return _Node(branches=branches)

    def _escaped(self) -> Chars:
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if not char.isascii() or char.isalnum() or not char.isprintable():
            raise ValueError(f"may not have \\{char}: only \\d, \\w and escaped signs")
        return frozenset([char])

    def _class(self) -> Chars:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        chars: set[str] = set()
        while (char := self._next()) != "]":
            if char == "[":
                raise ValueError("must write \\[ inside of [ ]")
            chars |= self._range(char)
        if not chars:
            raise ValueError("has an empty class []")
        return _ALL - chars if negated else frozenset(chars)

    def _range(self, char: str) -> Chars:
        first = self._escaped() if char == "\\" else frozenset([_plain(char)])
        text, at = self._text, self._at
        if text[at : at + 1] != "-" or text[at + 1 : at + 2] in ("]", ""):
            return first
        self._at += 1
        end = self._next()
        last = self._escaped() if end == "\\" else frozenset([_plain(end)])
        if len(first) > 1 or len(last) > 1 or min(first) > min(last):
            raise ValueError(f"has a range {char}-{end} that is none")
        return frozenset(map(chr, range(ord(min(first)), ord(min(last)) + 1)))

    def _quantified(self, atom: _Node) -> _Node:
        match = re.compile(r"[?*+]|\{(\d{1,3})(?:(,)(\d{1,3})?)?\}").match(self._text, self._at)
        if match is None:
            return atom
        self._at = match.end()
        if self._text[self._at : self._at + 1] in ("?", "*", "+", "{"):
            raise ValueError("may not have two quantifiers in a row")
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(match[0], (0, 0))
        if match[1] is not None:
            least = int(match[1])
            most = None if match[2] and not match[3] else int(match[3] or match[1])
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            raise ValueError(f"may repeat up to {_MOST_REPEATS} times, the lesser number first")
        if (most is None or most > 1) and any(_varies(branch) for branch in atom.branches):
            raise ValueError("may not repeat a group that has a repetition or a choice in it")
        if (most is None or most > 1) and len(atom.branches) > 1:
            raise ValueError("may not repeat a group that has a repetition or a choice in it")
        if (most is None or most > 1) and () in atom.branches:
            raise ValueError("may not repeat an empty group")
        return dataclasses.replace(atom, least=least, most=most)


def _plain(char: str) -> str:
    if not char.isascii():
        raise ValueError("may have ASCII characters only")
    if not char.isprintable():
        raise ValueError("may have no control characters")
    return char


def _varies(nodes: _Sequence) -> bool:
    return any(
        node.least != node.most
        or len(node.branches) > 1
        or any(_varies(branch) for branch in node.branches)
        for node in nodes
    )


def _ways_of(branches: Sequence[_Sequence], follow: Chars) -> int:
    """Return in how many ways alternatives may match, at most, when *follow* may come next.

    The product of all choices that the next character does not decide at once.
    """
    found = 1
    for branch in branches:
        found *= _ways(branch, follow)
    if len(branches) > 1:
        begins = [_first(branch, follow) for branch in branches]
        if sum(map(len, begins)) > len(frozenset().union(*begins)):
            found *= len(branches)
    return found


def _ways(nodes: _Sequence, follow: Chars) -> int:
    found = 1
    for node in reversed(nodes):
        begins = _begin(node)
        if node.least != node.most and (begins & follow or _may_be_empty(node.branches)):
            found *= _PATH_LENGTH if node.most is None else node.most - node.least + 1
        if node.branches:
            found *= _ways_of(node.branches, follow | begins if node.most != 1 else follow)
        follow = begins | follow if _skips(node) else begins
    return found


def _first(nodes: _Sequence, follow: Chars) -> Chars:
    """Return what a sequence may begin with."""
    for node in reversed(nodes):
        follow = _begin(node) | follow if _skips(node) else _begin(node)
    return follow


def _begin(node: _Node) -> Chars:
    if not node.branches:
        return node.chars
    return frozenset().union(*(_first(branch, frozenset()) for branch in node.branches))


def _skips(node: _Node) -> bool:
    return node.least == 0 or _may_be_empty(node.branches)


def _may_be_empty(branches: Sequence[_Sequence]) -> bool:
    return any(all(_skips(node) for node in branch) for branch in branches)
