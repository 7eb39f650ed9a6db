"""The access matrix and what stands behind it: every RPC and every query has a row, verdicts are quick and
forgotten in time, quotas fill again, and what ends is announced.
"""

import asyncio
import datetime as dt
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from structlog.testing import capture_logs

from contracts import assemble
from node.config import ConfigError
from node.engine.errors import Degraded, NodeError
from node.keys.certificates import Role
from node.keys.files import check_private, write_file
from node.keys.keystore import KeystoreError
from node.keys.pem import load_crls
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.access import ACCESS, CLOSED, Access, row_of
from node.services.doors import Doors, Lasting
from node.services.identity import (
    LOCAL_OPERATOR,
    NOBODY,
    Ending,
    Identities,
    Identity,
    Mapped,
    Speaker,
    Trust,
    announced,
    load_mapping,
)
from node.services.quotas import UNDER_WAY_MAX, Bucket, Quotas
from node.services.reading import EVENTS, QUERIES, TABLES, Reading, declared
from node.services.server import RPCS
from node.services.tls import CertificateFiles
from tests.certificates_kit import Pair, Pki, by_hand, save
from tests.kit import Consortium
from tests.services_kit import DirectEngine

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def described() -> Iterator[str]:
    """Every RPC in the descriptors of proto/, walked service by service."""
    for area in ("transaction", "account", "product", "fund", "ledger", "contract", "consensus"):
        module = importlib.import_module(f"node.pb.vostro.{area}.v1.{area}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def without_row(methods: list[str]) -> list[str]:
    return [method for method in methods if row_of(method) is CLOSED]


@pytest.mark.evidence("PRT5", asset="the port", threat="an RPC without a rule", mitigation="deny by default")
def test_every_rpc_has_a_row_and_what_has_none_is_closed() -> None:
    methods = [*described(), *RPCS]
    assert without_row(methods) == []
    assert set(ACCESS) == set(RPCS), "a row without an RPC"
    planted = "/vostro.fund.v1.FundService/Steal"
    assert without_row([*methods, planted]) == [planted]
    for role in Role:
        with pytest.raises(Degraded) as refused:
            row_of(planted).check_role(Identity("PA", frozenset({role}), ""))
        assert refused.value.error is NodeError.NOT_PERMITTED
    print(f"access matrix: {len(set(methods))} RPCs, each with a row")


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="a query without a rule", mitigation="declared or nobody's"
)
def test_every_query_table_and_fact_is_declared_or_nobodys() -> None:
    queries = [(c.name, name) for c in assemble() for name in c.queries]
    tables = [(c.name, name) for c in assemble() for name in c.tables]
    facts = [(c.name, fact.__name__) for c in assemble() for fact in c.facts]
    assert [each for each in queries if declared(QUERIES, *each) is None] == []
    assert [each for each in facts if declared(EVENTS, *each) is None] == []
    nobodys = [each for each in tables if declared(TABLES, *each) is None]
    assert {contract for contract, _ in nobodys} <= {
        "assets", "transfers", "servicing", "settlement", "approvals", "trading", "cycles", "exchange",
        "offsets", "vault", "reconciliation", "participants", "queues", "clearing",
    }  # fmt: skip
    assert declared(QUERIES, "planted", "list_orders") is None
    print(f"reading rules: {len(queries)} queries, {len(tables)} tables, {len(facts)} facts declared")


def test_health_alone_takes_no_role() -> None:
    assert {method for method, row in ACCESS.items() if row.roles is None} == {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    }


# --- identities -------------------------------------------------------------------------------------------


def trust(pki: Pki, **options: Any) -> Trust:
    return Trust(pki.issuing.chain, **options)


def told(trusted: Trust, pair: Pair) -> str:
    """Why a certificate is refused; empty where it is not."""
    try:
        trusted.identify(pair.certificate)
    except Degraded as refused:
        return f"{refused.error.name}: {refused.details['reason']}"
    return ""


def test_a_certificate_is_a_member_with_roles_and_foreign_operators_are_none_here(pki: Pki) -> None:
    pair = pki.leaf("PA", Role.OPERATOR, Role.READER, Role.MAKER, name="anna")
    for member, roles in (("", 3), ("PA", 3), ("KB", 1)):
        identity = trust(pki, member=member).identify(pair.certificate)
        assert (identity.member, identity.name, len(identity.roles)) == ("PA", "anna", roles)
        assert not identity.whole


@pytest.mark.evidence(
    "ACT16",
    asset="confidentiality",
    threat="an authority names others' members",
    mitigation="a table of whom each may name",
)
def test_a_banks_own_pki_is_mapped_by_configuration_and_speaks_for_its_own_members_only(
    pki: Pki, tmp_path: Path
) -> None:
    own = Pki(tmp_path / "own", "bank")
    plain = by_hand(own.issuing.certificate.subject, own.issuing._key, [], name="payments.ab.example")
    by_subject = Mapped("AB", (Role.SUBMITTER,), subject="CN=payments.ab.example")
    by_print = Mapped("AB", (Role.READER,), sha256=_print(plain.leaf))
    assert "no configuration maps it" in told(trust(own), plain)
    found = trust(own, mapping=Identities((by_subject,))).identify(plain.certificate)
    assert (found.member, found.roles) == ("AB", frozenset({Role.SUBMITTER}))
    found = trust(own, mapping=Identities((by_print,))).identify(plain.certificate)
    assert found.roles == frozenset({Role.READER})

    both = (*pki.issuing.chain, *own.issuing.chain)
    with pytest.raises(ConfigError, match="several roots"):
        Trust(both, mapping=Identities((by_subject,)))
    speakers = (
        Speaker(_print(own.root.certificate), ("AB",)),
        Speaker(_print(pki.root.certificate), ("*",)),
    )
    trusted = Trust(both, mapping=Identities((by_subject,), speakers))
    assert told(trusted, plain) == ""
    assert told(trusted, pki.leaf("KB", Role.READER)) == ""
    assert "does not speak" in told(trusted, own.leaf("KB", Role.READER))
    assert told(trusted, own.leaf("AB", Role.READER)) == ""


def _print(certificate: x509.Certificate) -> str:
    return str(certificate.fingerprint(hashes.SHA256()).hex())


def test_the_file_of_mappings_is_checked_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "identities.toml"
    path.write_text('[[identity]]\nsubject = "CN=x"\nmember = "AB"\nroles = ["reader", "maker"]\n')
    assert load_mapping(path).identity[0].roles == (Role.READER, Role.MAKER)
    for text in ("= 1", "[[identity]]\n", '[[identity]]\nmember = "A"\nroles = ["reader"]\n', "king = 1\n",
                 '[[identity]]\nsubject = "CN=x"\nmember = "AB"\nroles = ["king"]\n'):  # fmt: skip
        path.write_text(text)
        with pytest.raises(ConfigError, match="identities"):
            load_mapping(path)


def test_a_revoked_authority_takes_what_it_issued_with_it(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pair = pki.leaf("PA", Role.READER)
    path = pki.folder / "root" / "crl.pem"
    assert told(trust(pki, crls=load_crls(path)), pair) == ""
    pki.root.revoke(pki.issuing.certificate, "cACompromise")
    assert "authority is revoked" in told(trust(pki, crls=load_crls(path)), pair)


def test_who_was_identified_before_is_known_to_be_revoked_by_what_lists_name(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pairs = [pki.leaf("PA", Role.CHECKER, name=name) for name in ("bob", "carol")]
    bob, carol = (trust(pki).identify(pair.certificate) for pair in pairs)
    lists = [pki.folder / part / "crl.pem" for part in ("root", "issuing")]

    def revoked() -> list[bool]:
        now = trust(pki, crls=[crl for path in lists for crl in load_crls(path)])
        return [now.revokes(each.path) for each in (bob, carol)]

    assert len(bob.path) == 3
    assert revoked() == [False, False]
    pki.revoke(pairs[0])
    assert revoked() == [True, False]
    pki.root.revoke(pki.issuing.certificate, "cACompromise")
    assert revoked() == [True, True]


# --- quotas and ends --------------------------------------------------------------------------------------


def test_a_bucket_lets_a_burst_pass_then_its_rate_and_says_when_to_come_back() -> None:
    now = [0.0]
    bucket = Bucket(10, lambda: now[0])
    assert [bucket.take(1) for _ in range(20)] == [0.0] * 20
    assert bucket.take(1) == pytest.approx(0.1)
    now[0] += 0.1
    assert bucket.take(1) == 0.0
    now[0] += 1_000
    assert bucket.take(500) == 0.0, "a full bucket lets a large request pass"
    assert bucket.take(1) == pytest.approx(48.1)


def test_a_call_that_counts_for_many_is_let_in_and_the_next_ones_wait_for_it() -> None:
    now = [0.0]
    quota = Quotas(10, 0, 0, lambda: now[0]).of("PA")
    quota.call()
    quota.owe(99)
    with pytest.raises(Degraded) as refused:
        quota.call()
    assert refused.value.error is NodeError.QUOTA_USED_UP
    assert int(refused.value.details["retry_ms"]) == 8_100, "100 of the 20 that were there, and one more"
    now[0] += 8.1
    quota.call()
    Quotas(0, 0, 0).of("PA").owe(10**9)
    counts = row_of("/vostro.fund.v1.FundService/GetBalances").counts
    assert counts is not None
    for keys, calls in ((1, 1), (10, 1), (11, 2), (1_000, 100)):
        request = fund_pb2.GetBalancesRequest(keys=[fund_pb2.BalanceKey()] * keys)
        assert counts(request) == calls, keys


def test_members_have_quotas_of_their_own_and_zero_is_none() -> None:
    quotas = Quotas(1, 0, 1, lambda: 0.0)
    quotas.of("PA").call()
    quotas.of("PA").call()
    with pytest.raises(Degraded) as refused:
        quotas.of("PA").call()
    assert refused.value.error is NodeError.QUOTA_USED_UP
    assert int(refused.value.details["retry_ms"]) == 1_000
    quotas.of("KB").call()
    quotas.of("PA").transactions(10**9)


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [
        (90, 31, None), (90, 30, 30), (90, 14.5, 30), (90, 14, 14), (90, 3, 3), (90, 0.1, 3), (90, 0, 0),
        (90, -5, 0), (45, 30, None), (45, 14, 14), (7, 5, None), (7, 3, 3), (1, 0.5, None), (1, -1, 0),
    ],
)  # fmt: skip
def test_an_end_is_announced_thirty_fourteen_and_three_days_ahead(
    life: float, left: float, due: int | None
) -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert announced(Ending("x", now + left * DAY, life * DAY), now) == due


def test_each_announcement_is_logged_once_and_told_to_metrics(pki: Pki, tmp_path: Path) -> None:
    files = CertificateFiles(
        *(tmp_path / name for name in _files(pki, tmp_path)[:3]), crl=tmp_path / "crl.pem"
    )
    world = Consortium()
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    doors = Doors(files, LOCAL_OPERATOR, Quotas(0, 0, 0), reading)
    until = max(e.until for e in files.endings() if e.what == "node certificate")
    with capture_logs() as lines:
        for days in (40, 29, 28, 13, 2, 1, -1, -2):
            doors.look(files, until - days * DAY)
    of_node = [line for line in lines if line.get("what") == "node certificate"]
    assert [line.get("days", 0) for line in of_node] == [30, 14, 3, 0]
    assert of_node[-1]["log_level"] == "error"
    assert doors.ends()["node certificate"] == until.timestamp()
    assert set(doors.ends()) == {
        "node certificate", "authority consortium root", "authority consortium issuing",
        "revocation list of consortium root", "revocation list of consortium issuing",
    }  # fmt: skip


def test_the_check_of_a_call_costs_less_than_twenty_microseconds(pki: Pki, tmp_path: Path) -> None:
    """Of a core, the best of ten rounds: identify, look at the matrix, count quotas, look at the request."""
    files = CertificateFiles(
        *(tmp_path / name for name in _files(pki, tmp_path)[:3]), crl=tmp_path / "crl.pem"
    )
    world = Consortium()
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    doors = Doors(files, LOCAL_OPERATOR, Quotas(10**6, 10**6, 10), reading)
    pair = pki.leaf("PA", Role.SUBMITTER)
    call, row = Shown(pair.certificate), ACCESS["/vostro.transaction.v1.TransactionService/Submit"]
    request, count, rounds = transaction_pb2.SubmitRequest(signed_transaction=bytes(300)), 1_000, []
    for _ in range(10):
        began = time.process_time()
        for _ in range(count):
            caller = doors.enter(row, call)
            doors.asked(row, caller, request)
            doors.leave(caller)
        rounds.append((time.process_time() - began) / count * 1e6)
    print(f"the check of a call: {min(rounds):.1f} microseconds, the best of {len(rounds)} rounds")
    assert caller.identity.member == "PA"
    assert min(rounds) < 20


class Shown:
    """A call, of which gRPC makes new bytes of the certificate each time."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [bytes(bytearray(self._pem))]}


def _files(pki: Pki, folder: Path) -> list[str]:
    return list(save(folder, pki.server(), pki.bundle, pki.crls).values())


def test_loopback_without_tls_is_the_operator_or_nobody() -> None:
    world = Consortium()
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    row = ACCESS["/vostro.ledger.v1.LedgerService/StreamBackup"]
    assert Doors(None, LOCAL_OPERATOR, Quotas(1, 1, 1), reading).enter(row, None).identity.whole
    closed = Doors(None, NOBODY, Quotas(1, 1, 1), reading)
    with pytest.raises(Degraded):
        closed.enter(row, None)
    assert closed.refusals == {"NOT_PERMITTED": 1}


@pytest.mark.evidence(
    "ACT16",
    asset="confidentiality",
    threat="an authority names others' members",
    mitigation="a table of whom each may name",
)
def test_a_regulator_is_one_whom_the_ledger_knows_as_such() -> None:
    world = Consortium()
    world.admit("REG", "regulator")
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    for member, role, sees in (
        ("REG", Role.REGULATOR, True),
        ("REG", Role.AUDITOR, True),
        ("REG", Role.READER, False),
        ("PA", Role.REGULATOR, False),
        ("PA", Role.AUDITOR, False),
        ("UNKNOWN", Role.REGULATOR, False),
    ):
        assert reading.sees_all(Identity(member, frozenset({role}), "")) is sees, (member, role)


def test_a_data_directory_that_others_can_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder, counts = tmp_path / "data", 0
    folder.mkdir(mode=0o700)
    check_private(folder)
    for mode in (0o750, 0o705, 0o770, 0o777, 0o701, 0o710):
        folder.chmod(mode)
        counts += 1
        with pytest.raises(KeystoreError, match="chmod 700"):
            check_private(folder)
    with pytest.raises(KeystoreError, match="no such"):
        check_private(tmp_path / "none")
    with pytest.raises(KeystoreError, match="belongs to user"):
        check_private(_of_another(tmp_path))
    print(f"modes of a data directory: {counts} refused")


def _of_another(folder: Path) -> Path:
    """A directory that is not ours: one of the system's, or, for root, one given away."""
    if os.geteuid():
        return Path("/")
    path = folder / "given"
    path.mkdir(mode=0o700)
    os.chown(path, 12_345, 12_345)
    return path


WATCH = ACCESS["/grpc.health.v1.Health/Watch"]
WAIT = ACCESS["/vostro.transaction.v1.TransactionService/WaitTransaction"]


def _doors(files: CertificateFiles | None, local: Identity, streams: int) -> Doors:
    world = Consortium()
    return Doors(files, local, Quotas(0, 0, streams), Reading(world.ledger, world.store, DirectEngine(world)))


@pytest.mark.asyncio
@pytest.mark.parametrize("row", [WATCH, WAIT])
async def test_calls_that_last_are_counted_whoever_makes_them_and_zero_is_no_quota(
    row: Access, pki: Pki, tmp_path: Path
) -> None:
    files = CertificateFiles(
        *(tmp_path / name for name in _files(pki, tmp_path)[:3]), crl=tmp_path / "crl.pem"
    )
    call = Shown(pki.leaf("PA", Role.READER).certificate)
    rounds: list[tuple[CertificateFiles | None, Identity]] = [(files, NOBODY)]
    if row.roles is None:
        rounds.append((None, NOBODY))
    for shown, local in rounds:
        doors = _doors(shown, local, 3)
        with ExitStack() as open_:
            for _ in range(3):
                open_.enter_context(doors.lasting(row, doors.enter(row, call)))
            with pytest.raises(Degraded) as refused, doors.lasting(row, doors.enter(row, call)):
                pass
            assert refused.value.error is NodeError.QUOTA_USED_UP
        with doors.lasting(row, doors.enter(row, call)):
            pass
    for doors in (_doors(files, NOBODY, 0), _doors(None, LOCAL_OPERATOR, 3)):
        with ExitStack() as open_:
            for _ in range(300):
                open_.enter_context(doors.lasting(row, doors.enter(row, call)))


@pytest.mark.asyncio
async def test_health_is_told_to_whoever_shows_a_certificate_and_watched_until_it_is_revoked(
    pki: Pki, tmp_path: Path
) -> None:
    files = CertificateFiles(
        *(tmp_path / name for name in _files(pki, tmp_path)[:3]), crl=tmp_path / "crl.pem"
    )
    doors, pair = _doors(files, NOBODY, 0), pki.leaf("PA", Role.READER)
    call = Shown(pair.certificate)
    with doors.lasting(WATCH, doors.enter(WATCH, call)) as watch:
        doors.look(files, dt.datetime.now(dt.UTC))
        before = watch.ended
        assert before is None
        pki.revoke(pair)
        write_file(tmp_path / "crl.pem", pki.crls, replace=True)
        watch.task = asyncio.create_task(asyncio.Event().wait())
        doors.look(files, dt.datetime.now(dt.UTC))
        assert watch.ended is not None
        assert watch.ended.error is NodeError.UNIDENTIFIED
    assert doors.enter(WATCH, call).identity.member == "", "asked again, it is a nobody, and not refused"


@pytest.mark.asyncio
async def test_calls_of_one_member_leave_room_for_others(pki: Pki, tmp_path: Path) -> None:
    files = CertificateFiles(
        *(tmp_path / name for name in _files(pki, tmp_path)[:3]), crl=tmp_path / "crl.pem"
    )
    doors = _doors(files, NOBODY, 0)
    row = ACCESS["/vostro.transaction.v1.TransactionService/Submit"]
    one, other = (Shown(pki.leaf(member, Role.SUBMITTER).certificate) for member in ("PA", "KB"))
    under_way = [doors.enter(row, one) for _ in range(UNDER_WAY_MAX)]
    with pytest.raises(Degraded) as refused:
        doors.enter(row, one)
    assert refused.value.error is NodeError.OVERLOADED
    assert doors.enter(row, other).identity.member == "KB"
    assert doors.enter(WATCH, one).identity.member == "PA", "health is not counted"
    doors.leave(under_way.pop())
    lasting = doors.enter(row, one)
    with doors.lasting(row, lasting):
        under_way.append(doors.enter(row, one))  # what lasts is counted as a stream instead
    doors.leave(lasting)
    with pytest.raises(Degraded):
        doors.enter(row, one)
    for caller in under_way:
        doors.leave(caller)
    doors.enter(row, one)


def test_a_stream_that_was_ended_by_the_doors_says_why() -> None:
    async def run() -> str:
        async def call() -> str:
            lasting = Lasting(CLOSED, b"", ())
            asyncio.get_running_loop().call_soon(
                lasting.end, Degraded(NodeError.UNIDENTIFIED, reason="revoked")
            )
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended = lasting.take_end()
                return str(ended.details["reason"]) if ended else ""
            return "never"

        return await asyncio.create_task(call())

    assert asyncio.run(run()) == "revoked"
