"""The refusals of terms that are documents in a vault: ``registration.keep_terms``, and the deletion of such
a document (cases.py says how to read a table).
"""

from typing import Final

from contracts.assets import Assets
from contracts.registration import DOCUMENTS_MAX, Registration
from contracts.vault import Vault
from node.ledger.types import Operation
from tests.contracts.cases import Case, Flaw
from tests.contracts.market import NOTHING, apply_for, open_market
from tests.contracts.refusals_trading import does
from tests.contracts.refusals_vault import store
from tests.kit import Consortium, op

SHEET: Final = b"\x31" * 32
"""The id of a document in CNB's vault: the terms for which it applies."""
FREE: Final = b"\x32" * 32
"""Another one of CNB's, and no terms."""
ELSEWHERE: Final = b"\x33" * 32
"""In PA's vault."""
NOWHERE: Final = b"\x34" * 32
TOO_MANY: Final = bytes([DOCUMENTS_MAX]) + b"\x35" * 31


def note(asset: str, document: bytes) -> Operation:
    """CNB applies for an asset that pays nothing, under terms of this hash."""
    return apply_for(asset, terms_hash=document, isin="", lei="", terms=NOTHING)


def keep(asset: str, document: bytes) -> Operation:
    return op("registration", "keep_terms", asset, document)


def approve(world: Consortium, asset: str, document: bytes) -> None:
    """A registrar approves what CNB has applied for."""
    world.apply("REG", op("registration", "take_up", asset))
    world.apply("REG", op("registration", "approve", asset, document, ""))


def applied_for(world: Consortium) -> None:
    """CNB keeps two documents and has applied for a note under one of them."""
    open_market(world)
    world.apply("CNB", store(SHEET, readers=()), store(FREE, readers=()))
    world.apply("PA", store(ELSEWHERE, readers=()))
    world.apply("CNB", note("NOTE", SHEET), note("BILL", NOWHERE), note("PAPER", ELSEWHERE))


def _as_it_is(world: Consortium) -> None:
    """So that these flaws, which are of other assets, are combined with none of this one."""


def _kept(world: Consortium) -> None:
    applied_for(world)
    world.apply("CNB", keep("NOTE", SHEET))


def _retired(world: Consortium) -> None:
    approve(world, "NOTE", SHEET)
    world.apply("CNB", op("registration", "retire", "NOTE"))


def _many(world: Consortium) -> None:
    """As many supplements under documents as there may be, and one more."""
    approve(world, "NOTE", SHEET)
    for number in range(DOCUMENTS_MAX + 1):
        document = bytes([number]) + TOO_MANY[1:]
        world.apply(
            "CNB",
            store(document, readers=()),
            op("registration", "supplement", "NOTE", 1, document),
            *[keep("NOTE", document)] * (number < DOCUMENTS_MAX),
        )
        if number < DOCUMENTS_MAX:
            approve(world, "NOTE", document)


TERMS_KEPT: Final = (
    Case(
        "registration",
        "keep_terms",
        "CNB",
        {"asset": "NOTE", "document": SHEET},
        (
            Flaw(Registration.APPLICATION_UNKNOWN, asset="NONE"),
            Flaw(Registration.NOT_APPLICANT, by="KB"),
            Flaw(
                Registration.NOT_IN_THIS_STATE,
                given=does("CNB", "registration", "withdraw", "NOTE", "no"),
            ),
            Flaw(Registration.TERMS_DIFFER, document=FREE),
            Flaw(Assets.ASSET_RETIRED, given=_retired),
            Flaw(Registration.TOO_MANY_DOCUMENTS, given=_many, document=TOO_MANY),
            Flaw(Vault.DOCUMENT_UNKNOWN, given=_as_it_is, asset="BILL", document=NOWHERE),
            Flaw(Vault.NOT_OWNER, given=_as_it_is, asset="PAPER", document=ELSEWHERE),
            Flaw(Vault.NOT_IN_THIS_STATE, given=does("CNB", "vault", "delete", SHEET)),
            Flaw(Vault.TERMS_IN_FORCE, given=does("CNB", "registration", "keep_terms", "NOTE", SHEET)),
        ),
        given=applied_for,
    ),
    Case(
        "vault",
        "delete",
        "CNB",
        {"document": FREE},
        (Flaw(Vault.TERMS_IN_FORCE, document=SHEET),),
        given=_kept,
        label=" of terms",
    ),
)
