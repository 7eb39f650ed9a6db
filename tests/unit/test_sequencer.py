"""The sequencer certifies ascending heights once, and never again what a restored copy lacks."""

from pathlib import Path

import pytest

from node.engine.sequencer import SLOT_BYTES, Sequencer, SequencerRefused
from node.keys.signer import Ed25519Signer

CHAIN = bytes(range(32))
SIGNER = Ed25519Signer(bytes(32))


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "last-signed"
    Sequencer.create_record(path, CHAIN)
    return path


def opened(record: Path) -> Sequencer:
    return Sequencer(SIGNER, CHAIN, record)


def test_it_remembers_what_it_certified_across_restarts(record: Path) -> None:
    sequencer = opened(record)
    for height in range(1, 6):
        sequencer.record(height, bytes([height]) * 32)
    sequencer.close()
    assert opened(record).last.height == 5


@pytest.mark.evidence(
    "ENG4", asset="one history", threat="an old copy goes on", mitigation="the last-signed record"
)
def test_it_refuses_to_certify_a_height_again(record: Path) -> None:
    sequencer = opened(record)
    sequencer.record(7, bytes(32))
    with pytest.raises(SequencerRefused, match="not above 7"):
        sequencer.certify(7, bytes(32))


@pytest.mark.evidence(
    "ENG4", asset="one history", threat="an old copy goes on", mitigation="the last-signed record"
)
def test_it_refuses_a_ledger_that_is_older_than_its_record(record: Path) -> None:
    sequencer = opened(record)
    sequencer.record(7, bytes(32))
    sequencer.check_head(8, bytes(32))
    with pytest.raises(SequencerRefused, match="Restore the newest log"):
        sequencer.check_head(6, bytes(32))


@pytest.mark.evidence(
    "ENG4", asset="one history", threat="an old copy goes on", mitigation="the last-signed record"
)
def test_it_refuses_another_history_of_the_same_height(record: Path) -> None:
    sequencer = opened(record)
    sequencer.record(7, bytes(32))
    sequencer.check_head(7, bytes(32))
    with pytest.raises(SequencerRefused, match="another history"):
        sequencer.check_head(7, b"\1" * 32)


def test_it_refuses_a_missing_record_and_one_of_another_chain(record: Path, tmp_path: Path) -> None:
    with pytest.raises(SequencerRefused, match="missing"):
        opened(tmp_path / "elsewhere")
    with pytest.raises(SequencerRefused, match="another chain"):
        Sequencer(SIGNER, bytes(32), record)


def test_a_torn_slot_leaves_the_record_before_it_and_two_torn_slots_are_refused(record: Path) -> None:
    sequencer = opened(record)
    sequencer.record(1, bytes(32))
    sequencer.record(2, bytes(32))
    sequencer.close()
    data = bytearray(record.read_bytes())
    newest = next(slot for slot in (0, 1) if b'2,"00' in data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])
    data[newest * SLOT_BYTES + 40] ^= 1
    record.write_bytes(data)
    before = opened(record)
    assert before.last.height == 1
    before.close()
    data[(1 - newest) * SLOT_BYTES + 40] ^= 1
    record.write_bytes(data)
    with pytest.raises(SequencerRefused, match="damaged"):
        opened(record)


def test_two_sequencers_do_not_hold_one_record(record: Path) -> None:
    first = opened(record)
    with pytest.raises(SequencerRefused, match="runs twice"):
        opened(record)
    reader = Sequencer(SIGNER, CHAIN, record, exclusive=False)  # who only looks
    assert reader.last == first.last
    reader.close()
    first.close()
    opened(record).close()
