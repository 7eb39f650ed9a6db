"""What the fuzzer found, each with the bytes that showed it and the rule that was broken, tried for ever.

Every one was an exception that the decoder does not document, or something that a refusal left behind.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from node.engine.cometbft.abci_wire import frame
from node.ledger import codec
from node.pb.cometbft.abci.v2 import abci_pb2 as pb
from node.storage import layout
from node.storage.database import sealed
from node.storage.errors import StorageCode, StorageError
from node.storage.log import StoredHeader
from node.storage.spent import SpentIds
from tests.fuzz.comet_targets import commits
from tests.fuzz.edge_targets import CONFIG
from tests.fuzz.ledger_targets import VECTORS, run_receipt
from tests.fuzz.network_targets import pki
from tests.fuzz.storage_targets import records, run_last_signed
from tests.fuzz.targets import target_named

UNKNOWN: Final[Any] = 77


def rows(*pairs: tuple[bytes, bytes]) -> bytes:
    """Rows of the block log."""
    return msgspec.msgpack.encode(pairs)


def commit(**fields: Any) -> bytes:
    """A commit of CometBFT with other fields in its header."""
    document = json.loads(commits()[0])
    document["commit"]["header"] |= fields
    return json.dumps(document).encode()


def status(kind: Any) -> bytes:
    """A status with a detail that says what it is and is not."""
    detail = AnyMessage(type_url=f"type.googleapis.com/{kind.DESCRIPTOR.full_name}", value=b"\x0a\x05ab")
    return bytes(status_pb2.Status(code=9, details=[detail]).SerializeToString())


def header(**fields: int) -> bytes:
    """What the log keeps of a block, with counts that are not those of what follows."""
    record, position = records()[0], layout.position_key(0)
    known = {"leaves": 0, "bodies": 0, "receipts": 1, "writes": 0} | fields
    stored = StoredHeader(0, 0, record.time_ms, record.app_hash, record.header, b"", history=(), **known)
    return rows(
        (position, bytes(8)),
        (layout.block_key(0, layout.HEADER), codec.encode(stored)),
        (layout.block_key(0, layout.RECEIPTS), codec.encode(())),
    )


def damaged_pem(pem: bytes, old: bytes, new: bytes) -> bytes:
    """The first certificate or list of a PEM file with other bytes inside."""
    kind = pem[len("-----BEGIN ") : pem.index(b"-----\n")]
    begin, end = b"-----BEGIN %b-----\n" % kind, b"-----END %b-----\n" % kind
    der = base64.b64decode(pem.split(begin)[1].split(end)[0])
    assert old in der
    return begin + base64.encodebytes(der.replace(old, new, 1)) + end


FINDINGS: Final = (
    (
        "certificate",
        "a version that there is not, shown by a client: the call ended as a fault of the node",
        lambda: damaged_pem(pki().bundle, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x42"),
    ),
    (
        "revocation-list",
        "an issuer that is no text, which is decoded only when it is looked at",
        lambda: damaged_pem(pki().crls, b"\x06\x03\x55\x04\x03\x0c", b"\x06\x03\x55\x04\x03\x1e"),
    ),
    ("comet-commit", "a chain id that is a number", lambda: commit(chain_id=7)),
    ("comet-commit", "a chain id that is null", lambda: commit(chain_id=None)),
    ("comet-rpc", "an error that is a text", lambda: b'{"jsonrpc": "0", "error": "p256"}'),
    (
        "comet-log",
        "an error whose text is no UTF-8: the thread that reads the log ended, and CometBFT with a full pipe",
        lambda: b'{"level":"error","ts":"9122-01-0\xc7\xdd,"_msg"6"dialing f [runid":1}}\n',
    ),
    (
        "abci",
        "misbehaviour of an unknown kind halted the node instead of closing the connection",
        lambda: frame(
            pb.Request(
                prepare_proposal=pb.PrepareProposalRequest(misbehavior=[pb.Misbehavior(type=UNKNOWN)])
            ).SerializeToString()
        ),
    ),
    (
        "abci",
        "a vote of an unknown kind, the same",
        lambda: frame(
            pb.Request(
                finalize_block=pb.FinalizeBlockRequest(
                    decided_last_commit=pb.CommitInfo(votes=[pb.VoteInfo(block_id_flag=UNKNOWN)])
                )
            ).SerializeToString()
        ),
    ),
    ("block-log", "a block's number of nine bytes", lambda: rows((b"n" + bytes([255]) * 9, b""))),
    ("block-log", "a height of nine bytes", lambda: rows((layout.position_key(0), b"\x01" * 9))),
    ("block-log", "fewer receipts than the header counts", header),
    ("block-log", "what a pruned log begins with is a number", lambda: rows((layout.BASE, b"\x07"))),
    ("last-signed", "nothing behind right check digits", lambda: b""),
    ("last-signed", "another object behind right check digits", lambda: b'{"chain":1}'),
    ("head", "a whole file of another form", lambda: b"\x92\x03\x91\x01"),
    ("config", "a path that is a number", lambda: CONFIG.replace(b'"data"', b"5")),
    ("config", "a path with a NUL", lambda: CONFIG.replace(b'"data"', b'"a\\u0000b"')),
    ("environment", "a data directory without a name", lambda: b"8\n1\n1\n"),
    ("environment", "a value that is no UTF-8", lambda: b"8\ntrue\n127.0.0.1:7600\ndata\n1\xed\xec"),
    ("payments", "a first line that is no UTF-8", lambda: b"source;destination;\x9b\x9b\n"),
    ("requests", "a file that is not ASCII", lambda: b"1;aa\xff\xff;00\n"),
    (
        "requests",
        "a request id that is not hexadecimal",
        lambda: b"1;" + b"a" * 64 + b";" + b"z" * 32 + b"\n",
    ),
    ("requests", "a line number of 5,000 digits", lambda: b"9" * 5_000 + b";" + b"a" * 64 + b";" + b"0" * 32),
    ("token-uri", "an id that is not Unicode", lambda: b"pkcs11:token=a;id=%00\xc9?module-path=/lib.so"),
    ("failure", "an ErrorInfo that is none", lambda: status(error_details_pb2.ErrorInfo)),
    ("failure", "a RetryInfo that is none", lambda: status(error_details_pb2.RetryInfo)),
)


@pytest.mark.parametrize(
    ("name", "what", "made"), FINDINGS, ids=[f"{name}: {what}" for name, what, _ in FINDINGS]
)
@pytest.mark.evidence(
    "BAD2", asset="availability", threat="malformed bytes", mitigation="findings become tests"
)
def test_what_the_fuzzer_found_is_refused_now(name: str, what: str, made: Any) -> None:
    data = made()
    target_named(name).run(data)
    assert isinstance(data, bytes), what


def test_a_stamp_of_another_form_means_that_the_spent_ids_are_built_anew(tmp_path: Path) -> None:
    (tmp_path / layout.SPENT_STAMP).write_bytes(sealed(b"\x91\x01"))
    spent = SpentIds(tmp_path, 600_000, 1_700_000_000_000)
    assert "form" in spent.rebuilt
    assert spent.position == 0


def test_a_sequencer_that_is_refused_leaves_no_file_open() -> None:
    run_last_signed(b"")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        run_last_signed(b"{}")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_log_says_what_is_missing() -> None:
    from node.storage.log import LogReader
    from tests.fuzz.storage_targets import Rows

    source: Any = Rows(dict(msgspec.msgpack.decode(header(), type=list[tuple[bytes, bytes]])))
    with pytest.raises(StorageError) as refused:
        LogReader(source, Path("log")).receipt(0, 0)
    assert refused.value.error is StorageCode.LOG_DAMAGED


def test_what_a_receipt_file_can_do_without_is_no_finding() -> None:
    document = json.loads((VECTORS / "receipt_cometbft.json").read_bytes())
    kept = [document | {"handovers": document["handovers"][drop:]} for drop in (1, 2)]
    for fewer in kept:
        run_receipt(json.dumps(fewer).encode())
    assert [len(fewer["handovers"]) for fewer in kept] == [1, 0]
