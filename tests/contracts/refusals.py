"""Every refusal of every method, in the public order of precedence, as tables.

A case is a call that is applied in a ``Consortium``. Each flaw changes it in one respect (an argument, the signing member, or the
world before it) and has one refusal. Flaws stand in the order of precedence: where two of them that do not exclude one
another are combined, the earlier one's refusal wins. test_refusals.py runs all singles and all pairs.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import contracts.scenarios.blacklist as blacklist_module
import contracts.transfers as transfers_module
from contracts.assets import Assets
from contracts.members import KEYS_MAX, Members, Rule
from contracts.scenarios.blacklist import LISTINGS_MAX, Blacklist
from contracts.transfers import Leg, Transfers
from node.ledger.errors import ErrorCode
from tests.kit import ADMINISTRATOR, NO_TERMS, START_MS, Consortium, admission, new_key, officer, op

Situation = Callable[[Consortium], object]
PARTY: Final = b"\x07" * 32
DAY_MS: Final = 86_400_000
LATER_MS: Final = START_MS + 2 * Consortium.HOLD_MS
UNKNOWN_HOLD: Final = b"\x55" * 32


class Flaw:
    """One thing that is wrong. arguments: changed; by: who signs; given: done to the world before; late: after every hold's
    and listing's time, with the clean-up switched off (it has a bound a block, so a method must test expiry itself).
    """

    def __init__(
        self,
        error: ErrorCode,
        *,
        by: str = "",
        given: Situation | None = None,
        late: bool = False,
        **arguments: Any,
    ) -> None:
        self.error, self.by, self.given, self.late, self.arguments = error, by, given, late, arguments
        self.touches = {
            *arguments,
            *(["by"] if by else []),
            *(["given"] if given else []),
            *(["late"] if late else []),
        }


class Case(NamedTuple):
    """A call that is applied, and what can be wrong with it."""

    contract: str
    method: str
    by: str
    arguments: dict[str, Any]
    flaws: tuple[Flaw, ...] = ()
    given: Situation | None = None
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.contract}.{self.method}{self.label}"


def is_late(flaws: tuple[Flaw, ...]) -> bool:
    return any(flaw.late for flaw in flaws)


def key(name: str) -> bytes:
    return officer(name).key_id


def hold(name: str) -> Callable[[Consortium], bytes]:
    """The id of one of the consortium's holds, known only once there is one."""
    return lambda world: world.holds[name][1]


def _many_keys(world: Consortium) -> None:
    names = [f"PA-{number}" for number in range(KEYS_MAX - 1)]
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in names))


def _lose_every_key(world: Consortium) -> None:
    world.admit("LOST")
    world.apply("LOST", op("members", "revoke_key", key("LOST-officer")))


def _retire_now(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("PA-second")))
    world.apply("PA", op("members", "retire_key", key("PA-second"), world.height + 100))


def _second_key(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("PA-second")))


def _revoke_second(world: Consortium) -> None:
    _second_key(world)
    world.apply("PA", op("members", "revoke_key", key("PA-second")))


def _listed(world: Consortium) -> None:
    world.apply("KB", list_party())


def _listed_for_an_hour(world: Consortium) -> None:
    world.apply("KB", list_party(START_MS + Consortium.HOLD_MS))


def _appealed(world: Consortium) -> None:
    world.apply("PA", op("blacklist", "appeal", PARTY, "KB", NO_TERMS))


def _listed_and_appealed(world: Consortium) -> None:
    _listed_for_an_hour(world)
    _appealed(world)


def _crowd_lists(world: Consortium) -> None:
    crowd = [f"M{number}" for number in range(LISTINGS_MAX)]
    for start in range(0, LISTINGS_MAX, 64):
        operations = [admission(member, ("participant",), (member,)) for member in crowd[start : start + 64]]
        world.apply(ADMINISTRATOR, *operations)
    world.block(*(world.make(member, list_party(), officers=(member,)) for member in crowd))
    assert len(world.rows("blacklist", "listing")) == LISTINGS_MAX


def list_party(expires_ms: int = START_MS + DAY_MS) -> Any:
    return op("blacklist", "list_party", PARTY, "fraud", NO_TERMS, expires_ms)


# --- members -----------------------------------------------------------------------------------------------------------

BAD_KEY: Final = ("ed25519", bytes(32), "x", ("*",))  # the identity's encoding is not a point of prime order
NEW_KEY: Final = new_key("fresh")
KNOWN_KEY: Final = new_key("KB-officer")
TWO_OFFICERS: Final = (Rule("transfers", "send", "", 0, 2),)

_REGISTER_FLAWS: Final = (
    Flaw(Members.KEY_INVALID, key=BAD_KEY),
    Flaw(Members.KEY_KNOWN, key=KNOWN_KEY),
)

MEMBERS: Final = (
    Case(
        "members",
        "admit",
        ADMINISTRATOR,
        {
            "member": "NEW",
            "full_name": "New Bank",
            "bic": "NEWBCZPP",
            "roles": ("participant",),
            "keys": (NEW_KEY,),
        },
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.MEMBER_EXISTS, member="KB"),
            Flaw(Members.ADMINISTRATOR_FIXED, roles=("participant", "administrator")),
            Flaw(Members.KEY_INVALID, keys=(NEW_KEY, BAD_KEY)),
            Flaw(Members.KEY_KNOWN, keys=(NEW_KEY, NEW_KEY)),
        ),
    ),
    Case(
        "members",
        "change",
        ADMINISTRATOR,
        {"member": "PA", "full_name": "Other Name", "bic": "", "roles": ("regulator",)},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, roles=("administrator",)),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
        ),
    ),
    Case(
        "members",
        "suspend",
        ADMINISTRATOR,
        {"member": "PA", "reason": "late"},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
            Flaw(Members.STATUS_UNCHANGED, member="GONE"),
        ),
    ),
    Case(
        "members",
        "resume",
        ADMINISTRATOR,
        {"member": "GONE"},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
            Flaw(Members.STATUS_UNCHANGED, member="PA"),
        ),
    ),
    Case(
        "members",
        "recover",
        ADMINISTRATOR,
        {"member": "LOST", "key": NEW_KEY},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.KEYS_REMAIN, member="PA"),
            *_REGISTER_FLAWS,
        ),
        given=_lose_every_key,
    ),
    Case(
        "members",
        "register_key",
        "PA",
        {"key": NEW_KEY},
        (*_REGISTER_FLAWS, Flaw(Members.TOO_MANY_KEYS, given=_many_keys)),
    ),
    Case(
        "members",
        "retire_key",
        "PA",
        {"key_id": key("PA-officer"), "retires_at": 1_000},
        (
            Flaw(Members.KEY_UNKNOWN, key_id=key("KB-officer")),
            Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_retire_now),
            Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_revoke_second),
            Flaw(Members.RETIRES_IN_THE_PAST, retires_at=20),
        ),
    ),
    Case(
        "members",
        "rotate_key",
        "PA",
        {"old": key("PA-officer"), "retires_at": 1_000, "new": NEW_KEY},
        (
            Flaw(Members.KEY_INVALID, new=BAD_KEY),
            Flaw(Members.KEY_KNOWN, new=KNOWN_KEY),
            Flaw(Members.TOO_MANY_KEYS, given=_many_keys),
            Flaw(Members.KEY_UNKNOWN, old=key("KB-officer")),
            Flaw(Members.KEY_ENDED, old=key("PA-second"), given=_retire_now),
            Flaw(Members.RETIRES_IN_THE_PAST, retires_at=20),
        ),
    ),
    Case(
        "members",
        "revoke_key",
        "PA",
        {"key_id": key("PA-second")},
        (Flaw(Members.KEY_UNKNOWN, key_id=key("KB-officer")),),
        given=_second_key,
    ),
    Case(
        "members",
        "revoke_key",
        "PA",
        {"key_id": key("PA-officer")},
        (Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_revoke_second),),
        label=" again",
    ),
    Case(
        "members",
        "set_policy",
        "PA",
        {"rules": (Rule("*", "*", "", 0, 1),)},
        (Flaw(Members.POLICY_UNMEETABLE, rules=TWO_OFFICERS),),
    ),
)

# --- assets ------------------------------------------------------------------------------------------------------------

ASSETS: Final = (
    Case(
        "assets",
        "register",
        "CNB",
        {"asset": "BOND", "asset_class": "bond", "decimals": 2, "cap": 1_000, "terms_hash": NO_TERMS},
        (Flaw(Assets.NOT_ISSUER, by="PA"), Flaw(Assets.ASSET_EXISTS, asset="CZK")),
    ),
    Case(
        "assets",
        "issue",
        "CNB",
        {"asset": "CZK", "account": "PA/main", "amount": 5, "reference": "r"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_FROZEN, asset="EUR"),
            Flaw(Assets.CAP_EXCEEDED, amount=998_001),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.ACCOUNT_FROZEN, account="KB/frozen"),
            Flaw(Assets.ACCOUNT_CLOSED, account="KB/closed"),
        ),
    ),
    Case(
        "assets",
        "issue",
        "CNB",
        {"asset": "BIG", "account": "CNB/main", "amount": 1, "reference": ""},
        (
            # Half the largest amount was issued and redeemed; what was ever issued may not pass the largest amount.
            Flaw(Assets.BALANCE_OVERFLOW, amount=5 * 10**17 + 1),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
        ),
        given=lambda world: world.apply(
            "CNB",
            op("assets", "register", "BIG", "other", 0, 10**18, NO_TERMS),
            op("assets", "issue", "BIG", "CNB/main", 5 * 10**17, ""),
            op("assets", "redeem", "BIG", "CNB/main", 5 * 10**17, ""),
        ),
        label=" at the largest amount",
    ),
    Case(
        "assets",
        "redeem",
        "CNB",
        {"asset": "CZK", "account": "CNB/main", "amount": 400, "reference": ""},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, account="PA/main"),
            Flaw(
                Assets.ACCOUNT_FROZEN,
                given=lambda w: w.apply("CNB", op("assets", "freeze_account", "CNB/main")),
            ),
            Flaw(
                Assets.ACCOUNT_CLOSED,
                account="CNB/closed",
                given=lambda w: w.apply(
                    "CNB",
                    op("assets", "open_accounts", ("CNB/closed",)),
                    op("assets", "close_account", "CNB/closed"),
                ),
            ),
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=401),
        ),
    ),
    Case(
        "assets",
        "freeze_asset",
        "CNB",
        {"asset": "CZK"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.STATUS_UNCHANGED, asset="EUR"),
        ),
    ),
    Case(
        "assets",
        "release_asset",
        "CNB",
        {"asset": "EUR"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.STATUS_UNCHANGED, asset="CZK"),
        ),
    ),
    Case(
        "assets",
        "open_accounts",
        "PA",
        {"accounts": ("PA/one", "PA/two")},
        (
            Flaw(Assets.NOT_OWN_MEMBER, by="KB"),
            Flaw(Assets.NOT_OWN_MEMBER, accounts=("PA/one", "PAX/two")),
            Flaw(Assets.ACCOUNT_EXISTS, accounts=("PA/one", "PA/main")),
            Flaw(Assets.ACCOUNT_EXISTS, accounts=("PA/one", "PA/one")),
        ),
    ),
    Case(
        "assets",
        "close_account",
        "PA",
        {"account": "PA/empty"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.BALANCE_REMAINS, account="PA/main"),
            Flaw(Assets.BALANCE_REMAINS, account="PA/frozen"),
        ),
    ),
    Case(
        "assets",
        "freeze_account",
        "PA",
        {"account": "PA/main"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.STATUS_UNCHANGED, account="PA/frozen"),
        ),
    ),
    Case(
        "assets",
        "release_account",
        "PA",
        {"account": "PA/frozen"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.STATUS_UNCHANGED, account="PA/main"),
        ),
    ),
)

# --- transfers ---------------------------------------------------------------------------------------------------------

_DEBIT_FLAWS: Final = (
    Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
    Flaw(Assets.ASSET_FROZEN, asset="EUR"),
    Flaw(Assets.ACCOUNT_UNKNOWN, source="PA/none"),
    Flaw(Assets.NOT_OWNER, by="KB"),
    Flaw(Assets.ACCOUNT_FROZEN, source="PA/frozen"),
    Flaw(Assets.ACCOUNT_CLOSED, source="PA/closed"),
)
_CREDIT_FLAWS: Final = (
    Flaw(Transfers.SAME_ACCOUNT, destination="PA/main"),
    Flaw(Assets.ACCOUNT_UNKNOWN, destination="KB/none"),
    Flaw(Assets.ACCOUNT_FROZEN, destination="KB/frozen"),
    Flaw(Assets.ACCOUNT_CLOSED, destination="KB/closed"),
)

TRANSFERS: Final = (
    Case(
        "transfers",
        "send",
        "PA",
        {
            "source": "PA/main",
            "destination": "KB/main",
            "asset": "CZK",
            "amount": 800,
            "end_to_end_id": "e",
            "uetr": b"",
            "purpose": "p",
        },
        (
            Flaw(Transfers.UETR_LENGTH, uetr=bytes(15)),
            *_DEBIT_FLAWS,
            *_CREDIT_FLAWS,
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=801),  # 1,000 posted of which 200 are held
        ),
    ),
    Case(
        "transfers",
        "send_many",
        "PA",
        {
            "source": "PA/main",
            "asset": "CZK",
            "total": 800,
            "legs": (Leg("KB/main", 300, "a"), Leg("CNB/main", 500, "b")),
            "uetr": bytes(16),
            "purpose": "",
        },
        (
            Flaw(Transfers.UETR_LENGTH, uetr=b"\1"),
            *_DEBIT_FLAWS,
            Flaw(Transfers.TOTAL_DIFFERS, total=801),
            Flaw(Transfers.SAME_ACCOUNT, legs=(Leg("KB/main", 300, ""), Leg("PA/main", 500, ""))),
            Flaw(Assets.ACCOUNT_UNKNOWN, legs=(Leg("KB/main", 300, ""), Leg("KB/none", 500, ""))),
            Flaw(Assets.ACCOUNT_FROZEN, legs=(Leg("KB/frozen", 800, ""),)),
            Flaw(Assets.ACCOUNT_CLOSED, legs=(Leg("KB/closed", 800, ""),)),
            Flaw(
                Assets.INSUFFICIENT_BALANCE,
                legs=(Leg("KB/main", 300, ""), Leg("CNB/main", 501, "")),
                total=801,
            ),
        ),
    ),
    Case(
        "transfers",
        "reserve",
        "PA",
        {
            "source": "PA/main",
            "destination": "KB/main",
            "asset": "CZK",
            "amount": 800,
            "expires_ms": START_MS + DAY_MS,
            "end_to_end_id": "",
        },
        (
            *_DEBIT_FLAWS,
            *_CREDIT_FLAWS,
            Flaw(Transfers.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Transfers.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS + 91 * DAY_MS),
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=801),
        ),
    ),
    Case(
        "transfers",
        "post",
        "PA",
        {"source": "PA/main", "hold": hold("pending"), "amount": 50},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, source="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_FROZEN, source="PA/frozen", hold=hold("frozen-source")),
            Flaw(Assets.ACCOUNT_CLOSED, source="PA/closed"),
            Flaw(Transfers.HOLD_UNKNOWN, hold=UNKNOWN_HOLD),
            Flaw(Transfers.HOLD_ENDED, hold=hold("voided")),
            Flaw(Transfers.HOLD_EXPIRED, late=True),
            Flaw(Transfers.MORE_THAN_HELD, amount=101),
            Flaw(Assets.ASSET_FROZEN, hold=hold("frozen-asset"), amount=10),
            Flaw(Assets.ACCOUNT_FROZEN, hold=hold("frozen-destination")),
            Flaw(Assets.ACCOUNT_CLOSED, hold=hold("closed-destination")),
        ),
    ),
    Case(
        "transfers",
        "void",
        "PA",
        {"source": "PA/main", "hold": hold("pending")},
        (
            Flaw(Transfers.HOLD_UNKNOWN, source="KB/main"),
            Flaw(Transfers.HOLD_UNKNOWN, hold=UNKNOWN_HOLD),
            Flaw(Transfers.NOT_A_PARTY, by="CNB"),
            Flaw(Transfers.HOLD_ENDED, hold=hold("voided")),
            Flaw(Transfers.HOLD_EXPIRED, late=True),
        ),
    ),
)

# --- blacklist ---------------------------------------------------------------------------------------------------------

BLACKLIST: Final = (
    Case(
        "blacklist",
        "list_party",
        "KB",
        {"party": PARTY, "reason": "fraud", "evidence_hash": NO_TERMS, "expires_ms": START_MS + DAY_MS},
        (
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

ALL: Final = (*MEMBERS, *ASSETS, *TRANSFERS, *BLACKLIST)
SWEEPERS: Final = (transfers_module, blacklist_module)
