"""The rules applied, one after the other: what matches what. Deterministic: no rule looks at anything but the
items, in their order.

A rule by reference takes the items of both sides that share one, a reference at a time, the strongest name
space first. Within a reference, one-to-one pairs as many as can be paired (bipartite matching, Kuhn 1955, as
augmenting paths; two pointers where only days differ). A rule without reference pairs only what can be meant
by nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.reconciliation.items import STRENGTHS, TEXT, TX, Item, Side, same_names
from node.reconciliation.rules import Rule, Rules
from node.reconciliation.subsets import TooManySteps, subsets

PAIRS_MAX: Final = 10_000
"""Pairs of one reference, or of one amount without any, that are looked at; beyond it the closest are paired
greedily, or none.
"""


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule found to be the same: items of both sides."""

    rule: str
    statement: tuple[Item, ...]
    ledger: tuple[Item, ...]

    @property
    def difference(self) -> int:
        """Statement less ledger, in minor units: what the rule's tolerance bore."""
        return sum(item.minor for item in self.statement) - sum(item.minor for item in self.ledger)


@dataclass(slots=True)
class Matched:
    """All matches, and what is left of each side, in order. ambiguous: statement items or movements for which
    a search found more than one answer.
    """

    matches: list[Match] = field(default_factory=list)
    statement: list[Item] = field(default_factory=list)
    ledger: list[Item] = field(default_factory=list)
    ambiguous: set[str] = field(default_factory=set)


def match(statement: Sequence[Item], ledger: Sequence[Item], rules: Rules) -> Matched:
    """Match a statement's items with the ledger's."""
    run = _Run(statement, ledger, names=same_names(statement, ledger))
    for rule in rules.rule:
        match rule.kind, rule.reference:
            case "one-to-one", "same":
                run.pair_by_reference(rule)
            case "one-to-one", "none":
                run.pair_by_amount(rule)
            case kind, reference:
                run.group(rule, Side.STATEMENT if kind == "one-to-many" else Side.LEDGER, reference)
    run.matched.statement, run.matched.ledger = run.open(Side.STATEMENT), run.open(Side.LEDGER)
    return run.matched


def contradict(one: Item, other: Item, *, names: bool) -> bool:
    """Whether two items name different payments. names: transactions' names can be compared, too."""
    for space in (TEXT, TX) if names else (TEXT,):
        ours = [name for name in one.references if name.startswith(space)]
        theirs = [name for name in other.references if name.startswith(space)]
        if ours and theirs and not set(ours) & set(theirs):
            return True
    return False


class _Run:
    """One matching: the items of both sides and which of them are still open."""

    def __init__(self, statement: Sequence[Item], ledger: Sequence[Item], *, names: bool) -> None:
        self.items: dict[Side, Sequence[Item]] = {Side.STATEMENT: statement, Side.LEDGER: ledger}
        self.is_open = {side: bytearray(b"\1") * len(items) for side, items in self.items.items()}
        self.names = names
        self.matched = Matched()

    def open(self, side: Side) -> list[Item]:
        """What nothing has matched yet, in order."""
        flags = self.is_open[side]
        return [item for item in self.items[side] if flags[item.number]]

    def take(self, rule: Rule, statement: Iterable[Item], ledger: Iterable[Item]) -> None:
        """Enter a match."""
        found = Match(rule.name, tuple(statement), tuple(ledger))
        for item in (*found.statement, *found.ledger):
            self.is_open[item.side][item.number] = 0
        self.matched.matches.append(found)

    # --- by reference ---------------------------------------------------------------------------------------

    def classes(self, space: str) -> list[tuple[list[Item], list[Item]]]:
        """The open items that share a reference of a name space, a reference at a time."""
        ours: dict[str, list[Item]] = {}
        for item in self.open(Side.STATEMENT):
            for name in item.references:
                if name.startswith(space):
                    ours.setdefault(name, []).append(item)
        theirs: dict[str, list[Item]] = {}
        for item in self.open(Side.LEDGER):
            for name in item.references:
                if name in ours:
                    theirs.setdefault(name, []).append(item)
        return [(ours[name], theirs[name]) for name in ours if name in theirs]

    def pair_by_reference(self, rule: Rule) -> None:
        """As many pairs as there can be among items that share a reference."""
        for space in STRENGTHS:
            for ours, theirs in self.classes(space):
                still = [item for item in ours if self.is_open[Side.STATEMENT][item.number]]
                others = [item for item in theirs if self.is_open[Side.LEDGER][item.number]]
                for one, other in paired(still, others, rule):
                    self.take(rule, (one,), (other,))

    # --- without reference ----------------------------------------------------------------------------------

    def pair_by_amount(self, rule: Rule) -> None:
        """Pairs of the same amount that can be meant by nothing else: each is the other's only candidate, or
        as many lie on one side of a day as on the other.
        """
        theirs: dict[int, list[Item]] = {}
        for item in self.open(Side.LEDGER):
            theirs.setdefault(item.minor, []).append(item)
        ours: dict[int, list[Item]] = {}
        for item in self.open(Side.STATEMENT):
            if item.minor in theirs:
                ours.setdefault(item.minor, []).append(item)
        for minor, items in ours.items():
            others = theirs[minor]
            if len(items) * len(others) <= PAIRS_MAX:
                self._pair_unique(rule, items, others)

    def _pair_unique(self, rule: Rule, ours: list[Item], theirs: list[Item]) -> None:
        candidates = {
            one.number: [
                other
                for other in theirs
                if abs(one.day - other.day) <= rule.days and not contradict(one, other, names=self.names)
            ]
            for one in ours
        }
        wanted: dict[int, list[Item]] = {}
        for one in ours:
            for other in candidates[one.number]:
                wanted.setdefault(other.number, []).append(one)
        for one in ours:
            others = candidates[one.number]
            same = wanted[others[0].number] if others else []
            if not same or one is not same[0] or len(same) != len(others):
                continue
            if all(candidates[each.number] == others for each in same) and all(
                wanted[each.number] == same for each in others
            ):
                for mine, other in zip(same, others, strict=True):
                    self.take(rule, (mine,), (other,))

    # --- one for several ------------------------------------------------------------------------------------

    def group(self, rule: Rule, whole: Side, reference: str) -> None:
        """One item of a side for several of the other that add up to it."""
        many = Side.LEDGER if whole is Side.STATEMENT else Side.STATEMENT
        by_name: dict[str, list[Item]] = {}
        by_day: dict[int, list[Item]] = {}
        for item in self.open(many):
            by_day.setdefault(item.day, []).append(item)
            for name in item.references:
                by_name.setdefault(name, []).append(item)
        for one in self.open(whole):
            if reference == "same":
                near = {item.number: item for name in one.references for item in by_name.get(name, ())}
                found = [near[number] for number in sorted(near)]
            else:
                days = range(one.day - rule.days, one.day + rule.days + 1)
                found = [item for day in days for item in by_day.get(day, ())]
                found = [item for item in found if not contradict(one, item, names=self.names)]
            self._add_up(rule, one, [item for item in found if self._fits(rule, one, item)])

    def _fits(self, rule: Rule, one: Item, part: Item) -> bool:
        return (
            bool(self.is_open[part.side][part.number])
            and (one.minor < 0) == (part.minor < 0)
            and abs(one.day - part.day) <= rule.days
        )

    def _add_up(self, rule: Rule, one: Item, candidates: list[Item]) -> None:
        """Match one item with the candidates that add up to it, if they are the only ones that do."""
        if len(candidates) < 2:  # noqa: PLR2004 - one alone is no group
            return
        total = sum(item.minor for item in candidates)
        parts: Sequence[Item] | None = None
        if (
            rule.reference == "same"
            and abs(total - one.minor) <= rule.amount
            and len(candidates) <= rule.parts
        ):
            parts = candidates
        elif len(candidates) <= rule.candidates:
            parts = self._search(rule, one, candidates)
        if parts is None:
            return
        if one.side is Side.STATEMENT:
            self.take(rule, (one,), parts)
        else:
            self.take(rule, parts, (one,))

    def _search(self, rule: Rule, one: Item, candidates: list[Item]) -> list[Item] | None:
        amounts = [item.minor for item in candidates]
        try:
            found = subsets(amounts, one.minor, rule.amount, rule.parts, rule.steps)
        except TooManySteps:
            return None
        if len(found) > 1:
            self.matched.ambiguous.add(one.identity)
        return [candidates[place] for place in found[0]] if len(found) == 1 else None


# --- pairs within one reference -----------------------------------------------------------------------------


def paired(ours: list[Item], theirs: list[Item], rule: Rule) -> list[tuple[Item, Item]]:
    """As many pairs as a rule allows among items of both sides, in the order of ours."""
    if len(ours) == 1 == len(theirs):
        return [(ours[0], theirs[0])] if _near(ours[0], theirs[0], rule) else []
    if not rule.amount:
        by_minor: dict[int, list[Item]] = {}
        for item in theirs:
            by_minor.setdefault(item.minor, []).append(item)
        mine: dict[int, list[Item]] = {}
        for item in ours:
            if item.minor in by_minor:
                mine.setdefault(item.minor, []).append(item)
        pairs = [pair for minor, items in mine.items() for pair in _by_day(items, by_minor[minor], rule.days)]
    elif len(ours) * len(theirs) <= PAIRS_MAX:
        pairs = _most(ours, theirs, rule)
    else:
        pairs = _closest(ours, theirs, rule)
    return sorted(pairs, key=lambda pair: pair[0].number)


def _near(one: Item, other: Item, rule: Rule) -> bool:
    return abs(one.minor - other.minor) <= rule.amount and abs(one.day - other.day) <= rule.days


def _by_day(ours: list[Item], theirs: list[Item], days: int) -> list[tuple[Item, Item]]:
    """Two pointers over days: the most pairs there can be where windows are equally long."""
    ours = sorted(ours, key=lambda item: (item.day, item.number))
    theirs = sorted(theirs, key=lambda item: (item.day, item.number))
    pairs: list[tuple[Item, Item]] = []
    at = 0
    for one in ours:
        while at < len(theirs) and theirs[at].day < one.day - days:
            at += 1
        if at < len(theirs) and theirs[at].day <= one.day + days:
            pairs.append((one, theirs[at]))
            at += 1
    return pairs


def _most(ours: list[Item], theirs: list[Item], rule: Rule) -> list[tuple[Item, Item]]:
    """Augmenting paths, the closest candidate first."""
    edges = {
        one.number: sorted(
            (other for other in theirs if _near(one, other, rule)),
            key=lambda other: (abs(one.minor - other.minor), abs(one.day - other.day), other.number),
        )
        for one in ours
    }
    owner: dict[int, Item] = {}
    partner: dict[int, Item] = {}

    def assign(one: Item, seen: set[int]) -> bool:
        for other in edges[one.number]:
            if other.number in seen:
                continue
            seen.add(other.number)
            if other.number not in owner or assign(owner[other.number], seen):
                owner[other.number], partner[one.number] = one, other
                return True
        return False

    for one in sorted(ours, key=lambda item: (_closest_gap(item, edges[item.number]), item.number)):
        assign(one, set())
    return [(one, partner[one.number]) for one in ours if one.number in partner]


def _closest_gap(one: Item, candidates: list[Item]) -> int:
    return abs(one.minor - candidates[0].minor) if candidates else 0


def _closest(ours: list[Item], theirs: list[Item], rule: Rule) -> list[tuple[Item, Item]]:
    """Two pointers over amounts, for crowds: pairs, though not always the most."""
    theirs = sorted(theirs, key=lambda item: (item.minor, item.day, item.number))
    pairs: list[tuple[Item, Item]] = []
    at = 0
    for one in sorted(ours, key=lambda item: (item.minor, item.day, item.number)):
        while at < len(theirs) and theirs[at].minor < one.minor - rule.amount:
            at += 1
        if at < len(theirs) and _near(one, theirs[at], rule):
            pairs.append((one, theirs[at]))
            at += 1
    return pairs
