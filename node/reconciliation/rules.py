"""The rules of matching: declared in a small TOML file of the bank's, checked as a whole when it is loaded.

Rules are tried in the order in which they stand, each on what those before it left. What a rule may spend is
bounded: a search that would cost more is given up, and what it would have matched is told as a break.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from node.books import plain_reference

RULES_BYTES_MAX: Final = 64 * 1024
RULES_MAX: Final = 32
STANDARD: Final = """
[reference]
ignore = ["NOTPROVIDED", "NONREF", "NONE", "UNKNOWN"]   # what says nothing
prefixes = ["EREF+", "KREF+", "/ROC/", "/EREF/"]        # what banks write in front
zeros = "keep"                                          # or "drop": 007 is 7
shortest = 3                                            # a shorter reference says nothing

[duplicates]
days = 5                                                # how far apart the same payment twice may lie

[[rule]]
name = "same reference, amount and day"
kind = "one-to-one"
reference = "same"

[[rule]]
name = "same reference and amount, days apart"
kind = "one-to-one"
reference = "same"
days = 3

[[rule]]
name = "one entry for several movements, by reference"
kind = "one-to-many"
reference = "same"
days = 3
parts = 1000

[[rule]]
name = "several entries for one movement, by reference"
kind = "many-to-one"
reference = "same"
days = 3
parts = 1000

[[rule]]
name = "same amount and day, no reference"
kind = "one-to-one"
reference = "none"

[[rule]]
name = "one entry for several movements, no reference"
kind = "one-to-many"
reference = "none"
parts = 5

[[rule]]
name = "several entries for one movement, no reference"
kind = "many-to-one"
reference = "none"
parts = 5
"""
"""The rules that hold where a bank declares none."""

Days = Annotated[int, Meta(ge=0, le=31)]
Minor = Annotated[int, Meta(ge=0, le=10**12)]


class RulesRefused(ValueError):
    """A rules file that cannot be used; the text says where and why."""


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How references are made comparable: what [reference] says."""

    ignore: tuple[Annotated[str, Meta(max_length=35)], ...] = ()
    prefixes: tuple[Annotated[str, Meta(min_length=1, max_length=35)], ...] = ()
    zeros: Literal["keep", "drop"] = "keep"
    shortest: Annotated[int, Meta(ge=1, le=35)] = 1

    def plain(self, text: str) -> str:
        """A reference as it is compared; empty where it says nothing."""
        stripped = text.strip()
        for prefix in self.prefixes:
            if stripped.upper().startswith(prefix.upper()):
                stripped = stripped[len(prefix) :]
                break
        found = plain_reference(stripped)
        if self.zeros == "drop":
            found = _ZEROS.sub("", found)
        return "" if len(found) < self.shortest or found in _plain_words(self.ignore) else found


class Duplicates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What [duplicates] says."""

    days: Days = 0


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. reference: ``same``: both sides share one; ``none``: one side has none to compare. amount:
    minor units by which the sides may differ. days: by which they may lie apart. parts: at most so many on
    the side of many. candidates: a search for parts looks at no more. steps: it takes no more.
    """

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    kind: Literal["one-to-one", "one-to-many", "many-to-one"]
    reference: Literal["same", "none"]
    amount: Minor = 0
    days: Days = 0
    parts: Annotated[int, Meta(ge=2, le=1_000)] = 2
    candidates: Annotated[int, Meta(ge=2, le=64)] = 24
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rules file."""

    rule: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=RULES_MAX)]
    reference: Normalisation = Normalisation()
    duplicates: Duplicates = Duplicates()

    @property
    def days(self) -> int:
        """The farthest that two sides may lie apart by any rule."""
        return max(self.duplicates.days, *(rule.days for rule in self.rule))


def load_rules(path: Path | None = None) -> Rules:
    """The rules of a file; without one, STANDARD. Raises RulesRefused, OSError."""
    if path is None:
        return parse_rules(STANDARD, "the standard rules")
    raw = path.read_bytes()
    if len(raw) > RULES_BYTES_MAX:
        raise RulesRefused(f"{path.name}: more than {RULES_BYTES_MAX:,} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RulesRefused(f"{path.name}: {error}") from error
    return parse_rules(text, path.name)


def parse_rules(text: str, name: str) -> Rules:
    """Rules from their text. name: of the file, for people. Raises RulesRefused."""
    try:
        rules = msgspec.convert(tomllib.loads(text), Rules, strict=True)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RulesRefused(f"{name}: {error}") from error
    names = [rule.name for rule in rules.rule]
    if len(set(names)) != len(names):
        raise RulesRefused(f"{name}: two rules have the same name")
    for rule in rules.rule:
        if rule.reference == "none" and rule.amount:
            raise RulesRefused(f"{name}: {rule.name!r}: without a reference the amount must be the same")
    return rules


@cache
def _plain_words(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(plain_reference(word) for word in words)


_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[0-9])")
