"""The part of the day in which members register encryption keys: every outcome known."""

from contracts.institutions import Rule
from node.ledger.proofs import SMALL_ORDER
from tests.contracts.refusals_encryption import FIRST, SECOND, encryption_key, registered
from tests.kit import op
from tests.sim.scenario_governance import OK, Day

CAREFUL = ("careful-1", "careful-2")


def encrypt(day: Day) -> None:
    """All of it."""
    w = day.world
    w.admit("CAREFUL", officers=CAREFUL)
    w.apply("CAREFUL", op("members", "set_policy", (Rule("transfers", "send", "CZK", 10**6, 2),)))
    first, second = encryption_key(FIRST), encryption_key(SECOND)
    day.expect(
        "encryption keys",
        [
            w.make("PA", registered(SMALL_ORDER[2].to_bytes(32, "little"))),
            w.make("PA", registered(FIRST)),
            w.make("PA", registered(SECOND)),
            w.make("KB", registered(FIRST)),
            w.make("CAREFUL", registered(SECOND), officers=CAREFUL[:1]),
            w.make("CAREFUL", registered(SECOND), officers=CAREFUL),
            w.make("KB", op("encryption", "revoke", first)),
            w.make("PA", op("encryption", "revoke", first)),
            w.make("PA", registered(FIRST)),
        ],
        [
            ("encryption", 3), OK, ("encryption", 1), ("encryption", 4), ("ledger", 14), OK,
            ("encryption", 2), OK, ("encryption", 4),
        ],
    )  # fmt: skip
    in_use = [parts for parts, _ in sorted(w.rows("encryption", "current").items())]
    day.same("encryption keys in use", in_use, [("CAREFUL",)])
    ended = {parts[1]: row.ended for parts, row in w.rows("encryption", "key").items()}
    day.same("encryption keys and their ends", ended, {first: "revoked", second: ""})
