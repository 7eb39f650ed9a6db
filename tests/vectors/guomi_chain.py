"""The golden chain of the suite guomi: the transactions of golden.py, signed with SM2 and hashed with SM3.

``files()`` makes every document in tests/vectors/guomi but the published vectors. To pin anew, after an ADR
has said why a byte may change: ``python -m tests.vectors.guomi_chain``.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import gmssl_pyx

from contracts import assemble
from node.client.signing import operation, sign, transaction, transaction_id
from node.genesis_file import format_genesis, make_genesis
from node.json_form import to_json, write_document
from node.keys.verify import GuomiVerifier
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.hashing import GUOMI
from node.ledger.ledger import Finalized, Ledger
from node.ledger.types import AdministratorKey, Authority, Node, Operation
from node.receipts import make_checkpoint
from node.storage.memory import MemoryStore
from tests.vectors import golden, independent
from tests.vectors.sm2_arithmetic import FixedNonceSigner

FOLDER: Final = Path(__file__).parent / "guomi"

ADMINISTRATOR: Final = FixedNonceSigner(bytes([1]) * 32)
SEQUENCER: Final = FixedNonceSigner(bytes([2]) * 32)
PAYER: Final = FixedNonceSigner(bytes([3]) * 32)
BANK: Final = FixedNonceSigner(bytes([5]) * 32)
NODE: Final = FixedNonceSigner(bytes([6]) * 32)
KEY_FILE_PASSPHRASE: Final = "correct horse 电池".encode()


class GuomiWorld(golden.World):
    """A chain of the suite guomi that is driven block by block."""

    def __init__(self) -> None:
        self.genesis = golden.pinned(
            make_genesis(
                "guomi vectors",
                [AdministratorKey("sm2", ADMINISTRATOR.public_key, "operations")],
                [Authority("sm2", SEQUENCER.public_key, 1)],
                nodes=[Node("ADMIN", "sm2", NODE.public_key, b"")],
                time_ms=golden.BEGIN_MS,
                suite=GUOMI.name,
            )
        )
        self.store = MemoryStore()
        self.ledger = Ledger(self.genesis, assemble, self.store, GuomiVerifier())
        self.chain_id = self.ledger.chain.chain_id
        self.count = 0
        self._commit(self.ledger.init_chain())

    def made(self, member: str, signer: FixedNonceSigner, *operations: Operation, height: int) -> bytes:
        """A signed transaction that is alive at ``height``."""
        body = transaction(
            self.chain_id, member, operations, request_id=self.request_id(self.time_ms(height))
        )
        return sign(GUOMI, self.chain_id, body, [signer])

    def _commit(self, finalized: Finalized) -> Finalized:
        self.ledger.commit(SEQUENCER.sign(hashing.SIGN_HEADER + self.chain_id + finalized.app_hash))
        self.store.sync()
        self.ledger.publish()
        return finalized


@cache
def chain() -> GuomiWorld:
    """The one chain of the vectors: members, an asset, accounts, money, then transfers at heights 4 and 5."""
    world = GuomiWorld()
    admissions = [
        operation(
            "members", "admit", member, name, "", roles, (("sm2", signer.public_key, "treasury", ("*",)),)
        )
        for member, name, roles, signer in (
            ("PAYER", "Paying Bank", ("issuer", "participant"), PAYER),
            ("BANK", "Receiving Bank", ("participant",), BANK),
        )
    ]
    world.block(1, world.made("ADMIN", ADMINISTRATOR, *admissions, height=1))
    world.block(
        2,
        world.made(
            "PAYER",
            PAYER,
            operation("assets", "register", "CZK", "currency", 2, 10**18, bytes(32)),
            operation("assets", "open_accounts", ("PAYER/main",)),
            operation("assets", "issue", "CZK", "PAYER/main", 10**9, ""),
            height=2,
        ),
        world.made("BANK", BANK, operation("assets", "open_accounts", ("BANK/one", "BANK/two")), height=2),
    )
    amounts = (100, 101, 10**18)  # the last is too much
    world.block(4, *[world.made("PAYER", PAYER, golden.send(n, f"order-{n}"), height=4) for n in amounts])
    world.block(5, world.made("PAYER", PAYER, golden.send(1, "later", "BANK/two"), height=5))
    return world


def values() -> dict[str, Any]:
    """What formats.json pins; bytes as hex."""
    world = chain()
    block, body = world.store.block(4), world.store.body(4, 1)
    assert block is not None
    assert body is not None
    signed: golden.SignedParts = codec.decoder(golden.SignedParts)(body)
    tx_id = transaction_id(GUOMI, signed[0])
    found = {
        "keys": {
            name: {
                "algorithm": signer.algorithm,
                "secret": signer.secret(),
                "public_key": signer.public_key,
                "key_id": signer.key_id,
            }
            for name, signer in (("sequencer", SEQUENCER), ("PAYER/treasury", PAYER))
        },
        "genesis": codec.encode(world.genesis),
        "chain_id": world.chain_id,
        "authority_root": authority_root(GUOMI, world.genesis.authority),
        "transaction": signed[0],
        "tx_id": tx_id,
        "signed_message": hashing.SIGN_TX + world.chain_id + tx_id,
        "signatures": signed[1],
        "signed_transaction": body,
        "signed_hash": GUOMI.digest(hashing.SIGNED + body),
        "leaf": block.leaves[1],
        "receipt": block.receipts[1],
        "header": block.header,
        "app_hash": block.app_hash,
        "sequencer_message": hashing.SIGN_HEADER + world.chain_id + block.app_hash,
        "sequencer_signature": block.certificate,
        "head": {"height": 5, "state_root": world.ledger.info().state_root},
    }
    return {name: _hexed(value) for name, value in found.items()}


def files() -> dict[str, bytes]:
    """The whole documents, by file name."""
    world = chain()
    header = world.store.headers(5, 1)[0].header
    return {
        "genesis.json": format_genesis(world.genesis),
        "receipt.json": write_document(world.receipt_file(4, 1)),
        "receipt_later.json": write_document(world.receipt_file(4, 0, certified_height=5)),
        "checkpoint.json": write_document(make_checkpoint(world.genesis, header)),
        "keyfile.json": key_file(),
        "formats.json": json.dumps(values(), indent=1).encode() + b"\n",
    }


def key_file() -> bytes:
    """PAYER's key file, made by GmSSL from section 10 of the document."""
    salt, nonce, public_key = bytes(range(32)), bytes(range(12)), PAYER.public_key
    label, created = "Überweisungen 支付", "2026-01-31T12:00:00Z"
    fields = (
        *(1, "sm2", public_key, PAYER.key_id, label, created),
        *("scrypt", 2**14, 8, 1, salt, "sm4-gcm", nonce),
    )
    key = hashlib.scrypt(KEY_FILE_PASSPHRASE, salt=salt, n=2**14, r=8, p=1, maxmem=2**26, dklen=16)
    associated = b"vostro/keyfile/1\0" + independent.encode(fields)
    ciphertext, tag = gmssl_pyx.sm4_gcm_encrypt(key, nonce, associated, PAYER.secret())
    document = {
        "version": 1,
        "algorithm": "sm2",
        "public_key": public_key.hex(),
        "key_id": PAYER.key_id.hex(),
        "label": label,
        "created": created,
        "kdf": {"function": "scrypt", "n": 2**14, "r": 8, "p": 1, "salt": salt.hex()},
        "cipher": {"function": "sm4-gcm", "nonce": nonce.hex()},
        "ciphertext": (ciphertext + tag).hex(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _hexed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hexed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hexed(item) for item in value]
    return to_json(value)


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")
