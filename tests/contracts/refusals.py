"""The refusals of ``blacklist``, and all tables together (cases.py says how to read a table)."""

from typing import Final

import contracts.approvals as approvals_module
import contracts.governance as governance_module
import contracts.reconciliation as reconciliation_module
import contracts.scenarios.blacklist as blacklist_module
import contracts.servicing as servicing_module
import contracts.settlement as settlement_module
import contracts.trading as trading_module
import contracts.transfers as transfers_module
from contracts.anchors import Anchors
from contracts.scenarios.blacklist import Blacklist
from node.ledger.errors import LedgerError
from tests.contracts.cases import (
    DAY_MS,
    LATER_MS,
    PARTY,
    Case,
    Flaw,
    _appealed,
    _crowd_lists,
    _listed,
    _listed_and_appealed,
    _listed_for_an_hour,
)
from tests.contracts.refusals_approvals import APPROVALS
from tests.contracts.refusals_clearing import CALENDARS, CLEARING, INSTRUCTIONS, PARTICIPANTS
from tests.contracts.refusals_cycles import CYCLES
from tests.contracts.refusals_encryption import ENCRYPTION
from tests.contracts.refusals_exchange import EXCHANGE
from tests.contracts.refusals_governance import GOVERNANCE
from tests.contracts.refusals_members import MEMBERS
from tests.contracts.refusals_money import ASSETS, TRANSFERS
from tests.contracts.refusals_offsets import OFFSETS
from tests.contracts.refusals_reconciliation import MAIN_ACCOUNT, RECONCILIATION
from tests.contracts.refusals_registration import REGISTRATION, SERVICING
from tests.contracts.refusals_terms import TERMS_KEPT
from tests.contracts.refusals_trading import SETTLEMENT, TRADING
from tests.contracts.refusals_validators import VALIDATORS
from tests.contracts.refusals_vault import VAULT
from tests.kit import NO_TERMS, START_MS, STEP_MS, op

# --- blacklist ----------------------------------------------------------------------------------------------

BLACKLIST: Final = (
    Case(
        "blacklist",
        "list_party",
        "KB",
        {"party": PARTY, "reason": "fraud", "evidence_hash": NO_TERMS, "expires_ms": START_MS + DAY_MS},
        (
            Flaw(Blacklist.EXPIRY_OUT_OF_RANGE, expires_ms=lambda world: world.time_ms + STEP_MS),
            Flaw(Blacklist.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Blacklist.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS + 3_661 * DAY_MS),
            Flaw(Blacklist.LISTED_ALREADY, given=_listed),
            Flaw(Blacklist.TOO_MANY_LISTINGS, given=_crowd_lists),
        ),
    ),
    Case(
        "blacklist",
        "list_party",
        "M1",
        {"party": b"\x08" * 32, "reason": "other", "evidence_hash": NO_TERMS, "expires_ms": LATER_MS},
        (
            Flaw(Blacklist.LISTED_ALREADY, party=PARTY),
            Flaw(Blacklist.TOO_MANY_LISTINGS, by="KB", party=PARTY),
        ),
        given=_crowd_lists,
        label=" in a crowd",
    ),
    Case(
        "blacklist",
        "retract",
        "KB",
        {"party": PARTY},
        (
            Flaw(Blacklist.NOT_LISTED, by="PA"),
            Flaw(Blacklist.NOT_LISTED, party=NO_TERMS),
            Flaw(Blacklist.NOT_LISTED, late=True),
        ),
        given=_listed_for_an_hour,
    ),
    Case(
        "blacklist",
        "appeal",
        "PA",
        {"party": PARTY, "lister": "KB", "statement_hash": NO_TERMS},
        (
            Flaw(Blacklist.NOT_LISTED, lister="PA"),
            Flaw(Blacklist.NOT_LISTED, late=True),
            Flaw(Blacklist.OWN_LISTING, by="KB"),
            Flaw(Blacklist.NOT_OPEN_TO_THIS, given=_appealed),
        ),
        given=_listed_for_an_hour,
    ),
    Case(
        "blacklist",
        "uphold",
        "KB",
        {"party": PARTY, "statement_hash": NO_TERMS},
        (
            Flaw(Blacklist.NOT_LISTED, by="PA"),
            Flaw(Blacklist.NOT_LISTED, late=True),
            Flaw(
                Blacklist.NOT_OPEN_TO_THIS,
                given=lambda w: w.apply("KB", op("blacklist", "uphold", PARTY, NO_TERMS)),
            ),
        ),
        given=_listed_and_appealed,
    ),
    Case("blacklist", "look_up", "PA", {"party": PARTY, "purpose": "lending"}),
)

# --- anchors ------------------------------------------------------------------------------------------------

ANCHORS: Final = (
    Case(
        "anchors",
        "anchor",
        "PA",
        {"purpose": "audit", "position": 7, "digest": NO_TERMS},
        (
            Flaw(LedgerError.BAD_ARGUMENTS, purpose="Not a purpose"),
            Flaw(LedgerError.BAD_ARGUMENTS, digest=bytes(31)),
            Flaw(Anchors.NOT_LATER, position=6),
            Flaw(Anchors.NOT_LATER, position=5),
        ),
        given=lambda world: world.apply("PA", op("anchors", "anchor", "audit", 6, NO_TERMS)),
    ),
)

ALL: Final = (
    *MEMBERS,
    *VALIDATORS,
    *GOVERNANCE,
    *ASSETS,
    *TRANSFERS,
    *BLACKLIST,
    *ENCRYPTION,
    *REGISTRATION,
    *TERMS_KEPT,
    *SERVICING,
    *SETTLEMENT,
    *TRADING,
    *ANCHORS,
    *APPROVALS,
    *VAULT,
    *CYCLES,
    *OFFSETS,
    *EXCHANGE,
    *RECONCILIATION,
    *MAIN_ACCOUNT,
    *CALENDARS,
    *PARTICIPANTS,
    *INSTRUCTIONS,
    *CLEARING,
)
SWEEPERS: Final = (
    transfers_module,
    blacklist_module,
    governance_module,
    servicing_module,
    settlement_module,
    trading_module,
    approvals_module,
    reconciliation_module,
)
