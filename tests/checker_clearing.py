"""The checker's part of clearing: queues, limits and cycles, kept a second time from writes and events
(checker.py).

Q1 every instruction stands in one place, under its number, with the terms with which it came; what is paid,
offset or cancelled stays so. Q2 a queue's sums are those of its instructions. Q3 gross payments and offsets
passed nothing that waited before them; a cycle settled a lane from its front, and a less urgent lane only
behind all of the more urgent ones. Q4 what a cycle froze is as it was when the cycle ends. Q5 a cycle's
report, its totals and what passed are what its instructions, paid one by one, come to. Q6 a limit's use is
what was paid less what was received since it stands, and no payment exceeded it.

Where a block holds what cannot be put in order from its rows (a cycle sealed and settled in one, limits
replaced twice), that part is taken as it is found, and not counted.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NoReturn

from contracts.calendars import CalendarSet, day_of
from contracts.cycles import CycleSettled, NetPassed
from contracts.instructions import InstructionChanged, LimitsSet, OffsetSettled, Paid
from node.ledger.contract import Fact

LANES: Final = 3
PAGE: Final = 64
LIVE, PAID, OFFSET, CANCELLED, MOVED = range(5)
NUMBER, CREDITOR, AMOUNT, _DAY, UNTIL, _REFERENCE, MARK = range(7)
"""Fields of an entry's row."""
EVERYBODY: Final = 256

Seat = tuple[str, str]
"""(member, asset) of a participant."""
Spot = tuple[int, int]
"""(lane, place); lane LANES: aside."""
Spots = dict[int, tuple[Spot, Any]]
"""number -> where an instruction stands, and its entry."""


class Standing:
    """One participant's rows."""

    def __init__(self) -> None:
        self.queue: Any = None
        self.lanes: list[list[Any]] = [[] for _ in range(LANES)]
        self.parked: dict[int, Any] = {}
        self.where: dict[int, list[int]] = {}
        self.caps: Any = None
        self.spots: Spots = {}
        """number -> where it stands and its entry, as of the last block."""
        self.used: dict[int, int] = {}
        """seat -> paid less received under a limit, as reckoned here."""
        self.day = 0

    def found(self) -> Iterator[tuple[Spot, Any]]:
        """Every instruction, wherever it stands."""
        for lane, entries in enumerate(self.lanes):
            yield from (((lane, at), entry) for at, entry in enumerate(entries) if entry[MARK] != MOVED)
        yield from (((LANES, 0), row[2]) for row in self.parked.values())

    def waits(self, time_ms: int) -> Iterator[tuple[Spot, Any]]:
        """What may still settle, in the order in which it does."""
        for lane, (head, _, _) in enumerate(self.queue[3]):
            entries = self.lanes[lane]
            for at in range(head, len(entries)):
                if entries[at][MARK] == LIVE and time_ms < entries[at][UNTIL]:
                    yield (lane, at), entries[at]


class Queues:
    """Rows of queues and cycles as the writes show them. cycles: how many were reckoned again."""

    def __init__(self, fail: Callable[[str, int, str], NoReturn]) -> None:
        self.fail = fail
        self.at: dict[Seat, Standing] = {}
        self.touched: dict[Seat, None] = {}
        self.rows: dict[tuple[bytes, bytes], Any] = {}
        self.passed: dict[tuple[str, int], dict[tuple[str, int], int]] = {}
        self.frozen: dict[tuple[str, int], dict[str, tuple[list[int], list[list[Any]]]]] = {}
        self.calendars: dict[str, list[tuple[int, Any]]] = {}
        self.caps_before: dict[Seat, Any] = {}
        self.cycles = 0
        self.tables: dict[bytes, Callable[[int, bytes, bytes, Any], None]] = {
            b"participants\0queue\0": self._queue,
            b"participants\0page\0": self._page,
            b"participants\0parked\0": self._parked,
            b"participants\0where\0": self._where,
            b"participants\0caps\0": self._caps,
            b"participants\0passed\0": self._passed,
        } | {
            f"{contract}\0{name}\0".encode(): self._row
            for contract, names in (
                ("participants", ("scheme", "roster", "tails")),
                ("clearing", ("cycle", "totals", "lines")),
            )
            for name in names
        }

    @property
    def instructions(self) -> int:
        """How many there are in all queues."""
        return sum(len(standing.spots) for standing in self.at.values())

    # --- rows: (height, the key behind contract and table, prefix, the record's fields or None) -------------

    def _of(self, key: bytes) -> tuple[Standing, bytes]:
        member, asset, rest = key.split(b"\0", 2)
        seat = member.decode(), asset.decode()
        self.touched[seat] = None
        return self.at.setdefault(seat, Standing()), rest

    def _queue(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        found = self._of(key)[0]
        before = found.queue
        if row is None or (before and (row[0] != before[0] or row[2] < before[2])):
            self.fail("Q1", height, f"queue {key!r} changed from {before} to {row}")
        if before and any(a[0] > b[0] or a[1] > b[1] for a, b in zip(before[3], row[3], strict=True)):
            self.fail("Q1", height, f"a lane of queue {key!r} went back: {before} became {row}")
        found.queue = row

    def _page(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        found, rest = self._of(key)
        lane, page = int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:], "big")
        entries, first = found.lanes[lane], page * PAGE
        if row is None or first > len(entries) or len(row[0]) < len(entries[first : first + PAGE]):
            self.fail("Q1", height, f"page {page} of lane {lane} of {key!r} lost places")
        entries[first : first + PAGE] = row[0]

    def _parked(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        found, rest = self._of(key)
        number = int.from_bytes(rest, "big")
        if row is None:
            found.parked.pop(number, None)
        else:
            found.parked[number] = row

    def _where(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        found, rest = self._of(key)
        found.where[int.from_bytes(rest, "big")] = row[0]

    def _caps(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        member, asset, _ = key.decode().split("\0")
        found = self._of(key)[0]
        self.caps_before.setdefault((member, asset), found.caps)
        found.caps = row

    def _passed(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        member, asset, rest = key.split(b"\0", 2)
        lane, place = int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:], "big")
        self.passed.setdefault((asset.decode(), row[0]), {})[member.decode(), lane] = place

    def _row(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        self.rows[prefix, key] = row

    def _get(self, table: str, asset: str, number: int | None = None) -> Any:
        key = asset.encode() + b"\0" + (b"" if number is None else number.to_bytes(8, "big"))
        return self.rows.get((table.replace(".", "\0").encode() + b"\0", key))

    def seats(self, asset: str) -> list[str]:
        roster = self._get("participants.roster", asset)
        return [seated[0] for seated in roster[0]] if roster else []

    # --- a block --------------------------------------------------------------------------------------------

    def check(self, height: int, time_ms: int, facts: Iterable[Fact]) -> None:
        """What a block did to queues is in order."""
        told = list(facts)
        spots = {seat: self._standing(height, seat) for seat in self.touched}
        for seat, before in spots.items():
            self._check_paid(height, time_ms, seat, before, told)
        _Limits(self, height, time_ms).check(told)
        for fact in told:
            if isinstance(fact, CycleSettled):
                self._check_cycle(height, fact, told)
        self._freeze(height)
        self.touched.clear()
        self.caps_before.clear()

    def _standing(self, height: int, seat: Seat) -> Spots:
        """Q1, Q2 of one participant. Where its instructions were before."""
        found = self.at[seat]
        before = found.spots
        now: Spots = {}
        for spot, entry in found.found():
            if entry[NUMBER] in now:
                self.fail("Q1", height, f"instruction {entry[NUMBER]} of {seat} stands twice")
            now[entry[NUMBER]] = spot, entry
        if found.queue is None or sorted(now) != list(range(1, found.queue[2] + 1)):
            self.fail("Q1", height, f"{seat} gave {found.queue}, and has the instructions {sorted(now)}")
        for number, ((lane, place), entry) in now.items():
            code = found.where[number // PAGE][number % PAGE]
            if code != (0 if lane == LANES else 1 + place * LANES + lane):
                self.fail("Q1", height, f"instruction {number} of {seat} is not where {code} says")
            was = before[number][1] if number in before else [*entry[:MARK], LIVE]
            if was[:MARK] != entry[:MARK] or (was[MARK] not in (LIVE, entry[MARK])):
                self.fail("Q1", height, f"instruction {number} of {seat} was {was} and is {entry}")
        sums = []
        for lane, (head, tail, live) in enumerate(found.queue[3]):
            waiting = [entry[AMOUNT] for entry in found.lanes[lane][head:] if entry[MARK] == LIVE]
            sums += waiting
            if tail != len(found.lanes[lane]) or head > tail or live != len(waiting):
                self.fail(
                    "Q2", height, f"lane {lane} of {seat} is {head, tail, live}, {len(waiting)} wait in it"
                )
        aside = sum(row[2][AMOUNT] for row in found.parked.values() if row[2][MARK] == LIVE)
        if (found.queue[4], found.queue[5]) != (sum(sums), aside):
            self.fail("Q2", height, f"{seat} says {found.queue[4:]} wait, there are {sum(sums), aside}")
        found.spots = now
        return before

    def _check_paid(self, height: int, time_ms: int, seat: Seat, before: Spots, told: list[Fact]) -> None:
        """Q3 of gross payments and offsets: each was told, and passed nothing that waited before it."""
        found, account = self.at[seat], self.at[seat].queue[1]
        done: dict[int, Spots] = {PAID: {}, OFFSET: {}}
        for number, (spot, entry) in found.spots.items():
            was = before[number][1][MARK] if number in before else LIVE
            if entry[MARK] in done and was == LIVE:
                done[entry[MARK]][number] = spot, entry
        self._check_told(height, seat, done, told)
        moved = any(
            isinstance(fact, InstructionChanged) and fact.account == account and fact.change == "moved"
            for fact in told
        )
        if moved:  # a place does not tell when it was taken
            return
        paid = [(spot, number) for each in done.values() for number, (spot, _) in each.items()]
        for spot, entry in found.waits(time_ms) if paid else ():
            number = entry[NUMBER]
            for late, other in paid:
                came_first = before.get(number) == (spot, entry) or (
                    number not in before and other not in before and number < other
                )
                if spot < late and (spot[0] == late[0] or came_first):
                    self.fail("Q3", height, f"{seat} paid {other} at {late} before {number} at {spot}")

    def _check_told(self, height: int, seat: Seat, done: dict[int, Spots], told: list[Fact]) -> None:
        """What is marked paid or offset was told, and nothing else was."""
        member, asset = seat
        seats = self.seats(asset)
        said: dict[int, tuple[int, str]] = {}
        count = gross = 0
        for fact in told:
            if isinstance(fact, Paid) and (owner(fact.source), fact.asset) == seat:
                said[fact.number] = fact.amount, owner(fact.destination)
            elif isinstance(fact, OffsetSettled) and fact.asset == asset:
                for account, many, worth in (
                    (fact.source, fact.count, fact.gross),
                    (fact.destination, fact.count_back, fact.gross_back),
                ):
                    if owner(account) == member:
                        count, gross = count + many, gross + worth
        paid = {number: (entry[AMOUNT], seats[entry[CREDITOR]]) for number, (_, entry) in done[PAID].items()}
        offset = [entry[AMOUNT] for _, entry in done[OFFSET].values()]
        if said != paid:
            self.fail("Q3", height, f"{seat} has paid {paid}, it is told {said}")
        if (count, gross) != (len(offset), sum(offset)):
            self.fail("Q3", height, f"{seat} has offset {offset}, it is told {count, gross}")

    # --- cycles ---------------------------------------------------------------------------------------------

    def _freeze(self, height: int) -> None:
        """Q4: remember what a cycle that is sealed holds, and that it holds it still."""
        for (prefix, key), scheme in list(self.rows.items()):
            if prefix != b"participants\0scheme\0":
                continue
            asset = key[:-1].decode()
            number, sealed = scheme[1], scheme[2]
            tails = self._get("participants.tails", asset)
            if bool(sealed) != (tails is not None):
                self.fail("Q4", height, f"{asset} has {scheme}, and tails {tails}")
            if sealed and (asset, number) not in self.frozen:
                self._remember(height, asset, number, tails[0])
            elif sealed:
                self._check_frozen(height, asset, number)

    def _remember(self, height: int, asset: str, number: int, tails: list[list[int]]) -> None:
        held: dict[str, tuple[list[int], list[list[Any]]]] = {}
        for member, ends in zip(self.seats(asset), tails, strict=False):
            standing = self.at[member, asset]
            heads = [lane[0] for lane in standing.queue[3]]
            spans = zip(standing.lanes, heads, ends, strict=True)
            held[member] = heads, [lane[head:tail] for lane, head, tail in spans]
        live = [e[AMOUNT] for _, lanes in held.values() for lane in lanes for e in lane if e[MARK] == LIVE]
        cycle = self._get("clearing.cycle", asset, number)
        if (cycle[2], cycle[3]) != (len(live), sum(live)):
            self.fail("Q4", height, f"cycle {number} of {asset} says {cycle}, it froze {len(live)}")
        self.frozen[asset, number] = held

    def _check_frozen(self, height: int, asset: str, number: int) -> None:
        for member, (heads, lanes) in self.frozen[asset, number].items():
            if (member, asset) not in self.touched:
                continue
            standing = self.at[member, asset]
            for lane, entries in enumerate(lanes):
                span = standing.lanes[lane][heads[lane] : heads[lane] + len(entries)]
                if span != entries or standing.queue[3][lane][0] != heads[lane]:
                    self.fail("Q4", height, f"what cycle {number} froze of {member} was changed: {span}")

    def _check_cycle(self, height: int, fact: CycleSettled, told: list[Fact]) -> None:
        """Q3, Q4, Q5 of a cycle that was settled."""
        asset, number = fact.asset, fact.cycle
        held = self.frozen.get((asset, number))
        if held is None:
            return
        self.cycles += 1
        pays = self.pays_of(height, asset, number)
        given = {member: sum(row.values()) for member, row in pays.items()}
        gets = {member: sum(row.get(member, 0) for row in pays.values()) for member in pays}
        totals, lines = (
            self._get("clearing.totals", asset, number),
            self._get("clearing.lines", asset, number),
        )
        net = dict.fromkeys(pays, 0)
        for passed in told:
            if isinstance(passed, NetPassed) and (passed.asset, passed.cycle) == (asset, number):
                through = self._get("participants.scheme", asset)[0]
                for account, sign in ((passed.source, -1), (passed.destination, 1)):
                    if account != through:
                        net[owner(account)] += sign * passed.amount
        if net != {member: gets[member] - given[member] for member in pays}:
            self.fail("Q5", height, f"cycle {number} of {asset} passed {net}: one by one {given} and {gets}")
        for line in lines[0]:
            member = line[0]
            if (line[3], line[4], line[2]) != (given[member], gets[member], line[1] - line[3] + line[4]):
                self.fail("Q5", height, f"cycle {number} of {asset} reports {line}, of {given} and {gets}")
        debits = sum(max(0, given[member] - gets[member]) for member in pays)
        if totals[2:5] != [sum(line[5] for line in lines[0]), sum(given.values()), debits]:
            self.fail("Q5", height, f"cycle {number} of {asset} comes to {totals}, of {given} and {gets}")

    def pays_of(self, height: int, asset: str, number: int) -> dict[str, dict[str, int]]:
        """Who paid whom in a settled cycle, read from what it froze and how far it passed."""
        seats, cycle = self.seats(asset), self._get("clearing.cycle", asset, number)
        outs = {seats[seat]: reason for seat, reason in cycle[6]}
        passed, lines = self.passed.get((asset, number), {}), self._get("clearing.lines", asset, number)[0]
        pays: dict[str, dict[str, int]] = {}
        for at, (member, (heads, lanes)) in enumerate(self.frozen[asset, number].items()):
            row, count, whole = pays.setdefault(member, {}), 0, True
            for lane, entries in enumerate(lanes):
                step = passed.get((member, lane), heads[lane]) - heads[lane]
                if not 0 <= step <= len(entries) or (step and (not whole or member in outs)):
                    self.fail("Q3", height, f"cycle {number} passed {step} of lane {lane} of {member}")
                whole = whole and step == len(entries)
                if self.at[member, asset].lanes[lane][heads[lane] : heads[lane] + step] != entries[:step]:
                    self.fail("Q4", height, f"what cycle {number} settled of {member} was changed")
                for entry in entries[:step]:
                    creditor = seats[entry[CREDITOR]]
                    barred = outs.get(creditor) == "barred"
                    if entry[MARK] == LIVE and cycle[1] < entry[UNTIL] and not barred:
                        row[creditor] = row.get(creditor, 0) + entry[AMOUNT]
                        count += 1
            if lines[at][5] != count:
                self.fail("Q5", height, f"cycle {number} settled {count} of {member}: {lines[at]}")
        return pays


class _Limits:
    """Q6 in one block."""

    def __init__(self, queues: Queues, height: int, time_ms: int) -> None:
        self.queues, self.height, self.time_ms = queues, height, time_ms
        self.unsure: set[Seat] = set()

    def check(self, told: list[Fact]) -> None:
        """Follow the block's payments through all limits, in their order, and compare."""
        sets: dict[Seat, int] = {}
        for fact in told:
            if isinstance(fact, LimitsSet):
                seat = owner(fact.account), fact.asset
                sets[seat] = sets.get(seat, 0) + 1
        self.unsure |= {seat for seat, count in sets.items() if count > 1}
        standing = {seat: self.queues.caps_before.get(seat) for seat in sets}
        for fact in told:
            self._follow(fact, standing)
        for seat in self.queues.touched:
            self._compare(seat)

    def _follow(self, fact: Fact, standing: dict[Seat, Any]) -> None:
        queues = self.queues
        if isinstance(fact, CalendarSet):
            queues.calendars.setdefault(fact.asset, []).append((fact.from_ms, fact.calendar))
        elif isinstance(fact, LimitsSet):
            seat = owner(fact.account), fact.asset
            standing.pop(seat, None)
            found = queues.at[seat]
            self._roll(seat)
            found.used = {cap[0]: found.used.get(cap[0], 0) for cap in found.caps[1]}
        elif isinstance(fact, Paid):
            self._flow(fact.asset, {owner(fact.source): {owner(fact.destination): fact.amount}}, standing)
        elif isinstance(fact, OffsetSettled):
            one, other = owner(fact.source), owner(fact.destination)
            self._flow(fact.asset, {one: {other: fact.gross}, other: {one: fact.gross_back}}, standing)
        elif isinstance(fact, CycleSettled):
            if (fact.asset, fact.cycle) in queues.frozen:
                self._flow(fact.asset, queues.pays_of(self.height, fact.asset, fact.cycle), standing)
            else:
                self.unsure |= {seat for seat in queues.at if seat[1] == fact.asset}

    def _flow(self, asset: str, pays: dict[str, dict[str, int]], standing: dict[Seat, Any]) -> None:
        """Count what passed against both sides' limits."""
        seats = self.queues.seats(asset)
        members = {member for row in pays.values() for member in row} | set(pays)
        for member in sorted(members):
            seat = member, asset
            caps = standing.get(seat, self.queues.at[seat].caps)
            if not caps or not caps[1]:
                continue
            self._roll(seat)
            for other, most, _, _ in caps[1]:
                more = sum(
                    pays.get(member, {}).get(name, 0) - pays.get(name, {}).get(member, 0)
                    for name in ([seats[other]] if other != EVERYBODY else seats)
                )
                used = self.queues.at[seat].used
                used[other] = used.get(other, 0) + more
                if more > 0 and used[other] > most and seat not in self.unsure:
                    self.queues.fail("Q6", self.height, f"{seat} used {used[other]} of its limit {most}")

    def _roll(self, seat: Seat) -> None:
        """Another day: nothing of the limits is used."""
        known = [calendar for from_ms, calendar in self.queues.calendars[seat[1]] if from_ms <= self.time_ms]
        day, found = day_of(known[-1], self.time_ms), self.queues.at[seat]
        if found.day != day:
            found.day, found.used = day, dict.fromkeys(found.used, 0)

    def _compare(self, seat: Seat) -> None:
        found = self.queues.at[seat]
        if found.caps is None:
            return
        rows = {other: paid - received for other, _, paid, received in found.caps[1]}
        if seat in self.unsure:
            found.day, found.used = found.caps[0], rows
        elif rows and (found.caps[0], rows) != (found.day, found.used):
            self.queues.fail(
                "Q6", self.height, f"limits of {seat} are used {rows}, payments come to {found.used}"
            )


def owner(account: str) -> str:
    """The member that an account belongs to."""
    return account.partition("/")[0]
