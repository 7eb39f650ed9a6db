"""The small chain behind the golden vectors: fixed seeds, fixed times, a handful of transactions, the real
ledger over a memory store.

``values()`` recomputes everything that tests/vectors/formats.json pins and ``files()`` the whole documents.
To pin anew, after an ADR has said why a byte may change: ``python -m tests.vectors.golden``.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from contracts import assemble
from contracts.assets import Assets
from contracts.members import Members
from node.client.signing import operation, sign, transaction, transaction_id
from node.genesis_file import format_genesis, make_genesis
from node.json_form import to_json, write_document
from node.keys.signer import Ed25519Signer, P256Signer, Signer
from node.keys.verify import InternationalVerifier
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Finalized, Ledger
from node.ledger.proofs import SuiteProofs
from node.ledger.types import (
    Activation,
    AdministratorKey,
    Authority,
    Block,
    Evidence,
    Genesis,
    Node,
    Operation,
)
from node.receipts import build_receipt_file, make_checkpoint
from node.receipts.build import Certificates
from node.storage.memory import MemoryStore
from node.storage.sharded import ShardedStore

FOLDER: Final = Path(__file__).parent
CONTRACTS: Final = (
    "members",
    "validators",
    "governance",
    "assets",
    "transfers",
    "blacklist",
    "encryption",
    "registration",
    "servicing",
    "settlement",
    "trading",
    "anchors",
)
"""What acts on the pinned chains, whatever contracts come later: their bytes stay as they are."""
BEGIN_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

ADMINISTRATOR: Final = Ed25519Signer(bytes([1]) * 32)
SEQUENCER: Final = Ed25519Signer(bytes([2]) * 32)
PAYER: Final = Ed25519Signer(bytes([3]) * 32)
SECOND: Final = P256Signer(bytes([4]) * 32)
BANK: Final = Ed25519Signer(bytes([5]) * 32)
NODE: Final = Ed25519Signer(bytes([6]) * 32)


CONTENT: Final = (
    operation("validators", "retire_node", bytes(range(16))),
    operation("members", "resume", "BANK"),
)
"""What a proposal of the vectors would do."""
EVIDENCE: Final = (Evidence("duplicate-vote", bytes(range(20)), 7, BEGIN_MS, 10, 40),)
"""What the system leaf of a block with evidence has as its body."""


def pinned(genesis: Genesis) -> Genesis:
    """The genesis of a pinned chain."""
    return replace(genesis, contracts=tuple([Activation(name, 0) for name in CONTRACTS]))


class World:
    """A chain that is driven block by block, each certified by its sequencer, or by none where there are
    ``validators``.
    """

    def __init__(
        self,
        name: str = "vectors",
        store: MemoryStore | ShardedStore | None = None,
        validators: tuple[Authority, ...] = (),
    ) -> None:
        self.genesis = pinned(
            make_genesis(
                name,
                [AdministratorKey("ed25519", ADMINISTRATOR.public_key, "operations")],
                validators or [Authority("ed25519", SEQUENCER.public_key, 1)],
                nodes=[Node("ADMIN", "ed25519", NODE.public_key, b"")],
                time_ms=BEGIN_MS,
            )
        )
        self.is_sequenced = not validators
        self.store = store or MemoryStore()
        self.ledger = Ledger(self.genesis, assemble, self.store, InternationalVerifier())
        self.chain_id = self.ledger.chain.chain_id
        self.count = 0
        self._commit(self.ledger.init_chain())

    def request_id(self, time_ms: int) -> bytes:
        """A UUIDv7 whose random bits count."""
        self.count += 1
        return time_ms.to_bytes(6, "big") + bytes.fromhex("70008000") + self.count.to_bytes(6, "big")

    def signed(self, member: str, signers: list[Signer], *operations: Operation, height: int) -> bytes:
        """A signed transaction that is alive at ``height``."""
        body = transaction(
            self.chain_id, member, operations, request_id=self.request_id(self.time_ms(height))
        )
        return sign(INTERNATIONAL, self.chain_id, body, signers)

    def time_ms(self, height: int) -> int:
        """Block time: a second a height."""
        return BEGIN_MS + 1_000 * height

    def block(self, height: int, *items: bytes) -> Finalized:
        """Run, certify and keep a block."""
        return self._commit(self.ledger.finalize_block(Block(height, self.time_ms(height), items)))

    def receipt_file(
        self,
        height: int,
        index: int,
        certified_height: int | None = None,
        certificates: Certificates | None = None,
    ) -> dict[str, Any]:
        """The receipt file of one transaction."""
        readers: Any = self.ledger.readers
        return build_receipt_file(
            height,
            index,
            genesis=self.genesis,
            blocks=self.store,
            keys=readers["members"].key,
            history=self.ledger,
            certified_height=certified_height,
            certificates=certificates,
        )

    def _commit(self, finalized: Finalized) -> Finalized:
        message = hashing.SIGN_HEADER + self.chain_id + finalized.app_hash
        self.ledger.commit(SEQUENCER.sign(message) if self.is_sequenced else b"")
        self.store.sync()
        self.ledger.publish()
        return finalized


def send(amount: int, end_to_end_id: str, destination: str = "BANK/one") -> Operation:
    """The transfer of the vectors."""
    return operation(
        "transfers", "send", "PAYER/main", destination, "CZK", amount, end_to_end_id, b"", "rent"
    )


def populate(world: World) -> World:
    """Members, an asset, accounts, then transfers at heights 4 (seven of them, one refused) to 9."""
    world.block(
        1,
        world.signed(
            "ADMIN",
            [ADMINISTRATOR],
            operation(
                "members",
                "admit",
                "PAYER",
                "Paying Bank",
                "",
                ("issuer", "participant"),
                (
                    ("ed25519", PAYER.public_key, "treasury", ("*",)),
                    ("p256", SECOND.public_key, "control", ("transfers",)),
                ),
            ),
            operation(
                "members",
                "admit",
                "BANK",
                "Receiving Bank",
                "TESTCZPPXXX",
                ("participant",),
                (("ed25519", BANK.public_key, "treasury", ("*",)),),
            ),
            height=1,
        ),
    )
    world.block(
        2,
        world.signed(
            "PAYER",
            [PAYER],
            operation("assets", "register", "CZK", "currency", 2, 10**18, bytes(32)),
            operation("assets", "open_accounts", ("PAYER/main",)),
            height=2,
        ),
        world.signed(
            "BANK", [BANK], operation("assets", "open_accounts", ("BANK/one", "BANK/two")), height=2
        ),
    )
    world.block(
        3,
        world.signed(
            "PAYER", [PAYER], operation("assets", "issue", "CZK", "PAYER/main", 10**9, ""), height=3
        ),
    )
    transfers = [world.signed("PAYER", [PAYER], send(100 + n, f"order-{n}"), height=4) for n in range(5)]
    transfers.append(world.signed("PAYER", [PAYER], send(10**18, "too much"), height=4))
    legs = (("BANK/one", 7, "leg-1"), ("BANK/two", 8, "leg-2"))
    many = operation("transfers", "send_many", "PAYER/main", "CZK", 15, legs, bytes(range(16)), "salary")
    transfers.append(world.signed("PAYER", [PAYER, SECOND], many, height=4))
    world.block(4, *transfers)
    for height in range(5, 10):
        world.block(height, world.signed("PAYER", [PAYER], send(1, "later", "BANK/two"), height=height))
    return world


@cache
def golden() -> World:
    """The one chain of the vectors."""
    return populate(World())


def values() -> dict[str, Any]:
    """Everything that formats.json pins; bytes as hex."""
    world = golden()
    block = world.store.block(4)
    assert block is not None
    body = world.store.body(4, 6)
    assert body is not None
    signed: SignedParts = codec.decoder(SignedParts)(body)
    tx_id = transaction_id(INTERNATIONAL, signed[0])
    tables: dict[str, Any] = {"assets": Assets.tables, "members": Members.tables}
    stored = {
        "assets/balance": tables["assets"]["balance"].key("PAYER/main", "CZK"),
        "members/key": tables["members"]["key"].key("PAYER", PAYER.key_id),
    }
    proofs = SuiteProofs(INTERNATIONAL, InternationalVerifier())
    found: dict[str, Any] = {
        "encoding": [{"value": _shown(value), "encoded": codec.encode(value)} for value in EXAMPLES],
        "keys": {
            name: {
                "algorithm": signer.algorithm,
                "secret": signer.secret(),
                "public_key": signer.public_key,
                "key_id": signer.key_id,
            }
            for name, signer in (
                ("sequencer", SEQUENCER),
                ("PAYER/treasury", PAYER),
                ("PAYER/control", SECOND),
            )
        },
        "genesis": codec.encode(world.genesis),
        "chain_id": world.chain_id,
        "authority_root": authority_root(INTERNATIONAL, world.genesis.authority),
        "transaction": signed[0],
        "tx_id": tx_id,
        "signed_message": hashing.SIGN_TX + world.chain_id + tx_id,
        "signatures": signed[1],
        "signed_transaction": body,
        "signed_hash": INTERNATIONAL.digest(hashing.SIGNED + body),
        "leaf": block.leaves[6],
        "receipt": block.receipts[6],
        "refused_receipt": block.receipts[5],
        "unique_id": {
            "operation": 1,
            "id": proofs.unique_id(tx_id, 1),
        },
        "content": {"operations": codec.encode(CONTENT), "hash": proofs.content_hash(CONTENT)},
        "validator_address": {
            "public_key": NODE.public_key,
            "address": proofs.validator_address(NODE.public_key),
        },
        "evidence": codec.encode(EVIDENCE),
        "header": block.header,
        "app_hash": block.app_hash,
        "sequencer_message": hashing.SIGN_HEADER + world.chain_id + block.app_hash,
        "sequencer_signature": block.certificate,
        "state": {name: _state_vector(world, key) for name, key in stored.items()},
        "head": {"height": 9, "state_root": world.ledger.info().state_root},
    }
    return dict(_hexed(found))


EXAMPLES: Final[tuple[Any, ...]] = (
    *(0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1),
    *("", "a", "x" * 31, "x" * 32, "č", b"", b"\x00", bytes(255), bytes(256)),
    *((), (1, "a", b"b"), tuple(range(15)), tuple(range(16)), ((), ((),))),
)
"""Values at the edges of MessagePack's forms."""

SignedParts = tuple[bytes, tuple[tuple[bytes, bytes], ...]]


def files() -> dict[str, bytes]:
    """The whole documents, by file name."""
    world = golden()
    header = world.store.headers(9, 1)[0].header
    return {
        "genesis.json": format_genesis(world.genesis),
        "receipt.json": write_document(world.receipt_file(4, 6)),
        "receipt_refused.json": write_document(world.receipt_file(4, 5)),
        "receipt_later.json": write_document(world.receipt_file(4, 2, certified_height=9)),
        "checkpoint.json": write_document(make_checkpoint(world.genesis, header)),
        "snapshot.json": json.dumps(snapshot_vector(world), indent=1).encode() + b"\n",
        "formats.json": json.dumps(values(), indent=1, ensure_ascii=False).encode() + b"\n",
    }


def snapshot_vector(world: World) -> dict[str, Any]:
    """A snapshot of the whole chain."""
    made = world.store.make_snapshot()
    chunks = [world.store.snapshot_chunk(made.height, at) for at in range(made.chunks)]
    fields = made._asdict() | {"chunks": chunks, "app_hash": world.ledger.info().app_hash}
    return dict(_hexed(fields))


def _shown(value: Any) -> Any:
    """A value in JSON, its bytes as an object, so that they are told from text."""
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _state_vector(world: World, key: bytes) -> dict[str, Any]:
    value = world.store.get(key)
    assert value is not None
    proof = world.ledger.prove(key)
    return {
        "key": key,
        "value": value,
        "K": INTERNATIONAL.digest(hashing.STATE_KEY + key),
        "V": INTERNATIONAL.digest(hashing.STATE_VALUE + value),
        "proof": {"leaf": proof.leaf, "siblings": proof.siblings},
    }


def _hexed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hexed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hexed(item) for item in value]
    return to_json(value)


if __name__ == "__main__":
    from tests.vectors import golden_cometbft

    for name, content in {**files(), **golden_cometbft.files()}.items():
        (FOLDER / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
