"""The checker of invariants: what must hold of any chain of blocks, whatever made it.

``check_ledger(blocks, genesis)`` takes the blocks as a store keeps them and needs nothing else; tests of
chance, of faults and of many nodes use it. Two of its parts share no code with what they check but the
decoding of records: the commitments are computed again by the definitions in docs/formats.md (hashes,
RFC 6962 roots, the state's root), and the books are kept a second time from the write sets and from the
events. The third runs the bodies again on a new ledger over an empty store.

I1 conservation. I2 no negative balance, no id spent twice, contracts' own rules. I3 every transaction decided
once, alive and signed. I5 and I9 a replay agrees. I6 headers and roots. Q1 to Q6 queues and cycles
(checker_clearing.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from contracts import assemble as all_contracts
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.contract import Contract, Fact, Movement
from node.ledger.ledger import Ledger
from node.ledger.ports import Check, Verifier
from node.ledger.running import contents
from node.ledger.types import (
    Block,
    BlockRecord,
    Evidence,
    EvidenceList,
    Genesis,
    Header,
    Leaf,
    Receipt,
    SignedTransaction,
    Transaction,
)
from node.storage.memory import MemoryStore
from tests.checker_clearing import Queues
from tests.checker_trading import Market
from tests.commitments import Tree, digest, root_of, state_root

ZERO: Final = bytes(32)
STATE_ROOTS_MAX: Final = 3_000
"""Records up to which the state's root is computed from nothing at every block; beyond, at the last one."""

ENDED: Final = ("posted", "voided", "expired")

_header: Callable[[bytes], Header] = codec.decoder(Header)
_leaf: Callable[[bytes], Leaf] = codec.decoder(Leaf)
_receipt: Callable[[bytes], Receipt] = codec.decoder(Receipt)
_signed: Callable[[bytes], SignedTransaction] = codec.decoder(SignedTransaction)
_transaction: Callable[[bytes], Transaction] = codec.decoder(Transaction)
_evidence: Callable[[bytes], tuple[Evidence, ...]] = codec.decoder(EvidenceList)
_any: Callable[[bytes], Any] = codec.decoder(Any)


class Violated(AssertionError):
    """An invariant does not hold."""


@dataclass
class Checked:
    """What was looked at, so that a test can say that it was something."""

    blocks: int = 0
    applied: int = 0
    refused: int = 0
    system: int = 0
    movements: int = 0
    cycles: int = 0
    instructions: int = 0
    replayed: bool = False


def check_ledger(
    blocks: Iterable[BlockRecord],
    genesis: Genesis,
    *,
    assemble: Callable[[], tuple[Contract, ...]] = all_contracts,
    verifier: Verifier | None = None,
    replay: bool = True,
) -> Checked:
    """Check whole blocks, from that of genesis on. Raises Violated. replay: False where bodies were dropped.

    A store does not keep what can be computed again (``tree``, ``spent``): it is checked where it is there.
    """
    decide = verifier or InternationalVerifier()
    commitments, books = _Commitments(genesis, replay), _Books(assemble())
    ledger = _Replay(genesis, assemble, decide) if replay else None
    checked = Checked(replayed=replay)
    last: BlockRecord | None = None
    for record in blocks:
        last = record
        checked.blocks += 1
        commitments.add(record)
        receipts = commitments.check_decisions(record, checked)
        books.add(record, receipts, checked)
        if replay:
            commitments.check_signatures(record, decide)
        if ledger:
            ledger.add(record)
    if last is None:
        _fail("I6", -1, "there is no block")
    commitments.check_state_root(last)
    books.check_whole(last.height)
    checked.cycles, checked.instructions = books.queues.cycles, books.queues.instructions
    return checked


def _fail(invariant: str, height: int, reason: str) -> NoReturn:
    raise Violated(f"{invariant} at height {height}: {reason}")


class _Commitments:
    """I3, I6: headers, roots, identities and signatures, computed again."""

    def __init__(self, genesis: Genesis, replayed: bool) -> None:
        self.replayed = replayed
        self.chain = digest("vostro/genesis/1", codec.encode(genesis))
        self.genesis = genesis
        self.limits = genesis.limits
        self.state: dict[bytes, bytes] = {}
        self.history = Tree()
        self.height, self.time_ms, self.app_hash = -1, -1, ZERO
        self.spent: dict[tuple[str, bytes], bytes] = {}
        self.decided: set[bytes] = set()

    def add(self, record: BlockRecord) -> None:
        """The header and everything it commits to."""
        height, header = record.height, _header(record.header)
        if height <= self.height or record.time_ms <= self.time_ms:
            _fail("I6", height, "heights and times do not increase")
        if self.height >= 0:
            self.history.leaves.append(self.app_hash)
        self._apply(record)
        expected = Header(
            1,
            self.chain,
            1,
            height,
            record.time_ms,
            self.app_hash,
            self.history.root(),
            len(record.leaves),
            root_of(record.leaves),
            root_of(record.receipts),
            header.state_root,
            self._authority_root(),
        )
        if header != expected:
            _fail("I6", height, f"the header says {header}, the block {expected}")
        if len(self.state) <= STATE_ROOTS_MAX:
            self.check_state_root(record)
        if record.app_hash != digest("vostro/header/1", record.header):
            _fail("I6", height, "the app hash is not the header's hash")
        for level, index, node in record.history:
            if node != self.history.range(index << level, index + 1 << level):
                _fail("I6", height, f"history node {index} of level {level}")
        self.height, self.time_ms, self.app_hash = height, record.time_ms, record.app_hash

    def _authority_root(self) -> bytes:
        """Of the validators with power in the state, or of genesis's authority where it keeps none."""
        rows = [_any(v) for k, v in self.state.items() if k.startswith(b"validators\0validator\0")]
        entries = [(row[0], row[1], row[2]) for row in rows if row[2]]
        named = [(key.algorithm, key.public_key, key.power) for key in self.genesis.authority]
        return root_of(codec.encode(entry) for entry in sorted(entries or named))

    def _apply(self, record: BlockRecord) -> None:
        keys = [key for key, _ in record.writes]
        if keys != sorted(set(keys)):
            _fail("I6", record.height, "writes are not ascending by distinct keys")
        pairs = {}
        for key, value in record.writes:
            pairs[digest("vostro/state-key/1", key)] = (
                None if value is None else digest("vostro/state-value/1", value)
            )
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        if record.tree and list(record.tree) != sorted(pairs.items(), key=lambda pair: pair[0]):
            _fail("I6", record.height, "the state tree's pairs are not those of the writes")

    def check_state_root(self, record: BlockRecord) -> None:
        if _header(record.header).state_root != state_root(self.state):
            _fail("I6", record.height, "the state root is not the root of the state")

    def check_decisions(self, record: BlockRecord, checked: Checked) -> list[Receipt]:
        """Every leaf has its body and its one receipt, and spends its id once (I2, I3)."""
        height = record.height
        if height and not record.leaves:
            _fail("I3", height, "a block in which nothing was decided has a header")
        bodies = record.bodies if self.replayed or record.bodies else (b"",) * len(record.leaves)
        if not len(record.leaves) == len(record.receipts) == len(bodies):
            _fail("I3", height, "leaves, bodies and receipts are not equally many")
        receipts = [_receipt(data) for data in record.receipts]
        spent = []
        for index, (data, body, receipt) in enumerate(zip(record.leaves, bodies, receipts, strict=True)):
            leaf = _leaf(data)
            if (receipt.tx_id, receipt.height, receipt.index) != (leaf.tx_id, height, index):
                _fail("I3", height, f"receipt {index} is not that of leaf {index}")
            if (receipt.code == 0) != (not receipt.codespace) or (receipt.code and receipt.events):
                _fail("I3", height, f"receipt {index} is half applied, half refused")
            if bool(receipt.code) != bool(receipt.failed_operation):
                _fail("I3", height, f"receipt {index} does not say which operation failed")
            if leaf.tx_id == ZERO:
                checked.system += 1
                if not record.writes:
                    _fail("I3", height, "a system receipt tells of nothing")
                if body:
                    _evidence(body)
                if index or leaf != Leaf(ZERO, "", bytes(16), ZERO):
                    _fail("I3", height, "a system receipt stands elsewhere than first")
                continue
            spent.append(self._spend(record, index, leaf, body))
            checked.applied += not receipt.code
            checked.refused += bool(receipt.code)
        if record.spent and list(record.spent) != spent:
            _fail("I3", height, "the spent ids are not those of the leaves")
        return receipts

    def _spend(
        self, record: BlockRecord, index: int, leaf: Leaf, body: bytes
    ) -> tuple[str, bytes, bytes, int]:
        height = record.height
        if leaf.tx_id in self.decided or (leaf.member, leaf.request_id) in self.spent:
            _fail("I2", height, f"transaction {leaf.tx_id.hex()} is decided twice, or its id was spent")
        self.decided.add(leaf.tx_id)
        self.spent[leaf.member, leaf.request_id] = leaf.tx_id
        if body:
            signed = _signed(body)
            transaction = _transaction(signed.transaction)
            said = Leaf(
                digest("vostro/tx/1", signed.transaction),
                transaction.member,
                transaction.request_id,
                digest("vostro/signed/1", body),
            )
            if leaf != said or transaction.chain != self.chain[:8]:
                _fail("I3", height, f"leaf {index} is not that of its body")
            created = int.from_bytes(transaction.request_id[:6], "big")
            deadline = min(created + self.limits.lifetime_ms, transaction.valid_until_ms or 1 << 63)
            if not created - 60_000 <= record.time_ms <= deadline:
                _fail("I3", height, f"transaction {index} was not alive")
        return leaf.member, leaf.request_id, leaf.tx_id, index

    def check_signatures(self, record: BlockRecord, verifier: Verifier) -> None:
        """Every body is signed by keys of its member that were alive, and by nobody else."""
        for index, body in enumerate(record.bodies):
            if not body or _leaf(record.leaves[index]).tx_id == ZERO:
                continue
            signed = _signed(body)
            member = _transaction(signed.transaction).member
            message = b"vostro/sign/tx/1\0" + self.chain + digest("vostro/tx/1", signed.transaction)
            ids = [entry.key_id for entry in signed.signatures]
            if ids != sorted(set(ids)):
                _fail("I3", record.height, f"transaction {index} has its signatures out of order")
            for entry in signed.signatures:
                data = self.state.get(b"members\0key\0" + member.encode() + b"\0" + entry.key_id)
                if data is None:
                    _fail("I3", record.height, f"transaction {index} has a signature of no key of {member}")
                algorithm, public_key, _, _, active_from, retires_at, revoked_at = _any(data)
                ended = (retires_at and retires_at <= record.height) or (
                    revoked_at and revoked_at < record.height
                )
                if active_from > record.height or ended:
                    _fail("I3", record.height, f"transaction {index} is signed by a key that had ended")
                if not all(verifier.verify([Check(algorithm, public_key, message, entry.signature)])):
                    _fail("I3", record.height, f"transaction {index} has a bad signature")


class _Replay:
    """I5, I9: a new ledger over nothing runs the bodies and comes to the same."""

    def __init__(
        self, genesis: Genesis, assemble: Callable[[], tuple[Contract, ...]], verifier: Verifier
    ) -> None:
        self.store = MemoryStore(lifetime_ms=genesis.limits.lifetime_ms)
        self.ledger = Ledger(genesis, assemble, self.store, verifier, records=50)

    def add(self, record: BlockRecord) -> None:
        if self.store.head() is None:
            finalized = self.ledger.init_chain()
        else:
            finalized = self.ledger.finalize_block(Block(record.height, record.time_ms, *contents(record)))
        again = finalized.record
        if again is None or again.receipts != record.receipts or again.writes != record.writes:
            _fail("I9", record.height, "a replay of the bodies has other receipts or writes")
        if finalized.app_hash != record.app_hash:
            _fail("I9", record.height, "a replay of the bodies has another app hash")
        self.ledger.commit()
        self.store.sync()


@dataclass
class _Books:
    """I1, I2 and the contracts' own invariants, kept a second time: from the writes, and from the events."""

    contracts: tuple[Contract, ...]
    assets: dict[str, list[Any]] = field(default_factory=dict)
    accounts: dict[str, list[Any]] = field(default_factory=dict)
    positions: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    posted: dict[str, int] = field(default_factory=dict)
    pending: dict[tuple[str, str], int] = field(default_factory=dict)
    holds: dict[tuple[str, bytes], list[Any]] = field(default_factory=dict)
    due: dict[bytes, set[bytes]] = field(default_factory=dict)
    owners: dict[bytes, Any] = field(default_factory=dict)
    listings: dict[bytes, list[Any]] = field(default_factory=dict)
    market: Market = field(init=False)
    queues: Queues = field(default_factory=lambda: Queues(_fail))

    def __post_init__(self) -> None:
        self._facts: dict[tuple[str, str], Callable[[bytes], Fact]] = {
            (c.name, fact.__name__): codec.decoder(fact) for c in self.contracts for fact in c.facts
        }
        self._records: dict[bytes, Callable[[bytes], Any]] = {
            kept.prefix: codec.decoder(kept.record) for c in self.contracts for kept in c.tables.values()
        }
        self.market = Market(self.pending, _fail)
        self._tables = {
            **self.market.tables,
            **self.queues.tables,
            b"assets\0asset\0": self._asset,
            b"assets\0account\0": self._account,
            b"assets\0balance\0": self._balance,
            b"transfers\0hold\0": self._hold,
            b"transfers\0due\0": self._due,
            b"blacklist\0due\0": self._due,
            b"blacklist\0listing\0": self._listing,
            b"members\0owner\0": self._owner,
        }

    def add(self, record: BlockRecord, receipts: list[Receipt], checked: Checked) -> None:
        """One block's writes; what they did to balances must be what its events say."""
        before = {key: self.positions.get(key, (0, 0)) for key in map(_position_key, record.writes) if key}
        for key, data in record.writes:
            prefix = key[: key.index(b"\0", key.index(b"\0") + 1) + 1]
            self._check_readable(record.height, key, prefix, data)
            if keep := self._tables.get(prefix):
                keep(record.height, key[len(prefix) :], prefix, None if data is None else _any(data))
        told: dict[tuple[str, str], int] = {}
        for movement in self._movements(receipts):
            checked.movements += 1
            told[movement.account, movement.asset] = (
                told.get((movement.account, movement.asset), 0) + movement.amount
            )
        done = {key: self.positions[key][0] - was[0] for key, was in before.items()}
        for position in {**done, **told}:
            if done.get(position, 0) != told.get(position, 0):
                _fail(
                    "I1",
                    record.height,
                    f"{position} changed by {done.get(position, 0)}, its events say {told.get(position, 0)}",
                )
        self._check_touched(record.height, before)
        self.market.check_settled(record.height, self._told(receipts))
        self.queues.check(record.height, record.time_ms, self._told(receipts))

    def _told(self, receipts: list[Receipt]) -> Iterable[Fact]:
        for receipt in receipts:
            for event in receipt.events:
                yield self._facts[event.contract, event.event](event.fields)

    def _check_readable(self, height: int, key: bytes, prefix: bytes, data: bytes | None) -> None:
        """What a block writes, a node that has it in no cache must be able to read."""
        if data is not None and (decode := self._records.get(prefix)):
            try:
                decode(data)
            except codec.NotCanonical as error:
                _fail("I6", height, f"the record {key!r} can not be read: {error}")

    def _movements(self, receipts: list[Receipt]) -> Iterable[Movement]:
        for fact in self._told(receipts):
            yield from fact.movements()

    def _check_touched(self, height: int, touched: Iterable[tuple[str, str]]) -> None:
        for key in touched:
            posted, held = self.positions[key]
            if not 0 <= held <= posted:
                _fail("I2", height, f"{key} has {posted} posted and {held} held")
            if held != self.pending.get(key, 0):
                _fail(
                    "I2",
                    height,
                    f"{key} holds {held}, its pending holds add up to {self.pending.get(key, 0)}",
                )
            if key[0] not in self.accounts or (posted and self.accounts[key[0]][1] == "closed"):
                _fail("I2", height, f"{key} is a balance of a closed account, or of none")
        for asset, (_, _, _, cap, _, _, issued, redeemed) in self.assets.items():
            if not 0 <= issued - redeemed <= cap:
                _fail(
                    "I1",
                    height,
                    f"the supply of {asset}, {issued} less {redeemed}, is not within its cap {cap}",
                )
            if issued - redeemed != self.posted.get(asset, 0):
                _fail(
                    "I1",
                    height,
                    f"{asset}: supply is {issued - redeemed}, posted {self.posted.get(asset, 0)}",
                )

    def check_whole(self, height: int) -> None:
        """What is cheaper to see once, at the end."""
        pending: dict[tuple[str, str], int] = {}
        due = set()
        for (account, hold), (_, asset, amount, expires_ms, _, status, _) in self.holds.items():
            if status == "pending":
                pending[account, asset] = pending.get((account, asset), 0) + amount
                due.add(expires_ms.to_bytes(8, "big") + account.encode() + b"\0" + hold)
        for key, amount in self.market.held().items():
            pending[key] = pending.get(key, 0) + amount
        held = {key: position[1] for key, position in self.positions.items() if position[1]}
        if held != pending:
            _fail("I2", height, f"held is {held}, the pending holds are {pending}")
        if self.due.get(b"transfers\0due\0", set()) != due:
            _fail("I2", height, "the queue of expiry is not that of the pending holds")
        listed = {row[3].to_bytes(8, "big") + key for key, row in self.listings.items()}
        if self.due.get(b"blacklist\0due\0", set()) != listed:
            _fail("I2", height, "the queue of expiry is not that of the listings")

    # --- tables: (height, the key behind contract and table, prefix, the record's fields or None) -----------

    def _asset(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        asset = key[:-1].decode()
        before = self.assets.get(asset)
        if row is None or (
            before
            and (
                before[:3] + before[4:5] != row[:3] + row[4:5]
                or before[3] > row[3]
                or before[6] > row[6]
                or before[7] > row[7]
            )
        ):
            _fail("I1", height, f"asset {asset} lost units, its issuer or its cap: {before} became {row}")
        self.assets[asset] = row

    def _account(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        account = key[:-1].decode()
        before = self.accounts.get(account)
        if row is None or row[0] != account.split("/")[0] or (before and before[1] == "closed"):
            _fail("I2", height, f"account {account} changed from {before} to {row}")
        self.accounts[account] = row

    def _balance(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        account, asset, _ = key.decode().split("\0")
        posted, held = row or (0, 0)
        self.posted[asset] = (
            self.posted.get(asset, 0) + posted - self.positions.get((account, asset), (0, 0))[0]
        )
        self.positions[account, asset] = (posted, held)

    def _hold(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        account, hold = key[:-33].decode(), key[-32:]
        before = self.holds.get((account, hold))
        if row is None or (
            before and (before[5] != "pending" or before[:5] != row[:5] or row[5] not in ENDED)
        ):
            _fail("I2", height, f"hold {hold.hex()} changed from {before} to {row}")
        if not 0 <= row[6] <= row[2] or (row[6] > 0) != (row[5] == "posted"):
            _fail("I2", height, f"hold {hold.hex()} of {row[2]} is {row[5]} and paid {row[6]}")
        was = before[2] if before else 0
        now = row[2] if row[5] == "pending" else 0
        self.pending[account, row[1]] = self.pending.get((account, row[1]), 0) + now - was
        self.holds[account, hold] = row

    def _due(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        queue = self.due.setdefault(prefix, set())
        rest = key.removeprefix(b"expiry\0")
        if row is None:
            queue.discard(rest)
        else:
            queue.add(rest)

    def _listing(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        if row is None:
            self.listings.pop(key, None)
        else:
            self.listings[key] = row

    def _owner(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        if row is None or self.owners.setdefault(key, row) != row:
            _fail("I2", height, f"key {key.hex()} changed its owner from {self.owners.get(key)} to {row}")


def _position_key(write: tuple[bytes, bytes | None]) -> tuple[str, str] | None:
    prefix = b"assets\0balance\0"
    if not write[0].startswith(prefix):
        return None
    account, asset, _ = write[0][len(prefix) :].decode().split("\0")
    return account, asset
