"""Decoders of what people and other programs hand to the command line and to a client: configuration, key
files, orders, payments, amounts, rules, and a node's answer about a failure.
"""

from pathlib import Path
from typing import Any, Final

import grpc
import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from node.cli.members import _rule
from node.cli.output import Failure, hex_bytes
from node.cli.payments import BadPayments, _read_requests, read_payments
from node.cli.support import redacted
from node.client.amounts import BadAmount, format_amount, parse_amount
from node.client.connection import answer_of
from node.client.errors import ClientError
from node.client.outcome import outcome_from, receipt_outcome, transaction_id_of
from node.config import LOOPBACK, ConfigError, host_of, load_config
from node.demo.orders import BadOrders, read_orders
from node.json_form import JsonRefused, from_json, parse_document, to_json
from node.keys import keystore
from node.keys.keystore import KeystoreError, read_metadata, read_passphrase
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Header, Receipt
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.services.interceptors import STATUS_DETAILS
from tests.fuzz.ledger_targets import VECTORS, transactions, world
from tests.fuzz.storage_targets import folder
from tests.fuzz.target import Target
from tests.kit import pay

DECIMALS: Final = (0, 2, 18)


def _file(data: bytes) -> Path:
    path = folder() / "input"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


CONFIG: Final = b"""data_dir = "data"
genesis = "genesis.json"
sequencer_key = "keys/sequencer.json"
sequencer_passphrase_file = "keys/passphrase"
last_signed = "last-signed"
listen = "127.0.0.1:7600"
metrics_listen = "127.0.0.1:7601"
shards = 8
index = true
log_level = "info"
tls_certificate = "a.pem"
tls_key = "b.pem"
tls_ca = "c.pem"
"""
CONSORTIUM: Final = b"""data_dir = "data"
genesis = "genesis.json"

[consortium]
home = "cometbft"
listen = "127.0.0.1:7700"
node_key = "keys/node.json"
node_passphrase_file = "keys/passphrase"
validator_key = "pkcs11:token=x;object=y?module-path=/lib.so"
validator_passphrase_file = "keys/pin"
validator_record = "last-vote"
"""


def configs() -> list[bytes]:
    """A configuration with everything, and its lines one by one less."""
    lines = CONFIG.splitlines(keepends=True)
    odd = (
        b"data_dir = 5\n",
        b'genesis = "a\\u0000b"\n',
        b"tls_ca = [1]\n",
        b"shards = inf\n",
        b"index = 1979-05-27\n",
    )
    without = [b"".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    return [
        CONFIG,
        CONSORTIUM,
        *without,
        *(CONFIG + line for line in odd),
        *(without[0] + line for line in odd),
    ]


def run_config(data: bytes) -> None:
    """A configuration is refused with a sentence, or loopback and paths are as they must be."""
    try:
        config = load_config(_file(data), environment={})
    except ConfigError:
        return
    assert isinstance(config.data_dir, Path)
    assert host_of(config.listen) in LOOPBACK or config.tls_ca is not None


def run_environment(data: bytes) -> None:
    """The same by the environment, whose values are all text."""
    names = ("SHARDS", "INDEX", "LISTEN", "DATA_DIR", "QUEUE_MAX", "LOG_LEVEL", "TLS_CA", "COMETBFT")
    pieces = data.decode(errors="surrogateescape").split("\n")
    environment = {f"VOSTRO_{name}": value for name, value in zip(names, pieces, strict=False)}
    try:
        config = load_config(_file(CONFIG), environment=environment)
    except ConfigError:
        return
    assert config.shards >= 1


def environments() -> list[bytes]:
    """Values of every kind."""
    return [
        b"8\ntrue\n127.0.0.1:7600\ndata\n100\ninfo\n\n/usr/bin/cometbft",
        b"0x8\n1\n[::1]:0\n..\n-1\nDEBUG",
    ]


def key_files() -> list[bytes]:
    """The key files of the vectors, of both suites."""
    return [(VECTORS / "keyfile.json").read_bytes(), (VECTORS / "guomi" / "keyfile.json").read_bytes()]


def run_key_file(data: bytes) -> None:
    """Everything but the stretching of the passphrase, which takes its tenth of a second by design."""
    path = _file(data)
    try:
        read_metadata(path)
        document = keystore._read(path)
        keystore._check_cost(path, document.kdf)
        assert 128 * document.kdf.n * document.kdf.r <= keystore.MEMORY_BYTES_MAX
        assert keystore._associated_data(document)
        assert len(keystore._nonce(document)) == keystore.NONCE_BYTES
        keystore._signer(path, document, bytes.fromhex(document.ciphertext)[:32])
    except KeystoreError:
        return


def run_passphrase(data: bytes) -> None:
    """A passphrase is what stands in the file, or refused."""
    try:
        passphrase = read_passphrase(_file(data))
    except KeystoreError:
        return
    assert passphrase == data.removesuffix(b"\n")


ORDERS: Final = b"""order_id;account_id;bank_to;account_to;amount;k_symbol
29401;1;"YZ";"87144583";2452.00;"SIPO"
29402;2;"ST";"89597016";3372.70;"UVER"
"""
PAYMENTS: Final = b"""source,destination,asset,amount,end_to_end_id,purpose
PA/main,KB/main,CZK,12.50,e2e-1,SALA
"""


def run_orders(data: bytes) -> None:
    """A day's orders are read or refused."""
    try:
        orders = read_orders(_file(data))
    except BadOrders:
        return
    assert all(order.amount > 0 for order in orders)


def run_payments(data: bytes) -> None:
    """A file of payments is read or refused; so is the file of request ids beside it."""
    try:
        payments = read_payments(_file(data))
    except BadPayments:
        return
    assert all(len(payment.digest) == 64 for payment in payments)


def payment_files() -> list[bytes]:
    """With commas and with semicolons."""
    return [PAYMENTS, PAYMENTS.replace(b",", b";")]


def run_requests(data: bytes) -> None:
    """A file of request ids that a crash cut short: lines that are none do not count."""
    try:
        known = _read_requests(_file(data))
    except BadPayments:
        return
    assert all(len(request_id) == 16 for _, request_id in known.values())


def run_amount(data: bytes) -> None:
    """An amount is refused, or has one text that reads back."""
    text = data.decode(errors="surrogateescape")
    for decimals in DECIMALS:
        try:
            minor = parse_amount(text, decimals)
        except BadAmount:
            continue
        assert parse_amount(format_amount(minor, decimals), decimals) == minor


class Session:
    """What a rule needs of a session."""

    def decimals(self, client: Any, asset: str) -> int:
        """Of every asset."""
        return 2


def run_words(data: bytes) -> None:
    """Words of the command line: a rule of a policy, a key id."""
    text = data.decode(errors="surrogateescape")
    session: Any = Session()
    for read in (lambda: _rule(session, session, text), lambda: hex_bytes(text, 16, "a key id")):
        try:
            read()
        except Failure:
            continue
    assert redacted(text) is not None


def failures() -> list[bytes]:
    """Statuses as a node sends them, and outcomes."""
    info = error_details_pb2.ErrorInfo(
        reason="EXPIRED", domain="vostro", metadata={"code": "3", "codespace": "ledger", "decided": "true"}
    )
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(20)
    status = status_pb2.Status(code=9, message="no")
    for detail in (info, retry):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    receipt = world().apply("PA", pay("PA/main", "KB/main", 1))
    outcome = pb.Outcome(receipt=pb.Receipt(encoded=codec.encode(receipt)))
    error = pb.Outcome(
        error=pb.Error(codespace="ledger", code=6, spent_by=bytes(32), category="CATEGORY_PRECONDITION")
    )
    return [status.SerializeToString(), outcome.SerializeToString(), error.SerializeToString()]


class Failed(grpc.aio.AioRpcError):
    """A failed call with these details."""

    def __init__(self, details: bytes) -> None:
        metadata = grpc.aio.Metadata((STATUS_DETAILS, details))
        super().__init__(grpc.StatusCode.UNAVAILABLE, metadata, metadata, details="no")


def run_failure(data: bytes) -> None:
    """A client makes one of its own errors of whatever a node says of a failure."""
    answered = answer_of(Failed(data), "node:1")
    assert isinstance(answered.error, ClientError)
    assert answered.wait >= 0
    try:
        message = pb.Outcome.FromString(data)
    except DecodeError:
        return
    try:
        outcome_from(message, bytes(32), 0.0, 1)
    except codec.NotCanonical:  # documented
        return


def run_outcome(data: bytes) -> None:
    """A receipt's bytes, and the id of bytes that may be a transaction."""
    assert len(transaction_id_of(data, INTERNATIONAL)) in (0, 32)
    try:
        outcome = receipt_outcome(data)
    except codec.NotCanonical:
        return
    assert outcome.receipt is not None
    assert codec.encode(outcome.receipt) == data


def outcomes() -> list[bytes]:
    """Receipts, applied and refused, and transactions."""
    applied = world().apply("PA", pay("PA/main", "KB/main", 1))
    refused = world().send("PA", pay("PA/main", "KB/main", 10**9))
    return [codec.encode(applied), codec.encode(refused), *transactions()]


def run_json_form(data: bytes) -> None:
    """The JSON of a record spells one value, and that value spells this JSON."""
    try:
        document = parse_document(data, 65_536)
    except JsonRefused:
        return
    for record in (Receipt, Header):
        try:
            value = from_json(record, document)
        except JsonRefused:
            continue
        assert to_json(value) == document


def json_forms() -> list[bytes]:
    """A receipt and a header."""
    receipt = world().apply("PA", pay("PA/main", "KB/main", 1))
    header: Header = codec.decoder(Header)(world().blocks()[-1].header)
    return [msgspec.json.encode(to_json(receipt)), msgspec.json.encode(to_json(header))]


TARGETS: Final = (
    Target("config", "bytes", configs, run_config, 4_096),
    Target("environment", "bytes", environments, run_environment, 1_024),
    Target("key-file", "json", key_files, run_key_file, 20_000),
    Target("passphrase", "bytes", lambda: [b"secret\n", b"x" * 1_025], run_passphrase, 2_048),
    Target("orders", "bytes", lambda: [ORDERS], run_orders, 4_096),
    Target("payments", "bytes", payment_files, run_payments, 4_096),
    Target("requests", "bytes", lambda: [b"1;" + b"a" * 64 + b";" + b"0" * 32 + b"\n"], run_requests, 1_024),
    Target("amount", "bytes", lambda: [b"2452.50", b"0.01", b"1" * 19], run_amount, 64),
    Target("words", "bytes", lambda: [b"transfers.send,CZK,100.00,2", b"00" * 16], run_words, 256),
    Target("failure", "bytes", failures, run_failure, 4_096),
    Target("outcome", "msgpack", outcomes, run_outcome),
    Target("json-form", "json", json_forms, run_json_form),
)
