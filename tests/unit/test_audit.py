"""The audit log: what was written verifies, and whatever was done to it is told with its line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from node.keys.audit import (
    HEAD,
    LINE_BYTES_MAX,
    LOG,
    Anchor,
    AuditDamaged,
    AuditLog,
    Head,
    line_hash,
    load_head,
    verify,
)
from node.keys.signer import Ed25519Signer

KEY = Ed25519Signer(bytes(range(32)))
OTHER = Ed25519Signer(bytes(range(1, 33)))
LINES = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path, KEY)
    for number in range(LINES):
        log.append("approval", 1_000 + number, request=f"{number % 3:032x}", by=f"person {number}")
    log.close()
    assert verify(tmp_path, KEY.public_key).problems == ()
    return tmp_path


def told(folder: Path, anchors: list[Anchor] | None = None) -> list[tuple[int, str]]:
    return list(verify(folder, KEY.public_key, anchors or ()).problems)


def lines_of(folder: Path) -> list[bytes]:
    return (folder / LOG).read_bytes().splitlines(keepends=True)


def write(folder: Path, lines: list[bytes]) -> None:
    (folder / LOG).write_bytes(b"".join(lines))


def resealed(lines: list[bytes]) -> list[bytes]:
    """Every hash made anew, as somebody does who knows the format and not the key."""
    previous, made = "0" * 64, []
    for raw in lines:
        fields = json.loads(raw)
        fields.pop("hash")
        fields["previous"] = previous
        body = json.dumps(fields, separators=(",", ":")).encode()[:-1]
        previous = line_hash(body)
        made.append(body + b',"hash":"' + previous.encode() + b'"}\n')
    return made


@pytest.mark.evidence(
    "CUS4", asset="the audit log", threat="a line is changed", mitigation="hash chain, signed head, anchors"
)
def test_every_flipped_byte_is_told_with_its_line(folder: Path) -> None:
    original, tried = (folder / LOG).read_bytes(), 0
    for at in range(len(original)):
        changed = bytearray(original)
        changed[at] ^= 1
        (folder / LOG).write_bytes(bytes(changed))
        line = original[:at].count(b"\n") + 1
        assert line in [problem[0] for problem in told(folder)], at
        with pytest.raises(AuditDamaged):
            AuditLog(folder, KEY)
        tried += 1
    print(f"{tried} flipped bytes, each told with its line")


@pytest.mark.evidence(
    "CUS4", asset="the audit log", threat="a line is changed", mitigation="hash chain, signed head, anchors"
)
def test_every_cut_is_told(folder: Path) -> None:
    original, tried = (folder / LOG).read_bytes(), 0
    for size in range(0, len(original), 5):
        (folder / LOG).write_bytes(original[:size])
        problems = told(folder)
        assert problems, size
        assert problems[-1][0] <= original[:size].count(b"\n") + 1
        tried += 1
    print(f"{tried} cuts, each told")


@pytest.mark.evidence(
    "CUS4", asset="the audit log", threat="a line is changed", mitigation="hash chain, signed head, anchors"
)
def test_removed_reordered_and_doubled_lines_are_told_with_their_line(folder: Path) -> None:
    lines, tried = lines_of(folder), 0
    for at in range(LINES - 1):
        changes: list[tuple[list[bytes], int]] = [
            ([*lines[:at], *lines[at + 1 :]], at + 1),
            ([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]], at + 1),
            ([*lines[: at + 1], lines[at], *lines[at + 1 :]], at + 2),
        ]
        for changed, line in changes:
            write(folder, changed)
            assert told(folder)[0][0] == line, (at, told(folder))
            with pytest.raises(AuditDamaged):
                AuditLog(folder, KEY)
            tried += 1
    print(f"{tried} removed, swapped and doubled lines, each told with its line")


@pytest.mark.evidence(
    "CUS4", asset="the audit log", threat="a line is changed", mitigation="hash chain, signed head, anchors"
)
def test_a_log_that_was_resealed_does_not_fit_its_head_or_its_anchors(folder: Path) -> None:
    lines = lines_of(folder)
    anchors = [Anchor(1, bytes.fromhex(json.loads(lines[3])["hash"]), 1), Anchor(2, _hash(lines[7]), 2)]
    report = verify(folder, KEY.public_key, anchors)
    assert (report.problems, report.anchors, report.anchored) == ((), 2, 8)
    for at in range(LINES):
        changed = [*lines[:at], lines[at].replace(b"person", b"nobody"), *lines[at + 1 :]]
        write(folder, resealed(changed))
        assert told(folder), at
        head = load_head(folder / HEAD)
        forged = json.loads(lines_of(folder)[-1])["hash"]
        _save(folder, Head(LINES, forged, head.signature))
        assert any("not signed" in text for _, text in told(folder)), at
        found = [line for line, text in told(folder, anchors) if "anchor" in text]
        assert found == ([1, 1] if at < 4 else [5] if at < 8 else []), at
        _save(folder, head)


def _hash(line: bytes) -> bytes:
    return bytes.fromhex(json.loads(line)["hash"])


def _save(folder: Path, head: Head) -> None:
    fields = {"sequence": head.sequence, "hash": head.hash, "signature": head.signature}
    (folder / HEAD).write_text(json.dumps(fields))


def test_a_tail_that_was_cut_whole_is_missed(folder: Path) -> None:
    lines = lines_of(folder)
    for left in range(LINES):
        write(folder, lines[:left])
        assert [line for line, text in told(folder) if "tail" in text] == [left]
        with pytest.raises(AuditDamaged):
            AuditLog(folder, KEY)


def test_a_line_that_was_torn_while_it_was_written_is_cut_off_and_told(folder: Path) -> None:
    with (folder / LOG).open("ab") as file:
        file.write(b'{"sequence":13,"time_ms":1,"ki')
    log = AuditLog(folder, KEY)
    assert (log.torn, log.head[0]) == (30, LINES)
    log.append("torn", 1, bytes=log.torn)
    log.close()
    assert told(folder) == []


ANOTHERS: list[tuple[str, Callable[[Path], object]]] = [
    ("another key's", lambda folder: _save(folder, _signed_by_other(folder))),
    ("missing", lambda folder: (folder / HEAD).unlink()),
    ("garbage", lambda folder: (folder / HEAD).write_text("{}")),
]


def _signed_by_other(folder: Path) -> Head:
    head = load_head(folder / HEAD)
    return Head(head.sequence, head.hash, OTHER.sign(head.hash.encode()).hex())


@pytest.mark.parametrize(
    ("name", "change"), ANOTHERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_head_that_is_not_this_logs_is_refused(
    name: str, change: Callable[[Path], object], folder: Path
) -> None:
    change(folder)
    with pytest.raises(AuditDamaged):
        AuditLog(folder, KEY)
    if name != "garbage":
        assert told(folder), name


def test_a_line_that_could_not_be_read_again_is_not_written(folder: Path) -> None:
    log, before = AuditLog(folder, KEY), (folder / LOG).read_bytes()
    short = len(lines_of(folder)[-1]) + LINES
    for more in (LINE_BYTES_MAX, LINE_BYTES_MAX - short // 2):
        with pytest.raises(OSError, match="too long"):
            log.append("approval", 2_000, by="x" * more)
    assert (folder / LOG).read_bytes() == before
    assert log.append("approval", 2_000, by="x" * (LINE_BYTES_MAX - 2 * short)) == LINES + 1
    log.close()
    AuditLog(folder, KEY).close()
    assert verify(folder, KEY.public_key).problems == ()
