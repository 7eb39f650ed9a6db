"""Custody policy: which of a member's transactions its own node may sign, and who must have approved them.

A small TOML file. What no rule covers is refused; of the rules that fit a request all bind. A rule's bounds
weigh what it fits of the request *and* of everything signed in the hours before, so that splitting an amount
gains nothing, and neither does midnight. Everything here is a function of the file, the request, the time and
what was signed before; nothing is read from anywhere else.

    version = 1
    member = "PA"
    time_zone = "Europe/Prague"
    [groups]
    treasury = ["alice", "bob", "carol"]
    [[rule]]
    name = "small payments in office hours"
    methods = ["transfers.send", "transfers.send_many"]
    asset = "CZK"
    amount_below = 1_000_000_00
    hours = "08:00-18:00"
    approve = [{ count = 1, of = ["@treasury"] }]

People are named as their certificates name them; ``@group`` is a group of this file, ``role:checker``
everybody whose certificate has the role. Amounts are minor units.
"""

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from node.keys.custody_sums import Entry, RunningSum
from node.keys.files import read_file
from node.ledger.contract import Method
from node.ledger.types import AMOUNT_MAX, Record

POLICY_BYTES_MAX: Final = 256 * 1024
RULES_MAX: Final = 256
PEOPLE_MAX: Final = 64
WINDOW_HOURS_MAX: Final = 168
HOUR_MS: Final = 3_600_000
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ROLES: Final = ("reader", "submitter", "maker", "checker", "operator", "auditor", "regulator")
_HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")

Minutes = Annotated[int, Meta(ge=1, le=90 * 24 * 60)]
Reference = Annotated[str, Meta(min_length=1, max_length=64)]
References = Annotated[tuple[Reference, ...], Meta(min_length=1, max_length=PEOPLE_MAX)]
Label = Annotated[str, Meta(min_length=1, max_length=64)]


class PolicyRefused(Exception):
    """The policy file cannot be used; the text says where and why. It repeats names, never amounts."""


class Facts(Record, frozen=True):
    """What a policy weighs of one operation, once for each asset that it commits. amount: minor units, 0
    where the method has none; source: the account that it is about or that pays; destinations: the accounts
    that are paid; operation: its number in the request.
    """

    contract: str
    method: str
    asset: str
    amount: int
    source: str
    destinations: tuple[str, ...]
    operation: int = 1

    @property
    def name(self) -> str:
        """``contract.method``."""
        return f"{self.contract}.{self.method}"


class Person(NamedTuple):
    """Somebody who acts, as the certificate names them. certificate: its SHA-256, in hex. path: how
    revocation lists name it and the authorities above it.
    """

    name: str
    roles: frozenset[str]
    certificate: str = ""
    path: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Two people whose names agree in this are one."""
        return person_key(self.name)


class Spent(NamedTuple):
    """An operation that was signed, and when."""

    time_ms: int
    facts: Facts


class Approvers(Struct, frozen=True, forbid_unknown_fields=True):
    """How many distinct people, and out of whom."""

    count: Annotated[int, Meta(ge=1, le=16)]
    of: References


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a rule fits, and whom it asks. amount_from and amount_below bound the sum of what it fits in this
    request and in ``window_hours`` before it; amount_below 0: no bound. sources, destinations: account
    prefixes; every account must have one of them. makers: who may ask. approve: empty lets it pass unchecked.
    """

    name: Label
    methods: References
    asset: Annotated[str, Meta(max_length=16)] = ""
    amount_from: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)] = 0
    amount_below: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)] = 0
    window_hours: Annotated[int, Meta(ge=1, le=WINDOW_HOURS_MAX)] = 24
    sources: Annotated[tuple[Reference, ...], Meta(max_length=PEOPLE_MAX)] = ()
    destinations: Annotated[tuple[Reference, ...], Meta(max_length=PEOPLE_MAX)] = ()
    hours: str = ""
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    makers: References = ("role:maker",)
    approve: Annotated[tuple[Approvers, ...], Meta(max_length=16)]


class Document(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. request_minutes: how long a request waits for approvals; approval_minutes: how long an
    approval counts.
    """

    version: Literal[1]
    member: Annotated[str, Meta(min_length=1, max_length=16)]
    time_zone: str
    request_minutes: Minutes = 24 * 60
    approval_minutes: Minutes = 24 * 60
    groups: dict[Label, References] = {}
    rule: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=RULES_MAX)]


class Slots(NamedTuple):
    """One line of a rule's ``approve``: how many people, out of whom, and how many are missing."""

    asked: int
    of: tuple[str, ...]
    missing: int


class Binding(NamedTuple):
    """A rule that binds a request. total: the amount that it weighed; 0 where it weighs none."""

    rule: str
    total: int
    slots: tuple[Slots, ...]


class Ruling(NamedTuple):
    """What the policy says of a request now. uncovered: numbers, from 1, of operations that no rule covers.
    missing: how many approvals still, at least; may_approve: who can give them.
    """

    bindings: tuple[Binding, ...]
    uncovered: tuple[int, ...]
    missing: int
    may_approve: tuple[str, ...]

    @property
    def places(self) -> int:
        """How many places are open, over all rules."""
        return sum(line.missing for each in self.bindings for line in each.slots)

    @property
    def met(self) -> bool:
        """Whether it may be signed."""
        return not self.uncovered and not self.missing


class Policy:
    """A policy that was checked. sha256: of its file. warnings: what is allowed and perhaps not meant."""

    def __init__(self, document: Document, sha256: str = "") -> None:
        """Raises PolicyRefused."""
        self.document = document
        self.sha256 = sha256
        self.member = document.member
        try:
            self._zone = ZoneInfo(document.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise PolicyRefused(f"time_zone: this machine does not know {document.time_zone!r}") from None
        self._people = {
            reference: self._members(reference, rule.name)
            for rule in document.rule
            for reference in (*rule.makers, *(each for line in rule.approve for each in line.of))
        }
        _check_groups(document)
        self.warnings = tuple(line for rule in document.rule for line in self._check_rule(rule))
        _check_names(document.rule)

    def judge(
        self,
        operations: Sequence[Facts],
        maker: Person,
        approvals: Sequence[Person],
        time_ms: int,
        spent: "Iterable[Spent] | Sums" = (),
    ) -> Ruling:
        """What binds a request at a time. operations: with their numbers; of one that commits several
        assets, or runs several, a rule must cover each. approvals: that still count, of distinct people; the
        maker's own counts for nothing. spent: what was signed before.
        """
        sums = spent if isinstance(spent, Sums) else Sums(self.document.rule, spent)
        heard = [person for person in approvals if person.key != maker.key]
        covered: dict[Facts, None] = {}
        bindings: list[Binding] = []
        open_lines: list[str] = []
        for rule in self.document.rule:
            if not self._is_open(rule, time_ms) or not self._is_named(rule.makers, maker):
                continue
            fitting = [facts for facts in operations if _fits(rule, facts)]
            if not fitting:
                continue
            total = 0
            if _is_bounded(rule):
                total = sum(facts.amount for facts in fitting) + sums.before(rule, time_ms)
            if not _in_bounds(rule, total):
                continue
            covered.update(dict.fromkeys(fitting))
            slots = self._slots(rule, heard)
            bindings.append(Binding(rule.name, total, slots))
            open_lines += [each for line in slots if line.missing for each in line.of]
        uncovered = dict.fromkeys(facts.operation for facts in operations if facts not in covered)
        missing = max((sum(line.missing for line in each.slots) for each in bindings), default=0)
        return Ruling(tuple(bindings), tuple(uncovered), missing, self._who(open_lines, maker, heard))

    def _slots(self, rule: Rule, heard: Sequence[Person]) -> tuple[Slots, ...]:
        """The rule's lines, with the people who approved given to as many places as can be filled."""
        places = [at for at, line in enumerate(rule.approve) for _ in range(line.count)]
        can = [[self._is_named(rule.approve[at].of, person) for person in heard] for at in places]
        filled = matching(can)
        return tuple(
            Slots(line.count, line.of, line.count - sum(places[place] == at for place in filled))
            for at, line in enumerate(rule.approve)
        )

    def _who(self, references: Iterable[str], maker: Person, heard: Sequence[Person]) -> tuple[str, ...]:
        gone = [maker.key, *(person.key for person in heard)]
        named: dict[str, None] = {}
        for reference in dict.fromkeys(references):
            if reference.startswith("role:"):
                named[reference] = None
            for name in self._people[reference]:
                if person_key(name) not in gone:
                    named[name] = None
        return tuple(named)

    def _is_named(self, references: Iterable[str], person: Person) -> bool:
        return any(
            reference.removeprefix("role:") in person.roles
            if reference.startswith("role:")
            else any(person_key(name) == person.key for name in self._people[reference])
            for reference in references
        )

    def _is_open(self, rule: Rule, time_ms: int) -> bool:
        local = datetime.fromtimestamp(time_ms / 1_000, self._zone)
        minute = local.hour * 60 + local.minute
        begins, ends = _minutes(rule.hours) if rule.hours else (0, 24 * 60)
        day = local.weekday()
        if begins < ends:
            inside = begins <= minute < ends
        else:
            inside = minute >= begins or minute < ends
            day = day if minute >= begins else (day - 1) % 7  # a night belongs to the day that it began on
        return inside and (not rule.days or DAYS[day] in rule.days)

    def _members(self, reference: str, rule: str) -> tuple[str, ...]:
        """The names behind a reference. Raises PolicyRefused."""
        if reference.startswith("role:"):
            if reference.removeprefix("role:") not in ROLES:
                raise PolicyRefused(f"rule {rule!r}: {reference!r} is no role; there are {', '.join(ROLES)}")
            return ()
        if not reference.startswith("@"):
            return (reference,)
        if reference[1:] not in self.document.groups:
            raise PolicyRefused(f"rule {rule!r}: there is no group {reference!r}")
        return self.document.groups[reference[1:]]

    def _check_rule(self, rule: Rule) -> list[str]:
        """Contradictions inside a rule; what is only doubtful is returned. Raises PolicyRefused."""
        place = f"rule {rule.name!r}"
        if _is_bounded(rule) and not rule.asset:
            raise PolicyRefused(f"{place}: bounds of an amount need an asset: different assets do not add up")
        if rule.amount_below and rule.amount_from >= rule.amount_below:
            raise PolicyRefused(f"{place}: amount_from is not below amount_below: the rule fits nothing")
        if rule.hours:
            begins, ends = _minutes(rule.hours, place)
            if begins == ends:
                raise PolicyRefused(f"{place}: hours begin when they end: the rule fits nothing")
        everybody = self._candidates(rule)
        if everybody is None:
            return []
        if not self._can_meet(rule, everybody):
            raise PolicyRefused(f"{place}: it asks for more distinct people than it names")
        told = []
        for name in everybody:
            if self._can_meet(rule, [each for each in everybody if each != name]):
                continue
            asked = Person(name, frozenset())
            if self._is_named([each for each in rule.makers if not each.startswith("role:")], asked):
                raise PolicyRefused(f"{place}: what {name} asks for can never be approved: too few others")
            told.append(f"{place}: what {name} asks for, or approvals when {name} is away, cannot be met")
        return told

    def _candidates(self, rule: Rule) -> list[str] | None:
        """Everybody whom the rule names as approver; None where a role does not say who they are."""
        references = [each for line in rule.approve for each in line.of]
        if any(reference.startswith("role:") for reference in references):
            return None
        names = [name for reference in references for name in self._people[reference]]
        return list({person_key(name): name for name in names}.values())

    def _can_meet(self, rule: Rule, names: Iterable[str]) -> bool:
        people = [Person(name, frozenset()) for name in names]
        return not any(line.missing for line in self._slots(rule, people))


class Sums:
    """What was signed before, summed up for each rule that has bounds."""

    def __init__(self, rules: Iterable[Rule], spent: Iterable[Spent] = ()) -> None:
        """spent: what is there already."""
        self._sums = {rule.name: (rule, RunningSum()) for rule in rules if _is_bounded(rule)}
        for each in spent:
            self.add(each)

    def add(self, spent: Spent) -> list[tuple[RunningSum, Entry]]:
        """Count what was signed; where it stands, for ``strike``."""
        return [
            (running, running.add(spent.time_ms, spent.facts.amount))
            for rule, running in self._sums.values()
            if _fits(rule, spent.facts)
        ]

    def before(self, rule: Rule, time_ms: int) -> int:
        """The sum of what a rule fits of the hours before a time."""
        return self._sums[rule.name][1].after(time_ms - rule.window_hours * HOUR_MS)


def load_policy(path: Path, methods: Collection[str] = ()) -> Policy:
    """The policy in a file, checked. methods: every ``contract.method`` that there is; none: not compared.

    Raises PolicyRefused, KeystoreError.
    """
    data = read_file(path, POLICY_BYTES_MAX)
    try:
        policy = parse_policy(data, methods)
    except PolicyRefused as refused:
        raise PolicyRefused(f"{path}: {refused}") from refused
    return policy


def parse_policy(data: bytes, methods: Collection[str] = ()) -> Policy:
    """The policy in the file's bytes. Raises PolicyRefused."""
    try:
        document = msgspec.convert(tomllib.loads(data.decode()), Document)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyRefused(f"not TOML in UTF-8: {error}") from error
    except msgspec.ValidationError as error:
        raise PolicyRefused(str(error)) from error
    for rule in document.rule:
        for pattern in rule.methods if methods else ():
            if not any(_names_method(pattern, known) for known in methods):
                raise PolicyRefused(f"rule {rule.name!r}: there is no method {pattern!r}")
    return Policy(document, hashlib.sha256(data).hexdigest())


def facts_of(
    operation: int, contract: str, method: Method, arguments: Sequence[Any], weight: tuple[str, int]
) -> Facts:
    """What a policy weighs of an operation, from its arguments' names, and one (asset, amount) of it."""
    named: Mapping[str, Any] = dict(zip(method.arguments, arguments, strict=True))
    source = named.get("source") or named.get("account") or ""
    legs = [leg.account for leg in named.get("legs", ())]
    destinations = [named["destination"]] if "destination" in named else []
    return Facts(contract, method.name, *weight, source, (*destinations, *legs), operation)


def person_key(name: str) -> str:
    """What of a name tells people apart: not its case, not how its letters are composed, not its spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def matching(can: Sequence[Sequence[bool]]) -> dict[int, int]:
    """Place -> person of a greatest assignment in which nobody has two places (augmenting paths).

    can: for each place, for each person, whether the person may fill it.
    """
    holder: dict[int, int] = {}

    def seat(place: int, tried: dict[int, None]) -> bool:
        for person, may in enumerate(can[place]):
            if not may or person in tried:
                continue
            tried[person] = None
            if person not in holder or seat(holder[person], tried):
                holder[person] = place
                return True
        return False

    for place in range(len(can)):
        seat(place, {})
    return {place: person for person, place in holder.items()}


def _names_method(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def _fits(rule: Rule, facts: Facts) -> bool:
    """Whether an operation is of a rule's kind, whatever its amount."""
    return (
        any(_names_method(pattern, facts.name) for pattern in rule.methods)
        and rule.asset in ("", facts.asset)
        and (not rule.sources or facts.source.startswith(rule.sources))
        and (
            not rule.destinations
            or all(account.startswith(rule.destinations) for account in facts.destinations or ("",))
        )
    )


def _is_bounded(rule: Rule) -> bool:
    return bool(rule.amount_from or rule.amount_below)


def _in_bounds(rule: Rule, total: int) -> bool:
    return rule.amount_from <= total and (not rule.amount_below or total < rule.amount_below)


def _minutes(hours: str, place: str = "") -> tuple[int, int]:
    """Minutes of the day from ``HH:MM-HH:MM``. Raises PolicyRefused."""
    if not _HOURS.fullmatch(hours):
        raise PolicyRefused(f"{place}: hours are HH:MM-HH:MM, for example 08:00-18:00")
    begins, ends = (int(part[:2]) * 60 + int(part[3:]) for part in hours.split("-"))
    return begins, ends


def _check_names(rules: Sequence[Rule]) -> None:
    """Raises PolicyRefused."""
    names = [rule.name for rule in rules]
    if twice := [name for name in names if names.count(name) > 1]:
        raise PolicyRefused(f"two rules are called {twice[0]!r}")


def _check_groups(document: Document) -> None:
    """Raises PolicyRefused."""
    for group, names in document.groups.items():
        if any(name.startswith(("@", "role:")) for name in names):
            raise PolicyRefused(f"group {group!r}: a group names people, neither groups nor roles")
        if len({person_key(name) for name in names}) < len(names):
            raise PolicyRefused(f"group {group!r}: one person stands in it twice")
