"""The second implementation's half for receipt files (docs/formats.md, section 9): written from the document,
with hashlib, one library for signatures, and nothing of the product.
"""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from tests.vectors.independent import (
    HASH,
    HEADER,
    INTEGER_MAX,
    LEAF,
    RECEIPT,
    SIGNED,
    SUITE,
    TRANSACTION,
    RefusedError,
    authority_of,
    chain_id,
    encode,
    is_ed25519,
    is_included,
    is_signed,
    key_id,
    read,
    root_of,
    sha,
    sha256_root_of,
    tagged,
)

FILE_BYTES_MAX: Final = 64 * 1024 * 1024

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
    if file["kind"] == "embedded":
        _check_sequencer(trusted, certified, certified_hash, file["signature"])
    else:
        links = [*file["handovers"], ("cometbft", file["signed_header"])]
        check_links(trusted, [_link(*link) for link in links], certified, certified_hash)
    return {"member": transaction[2], "tx_id": tx_id.hex(), "height": header[3], "applied": receipt[5] == 0}


def _sequencer_of(authority: list[tuple[str, bytes, int]]) -> tuple[str, bytes]:
    total = sum(power for _, _, power in authority)
    keys = [(algorithm, key) for algorithm, key, power in authority if 3 * power > 2 * total]
    _require(18, len(keys) == 1)
    return keys[0]


def _authority_root(authority: list[tuple[str, bytes, int]]) -> bytes:
    return root_of([encode(entry) for entry in sorted(authority)])


def _check_sequencer(
    trusted: dict[str, Any], certified: Any, certified_hash: bytes, signature: bytes
) -> None:
    """Step 9."""
    _require(17, certified[11] == _authority_root(trusted["authority"]))
    key = _sequencer_of(trusted["authority"])
    _require(19, is_signed(*key, b"vostro/sign/header/1\0" + trusted["chain"] + certified_hash, signature))


# --- 9 Receipt file: what CometBFT hashes and signs -----------------------------------------------

VALIDATOR: Final = ((bytes, 32, 32), (int, 1, 2**40))
VOTE: Final = (2**32 - 1, INTEGER_MAX, 999_999_999, (bytes, 64, 64))
MAYBE: Final = (bytes, 0, 32)
COMET_HEADER: Final = (
    *(INTEGER_MAX, INTEGER_MAX, (str, 1, 50), (int, 1, INTEGER_MAX), INTEGER_MAX, 999_999_999),
    *(
        (MAYBE, 2**32 - 1, MAYBE),
        MAYBE,
        MAYBE,
        HASH,
        HASH,
        MAYBE,
        (bytes, 0, 64),
        MAYBE,
        MAYBE,
        (bytes, 20, 20),
    ),
)
SIGNED_HEADER: Final = (
    *(1, COMET_HEADER, 2**31 - 1, 2**32 - 1, HASH),
    *([1, 1_024, VALIDATOR], [1, 1_024, VOTE]),
)


def varint(number: int) -> bytes:
    """Seven bits a byte, least first."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def field(number: int, value: int | bytes | str, *, always: bool = False, fixed: bool = False) -> bytes:
    """A field of a protobuf message."""
    if not value and not always:
        return b""
    if isinstance(value, int):
        rest = value.to_bytes(8, "little") if fixed else varint(value)
        return bytes([8 * number + fixed]) + rest
    data = value.encode() if isinstance(value, str) else value
    return bytes([8 * number + 2]) + varint(len(data)) + data


def block_id(block_hash: bytes, total: int, parts_hash: bytes) -> bytes:
    """The row "block id"."""
    return field(1, block_hash) + field(2, field(1, total) + field(2, parts_hash), always=True)


def set_hash(validators: Sequence[tuple[bytes, int]]) -> bytes:
    """The hash of a validator set."""
    return sha256_root_of(
        [field(1, field(1, key), always=True) + field(2, power) for key, power in validators]
    )


def comet_header_hash(header: Any) -> bytes:
    """The hash of a header of CometBFT."""
    leaves = [
        field(1, header[0]) + field(2, header[1]),
        field(1, header[2]),
        field(1, header[3]),
        field(1, header[4]) + field(2, header[5]),
        block_id(*header[6]),
    ]
    return sha256_root_of(leaves + [field(1, value) for value in header[7:]])


def vote_message(signed: Any, vote: Any) -> bytes:
    """What a vote's signature covers."""
    header = signed[1]
    message = (
        field(1, 2)
        + field(2, header[3], fixed=True)
        + field(3, signed[2], fixed=True)
        + field(4, block_id(comet_header_hash(header), signed[3], signed[4]))
        + field(5, field(1, vote[1]) + field(2, vote[2]), always=True)
        + field(6, header[2])
    )
    return varint(len(message)) + message


def _link(kind: str, given: Any) -> dict[str, Any]:
    """A link, decoded: of the validators, or of the sequencer."""
    if kind == "cometbft":
        signed = read(given, SIGNED_HEADER)
        return {"signed": signed, "height": signed[1][3], "own": signed[1][9], "next": signed[1][10]}
    header = read(given["header"], HEADER)
    return {
        "signed": None,
        "height": header[3],
        "header": header,
        "header_bytes": given["header"],
        "key": given["key"],
        "signature": given["signature"],
    }


def check_links(
    trusted: dict[str, Any], links: list[dict[str, Any]], certified: Any, app_hash: bytes
) -> None:
    """Step 10."""
    chain = trusted["chain"]
    for link in links:
        name = "vostro-" + chain[:16].hex()
        _require(20, link["signed"][1][2] == name if link["signed"] else link["header"][1] == chain)
    heights = [link["height"] for link in links]
    _require(21, all(low < high for low, high in pairwise(heights)))
    _require(21, all(link["signed"] for link in links[1:]) and certified[3] < heights[-1])
    by_validators = [link["signed"] for link in links if link["signed"]]
    for signed in by_validators:
        distinct = len({key for key, _ in signed[5]}) == len(signed[5])
        _require(22, distinct and set_hash(signed[5]) == signed[1][9])
    _check_trusted(trusted, links)
    for link, after in pairwise(links):
        if link["signed"]:
            _require(23, link["next"] == after["own"])
        else:
            _require(23, link["header"][11] == _authority_root(_as_authority(after["signed"])))
    for signed in by_validators:
        places = [vote[0] for vote in signed[6]]
        _require(24, places == sorted(set(places)) and places[-1] < len(signed[5]))
    for signed in by_validators:
        voted = sum(signed[5][vote[0]][1] for vote in signed[6])
        _require(25, 3 * voted > 2 * sum(power for _, power in signed[5]))
    _require(26, by_validators[-1][1][12] == app_hash)
    for link in links:
        if link["signed"] is None:
            message = b"vostro/sign/header/1\0" + chain + tagged("vostro/header/1", link["header_bytes"])
            algorithm, key = link["key"]
            _require(19, is_signed(algorithm, key, message, link["signature"]))
            continue
        for vote in link["signed"][6]:
            key = link["signed"][5][vote[0]][0]
            _require(19, is_ed25519(key, vote_message(link["signed"], vote), vote[3]))


def _as_authority(signed: Any) -> list[tuple[str, bytes, int]]:
    return [("ed25519", key, power) for key, power in signed[5]]


def _check_trusted(trusted: dict[str, Any], links: list[dict[str, Any]]) -> None:
    """Whether the first link after what is trusted is of the trusted authority."""
    for link in links:
        if link["height"] > trusted["height"] + (1 if link["signed"] else 0):
            break
    else:
        link = links[-1]
    if link["signed"]:
        _require(17, sorted(_as_authority(link["signed"])) == sorted(trusted["authority"]))
    else:
        _require(17, _sequencer_of(trusted["authority"]) == link["key"])


# --- 9 Receipt file: JSON -----------------------------------------------


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
        _require(1, document["suite"] == SUITE)
        return {"chain": chain, "height": height, "app_hash": app_hash, "authority": authority_of(document)}
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
        certificate, handovers = document["certificate"], document["handovers"]
        kind = _kind(certificate)
        _require(4, kind in (None, "embedded", "cometbft"))
        if isinstance(handovers, list):
            allowed = () if kind == "embedded" else (None, "embedded", "cometbft")
            _require(5, all(_kind(entry) in allowed for entry in handovers))
        last = _handover(certificate) if kind == "cometbft" else _sequencer(certificate)
        names = ("transaction", "receipt", "leaf", "header", "certified_header")
        file = {name: _hex(document[name]) for name in names}
        file["app_hash"] = _hash(document["app_hash"])
        file["signed_header" if kind == "cometbft" else "signature"] = last[1]
        paths = {name: _list(document[name], 0, 64, _hash) for name in ("leaf_path", "receipt_path")}
        steps = _list(document["history_path"], 0, 64, _step)
        lists = {"keys": _list(document["keys"], 1, 16, _key), "history_path": steps}
        return {**file, **paths, **lists, "kind": kind, "handovers": _list(handovers, 0, 4_096, _handover)}
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


def _kind(value: Any) -> str | None:
    """The kind that a certificate or hand-over states, if it states one."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


def _sequencer(value: dict[str, Any]) -> tuple[str, bytes]:
    """A certificate of kind ``embedded``."""
    _require(2, sorted(value) == ["kind", "signature"] and value["kind"] == "embedded")
    return "embedded", _signature(value["signature"])


def _handover(value: dict[str, Any]) -> tuple[str, Any]:
    """A hand-over of either kind; a certificate of kind ``cometbft`` has the same shape."""
    if value["kind"] == "cometbft":
        _require(2, sorted(value) == ["kind", "signed_header"])
        return "cometbft", _hex(value["signed_header"])
    _require(2, sorted(value) == ["header", "key", "kind", "signature"] and value["kind"] == "embedded")
    parts = {"key": _key(value["key"]), "signature": _signature(value["signature"])}
    return "embedded", {"header": _hex(value["header"]), **parts}


def _signature(value: Any) -> bytes:
    found = _hex(value)
    _require(2, len(found) == 64)
    return found
