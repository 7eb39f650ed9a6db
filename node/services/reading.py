"""Who may read what of others. The rules bind this API; every member that runs a node holds the whole
replica.

A member reads what is its own: its accounts, balances, holds, movements and transactions, and the events that
touch its accounts. What is shared (members, assets, blacklist, the chain's headers) everybody reads who is
let in. A regulator or auditor reads everything of everybody, if the ledger knows its member as a regulator;
an auditor of any other member reads that member's own.

An event that pays many members names them all: it is shown whole to the member that is debited, and to
another as a fact without its fields, so that it learns that something came, and looks at its movements.

What always holds: what is declared nowhere in here is read by those alone who read everything.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from contracts.deals import OptionalMember
from node.engine.engine import Engine
from node.engine.errors import Degraded, NodeError
from node.keys.certificates import Role
from node.ledger import codec
from node.ledger.errors import Rejected
from node.ledger.ledger import Ledger
from node.ledger.types import AccountId, Event, MemberId
from node.services.convert import decode_leaf, decode_receipt
from node.services.identity import Identity
from node.services.ports import Blocks

SHARED: Final = "shared"
"""What everybody reads who is let in."""
OWN_ACCOUNT: Final = "account"
"""What belongs to an account's member: of a query, the argument ``account``; of a table, its first part."""
OWN_MEMBER: Final = "member"
"""What belongs to members: of a query, the argument ``member``; of a table, its first part; of an event, all
that it names.
"""
OWN_ASSET: Final = "asset"
"""What belongs to an asset's issuer: of a query, the argument ``asset``."""
PARTIES: Final = "parties"
"""Of an event: as OWN_MEMBER, and each of them sees it whole, however many they are."""
AUDIENCE: Final = "audience"
"""Of an event: as PARTIES, and what everybody reads where its audience is empty."""

QUERIES: Final[Mapping[str, str]] = {
    "members.*": SHARED,
    "governance.*": SHARED,
    "validators.*": SHARED,
    "blacklist.*": SHARED,
    "encryption.*": SHARED,
    "anchors.*": SHARED,
    "approvals.*": OWN_MEMBER,
    "assets.get_asset": SHARED,
    "assets.list_assets": SHARED,
    "assets.get_account": OWN_ACCOUNT,
    "assets.list_accounts": OWN_MEMBER,
    "assets.get_balance": OWN_ACCOUNT,
    "assets.list_balances": OWN_ACCOUNT,
    "transfers.get_hold": OWN_ACCOUNT,
    "transfers.list_holds": OWN_ACCOUNT,
    "registration.*": SHARED,
    "servicing.get_action": SHARED,
    "servicing.list_actions": SHARED,
    "servicing.get_found": OWN_ASSET,
    "servicing.get_accrued": OWN_ACCOUNT,
    "servicing.get_claim": OWN_ACCOUNT,
    "servicing.list_claims": OWN_ASSET,
    "servicing.list_holders": OWN_ASSET,
    "settlement.*": OWN_MEMBER,
    "trading.*": OWN_MEMBER,
    "cycles.get_cycle": SHARED,
    "cycles.list_cycles": SHARED,
    "cycles.*": OWN_MEMBER,
    "offsets.*": OWN_MEMBER,
    "exchange.*": OWN_MEMBER,
    "vault.get_document": SHARED,
    "vault.list_holds": SHARED,
    "vault.*": OWN_MEMBER,
    "reconciliation.*": OWN_MEMBER,
    "main_account.*": OWN_ACCOUNT,
    "calendars.*": SHARED,
    "participants.get_scheme": SHARED,
    "participants.get_roster": SHARED,
    "participants.*": OWN_MEMBER,
    "clearing.get_cycle": SHARED,
    "clearing.get_tails": SHARED,
    "clearing.get_proposal": SHARED,
    "clearing.get_totals": SHARED,
    "clearing.get_line": OWN_MEMBER,
    "clearing.get_instruction": OWN_MEMBER,
}
"""Every query of every contract, or ``contract.*``: whose answer it gives."""

TABLES: Final[Mapping[str, str]] = {
    "members.*": SHARED,
    "governance.*": SHARED,
    "validators.*": SHARED,
    "blacklist.*": SHARED,
    "encryption.*": SHARED,
    "anchors.*": SHARED,
    "assets.asset": SHARED,
    "assets.account": OWN_ACCOUNT,
    "assets.balance": OWN_ACCOUNT,
    "transfers.hold": OWN_ACCOUNT,
    "registration.*": SHARED,
    "servicing.action": SHARED,
    "trading.offer": OWN_MEMBER,
    "offsets.offset": OWN_MEMBER,
    "cycles.cycle": SHARED,
    "vault.document": SHARED,
    "vault.legal_hold": SHARED,
    "reconciliation.case": OWN_ACCOUNT,
    "reconciliation.note": OWN_ACCOUNT,
    "main_account.day": OWN_ACCOUNT,
    "calendars.*": SHARED,
    "participants.scheme": SHARED,
    "participants.roster": SHARED,
    "clearing.cycle": SHARED,
    "clearing.totals": SHARED,
}
"""As QUERIES, for records that are read with a proof. What is not in here, such as queues, is nobody's."""

EVENTS: Final[Mapping[str, str]] = {
    "members.*": SHARED,
    "governance.*": SHARED,
    "validators.*": SHARED,
    "blacklist.*": SHARED,
    "encryption.*": SHARED,
    "anchors.*": SHARED,
    "approvals.*": OWN_MEMBER,
    "assets.AssetRegistered": SHARED,
    "assets.AssetStatusChanged": SHARED,
    "assets.*": OWN_ACCOUNT,
    "transfers.*": OWN_ACCOUNT,
    "registration.*": SHARED,
    "servicing.HoldersFixed": OWN_MEMBER,
    "servicing.HoldersPaid": OWN_ACCOUNT,
    "servicing.*": SHARED,
    "settlement.Settled": OWN_ACCOUNT,
    "settlement.*": PARTIES,
    "trading.Offered": AUDIENCE,
    "trading.OfferEnded": AUDIENCE,
    "trading.OfferTaken": PARTIES,
    "cycles.CycleOpened": SHARED,
    "cycles.CycleSettled": SHARED,
    "cycles.Passed": OWN_ACCOUNT,
    "cycles.*": PARTIES,
    "offsets.*": PARTIES,
    "exchange.*": PARTIES,
    "vault.*": OWN_MEMBER,
    "reconciliation.*": OWN_MEMBER,
    "main_account.*": OWN_MEMBER,
    "calendars.*": SHARED,
    "participants.ClearingSet": SHARED,
    "participants.Joined": SHARED,
    "participants.*": OWN_ACCOUNT,
    "queues.*": OWN_ACCOUNT,
    "clearing.NetPassed": OWN_ACCOUNT,
    "clearing.*": SHARED,
}
"""As QUERIES, for events: those of OWN_ACCOUNT belong to the members of all accounts that they name, those of
OWN_MEMBER to the members that they name.
"""

_ALL: Final = frozenset({Role.REGULATOR, Role.AUDITOR})
_OWN: Final = frozenset({Role.READER, Role.AUDITOR, Role.REGULATOR, Role.MAKER, Role.CHECKER})
_LEDGER_REGULATOR: Final = "regulator"
_ACCOUNTS: Final = frozenset({AccountId})
_MEMBERS: Final = frozenset({MemberId, OptionalMember})


class Parties(NamedTuple):
    """The members that an event concerns. shared: everybody. debtor: whom it names first. equal: whether it
    is for all of them alike, as word of a deal is, and a payment to many is not.
    """

    shared: bool
    debtor: str
    members: frozenset[str]
    equal: bool = False


class Shown(NamedTuple):
    """How much of an event a reader sees."""

    at_all: bool
    whole: bool


_HIDDEN: Final = Shown(at_all=False, whole=False)
_BLANK: Final = Shown(at_all=True, whole=False)
_WHOLE: Final = Shown(at_all=True, whole=True)


class Reading:
    """The rules over one ledger."""

    def __init__(self, ledger: Ledger, blocks: Blocks, engine: Engine) -> None:
        self._ledger = ledger
        self._blocks = blocks
        self._engine = engine
        facts = [(contract.name, fact) for contract in ledger.readers.values() for fact in contract.facts]
        self._places = {
            (contract, fact.__name__): tuple(_places(fact, wanted))
            for contract, fact in facts
            for wanted in [
                _ACCOUNTS if declared(EVENTS, contract, fact.__name__) == OWN_ACCOUNT else _MEMBERS
            ]
        }
        self._decoders = {(contract, fact.__name__): codec.trusted_decoder(fact) for contract, fact in facts}

    # --- who ------------------------------------------------------------------------------------------------

    def sees_all(self, identity: Identity) -> bool:
        """Whether it reads everything of everybody."""
        if identity.whole:
            return True
        members: Any = self._ledger.readers["members"]
        return not _ALL.isdisjoint(identity.roles) and bool(
            members.has_role(identity.member, _LEDGER_REGULATOR)
        )

    def check_member(self, identity: Identity, member: str) -> None:
        """Raises Degraded NOT_PERMITTED unless it reads what is a member's own."""
        if identity.member == member and not _OWN.isdisjoint(identity.roles):
            return
        if not self.sees_all(identity):
            raise not_permitted("what belongs to another member")

    def check_account(self, identity: Identity, account: str) -> None:
        """Raises Degraded NOT_PERMITTED unless it reads what is in an account."""
        self.check_member(identity, member_of(account))

    def check_issuer(self, identity: Identity, asset: str) -> None:
        """Raises Degraded NOT_PERMITTED unless it reads what is for an asset's issuer."""
        assets: Any = self._ledger.readers["assets"]
        found = assets.asset.get(asset)
        self.check_member(identity, found.issuer if found else "")

    def check_all(self, identity: Identity) -> None:
        """Raises Degraded NOT_PERMITTED unless it reads everything."""
        if not self.sees_all(identity):
            raise not_permitted("what belongs to all members")

    # --- queries and records --------------------------------------------------------------------------------

    def check_query(
        self, identity: Identity, contract: str, query: str, arguments: Mapping[str, Any]
    ) -> None:
        """Raises Degraded NOT_PERMITTED. arguments: as JSON spells them."""
        scope = declared(QUERIES, contract, query)
        if scope == SHARED:
            return
        if scope is None:
            self.check_all(identity)
            return
        named = str(arguments.get(scope, ""))
        if scope == OWN_ASSET:
            self.check_issuer(identity, named)
            return
        try:
            self.check_member(identity, member_of(named) if scope == OWN_ACCOUNT else named)
        except Degraded:
            if contract == "main_account":
                self.check_member(identity, str(arguments.get("servicer", "")))
            elif contract == "reconciliation" and "subject" in arguments:
                self._check_counterparty(identity, named, str(arguments["subject"]))
            elif (contract, query) == ("transfers", "get_hold"):
                self._check_creditor(identity, named, str(arguments.get("hold", "")))
            else:
                raise

    def check_hold(self, identity: Identity, account: str, hold: bytes) -> None:
        """Raises Degraded NOT_PERMITTED unless the hold is in its account, or is to be paid to one."""
        self.check_query(identity, "transfers", "get_hold", {"account": account, "hold": hold.hex()})

    def check_key(self, identity: Identity, key: bytes) -> None:
        """Raises Degraded NOT_PERMITTED unless the record under a state key is shared or its own."""
        contract, _, rest = key.partition(b"\0")
        table, _, parts = rest.partition(b"\0")
        scope = declared(TABLES, contract.decode(errors="replace"), table.decode(errors="replace"))
        first = parts.partition(b"\0")[0].decode(errors="replace")
        if scope in (OWN_ACCOUNT, OWN_MEMBER):
            self.check_member(identity, member_of(first))
        elif scope != SHARED:
            self.check_all(identity)

    def check_table_key(self, identity: Identity, contract: str, table: str, parts_json: str) -> None:
        """As ``check_key``, of a key by its parts."""
        scope = declared(TABLES, contract, table)
        if scope == SHARED:
            return
        try:
            parts = msgspec.json.decode(parts_json, type=list[str | int])
        except ValueError as error:
            raise Degraded(
                NodeError.BAD_REQUEST, reason="parts_json is no list of texts and integers"
            ) from error
        if scope in (OWN_ACCOUNT, OWN_MEMBER) and parts:
            self.check_member(identity, member_of(str(parts[0])))
        else:
            self.check_all(identity)

    def _check_creditor(self, identity: Identity, account: str, hold: str) -> None:
        try:
            found = self._ledger.query("transfers", "get_hold", codec.encode((account, bytes.fromhex(hold))))
        except (Rejected, ValueError) as error:
            raise not_permitted("what belongs to another member") from error
        self.check_account(identity, found.destination)

    def _check_counterparty(self, identity: Identity, member: str, subject: str) -> None:
        try:
            key = codec.encode((member, bytes.fromhex(subject)))
            found = self._ledger.query("reconciliation", "get_case", key)
        except (Rejected, ValueError) as error:
            raise not_permitted("what belongs to another member") from error
        self.check_member(identity, found.counterparty)

    # --- events and transactions ----------------------------------------------------------------------------

    def parties(self, event: Event) -> Parties:
        """Whom an event concerns; nobody where this release does not know it."""
        scope = declared(EVENTS, event.contract, event.event)
        if scope == SHARED:
            return Parties(shared=True, debtor="", members=frozenset())
        places = self._places.get((event.contract, event.event), ())
        if scope is None or not places:
            return Parties(shared=False, debtor="", members=frozenset())
        fact: Any = self._decoders[event.contract, event.event](event.fields)
        if scope == AUDIENCE and not fact.audience:
            return Parties(shared=True, debtor="", members=frozenset())
        members = [member_of(named) for place in places for named in _named(fact, place) if named]
        debtor = members[0] if members else ""
        return Parties(
            shared=False, debtor=debtor, members=frozenset(members), equal=scope in (PARTIES, AUDIENCE)
        )

    def shown(self, identity: Identity, parties: Parties, signer: str) -> Shown:
        """How much of an event it sees. signer: the member whose transaction told it; empty: scheduled work.

        The rules for those who see everything are the caller's.
        """
        member = identity.member
        if parties.shared or (member and member in (signer, parties.debtor)):
            return _WHOLE
        if member not in parties.members:
            return _HIDDEN
        return _WHOLE if parties.equal or len(parties.members) <= 2 else _BLANK  # noqa: PLR2004 - the debtor and itself

    def check_transaction(self, identity: Identity, signer: str, events: Sequence[Event]) -> None:
        """Raises Degraded NOT_PERMITTED unless it signed the transaction, or sees all that it told."""
        if (signer and signer == identity.member) or self.sees_all(identity):
            return
        if not events or not all(self.shown(identity, self.parties(e), signer).whole for e in events):
            raise not_permitted("a transaction of another member")

    def check_receipt(self, identity: Identity, tx_id: bytes) -> None:
        """``check_transaction`` of a decided transaction; one that is not decided is not refused here."""
        place = self._engine.find(tx_id)
        receipt = self._blocks.receipt(*place) if place else None
        leaves = self._blocks.leaves(place[0]) if place else None
        if place is None or receipt is None or leaves is None or self.sees_all(identity):
            return
        self.check_transaction(identity, decode_leaf(leaves[place[1]]).member, decode_receipt(receipt).events)


def not_permitted(what: str) -> Degraded:
    """The refusal."""
    return Degraded(NodeError.NOT_PERMITTED, reason=f"the certificate does not permit reading {what}")


def member_of(account: str) -> str:
    """The member in ``MEMBER/local``."""
    return account.partition("/")[0]


def declared(table: Mapping[str, str], contract: str, name: str) -> str | None:
    """What a table says of ``contract.name``, or of ``contract.*``; None where it says nothing."""
    return table.get(f"{contract}.{name}") or table.get(f"{contract}.*")


def _places(record: Any, wanted: frozenset[Any]) -> Iterator[tuple[str, ...]]:
    """Where accounts, or members, stand in a fact: paths of field names. wanted: their types."""
    for field in msgspec.structs.fields(record):
        if field.type in wanted:
            yield (field.name,)
        for inner in msgspec.inspect.multi_type_info([field.type]):
            yield from _inner_places(field.name, field.type, inner, wanted)


def _inner_places(name: str, annotation: Any, info: Any, wanted: frozenset[Any]) -> Iterator[tuple[str, ...]]:
    item = getattr(info, "item_type", None)
    if isinstance(item, msgspec.inspect.StructType):
        yield from ((name, *rest) for rest in _places(item.cls, wanted))
    elif item is not None and not wanted.isdisjoint(
        getattr(getattr(annotation, "__origin__", None), "__args__", ())
    ):
        yield (name,)


def _named(value: Any, place: tuple[str, ...]) -> Iterator[str]:
    """The accounts or members at a place of a fact."""
    if isinstance(value, tuple):
        for item in value:
            yield from _named(item, place)
    elif not place:
        yield str(value)
    else:
        yield from _named(getattr(value, place[0]), place[1:])
