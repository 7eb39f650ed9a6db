"""A second implementation of the formats, written from docs/formats.md and nothing else: it imports nothing
of the product.

It reads and writes the encoding, signs transactions, and verifies receipt files. Ed25519 is OpenSSL's here,
which is stricter than the ZIP-215 rule of the document (it refuses some encodings and skips the cofactor),
so it could refuse a certified transaction whose signature was made to show that; on the signatures of honest
signers both rules agree. Section numbers are those of the document.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

Value = int | str | bytes | tuple[Any, ...]
INTEGER_MAX: Final = 2**63 - 1
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
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
"""int: largest value. (str, low, high), (bytes, low, high): lengths. [low, high, shape]: array. (shape,
...): record.
"""


def check_shape(value: Any, shape: Shape) -> None:
    """Refuses a value outside the bounds of its record."""
    if isinstance(shape, int):
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
    """H of the suite ``international``."""
    return hashlib.sha256(data).digest()


def tagged(tag: str, data: bytes) -> bytes:
    """A hash that names its purpose."""
    return sha(tag.encode() + b"\0" + data)


def key_id(algorithm: str, public_key: bytes) -> bytes:
    """The 16 bytes that name a key."""
    return tagged("vostro/key/1", algorithm.encode() + b"\0" + public_key)[:16]


def is_signed(algorithm: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key signed the message."""
    try:
        if algorithm == "ed25519":
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        elif algorithm == "p256" and len(public_key) == 33:
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


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The Merkle root, by the definition."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\x00" + leaves[0])
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\x01" + root_of(leaves[:left]) + root_of(leaves[left:]))


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
        _authority(document),
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


def _authority(document: dict[str, Any]) -> list[tuple[str, bytes, int]]:
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


# --- 9 Receipt file -----------------------------------------------

RECEIPT_NAMES: Final = (
    *("format", "version", "transaction", "keys", "receipt", "leaf", "leaf_path", "receipt_path"),
    *("header", "app_hash", "history_path", "certified_header", "certificate", "handovers"),
)


def verify_receipt(data: bytes, trust: bytes) -> dict[str, Any]:
    """What a receipt file proves; RefusedError with the code of the first step that fails."""
    trusted = _trusted(trust)
    file = _file(data)
    chain: bytes = trusted["chain"]
    signed = read(file["transaction"], SIGNED)
    transaction = read(signed[0], TRANSACTION)
    receipt, leaf, header = (
        read(file["receipt"], RECEIPT),
        read(file["leaf"], LEAF),
        read(file["header"], HEADER),
    )
    certified_bytes = file["certified_header"] or file["header"]
    certified = read(certified_bytes, HEADER)
    certified_hash = tagged("vostro/header/1", certified_bytes)
    _require(7, header[1] == certified[1] == chain and transaction[1] == chain[:8])
    tx_id = tagged("vostro/tx/1", signed[0])
    _require(8, [entry[0] for entry in signed[1]] == [key_id(*key) for key in file["keys"]])
    message = b"vostro/sign/tx/1\0" + chain + tx_id
    pairs = zip(file["keys"], signed[1], strict=True)
    _require(9, all(is_signed(key[0], key[1], message, entry[1]) for key, entry in pairs))
    _require(
        10, leaf == (tx_id, transaction[2], transaction[3], tagged("vostro/signed/1", file["transaction"]))
    )
    _require(11, is_included(file["leaf"], receipt[3], header[7], file["leaf_path"], header[8]))
    _require(12, is_included(file["receipt"], receipt[3], header[7], file["receipt_path"], header[9]))
    _require(13, receipt[1] == tx_id and receipt[2] == header[3])
    _require(14, file["app_hash"] == tagged("vostro/header/1", file["header"]))
    if file["certified_header"]:
        node = sha(b"\x00" + file["app_hash"])
        for side, other in file["history_path"]:
            node = sha(b"\x01" + other + node) if side == "left" else sha(b"\x01" + node + other)
        _require(15, node == certified[6] and certified[3] > header[3])
    else:
        _require(15, not file["history_path"])
    for one, app_hash in ((header, file["app_hash"]), (certified, certified_hash)):
        _require(16, one[3] != trusted["height"] or app_hash == trusted["app_hash"])
    authority = trusted["authority"]
    _require(17, certified[11] == root_of([encode(entry) for entry in sorted(authority)]))
    total = sum(power for _, _, power in authority)
    keys = [(algorithm, key) for algorithm, key, power in authority if 3 * power > 2 * total]
    _require(18, len(keys) == 1)
    _require(19, is_signed(*keys[0], b"vostro/sign/header/1\0" + chain + certified_hash, file["signature"]))
    return {"member": transaction[2], "tx_id": tx_id.hex(), "height": header[3], "applied": receipt[5] == 0}


def _require(code: int, good: object) -> None:
    if not good:
        raise RefusedError(code)


def _trusted(trust: bytes) -> dict[str, Any]:
    document = _json(trust, 1)
    try:
        if document["format"] == "vostro genesis":
            chain, height, app_hash = chain_id(document), -1, b""
        else:
            _require(1, document["format"] == "vostro checkpoint")
            _require(3, document["version"] == 1)
            chain, height = bytes.fromhex(document["chain"]), document["height"]
            app_hash = bytes.fromhex(document["app_hash"])
        _require(1, document["suite"] == "international")
        return {"chain": chain, "height": height, "app_hash": app_hash, "authority": _authority(document)}
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(1) from error


def _file(data: bytes) -> dict[str, Any]:
    """The file's fields with hex decoded, keys and steps as pairs."""
    document = _json(data, 2)
    _require(2, document.get("format") == "vostro receipt")
    _require(2, type(document.get("version")) is int)
    _require(3, document["version"] == 1)
    _require(2, sorted(document) == sorted(RECEIPT_NAMES))
    try:
        certificate = document["certificate"]
        _require(4, certificate["kind"] == "embedded" or not isinstance(certificate["kind"], str))
        _require(2, sorted(certificate) == ["kind", "signature"] and certificate["kind"] == "embedded")
        _require(5, document["handovers"] == [] or not isinstance(document["handovers"], list))
        _require(2, document["handovers"] == [])
        names = ("transaction", "receipt", "leaf", "header", "certified_header")
        file = {name: _hex(document[name]) for name in names}
        file["app_hash"] = _hash(document["app_hash"])
        file["signature"] = _hex(certificate["signature"])
        _require(2, len(file["signature"]) == 64)
        paths = {name: _list(document[name], 0, 64, _hash) for name in ("leaf_path", "receipt_path")}
        steps = _list(document["history_path"], 0, 64, _step)
        return {**file, **paths, "history_path": steps, "keys": _list(document["keys"], 1, 16, _key)}
    except (KeyError, TypeError) as error:
        raise RefusedError(2) from error


def _json(data: bytes, code: int) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _require(code, len(dict(pairs)) == len(pairs))
        return dict(pairs)

    def no_float(_: str) -> None:
        raise RefusedError(code)

    _require(code, len(data) <= FILE_BYTES_MAX)
    try:
        text = data.decode()
        document = json.loads(text, object_pairs_hook=members, parse_float=no_float, parse_constant=no_float)
    except (ValueError, RecursionError) as error:
        raise RefusedError(code) from error
    _require(code, isinstance(document, dict))
    return dict(document)


def _hex(value: Any) -> bytes:
    _require(2, isinstance(value, str) and len(value) % 2 == 0 and set(value) <= set("0123456789abcdef"))
    return bytes.fromhex(value)


def _hash(value: Any) -> bytes:
    found = _hex(value)
    _require(2, len(found) == 32)
    return found


def _list(value: Any, low: int, high: int, item: Callable[[Any], Any]) -> list[Any]:
    _require(2, isinstance(value, list) and low <= len(value) <= high)
    return [item(one) for one in value]


def _step(value: dict[str, Any]) -> tuple[str, bytes]:
    _require(2, sorted(value) == ["hash", "side"] and value["side"] in ("left", "right"))
    return value["side"], _hash(value["hash"])


def _key(value: dict[str, Any]) -> tuple[str, bytes]:
    _require(2, sorted(value) == ["algorithm", "public_key"])
    algorithm, public_key = value["algorithm"], _hex(value["public_key"])
    _require(2, isinstance(algorithm, str) and 1 <= len(algorithm) <= 16 and 32 <= len(public_key) <= 33)
    _require(2, not any("\ud800" <= character <= "\udfff" for character in algorithm))
    return algorithm, public_key
