"""genesis.json: it reads back as it was written, names the chain it names, and says in words what is wrong
with it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.genesis_file import (
    GenesisRefused,
    check_genesis,
    format_genesis,
    load_genesis,
    make_genesis,
    parse_genesis,
    save_genesis,
)
from node.json_form import JsonRefused, from_json, to_json
from node.ledger.genesis import chain_id
from node.ledger.types import (
    Activation,
    AdministratorKey,
    Authority,
    Founder,
    Genesis,
    Node,
    Operation,
    Requirement,
)
from tests.kit import World
from tests.vectors import golden

GENESIS = golden.golden().genesis
KEY = GENESIS.administrators[0]


def test_a_genesis_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    save_genesis(path, GENESIS)
    assert load_genesis(path) == GENESIS
    assert chain_id(load_genesis(path)) == golden.golden().chain_id


def test_the_order_of_names_and_the_white_space_of_the_file_do_not_matter() -> None:
    document = json.loads((golden.FOLDER / "genesis.json").read_bytes())
    turned = json.dumps(dict(reversed(list(document.items())))).encode()
    assert parse_genesis(turned) == GENESIS


def test_a_genesis_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    save_genesis(path, GENESIS)
    before = path.read_bytes()
    with pytest.raises(GenesisRefused, match="File exists"):
        save_genesis(path, replace(GENESIS, name="other"))
    assert path.read_bytes() == before


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(GenesisRefused, match=r"genesis.json: No such file"):
        load_genesis(tmp_path / "genesis.json")


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda d: d.update(format="x"), 'no genesis document: .*"format": "vostro genesis"'),
    "another version": (lambda d: d.update(version=1), "version: invalid enum value 1"),
    "a field missing": (lambda d: d.pop("name"), "the document: name is missing"),
    "a field too many": (lambda d: d.update(motto=""), "the document: motto is not known here"),
    "a limit missing": (lambda d: d["limits"].pop("lifetime_ms"), "limits: lifetime_ms is missing"),
    "a limit out of bounds": (
        lambda d: d["limits"].update(lifetime_ms=1),
        "limits.lifetime_ms: expected `int` >= 1000",
    ),
    "a time in words": (lambda d: d.update(time_ms="2026-01-01"), "time_ms: expected `int`, got `str`"),
    "a time that is true": (lambda d: d.update(time_ms=True), "time_ms: expected `int`, got `bool`"),
    "a time with a fraction": (lambda d: d.update(time_ms=1.5), "1.5 is not an integer"),
    "a key in capitals": (
        lambda d: d["authority"][0].update(public_key="AB" * 32),
        r"authority\[0\].public_key: expected bytes as lower-case hex",
    ),
    "a key too short": (
        lambda d: d["authority"][0].update(public_key="ab"),
        r"authority\[0\].public_key: expected `bytes` of length >= 32",
    ),
    "no list of keys": (lambda d: d.update(nodes={}), "nodes: expected a list"),
    "no authority": (lambda d: d.update(authority=[]), "authority: expected `array` of length >= 1"),
    "a holder that is no text": (
        lambda d: d["administrators"][0].update(holder=None),
        r"administrators\[0\].holder: expected `str`, got `null`",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_file_is_named_with_its_place(fault: str, tmp_path: Path) -> None:
    change, words = FAULTS[fault]
    document = json.loads((golden.FOLDER / "genesis.json").read_bytes())
    change(document)
    path = tmp_path / "genesis.json"
    path.write_text(json.dumps(document))
    with pytest.raises(GenesisRefused, match=words):
        load_genesis(path)


UNFIT: dict[str, tuple[Genesis, str]] = {
    "an unknown suite": (replace(GENESIS, suite="other"), "suite: this release has no suite 'other'"),
    "another protocol": (replace(GENESIS, protocol=2), "protocol: this release has protocol 1, the document"),
    "a member id in small letters": (
        replace(GENESIS, administrator="admin"),
        "administrator: a member id is",
    ),
    "a control character": (replace(GENESIS, name="a\nb"), "name: a text holds a control character"),
    "too high a threshold": (
        replace(GENESIS, threshold=2),
        "threshold: 2 holders are to sign together and there are 1",
    ),
    "one holder of two keys": (
        replace(
            GENESIS,
            threshold=2,
            administrators=(KEY, AdministratorKey("ed25519", golden.BANK.public_key, KEY.holder)),
        ),
        "threshold: 2 holders",
    ),
    "a threshold of none": (replace(GENESIS, threshold=0), "threshold: 0 holders are to sign"),
    "an unknown contract": (
        replace(GENESIS, contracts=(*GENESIS.contracts, Activation("leasing", 0))),
        "contracts: this release has no contract 'leasing'",
    ),
    "a contract twice": (
        replace(GENESIS, contracts=(*GENESIS.contracts, GENESIS.contracts[1])),
        "contracts: one is named twice",
    ),
    "members not first": (
        replace(GENESIS, contracts=GENESIS.contracts[::-1]),
        "contracts: the first is 'members'",
    ),
    "members later": (
        replace(GENESIS, contracts=(Activation("members", 5), *GENESIS.contracts[1:])),
        "contracts: the first is 'members', from height 0",
    ),
    "an unknown algorithm": (
        replace(GENESIS, nodes=(Node("ADMIN", "sm2", KEY.public_key, b""),)),
        r"nodes\[0\].algorithm: the suite international has ed25519, p256",
    ),
    "a key of small order": (
        replace(GENESIS, authority=(Authority("ed25519", bytes([1]) + bytes(31), 1),)),
        r"authority\[0\].public_key: not a public key of ed25519",
    ),
    "a key twice": (
        replace(GENESIS, administrators=(KEY, KEY)),
        r"administrators\[1\].public_key: the same key as administrators\[0\]",
    ),
}


def _founder(member: str, *roles: str, name: bytes = golden.BANK.public_key, bic: str = "") -> Founder:
    return Founder(member, "Bank", bic, roles or ("voter",), (AdministratorKey("ed25519", name, "treasury"),))


FOUNDED = replace(
    GENESIS, administrator="", threshold=0, administrators=(), nodes=(), founders=(_founder("AB"),)
)
OTHER = golden.PAYER.public_key
UNFIT |= {
    "administrators' fields without administrators": (
        replace(FOUNDED, threshold=1),
        "administrators: there are none",
    ),
    "nobody to govern": (
        replace(FOUNDED, founders=(_founder("AB", "issuer"),)),
        "founders: without administrators at least one needs the role voter",
    ),
    "no contract to govern with": (
        replace(FOUNDED, contracts=(GENESIS.contracts[0], *GENESIS.contracts[3:])),
        "contracts: without administrators the chain needs 'validators'",
    ),
    "a founder with the administrators' id": (
        replace(GENESIS, founders=(_founder("ADMIN"),)),
        r"founders\[0\].member: the same id as administrator",
    ),
    "a founder twice": (
        replace(FOUNDED, founders=(_founder("AB"), _founder("AB", name=OTHER))),
        r"founders\[1\].member: the same id as founders\[0\]",
    ),
    "a founder in small letters": (
        replace(FOUNDED, founders=(_founder("ab"),)),
        r"founders\[0\].member: a member id is",
    ),
    "a founder's BIC": (replace(FOUNDED, founders=(_founder("AB", bic="x"),)), r"founders\[0\].bic"),
    "a founder as administrator": (
        replace(FOUNDED, founders=(_founder("AB", "administrator"),)),
        r"founders\[0\].roles: different ones of issuer",
    ),
    "a founder's key twice": (
        replace(FOUNDED, founders=(_founder("AB"), _founder("CD"))),
        r"founders' keys\[1\].public_key: the same key",
    ),
    "a node of nobody": (
        replace(GENESIS, nodes=(Node("AB", "ed25519", OTHER, b""),)),
        r"nodes\[0\].member: neither the administrators nor a founder",
    ),
    "a validator without power": (
        replace(GENESIS, nodes=(Node("ADMIN", "ed25519", OTHER, OTHER),)),
        r"nodes\[0\].validator: no key of the authority",
    ),
    "a validator of two nodes": (
        replace(
            GENESIS,
            nodes=tuple(
                Node("ADMIN", "ed25519", key, golden.SEQUENCER.public_key)
                for key in (OTHER, golden.BANK.public_key)
            ),
        ),
        r"nodes\[1\].validator: the same key as nodes\[0\]",
    ),
    "rules by halves": (
        replace(GENESIS, governance=replace(GENESIS.governance, members=Requirement(1, 2, 0))),
        "governance.members: a requirement is more than half",
    ),
    "a recovery at once": (
        replace(GENESIS, governance=replace(GENESIS.governance, recovery=Requirement(2, 3, 0))),
        "governance.recovery: it waits 86400000 ms or longer",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_a_genesis_that_could_not_start_a_chain_is_refused(fault: str) -> None:
    genesis, words = UNFIT[fault]
    with pytest.raises(GenesisRefused, match=words):
        check_genesis(genesis)


def test_founders_need_no_administrators() -> None:
    genesis = make_genesis(
        "founded", [], GENESIS.authority, time_ms=0, founders=[_founder("AB"), _founder("CD", name=OTHER)]
    )
    assert (genesis.administrator, genesis.threshold, genesis.administrators) == ("", 0, ())
    assert parse_genesis(format_genesis(genesis)) == genesis


def test_what_make_genesis_makes_starts_a_chain() -> None:
    """The golden chain is such a one, but for the contracts that came after it."""
    world = golden.World("fresh")
    assert world.ledger.info().height == 0
    given = (world.genesis.administrators, world.genesis.authority)
    made = make_genesis("fresh", *given, nodes=world.genesis.nodes, time_ms=golden.BEGIN_MS)
    pinned = world.genesis.contracts
    assert made.contracts[: len(pinned)] == pinned
    assert replace(made, contracts=pinned) == world.genesis
    assert World(made).ledger.info().height == 0


def test_make_genesis_refuses_what_cannot_start_a_chain() -> None:
    with pytest.raises(GenesisRefused, match="threshold"):
        make_genesis("fresh", [KEY], GENESIS.authority, time_ms=0, threshold=2)


def test_records_read_back_from_their_json() -> None:
    record = Operation("transfers", "send", b"\x00\xff")
    assert to_json(record) == {"contract": "transfers", "method": "send", "arguments": "00ff"}
    assert from_json(Operation, to_json(record)) == record
    with pytest.raises(JsonRefused, match=r"place\.arguments: expected bytes"):
        from_json(Operation, {"contract": "a", "method": "b", "arguments": "0"}, "place")
