"""Entries of banks, and the genesis that all make of them."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts import assemble as contracts
from contracts.powers import NewNode
from contracts.proposals import KINDS
from node.config import load_config
from node.engine.cometbft.home import Home, HomeRefused, load_node_id
from node.engine.cometbft.light import comet_chain_id
from node.genesis_file import format_genesis, load_genesis
from node.keys.keystore import COST_MIN, load_signer, read_passphrase
from node.keys.signer import Ed25519Signer, P256Signer, Signer, generate
from node.ledger.genesis import chain_id
from node.ledger.types import AdministratorKey
from node.network.assembly import (
    Assembled,
    assemble,
    format_network,
    parse_time,
    read_foundation,
    write_assembled,
)
from node.network.bank import Officer, Particulars, make_entry, make_home
from node.network.entry import (
    Entry,
    SignedEntry,
    default_roles,
    format_entry,
    joining,
    keys_of,
    parse_entry,
    read_entry,
    sign_entry,
)
from node.network.errors import Code, NetworkRefused

PASSPHRASE = b"only for a test"
TIME_MS = 1_767_603_600_000
NAME = "Interbank"


def told(letter: str, **changes: Any) -> Particulars:
    """What the bank of a letter says."""
    place = ord(letter) - ord("a")
    fields: dict[str, Any] = {
        "network": NAME,
        "member": f"BANK-{letter.upper()}",
        "full_name": f"Bank {letter}",
        "roles": default_roles(observer=False),
        "address": f"{letter}.example:{26_656 + place}",
        "grpc": f"127.0.0.1:{7_600 + place}",
    }
    return Particulars(**fields | changes)


def entered(folder: Path, letter: str, **changes: Any) -> SignedEntry:
    """A bank's directory and entry."""
    return make_entry(folder / letter, told(letter, **changes), passphrase=PASSPHRASE, cost=COST_MIN)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> list[SignedEntry]:
    """Of four banks."""
    folder = tmp_path_factory.mktemp("banks")
    return [entered(folder, letter) for letter in "abcd"]


@pytest.fixture(scope="module")
def assembled(four: list[SignedEntry]) -> Assembled:
    return assemble(four, NAME, TIME_MS)


class Bank:
    """Keys in memory, to sign what a careful bank would not."""

    def __init__(self, letter: str) -> None:
        self.told = told(letter)
        self.officer: Signer = Ed25519Signer(bytes([ord(letter)]) * 32)
        self.node: Signer = Ed25519Signer(bytes([ord(letter), 1]) * 16)
        self.validator: Signer | None = Ed25519Signer(bytes([ord(letter), 2]) * 16)
        self.peer: Signer = Ed25519Signer(bytes([ord(letter), 3]) * 16)

    def entry(self, **changes: Any) -> Entry:
        entry = Entry(
            *(1, NAME, "international", self.told.member, self.told.full_name, "", self.told.roles),
            (AdministratorKey(self.officer.algorithm, self.officer.public_key, "officer-1"),),
            NewNode(self.node.algorithm, self.node.public_key),
            self.validator.public_key if self.validator else b"",
            *(self.peer.public_key, self.told.address, self.told.grpc),
        )
        return replace(entry, **changes)

    def sign(self, **changes: Any) -> SignedEntry:
        return sign_entry(self.entry(**changes), [self.officer], self.node, self.validator, self.peer)


def code_of(refused: "pytest.ExceptionInfo[NetworkRefused]") -> Code:
    assert str(refused.value).startswith(refused.value.code.value + ": ")
    return refused.value.code


def test_an_entry_reads_back_as_it_was_signed(four: list[SignedEntry]) -> None:
    for signed in four:
        again = parse_entry(format_entry(signed), "again")
        assert again == signed
        assert [what for what, _, _ in keys_of(again.entry)] == [
            "officer officer-1",
            "node",
            "validator",
            "peer",
        ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every scalar in a JSON document."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*path, name))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from places(item, (*path, at))
    else:
        yield path


def changed(value: Any) -> Any:
    """Another value of the same form, where there is one: a digit, a letter, a number more."""
    if isinstance(value, int):
        return value + 1
    if not value:
        return "BANKDEFFXXX"
    last = value[-1]
    other = "1" if last != "1" else "2"
    return value[:-1] + (other if last.isalnum() else "x")


@pytest.mark.evidence(
    "VAL5",
    asset="consensus",
    threat="a false entry to a network",
    mitigation="entries are signed and compared",
)
def test_an_entry_with_anything_changed_is_refused(four: list[SignedEntry]) -> None:
    tried: dict[str, int] = {}
    document = json.loads(format_entry(four[0]))
    for path in places(document):
        copy = json.loads(json.dumps(document))
        holder = copy
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = changed(holder[path[-1]])
        with pytest.raises(NetworkRefused) as refused:
            parse_entry(json.dumps(copy).encode(), "changed")
        tried[refused.value.code.value] = tried.get(refused.value.code.value, 0) + 1
    for name in document:
        less = {key: value for key, value in document.items() if key != name}
        with pytest.raises(NetworkRefused) as refused:
            parse_entry(json.dumps(less).encode(), "less")
        assert code_of(refused) is Code.MALFORMED
    with pytest.raises(NetworkRefused) as refused:
        parse_entry(json.dumps(document | {"more": 1}).encode(), "more")
    assert code_of(refused) is Code.MALFORMED
    assert tried[Code.SIGNATURE.value] >= 10
    print(f"{sum(tried.values())} changed values, {len(document)} missing fields refused: {tried}")


@pytest.mark.evidence(
    "VAL5",
    asset="consensus",
    threat="a false entry to a network",
    mitigation="entries are signed and compared",
)
def test_nobody_enters_a_key_that_another_holds() -> None:
    mine, theirs = Bank("a"), Bank("b")
    tried = 0
    for what in ("officer", "node", "validator", "peer"):
        stolen = mine.entry()
        their_key = getattr(theirs, what).public_key
        if what == "officer":
            stolen = replace(stolen, keys=(replace(stolen.keys[0], public_key=their_key),))
        elif what == "node":
            stolen = replace(stolen, node=NewNode("ed25519", their_key))
        else:
            stolen = replace(stolen, **{what: their_key})
        with pytest.raises(NetworkRefused) as refused:
            sign_entry(stolen, [mine.officer], mine.node, mine.validator, mine.peer)
        assert code_of(refused) is Code.SIGNATURE
        tried += 1
    assert tried == 4


REFUSED: list[tuple[dict[str, Any], Code]] = [
    ({"roles": ("voter", "voter")}, Code.MALFORMED),
    ({"roles": ("administrator",)}, Code.MALFORMED),
    ({"roles": ()}, Code.MALFORMED),
    ({"member": "bank-a"}, Code.MALFORMED),
    ({"bic": "DE"}, Code.MALFORMED),
    ({"full_name": "Bank\nA"}, Code.MALFORMED),
    ({"full_name": ""}, Code.MALFORMED),
    ({"network": "Inter\x7fbank"}, Code.MALFORMED),
    ({"address": "a.example"}, Code.MALFORMED),
    ({"address": "a.example:0"}, Code.MALFORMED),
    ({"address": "a.example:70000"}, Code.MALFORMED),
    ({"address": "a@b.example:1"}, Code.MALFORMED),
    ({"grpc": "a.example:26656"}, Code.ADDRESS_TWICE),
    ({"suite": "rot13"}, Code.MALFORMED),
    ({"suite": "guomi"}, Code.KEY),
    ({"validator": bytes(31)}, Code.KEY),
    ({"validator": bytes(32)}, Code.KEY),
    ({"keys": ()}, Code.MALFORMED),
    ({"version": 2}, Code.MALFORMED),
]


def test_an_entry_that_cannot_be_is_refused_by_its_code() -> None:
    bank = Bank("a")
    for changes, code in REFUSED:
        with pytest.raises(NetworkRefused) as refused:
            bank.sign(**changes)
        assert code_of(refused) is code, changes
    twice = Bank("a")
    twice.node = twice.officer
    with pytest.raises(NetworkRefused) as refused:
        twice.sign()
    assert code_of(refused) is Code.KEY_TWICE
    print(f"{len(REFUSED) + 1} entries refused")


def test_what_is_no_entry_is_refused(tmp_path: Path) -> None:
    tried = 0
    for data in (
        b"",
        b"{}",
        b"[]",
        b'{"format": "vostro genesis"}',
        b"\xff",
        b"x" * 100_000,
        b'{"a":1,"a":2}',
    ):
        path = tmp_path / "entry.json"
        path.write_bytes(data)
        with pytest.raises(NetworkRefused) as refused:
            read_entry(path)
        assert code_of(refused) is Code.MALFORMED
        tried += 1
    with pytest.raises(NetworkRefused):
        read_entry(tmp_path / "nowhere.json")
    assert tried == 7


# --- together -------------------------------------------------------------------------------------------


def test_the_same_entries_make_the_same_bytes_in_every_order(four: list[SignedEntry]) -> None:
    made = {
        (format_genesis(found.genesis), format_network(found.network))
        for order in itertools.permutations(four)
        for found in [assemble(order, NAME, TIME_MS)]
    }
    assert len(made) == 1
    assert assemble(four, NAME, TIME_MS + 1).network.chain != assemble(four, NAME, TIME_MS).network.chain
    print("24 orders, one genesis")


def test_the_genesis_is_what_the_entries_say(four: list[SignedEntry], assembled: Assembled) -> None:
    genesis, network = assembled.genesis, assembled.network
    assert (genesis.name, genesis.time_ms, genesis.administrators) == (NAME, TIME_MS, ())
    assert [founder.member for founder in genesis.founders] == ["BANK-A", "BANK-B", "BANK-C", "BANK-D"]
    assert [key.public_key for key in genesis.authority] == sorted(signed.entry.validator for signed in four)
    assert [node.validator for node in genesis.nodes] == [signed.entry.validator for signed in four]
    assert network.chain == chain_id(genesis)
    assert network.comet_chain == comet_chain_id(network.chain)
    assert assembled.may_fail == 1
    assert len(genesis.contracts) == len(contracts())
    assert [str(peer) for peer in network.others(four[0].peer.node_id)] == [
        str(signed.peer) for signed in four[1:]
    ]


def test_entries_that_do_not_go_together_are_refused_by_their_code(four: list[SignedEntry]) -> None:
    stranger = Bank("e")
    cases: list[tuple[str, list[SignedEntry], Code]] = [
        ("none", [], Code.NO_VALIDATOR),
        ("one twice", [*four, four[2]], Code.MEMBER_TWICE),
        ("two of one bank", [*four, Bank("a").sign()], Code.MEMBER_TWICE),
        ("another network", [*four, stranger.sign(network="Test")], Code.OTHER_NETWORK),
        ("a place twice", [*four, stranger.sign(address=four[0].entry.address)], Code.ADDRESS_TWICE),
        ("a place for both", [*four, stranger.sign(grpc=four[1].entry.address)], Code.ADDRESS_TWICE),
    ]
    for what in ("officer", "node", "validator", "peer"):  # one person serves two banks, with one key
        one, other = Bank("e"), Bank("f")
        setattr(other, what, getattr(one, what))
        cases.append((f"one {what} key of two banks", [one.sign(), other.sign()], Code.KEY_TWICE))
    one, other = Bank("e"), Bank("f")
    other.officer = one.node
    cases.append(("a node key that is another bank's officer's", [one.sign(), other.sign()], Code.KEY_TWICE))
    follower = Bank("e")
    follower.validator = None
    cases.append(("nobody votes on blocks", [follower.sign()], Code.NO_VALIDATOR))
    cases.append(("nobody decides", [stranger.sign(roles=("participant",))], Code.FOUNDATION))
    for what, entries, code in cases:
        with pytest.raises(NetworkRefused) as refused:
            assemble(entries, NAME, TIME_MS)
        assert code_of(refused) is code, what
    print(f"{len(cases)} sets of entries refused")


def test_two_suites_do_not_meet(four: list[SignedEntry], tmp_path: Path) -> None:
    national = entered(tmp_path, "e", suite="guomi")
    assert national.entry.keys[0].algorithm == "sm2"
    with pytest.raises(NetworkRefused) as refused:
        assemble([*four, national], NAME, TIME_MS)
    assert code_of(refused) is Code.OTHER_SUITE
    assert assemble([national], NAME, TIME_MS).genesis.suite == "guomi"


@pytest.mark.parametrize("text", ["yesterday", "2026-01-05T09:00:00", "1960-01-01T00:00:00Z", ""])
def test_a_time_without_its_zone_is_refused(text: str) -> None:
    with pytest.raises(NetworkRefused):
        parse_time(text)


def test_a_time_is_the_same_in_every_zone() -> None:
    assert parse_time("2026-01-05T09:00:00Z") == parse_time("2026-01-05T10:00:00+01:00") == TIME_MS


# --- at each bank ---------------------------------------------------------------------------------------


def test_every_bank_makes_the_same_home_but_for_its_own_keys(tmp_path: Path) -> None:
    entries = [entered(tmp_path, letter) for letter in "abcd"]
    found = assemble(entries, NAME, TIME_MS)
    write_assembled(tmp_path / "founded", found)
    again = read_foundation(tmp_path / "founded" / "genesis.json", tmp_path / "founded" / "network.json")
    assert again == found
    for letter, signed in zip("abcd", entries, strict=True):
        ready = make_home(tmp_path / letter, found)
        assert (ready.founder, ready.kept) == (True, False)
        assert load_node_id(Home(tmp_path / letter / "comet")) == signed.peer.node_id
        settings = ready.config.read_text()
        assert settings.count("@") == 3
        assert signed.peer.node_id not in settings
    shared = {(tmp_path / letter / "comet" / "config" / "genesis.json").read_bytes() for letter in "abcd"}
    assert len(shared) == 1
    assert chain_id(load_genesis(tmp_path / "a" / "genesis.json")) == found.network.chain
    modes = {path: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*key*.json")}
    assert set(modes.values()) == {0o600}
    ready = make_home(tmp_path / "a", found)
    assert ready.kept


def test_a_home_takes_only_the_genesis_with_its_own_entry(tmp_path: Path) -> None:
    entries = [entered(tmp_path, letter) for letter in "abcd"]
    other = Bank("a").sign(address="a.example:1")
    with pytest.raises(NetworkRefused) as refused:
        make_home(tmp_path / "a", assemble([other, *entries[1:]], NAME, TIME_MS))
    assert code_of(refused) is Code.FOUNDATION
    make_home(tmp_path / "a", assemble(entries, NAME, TIME_MS))
    with pytest.raises((NetworkRefused, HomeRefused)):
        make_home(tmp_path / "a", assemble(entries, NAME, TIME_MS + 1))


def test_files_of_two_chains_are_refused(four: list[SignedEntry], tmp_path: Path) -> None:
    write_assembled(tmp_path / "one", assemble(four, NAME, TIME_MS))
    write_assembled(tmp_path / "two", assemble(four, NAME, TIME_MS + 1))
    with pytest.raises(NetworkRefused) as refused:
        read_foundation(tmp_path / "one" / "genesis.json", tmp_path / "two" / "network.json")
    assert code_of(refused) is Code.FOUNDATION
    with pytest.raises(NetworkRefused) as refused:
        write_assembled(tmp_path / "one", assemble(four, NAME, TIME_MS + 1))
    assert code_of(refused) is Code.DIRECTORY


def test_a_guarded_key_is_encrypted_and_has_its_record(tmp_path: Path) -> None:
    signed = make_entry(tmp_path / "a", told("a"), passphrase=PASSPHRASE, guarded=True, cost=COST_MIN)
    found = assemble([signed, *[entered(tmp_path, letter) for letter in "bcd"]], NAME, TIME_MS)
    config = load_config(make_home(tmp_path / "a", found).config, environment={})
    assert config.consortium is not None
    key, record = config.consortium.validator_key, config.consortium.validator_record
    assert key is not None
    assert record is not None
    secret = read_passphrase(tmp_path / "a" / "keys" / "validator.passphrase")
    assert load_signer(key, secret).public_key == signed.entry.validator
    assert record.is_file()
    assert not (tmp_path / "a" / "comet" / "config" / "priv_validator_key.json").exists()
    record.unlink()
    make_home(tmp_path / "a", found)
    assert not record.exists(), "what the key has signed is not known any more: no record may say nothing"


def test_a_bank_enters_once_and_nothing_is_made_for_what_cannot_be(tmp_path: Path) -> None:
    entered(tmp_path, "a")
    with pytest.raises(NetworkRefused) as refused:
        entered(tmp_path, "a")
    assert code_of(refused) is Code.DIRECTORY
    with pytest.raises(NetworkRefused) as refused:
        entered(tmp_path, "b", member="bank b")
    assert code_of(refused) is Code.MALFORMED
    assert not (tmp_path / "b").exists()


def test_officers_bring_their_own_keys(tmp_path: Path) -> None:
    officers = [
        Officer("anna", Ed25519Signer(bytes([7]) * 32)),
        Officer("ben", generate(P256Signer.algorithm)),
    ]
    signed = make_entry(tmp_path / "a", told("a"), officers, cost=COST_MIN)
    assert [key.holder for key in signed.entry.keys] == ["anna", "ben"]
    assert not (tmp_path / "a" / "keys" / "officer.json").exists()
    node = load_signer(
        tmp_path / "a" / "keys" / "node.json", read_passphrase(tmp_path / "a" / "keys" / "node.passphrase")
    )
    assert node.public_key == signed.entry.node.public_key


def test_a_later_bank_brings_what_the_members_decide() -> None:
    validator = joining(Bank("e").sign().entry)
    follower_bank = Bank("f")
    follower_bank.validator = None
    follower = joining(follower_bank.sign().entry)
    methods = [[f"{each.contract}.{each.method}" for each in content] for content in (validator, follower)]
    assert methods == [
        ["members.admit", "validators.add"],
        ["members.admit", "validators.register_node"],
    ]
    assert all((each.contract, each.method) in KINDS for each in (*validator, *follower))
