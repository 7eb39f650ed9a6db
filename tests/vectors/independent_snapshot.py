"""A second verifier of snapshots, written from docs/formats.md, section 16, alone. It shares no code with the
product.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.vectors.independent import RefusedError, decode, encode, root_of, sha, tagged


class Verified(NamedTuple):
    """What a snapshot proves."""

    height: int
    records: dict[bytes, bytes]
    spent: dict[tuple[str, bytes], bytes]
    history: list[bytes]


def verify_snapshot(chunks: Sequence[bytes], app_hash: bytes, lifetime_ms: int) -> Verified:
    """The content of a snapshot whose header has the trusted app hash. Raises RefusedError."""
    manifest: Any = canonical(chunks[0])
    version, header_bytes, position, edges, right, depth, cut, window, state = manifest
    require(version == 1, "version")
    header: Any = canonical(header_bytes)
    require(tagged("vostro/header/1", header_bytes) == app_hash, "header")
    require(len(chunks) == 1 + len(window) + len(state), "number of chunks")
    for chunk, entry in zip(chunks[1:], (*window, *state), strict=True):
        require(tagged("vostro/snapshot-chunk/1", chunk) == entry[0], "hash of a chunk")
    peaks = history(position, edges, right, header)
    first_state = 1 + len(window)
    spent = spent_ids(chunks[1:first_state], window, position, header, app_hash, lifetime_ms)
    records = state_records(chunks[first_state:], state, depth, cut, header[10])
    return Verified(header[3], records, spent, peaks)


def history(size: int, edges: Any, right: Any, header: Any) -> list[bytes]:
    """The peaks of the history tree."""
    levels = [level for level in range(63, -1, -1) if size >> level & 1]
    require([len(siblings) for _, siblings in edges] == levels, "edges")
    peaks = []
    for leaf, siblings in edges:
        node = sha(b"\0" + leaf)
        for sibling in siblings:
            node = sha(b"\1" + node + sibling)
        peaks.append(node)
    if not peaks:
        require(header[6] == sha(b""), "history root")
        return peaks
    root = peaks[-1]
    for peak in peaks[-2::-1]:
        root = sha(b"\1" + peak + root)
    require(root == header[6], "history root")
    require(len(right) == levels[-1], "right edge")
    node = sha(b"\0" + header[5])
    for sibling in right:
        node = sha(b"\1" + sibling + node)
    require(node == peaks[-1], "right edge")
    return peaks


def spent_ids(
    chunks: Sequence[bytes], entries: Any, position: int, header: Any, app_hash: bytes, lifetime_ms: int
) -> dict[tuple[str, bytes], bytes]:
    """(member, request id) -> tx id, of all blocks of the window."""
    floor = header[4] - lifetime_ms - 60_000
    found: dict[tuple[str, bytes], bytes] = {}
    previous = bytes(32)
    for number, (chunk, (_, last, count)) in enumerate(zip(chunks, entries, strict=True)):
        before, blocks = canonical(chunk)
        require(not before or number == 0, "before")
        if before:
            old: Any = canonical(before)
            require(old[4] < floor, "beginning of the window")
            previous = tagged("vostro/header/1", before)
        if number == 0:
            require((sum(entry[2] for entry in entries) == position + 1) == (not before), "beginning")
        require(len(blocks) == count, "blocks of a chunk")
        for block_header, leaves in blocks:
            block: Any = canonical(block_header)
            require(block[5] == previous, "link")
            require(block[7] == len(leaves), "number of leaves")
            require(block[8] == root_of(leaves), "transactions root")
            for leaf in leaves:
                tx_id, member, request_id, _ = canonical(leaf)
                if tx_id != bytes(32):
                    found[member, request_id] = tx_id
            previous = tagged("vostro/header/1", block_header)
        require(previous == last, "last block of a chunk")
    require(previous == app_hash, "end of the window")
    return found


def state_records(
    chunks: Sequence[bytes], entries: Any, depth: int, cut: bytes, state_root: bytes
) -> dict[bytes, bytes]:
    """All records."""
    hashes = [cut[at : at + 32] for at in range(0, len(cut), 32)]
    require(len(hashes) == 16**depth, "cut")
    level = hashes
    while len(level) > 1:
        level = [
            tagged("vostro/state-node/1", b"".join(level[at : at + 16])) for at in range(0, len(level), 16)
        ]
    require(level[0] == state_root, "state root")
    firsts = [entry[1] for entry in entries]
    require(firsts[0] == 0, "first subtree")
    found: dict[bytes, bytes] = {}
    for chunk, first, end in zip(chunks, firsts, [*firsts[1:], 16**depth], strict=True):
        told, flat = canonical(chunk)
        require(told == first < end, "first subtree")
        rows = list(zip(flat[::2], flat[1::2], strict=True))
        keys = [tagged("vostro/state-key/1", key) for key, _ in rows]
        require(keys == sorted(set(keys)), "order of records")
        below: dict[int, list[bytes]] = {number: [] for number in range(first, end)}
        for k, (_, value) in zip(keys, rows, strict=True):
            number = int(k.hex()[:depth] or "0", 16)
            require(number in below, "subtree of a record")
            below[number].append(k + tagged("vostro/state-value/1", value))
        for number, pairs in below.items():
            require(subtree(pairs, depth) == hashes[number], "records of a subtree")
        found.update(rows)
    return found


def subtree(pairs: list[bytes], depth: int) -> bytes:
    """The hash of the subtree over K || V, ascending, that share ``depth`` digits of K (section 8)."""
    if not pairs:
        return bytes(32)
    if len(pairs) <= 32:
        return tagged("vostro/state-leaf/1", b"".join(pairs))
    children = [[pair for pair in pairs if pair.hex()[depth] == digit] for digit in "0123456789abcdef"]
    return tagged("vostro/state-node/1", b"".join(subtree(child, depth + 1) for child in children))


def canonical(data: bytes) -> Any:
    """Decoded bytes that are the one encoding of their value."""
    value: Any = decode(data)
    require(encode(value) == data, "encoding")
    return value


def require(good: object, what: str) -> None:
    """Raises RefusedError."""
    if not good:
        raise RefusedError(what)
