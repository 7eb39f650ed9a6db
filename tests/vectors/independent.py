"""A second implementation of the formats, written from docs/formats.md and nothing else: it imports nothing
of the product.

It reads and writes the encoding and signs transactions; ``independent_receipts.py`` verifies receipt files.
Ed25519 is OpenSSL's here,
which is stricter than the ZIP-215 rule of the document (it refuses some encodings and skips the cofactor),
so it could refuse a certified transaction whose signature was made to show that; on the signatures of honest
signers both rules agree. Section numbers are those of the document.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Value = int | str | bytes | tuple[Any, ...]
INTEGER_MAX: Final = 2**63 - 1
SUITE = "international"
"""Of the chains that this file reads; independent_guomi.py is this file with another suite."""
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class RefusedError(Exception):
    """The bytes are not what the document says they should be. ``args[0]`` is the code of section 9."""


# --- 1 Encoding -----------------------------------------------


def encode(value: Value | Sequence[Any]) -> bytes:
    """The one encoding of an integer, text, bytes or array of such."""
    if isinstance(value, int):
        if not 0 <= value <= INTEGER_MAX:
            raise ValueError(value)
        if value < 128:
            return bytes([value])
        return _sized(value, {1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF})
    if isinstance(value, str):
        text = value.encode()
        if len(text) < 32:
            return bytes([0xA0 + len(text)]) + text
        return _sized(len(text), {1: 0xD9, 2: 0xDA, 4: 0xDB}) + text
    if isinstance(value, bytes):
        return _sized(len(value), {1: 0xC4, 2: 0xC5, 4: 0xC6}) + value
    head = bytes([0x90 + len(value)]) if len(value) < 16 else _sized(len(value), {2: 0xDC, 4: 0xDD})
    return head + b"".join([encode(item) for item in value])


def _sized(number: int, forms: dict[int, int]) -> bytes:
    width = next(width for width in forms if number < 256**width)
    return bytes([forms[width]]) + number.to_bytes(width, "big")


def decode(data: bytes) -> Value:
    """The value whose encoding ``data`` is; refuses everything that is not the one encoding of a value."""
    try:
        value, end = _read(data, 0, 0)
    except (IndexError, UnicodeDecodeError) as error:
        raise RefusedError(6) from error
    if end != len(data) or encode(value) != data:
        raise RefusedError(6)
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    first, at = data[at], at + 1
    if first < 0x80:
        return first, at
    if 0x90 <= first < 0xA0:
        return _array(data, at, first - 0x90, depth)
    if 0xA0 <= first < 0xC0:
        return _text(data, at, first - 0xA0)
    widths = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
    widths.update({0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4})
    if first not in widths:
        raise RefusedError(6)
    number, at = int.from_bytes(_bytes(data, at, widths[first]), "big"), at + widths[first]
    if 0xCC <= first <= 0xCF:
        if number > INTEGER_MAX:
            raise RefusedError(6)
        return number, at
    if first >= 0xDC:
        return _array(data, at, number, depth)
    if first >= 0xD9:
        return _text(data, at, number)
    return _bytes(data, at, number), at + number


def _bytes(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise RefusedError(6)
    return data[at : at + length]


def _text(data: bytes, at: int, length: int) -> tuple[str, int]:
    return _bytes(data, at, length).decode(), at + length


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[Value, int]:
    if count > len(data) - at or depth > 8:
        raise RefusedError(6)
    items = []
    for _ in range(count):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return tuple(items), at


Shape = Any
"""int: largest value. (int, low, high): values. (str, low, high), (bytes, low, high): lengths. [low, high,
shape]: array. (shape, ...): record.
"""


def check_shape(value: Any, shape: Shape) -> None:
    """Refuses a value outside the bounds of its record."""
    if not isinstance(shape, int | list) and shape[0] is int:
        good = isinstance(value, int) and shape[1] <= value <= shape[2]
    elif isinstance(shape, int):
        good = isinstance(value, int) and value <= shape
    elif isinstance(shape, list):
        low, high, item = shape
        good = isinstance(value, tuple) and low <= len(value) <= high
        for one in value if good else ():
            check_shape(one, item)
    elif shape[0] in (str, bytes):
        good = isinstance(value, shape[0]) and shape[1] <= len(value) <= shape[2]
    else:
        good = isinstance(value, tuple) and len(value) == len(shape)
        for one, part in zip(value, shape, strict=True) if good else ():
            check_shape(one, part)
    if not good:
        raise RefusedError(6)


HASH: Final = (bytes, 32, 32)
NAME: Final = (str, 1, 32)
BLOB: Final = (bytes, 0, 131_072)
TRANSACTION: Final = (
    *(1, (bytes, 8, 8), (str, 1, 16), (bytes, 16, 16), INTEGER_MAX),
    [1, 100, (NAME, NAME, BLOB)],
)
SIGNED: Final = (BLOB, [1, 16, ((bytes, 16, 16), (bytes, 64, 64))])
RECEIPT: Final = (
    *(1, HASH, INTEGER_MAX, 2**32 - 1, (str, 0, 32), 2**16 - 1, 2**16 - 1),
    [0, 4_096, (NAME, NAME, BLOB)],
)
LEAF: Final = (HASH, (str, 0, 16), (bytes, 16, 16), HASH)
HEADER: Final = (
    *(1, HASH, 2**32 - 1, INTEGER_MAX, INTEGER_MAX, HASH, HASH, 2**32 - 1),
    *(HASH, HASH, HASH, HASH),
)


def read(data: bytes, shape: Shape) -> Any:
    """A record from its encoding; a version field is 1."""
    value = decode(data)
    check_shape(value, shape)
    if isinstance(value, tuple) and shape[0] == 1 and value[0] != 1:
        raise RefusedError(6)
    return value


# --- 2 Hashes and keys, 3 Merkle trees -----------------------------------------------


def sha(data: bytes) -> bytes:
    """H of the suite."""
    return hashlib.sha256(data).digest()


def tagged(tag: str, data: bytes) -> bytes:
    """A hash that names its purpose."""
    return sha(tag.encode() + b"\0" + data)


def key_id(algorithm: str, public_key: bytes) -> bytes:
    """The 16 bytes that name a key."""
    return tagged("vostro/key/1", algorithm.encode() + b"\0" + public_key)[:16]


def is_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 key signed the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_signed(algorithm: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key signed the message."""
    if algorithm == "ed25519":
        return is_ed25519(public_key, message, signature)
    try:
        if algorithm == "p256" and len(public_key) == 33:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if not (0 < r < P256_ORDER and 0 < s <= P256_ORDER // 2):
                return False
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def merkle(digest: Callable[[bytes], bytes], leaves: Sequence[bytes]) -> bytes:
    """The Merkle root, by the definition."""
    if not leaves:
        return digest(b"")
    if len(leaves) == 1:
        return digest(b"\x00" + leaves[0])
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return digest(b"\x01" + merkle(digest, leaves[:left]) + merkle(digest, leaves[left:]))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The Merkle root with H of the suite."""
    return merkle(sha, leaves)


def sha256_root_of(leaves: Sequence[bytes]) -> bytes:
    """The Merkle root of CometBFT, whatever the suite."""
    return merkle(lambda data: hashlib.sha256(data).digest(), leaves)


def is_included(data: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Section 3, line by line."""
    if index >= size:
        return False
    last, node = size - 1, sha(b"\x00" + data)
    for sibling in path:
        if last == 0:
            return False
        if index % 2 or index == last:
            node = sha(b"\x01" + sibling + node)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = sha(b"\x01" + node + sibling)
        index, last = index // 2, last // 2
    return last == 0 and node == root


# --- 4 Genesis, 5 Transaction -----------------------------------------------


def genesis_bytes(document: dict[str, Any]) -> bytes:
    """The encoding of the genesis record that a genesis.json spells."""
    limits = document["limits"]
    return encode((
        document["version"],
        document["name"],
        document["suite"],
        document["protocol"],
        document["time_ms"],
        (
            limits["lifetime_ms"],
            limits["heartbeat_ms"],
            limits["block_work_max"],
            limits["block_bytes_max"],
        ),
        document["administrator"],
        document["threshold"],
        [_holder(entry) for entry in document["administrators"]],
        [_founder(entry) for entry in document["founders"]],
        authority_of(document),
        [_node(entry) for entry in document["nodes"]],
        _rules(document["governance"]),
        [(entry["contract"], entry["height"]) for entry in document["contracts"]],
    ))  # fmt: skip


def _holder(entry: dict[str, Any]) -> tuple[str, bytes, str]:
    return entry["algorithm"], bytes.fromhex(entry["public_key"]), entry["holder"]


def _founder(entry: dict[str, Any]) -> tuple[Any, ...]:
    keys = [_holder(key) for key in entry["keys"]]
    return entry["member"], entry["full_name"], entry["bic"], entry["roles"], keys


def _node(entry: dict[str, Any]) -> tuple[Any, ...]:
    keys = [bytes.fromhex(entry[name]) for name in ("public_key", "validator")]
    return entry["member"], entry["algorithm"], *keys


def _rules(rules: dict[str, Any]) -> list[Any]:
    parts = [rules[name] for name in ("members", "validators", "upgrades", "rules", "recovery")]
    return [
        *((part["numerator"], part["denominator"], part["waiting_ms"]) for part in parts),
        *(rules[name] for name in ("veto_numerator", "veto_denominator", "lifetime_ms")),
    ]


def authority_of(document: dict[str, Any]) -> list[tuple[str, bytes, int]]:
    entries = document["authority"]
    return [(entry["algorithm"], bytes.fromhex(entry["public_key"]), entry["power"]) for entry in entries]


def chain_id(document: dict[str, Any]) -> bytes:
    """The chain that a genesis.json begins."""
    return tagged("vostro/genesis/1", genesis_bytes(document))


def sign_transaction(
    chain: bytes,
    member: str,
    request_id: bytes,
    operations: Sequence[tuple[str, str, Sequence[Any]]],
    seed: bytes,
) -> bytes:
    """A signed transaction of a member with one Ed25519 key; operations are (contract, method, arguments)."""
    calls = [(contract, method, encode(arguments)) for contract, method, arguments in operations]
    transaction = encode((1, chain[:8], member, request_id, 0, calls))
    private = Ed25519PrivateKey.from_private_bytes(seed)
    message = b"vostro/sign/tx/1\0" + chain + tagged("vostro/tx/1", transaction)
    name = key_id("ed25519", private.public_key().public_bytes_raw())
    return encode((transaction, [(name, private.sign(message))]))
