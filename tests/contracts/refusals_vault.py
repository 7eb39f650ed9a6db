"""The refusals of ``vault`` (cases.py says how to read a table)."""

import hashlib
from typing import Any, Final

from contracts.members import Members
from contracts.vault import HOLDS_MAX, READERS_MAX, RETENTION_MAX_MS, ReaderKey, Vault
from node.ledger.errors import LedgerError
from node.ledger.types import Operation
from tests.contracts.cases import DAY_MS, Case, Flaw, Situation
from tests.contracts.refusals_encryption import FIRST, SECOND, encryption_key, registered
from tests.kit import ADMINISTRATOR, START_MS, Consortium, admission, op

TERMS_SHEET: Final = b"\x21" * 32
"""The id of a document of PA's."""
OTHER: Final = b"\x22" * 32
SEALED: Final = b"\x23" * 32
WRAPPED: Final = b"\x24" * 112
UNTIL_MS: Final = START_MS + DAY_MS
KB_KEY: Final = ReaderKey("KB", encryption_key(FIRST), WRAPPED)
PA_KEY: Final = ReaderKey("PA", encryption_key(SECOND), WRAPPED)
THIRD: Final = hashlib.sha256(b"third").digest()[:31] + b"\x11"


def key_of(member: str) -> bytes:
    """A member's encryption key, for a crowd."""
    return hashlib.sha256(member.encode()).digest()[:31] + b"\1"


def bytes_of(document: bytes) -> bytes:
    """The hash of a document's sealed bytes."""
    return hashlib.sha256(document).digest()


def store(
    document: bytes = TERMS_SHEET, until_ms: int = 0, readers: tuple[ReaderKey, ...] = (KB_KEY,)
) -> Operation:
    """The operation that puts a document on the ledger, each with bytes of its own."""
    return op("vault", "store", document, bytes_of(document), 1_000, "application/pdf", until_ms, readers)


def in_turn(*situations: Situation) -> Situation:
    """One after the other."""

    def bring_about(world: Consortium) -> None:
        for situation in situations:
            situation(world)

    return bring_about


def keyed(world: Consortium) -> None:
    """KB and PA have encryption keys, LAW is a regulator."""
    world.apply("KB", registered(FIRST))
    world.apply("PA", registered(SECOND))
    world.admit("LAW", "regulator")


def stored(world: Consortium) -> None:
    """PA keeps a document that KB reads."""
    keyed(world)
    world.apply("PA", store())


def _retained(world: Consortium) -> None:
    world.apply("PA", op("vault", "extend", TERMS_SHEET, UNTIL_MS))


def _stored_for_a_day(world: Consortium) -> None:
    keyed(world)
    world.apply("PA", store(until_ms=UNTIL_MS))


def _held(world: Consortium) -> None:
    world.apply("LAW", op("vault", "impose_hold", TERMS_SHEET, "C-1"))


def _stored_and_held(world: Consortium) -> None:
    stored(world)
    _held(world)


def _lifted(world: Consortium) -> None:
    world.apply("LAW", op("vault", "lift_hold", TERMS_SHEET, "C-1"))


def _many_holds(world: Consortium) -> None:
    holds = [op("vault", "impose_hold", TERMS_SHEET, f"D-{number}") for number in range(HOLDS_MAX)]
    world.apply("LAW", *holds)


def closed(world: Consortium) -> None:
    """PA has begun to delete its document."""
    world.apply("PA", op("vault", "delete", TERMS_SHEET))


def _stored_and_closed(world: Consortium) -> None:
    stored(world)
    closed(world)


def _destroyed(world: Consortium) -> None:
    world.apply("PA", op("vault", "confirm_destroyed", TERMS_SHEET))


def _revoked(world: Consortium) -> None:
    world.apply("PA", op("vault", "revoke", TERMS_SHEET, "KB"))


def _key_replaced(world: Consortium) -> None:
    world.apply("KB", op("encryption", "replace", encryption_key(FIRST), "x25519", THIRD))


def _key_revoked(world: Consortium) -> None:
    world.apply("KB", op("encryption", "revoke", encryption_key(FIRST)))


def _crowd(world: Consortium) -> None:
    """As many readers as there may be, KB not among them."""
    keyed(world)
    names = [f"R{number}" for number in range(READERS_MAX)]
    for start in range(0, READERS_MAX, 64):
        some = names[start : start + 64]
        world.apply(ADMINISTRATOR, *[admission(name, ("participant",), (name,)) for name in some])
    world.block(*[world.make(name, registered(key_of(name)), officers=(name,)) for name in names])
    world.apply("PA", store(readers=()))
    for start in range(0, READERS_MAX, 64):
        keys = [ReaderKey(name, encryption_key(key_of(name)), WRAPPED) for name in names[start : start + 64]]
        world.apply("PA", *[op("vault", "grant", TERMS_SHEET, key) for key in keys])
    assert len(world.rows("vault", "access")) == READERS_MAX


def _one_more(world: Consortium) -> None:
    """R8 again, so that there is no room."""
    world.apply(
        "PA", op("vault", "grant", TERMS_SHEET, ReaderKey("R8", encryption_key(key_of("R8")), WRAPPED))
    )


_KEY_FLAWS: Final = (
    (Members.MEMBER_UNKNOWN, ReaderKey("NOBODY", encryption_key(FIRST), WRAPPED)),
    (Members.MEMBER_INACTIVE, ReaderKey("GONE", encryption_key(FIRST), WRAPPED)),
    (Vault.KEY_NOT_IN_USE, ReaderKey("CNB", encryption_key(FIRST), WRAPPED)),
    (Vault.KEY_NOT_IN_USE, ReaderKey("KB", encryption_key(SECOND), WRAPPED)),
)
_STORED: Final[dict[str, Any]] = {
    "document": TERMS_SHEET,
    "sealed": SEALED,
    "size_bytes": 1_000,
    "media_type": "application/pdf",
    "retain_until_ms": UNTIL_MS,
    "readers": (KB_KEY, PA_KEY),
}

VAULT: Final = (
    Case(
        "vault",
        "store",
        "PA",
        _STORED,
        (
            Flaw(LedgerError.BAD_ARGUMENTS, media_type="pdf"),
            Flaw(LedgerError.BAD_ARGUMENTS, size_bytes=0),
            Flaw(LedgerError.BAD_ARGUMENTS, readers=(ReaderKey("KB", encryption_key(FIRST), bytes(96)),)),
            Flaw(Vault.DOCUMENT_EXISTS, document=OTHER),
            Flaw(Vault.BYTES_TAKEN, sealed=bytes_of(SEALED)),
            Flaw(Vault.RETENTION_OUT_OF_RANGE, retain_until_ms=START_MS),
            Flaw(Vault.RETENTION_OUT_OF_RANGE, retain_until_ms=START_MS + RETENTION_MAX_MS + DAY_MS),
            *[Flaw(error, readers=(key,)) for error, key in _KEY_FLAWS],
            Flaw(Vault.KEY_NOT_IN_USE, given=_key_replaced),
            Flaw(Vault.KEY_NOT_IN_USE, given=_key_revoked),
            Flaw(Vault.READER_GRANTED, readers=(KB_KEY, PA_KEY, KB_KEY)),
        ),
        given=in_turn(
            keyed,
            lambda w: w.apply("KB", store(OTHER, readers=())),
            lambda w: w.apply("PA", store(SEALED, readers=())),
        ),
    ),
    Case(
        "vault",
        "grant",
        "PA",
        {"document": TERMS_SHEET, "key": PA_KEY},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.NOT_OWNER, by="KB"),
            Flaw(Vault.NOT_IN_THIS_STATE, given=closed),
            *[Flaw(error, key=key) for error, key in _KEY_FLAWS],
            Flaw(Vault.READER_GRANTED, key=KB_KEY),
        ),
        given=stored,
    ),
    Case(
        "vault",
        "grant",
        "PA",
        {"document": TERMS_SHEET, "key": ReaderKey("KB", encryption_key(THIRD), WRAPPED)},
        (Flaw(Vault.KEY_NOT_IN_USE, key=KB_KEY),),
        given=in_turn(stored, _key_replaced),
        label=" with a new key",
    ),
    Case(
        "vault",
        "grant",
        "PA",
        {"document": TERMS_SHEET, "key": KB_KEY},
        (
            Flaw(
                Vault.READER_GRANTED,
                key=ReaderKey("R7", encryption_key(key_of("R7")), WRAPPED),
            ),
            Flaw(Vault.TOO_MANY_READERS, given=_one_more),
        ),
        given=in_turn(_crowd, lambda w: w.apply("PA", op("vault", "revoke", TERMS_SHEET, "R8"))),
        label=" in a crowd",
    ),
    Case(
        "vault",
        "revoke",
        "PA",
        {"document": TERMS_SHEET, "reader": "KB"},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.NOT_OWNER, by="KB"),
            Flaw(Vault.NOT_IN_THIS_STATE, given=closed),
            Flaw(Vault.NOT_GRANTED, reader="CNB"),
            Flaw(Vault.NOT_GRANTED, given=_revoked),
        ),
        given=stored,
    ),
    Case(
        "vault",
        "extend",
        "PA",
        {"document": TERMS_SHEET, "retain_until_ms": UNTIL_MS + 1},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.NOT_OWNER, by="KB"),
            Flaw(Vault.RETENTION_OUT_OF_RANGE, retain_until_ms=START_MS),
            Flaw(Vault.RETENTION_OUT_OF_RANGE, retain_until_ms=START_MS + RETENTION_MAX_MS + DAY_MS),
            Flaw(Vault.RETENTION_NOT_LATER, retain_until_ms=UNTIL_MS),
            Flaw(Vault.RETENTION_NOT_LATER, retain_until_ms=UNTIL_MS - 1),
        ),
        given=_stored_for_a_day,
    ),
    Case(
        "vault",
        "extend",
        "PA",
        {"document": TERMS_SHEET, "retain_until_ms": UNTIL_MS},
        (Flaw(Vault.NOT_IN_THIS_STATE, given=closed),),
        given=stored,
        label=" of what could be deleted",
    ),
    Case(
        "vault",
        "delete",
        "PA",
        {"document": TERMS_SHEET},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.NOT_OWNER, by="KB"),
            Flaw(Vault.NOT_IN_THIS_STATE, given=closed),
            Flaw(Vault.RETAINED, given=in_turn(_retained, _held)),
            Flaw(Vault.RETAINED, given=_retained),
            Flaw(Vault.HELD, given=_held),
        ),
        given=stored,
    ),
    Case(
        "vault",
        "confirm_destroyed",
        "PA",
        {"document": TERMS_SHEET},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=SEALED),
            Flaw(Vault.NOT_OWNER, by="KB"),
            Flaw(Vault.NOT_IN_THIS_STATE, document=OTHER),
            Flaw(Vault.NOT_IN_THIS_STATE, given=_destroyed),
        ),
        given=in_turn(_stored_and_closed, lambda w: w.apply("PA", store(OTHER))),
    ),
    Case(
        "vault",
        "impose_hold",
        "LAW",
        {"document": TERMS_SHEET, "reference": "C-1"},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.NOT_AUTHORITY, by="KB"),
            Flaw(Vault.NOT_IN_THIS_STATE, given=closed),
            Flaw(Vault.HOLD_EXISTS, given=_held),
            Flaw(Vault.HOLD_EXISTS, given=in_turn(_held, _lifted)),
            Flaw(Vault.TOO_MANY_HOLDS, given=_many_holds),
        ),
        given=stored,
    ),
    Case(
        "vault",
        "impose_hold",
        "PA",
        {"document": TERMS_SHEET, "reference": "C-1"},
        (Flaw(Vault.NOT_AUTHORITY, by="KB"),),
        given=_stored_and_held,
        label=" by the owner",
    ),
    Case(
        "vault",
        "lift_hold",
        "LAW",
        {"document": TERMS_SHEET, "reference": "C-1"},
        (
            Flaw(Vault.DOCUMENT_UNKNOWN, document=OTHER),
            Flaw(Vault.HOLD_UNKNOWN, by="PA"),
            Flaw(Vault.HOLD_UNKNOWN, reference="C-2"),
            Flaw(Vault.HOLD_LIFTED, given=_lifted),
        ),
        given=_stored_and_held,
    ),
)
