"""The day's part of reconciliation: cases from opening to their end, and a day that two banks attest
(scenario.py).
"""

from typing import TYPE_CHECKING, Any, Final

from contracts.scenarios.main_account import Books
from tests.contracts.refusals_reconciliation import DOCUMENT, OTHER, SUBJECT, match, new_case, open_cases
from tests.kit import op, told

if TYPE_CHECKING:
    from tests.sim.scenario import Day

OK: Final = ("", 0)
MINUTE_MS: Final = 60_000
LATE: Final = b"\x24" * 32


def reconcile(day: "Day") -> None:
    """PA opens cases against KB; both attest PA's account."""
    _cases(day)
    _escalation(day)
    _attestations(day)


def _act(name: str, *arguments: Any) -> Any:
    return op("reconciliation", name, *arguments)


def _cases(day: "Day") -> None:
    w = day.world
    batch = open_cases(new_case(patience_ms=0), new_case(OTHER, patience_ms=0))
    receipts = day.expect("cases", [w.make("PA", batch), w.make("PA", batch)], [OK, OK])
    counts = [told(receipt)[-1][1] for receipt in receipts]
    day.same("opened once", counts, [["PA", 2, 0], ["PA", 0, 2]])
    items = [
        w.make("KB", match()),
        w.make("CNB", _act("dispute", "PA", SUBJECT, DOCUMENT)),
        w.make("KB", _act("dispute", "PA", SUBJECT, DOCUMENT)),
        w.make("CNB", _act("add_note", "PA", SUBJECT, DOCUMENT)),
        w.make("PA", _act("force_match", SUBJECT, "CZK", 249, DOCUMENT)),
        w.make("PA", _act("force_match", SUBJECT, "CZK", 250, DOCUMENT)),
        w.make("KB", _act("dispute", "PA", SUBJECT, DOCUMENT)),
        w.make("PA", match(OTHER)),
        w.make("PA", _act("mark_unmatched", OTHER, DOCUMENT)),
    ]
    codes = [("reconciliation", code) for code in (4, 5, 5, 7, 6, 6)]
    outcomes = [codes[0], codes[1], OK, codes[2], codes[3], OK, codes[4], OK, codes[5]]
    day.expect("who ends a case", items, outcomes)
    rows = [row.status for row in w.rows("reconciliation", "case").values()]
    day.same("how they ended", rows, ["forced", "matched"])
    day.expect("again", [w.make("PA", batch)], [OK])
    day.same("ended for good", [row.status for row in w.rows("reconciliation", "case").values()], rows)


def _escalation(day: "Day") -> None:
    w = day.world
    later = open_cases(new_case(LATE, patience_ms=MINUTE_MS))
    day.expect("a case with patience", [w.make("PA", later)], [OK])
    due_ms = w.time_ms + MINUTE_MS
    day.expect("not yet", [], [], time_ms=due_ms - 1)
    day.same("no level", w.record("reconciliation", "case", "PA", LATE).level, 0)
    day.expect("escalated", [], [], time_ms=due_ms)
    day.same("a level", w.record("reconciliation", "case", "PA", LATE).level, 1)
    day.expect("ended", [w.make("PA", match(LATE))], [OK])
    day.expect("no more", [], [], time_ms=due_ms + 2 * MINUTE_MS)
    day.same("still", w.record("reconciliation", "case", "PA", LATE).level, 1)


def _attestations(day: "Day") -> None:
    w = day.world
    ours, theirs = Books(3, b"\x41" * 32, "credit", 700), Books(3, b"\x41" * 32, "credit", 701)
    ends_ms = w.time_ms

    def vouch(member: str, books: Books, begins_ms: int) -> bytes:
        period = ("PA/main", "CZK", "KB", begins_ms, ends_ms)
        return w.make(member, op("main_account", "attest", *period, books))

    first, second = ends_ms - 2, ends_ms - 1
    items = [vouch("CNB", ours, first), vouch("PA", ours, first), vouch("KB", ours, first)]
    items += [vouch("KB", theirs, first), vouch("PA", ours, second), vouch("KB", theirs, second)]
    stranger, closed = ("main_account", 4), ("main_account", 6)
    receipts = day.expect("both attest", items, [stranger, OK, OK, closed, OK, OK])
    day.same("the case comes with it", [e.event for e in receipts[-1].events], ["CaseOpened", "Attested"])
    days = [(key[3], row.status) for key, row in w.rows("main_account", "day").items()]
    day.same("days", days, [(first, "agreed"), (second, "differs")])
    day.expect("corrected", [vouch("KB", ours, second)], [OK])
    statuses = [row.status for row in w.rows("main_account", "day").values()]
    day.same("closed", statuses, ["agreed", "agreed"])
    ended = [row.status for row in w.rows("reconciliation", "case").values() if row.kind == "attestation"]
    day.same("its case", ended, ["matched"])
