"""The day's part of the vault: a document from its storing to its deletion receipt (scenario.py)."""

from typing import TYPE_CHECKING, Final

from contracts.vault import ReaderKey
from tests.contracts.refusals_encryption import encryption_key, registered
from tests.contracts.refusals_vault import SEALED, TERMS_SHEET, WRAPPED, bytes_of, key_of, store
from tests.kit import fields_of, op

if TYPE_CHECKING:
    from tests.sim.scenario import Day

OK: Final = ("", 0)
MINUTE_MS: Final = 60_000


def keep(day: "Day") -> None:
    """CNB keeps a document, KB reads it, the court holds it, and in the end it is destroyed."""
    w = day.world
    w.admit("COURT", "regulator")
    w.admit("READER")
    w.apply("READER", registered(key_of("READER")))
    key = ReaderKey("READER", encryption_key(key_of("READER")), WRAPPED)
    stale = ReaderKey("READER", encryption_key(key_of("OTHER")), WRAPPED)
    until_ms = w.time_ms + 10 * MINUTE_MS
    later = until_ms + MINUTE_MS
    extend = [op("vault", "extend", TERMS_SHEET, until_ms + more) for more in (-1, 1)]
    grant, revoke = op("vault", "grant", TERMS_SHEET, key), op("vault", "revoke", TERMS_SHEET, "READER")
    day.expect(
        "a document is kept",
        [
            w.make("CNB", store(until_ms=until_ms, readers=(stale,))),
            w.make("CNB", store(until_ms=until_ms, readers=(key,))),
            w.make("PA", store(readers=())),
            w.make("CNB", op("vault", "store", SEALED, bytes_of(TERMS_SHEET), 1, "text/plain", 0, ())),
            w.make("PA", grant),
            w.make("PA", revoke),
            w.make("CNB", revoke),
            w.make("CNB", grant),
            w.make("CNB", extend[0]),
            w.make("CNB", extend[1]),
        ],
        [
            ("vault", 11), OK, ("vault", 1), ("vault", 18), ("vault", 3), ("vault", 3),
            OK, OK, ("vault", 6), OK,
        ],
    )  # fmt: skip
    day.same("a reader's list", list(w.rows("vault", "readable")), [("READER", TERMS_SHEET)])
    hold, lift = (op("vault", name, TERMS_SHEET, "C-1") for name in ("impose_hold", "lift_hold"))
    delete, confirm = (op("vault", name, TERMS_SHEET) for name in ("delete", "confirm_destroyed"))
    day.expect(
        "held and retained",
        [w.make("PA", hold), w.make("COURT", hold), w.make("CNB", delete), w.make("CNB", lift)],
        [("vault", 13), OK, ("vault", 7), ("vault", 15)],
    )
    day.expect(
        "its time is over, and it is held",
        [
            w.make("CNB", delete, created_ms=later),
            w.make("CNB", confirm, created_ms=later),
            w.make("COURT", lift, created_ms=later),
        ],
        [("vault", 8), ("vault", 4), OK],
        time_ms=later,
    )
    receipts = day.expect(
        "deleted",
        [w.make("PA", delete), w.make("CNB", delete), w.make("CNB", delete), w.make("CNB", confirm)],
        [("vault", 3), OK, ("vault", 4), OK],
    )
    day.same("the deletion receipt", fields_of(receipts[-1].events[0])[:2], [TERMS_SHEET, "CNB"])
    tables = ("access", "readable", "owned", "lying")
    day.same("nothing is left to read", [len(w.rows("vault", name)) for name in tables], [0, 0, 0, 0])
    day.expect("an id does not come back", [w.make("CNB", store(readers=()))], [("vault", 1)])
    ended = [(row.status, row.retain_until_ms) for row in w.rows("vault", "document").values()]
    day.same("its record stays", ended, [("destroyed", until_ms + 1)])
