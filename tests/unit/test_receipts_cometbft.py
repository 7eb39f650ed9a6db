"""What a receipt file that validators certify tells people, how it is made, and the shelf of hand-overs.
(tests/vectors holds what is refused, against two programs.)
"""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.engine.cometbft.light import Certified
from node.engine.errors import Degraded, NodeError
from node.json_form import JsonRefused, from_json, write_document
from node.ledger.types import Record
from node.receipts import make_checkpoint, verify_receipt_file
from node.receipts.document import Certificate, ReceiptFile, SequencerHandover, ValidatorsCertificate
from node.storage import layout
from node.storage.directory import creating
from node.storage.handovers import HandoverShelf
from tests.vectors import golden, golden_cometbft
from tests.vectors.golden_cometbft import A, B, authority

FOLDER = golden.FOLDER
WORLD = golden_cometbft.consortium()


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_verified_file_tells_who_signed_with_which_power() -> None:
    data = (FOLDER / "receipt_cometbft.json").read_bytes()
    proven = verify_receipt_file(data, (FOLDER / "genesis_cometbft.json").read_bytes())
    assert (proven.height, proven.certified_height, proven.certificate_kind) == (4, 9, "cometbft")
    certificate = proven.certificate
    assert (certificate["height"], certificate["power"], certificate["of_power"]) == (10, 5, 6)
    assert [signer["power"] for signer in certificate["signers"]] == [3, 1, 1, 1]
    assert [signer["voted_ms"] is None for signer in certificate["signers"]] == [False, False, False, True]
    assert [link["height"] for link in proven.handovers] == [5, 8]


def test_a_file_by_a_sequencer_tells_its_key_and_a_moved_one_who_handed_over() -> None:
    trust = (FOLDER / "genesis.json").read_bytes()
    proven = verify_receipt_file((FOLDER / "receipt.json").read_bytes(), trust)
    assert proven.certificate["signers"][0]["public_key"] == golden.SEQUENCER.public_key.hex()
    assert proven.handovers == ()
    moved = verify_receipt_file((FOLDER / "receipt_moved.json").read_bytes(), trust)
    assert moved.handovers[0]["public_key"] == golden.SEQUENCER.public_key.hex()
    assert moved.certificate["height"] == 11


@pytest.mark.parametrize(
    ("name", "trust", "says"),
    [
        (
            "receipt_cometbft.json",
            "genesis_cometbft.json",
            ["height 10, 5 of the power of 6", "height 8, 4 of"],
        ),
        ("receipt_cometbft.json", "checkpoint_cometbft.json", ["checkpoint", "did not sign"]),
        (
            "receipt_moved.json",
            "genesis.json",
            ["height 9, by the sequencer", "height 11, 3 of the power of 4"],
        ),
        ("receipt.json", "genesis.json", ["height 4, 1 of the power of 1"]),
    ],
)
def test_the_command_verifies_files_of_both_kinds_and_says_who_signed(
    name: str, trust: str, says: list[str]
) -> None:
    arguments = ("receipt", "verify", str(FOLDER / name), "--trust", str(FOLDER / trust))
    output = told(*arguments)
    assert all(word in output for word in says), output
    assert json.loads(told("-o", "json", *arguments))["certificate"]["signers"]


def test_a_file_of_another_chain_proves_nothing_to_the_command() -> None:
    arguments = ["receipt", "verify", str(FOLDER / "receipt_cometbft.json")]
    result = CliRunner().invoke(app, [*arguments, "--trust", str(FOLDER / "genesis.json")])
    assert result.exit_code != 0


# --- making -----------------------------------------------


class Kept:
    """Certificates that hold one value."""

    def __init__(self, newest: Certified | None) -> None:
        self.newest = newest


def test_every_transaction_of_a_chain_by_validators_has_a_file_that_verifies() -> None:
    trust = (FOLDER / "genesis_cometbft.json").read_bytes()
    count = 0
    for record in WORLD.store.blocks(1):
        for index in range(len(record.leaves)):
            file = WORLD.receipt_file(record.height, index, certificates=WORLD)
            proven = verify_receipt_file(write_document(file), trust)
            assert (proven.height, proven.index, proven.certified_height) == (record.height, index, 9)
            count += 1
    assert count == 16


def test_a_file_waits_until_validators_have_certified_its_block() -> None:
    certified = WORLD.newest
    for newest in (None, certified._replace(height=3)):
        with pytest.raises(Degraded) as refused:
            WORLD.receipt_file(4, 0, certificates=Kept(newest))
        assert refused.value.error is NodeError.PROOF_PENDING


def test_a_checkpoint_names_the_authority_that_its_header_names() -> None:
    header = WORLD.store.headers(9, 1)[0].header
    assert make_checkpoint(WORLD.genesis, header, authority(A)) == make_checkpoint(WORLD.genesis, header)
    with pytest.raises(ValueError, match="another authority"):
        make_checkpoint(WORLD.genesis, header, authority(B))


# --- records of several kinds in JSON -----------------------------------------------


class Either(Record, frozen=True):
    what: Certificate | ValidatorsCertificate


def test_the_kind_says_which_record_stands_in_the_json() -> None:
    first: Any = from_json(Either, {"what": {"kind": "embedded", "signature": "00" * 64}})
    second: Any = from_json(Either, {"what": {"kind": "cometbft", "signed_header": "00"}})
    assert isinstance(first.what, Certificate)
    assert isinstance(second.what, ValidatorsCertificate)
    for wrong in ({"kind": "raft"}, {"kind": 1}, {"kind": ["embedded"]}, {}, "embedded", None):
        with pytest.raises(JsonRefused, match=r"^what: "):
            from_json(Either, {"what": wrong})
    with pytest.raises(JsonRefused, match="signed_header is missing"):
        from_json(Either, {"what": {"kind": "cometbft", "signature": "00" * 64}})


def test_a_list_of_several_kinds_keeps_its_bounds() -> None:
    annotation = ReceiptFile.__annotations__["handovers"]
    entry = {"kind": "cometbft", "signed_header": "00"}
    assert len(from_json(annotation, [entry] * 4_096)) == 4_096
    with pytest.raises(JsonRefused):
        from_json(annotation, [entry] * 4_097)
    key = {"algorithm": "ed25519", "public_key": "00" * 32}
    sequencer = {"kind": "embedded", "header": "00", "key": key, "signature": "00" * 64}
    mixed = from_json(annotation, [sequencer, entry])
    assert [type(one) for one in mixed] == [SequencerHandover, ValidatorsCertificate]


# --- the shelf -----------------------------------------------


def test_the_shelf_gives_back_what_was_put_on_it_in_order(tmp_path: Path) -> None:
    shelf = HandoverShelf(tmp_path)
    assert shelf.load() == []
    assert shelf.mark == (0, 0)
    shelf.save(12, b"later")
    shelf.save(3, b"first")
    shelf.save(12, b"later again")
    shelf.mark = (40, 2)
    again = HandoverShelf(tmp_path)
    assert again.load() == [(3, b"first"), (12, b"later again")]
    assert again.mark == (40, 2)
    assert not again.reports


def test_every_changed_or_cut_byte_of_a_hand_over_on_the_shelf_is_seen(tmp_path: Path) -> None:
    shelf = HandoverShelf(tmp_path)
    shelf.save(3, b"a hand-over, sealed")
    path = tmp_path / layout.HANDOVERS / layout.handover_name(3)
    good = path.read_bytes()
    tried = 0
    for position in range(len(good)):
        flipped = bytearray(good)
        flipped[position] ^= 0x10
        for bad in (bytes(flipped), good[:position]):
            path.write_bytes(bad)
            assert shelf.load() == []
            tried += 1
    assert len(shelf.reports) == tried
    print(f"hand-overs on the shelf: {tried} damages tried, {tried} seen")
    path.write_bytes(good)
    assert shelf.load() == [(3, b"a hand-over, sealed")]
    (tmp_path / layout.HANDOVERS / layout.HANDOVERS_MARK).write_bytes(b"damaged")
    assert shelf.mark == (0, 0)


def test_what_a_crash_left_of_a_write_is_not_taken_for_a_hand_over(tmp_path: Path) -> None:
    shelf = HandoverShelf(tmp_path)
    pending = tmp_path / layout.HANDOVERS / (layout.handover_name(3) + layout.PENDING_SUFFIX)
    pending.write_bytes(b"half of")
    assert shelf.load() == []
    shelf.save(3, b"whole")
    assert shelf.load() == [(3, b"whole")]


def test_a_directory_whose_creation_was_cut_off_loses_its_shelf(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / layout.VERSION_PENDING).write_bytes(b"")
    HandoverShelf(data).save(3, b"of nobody")
    with creating(data):
        pass
    assert HandoverShelf(data).load() == []
