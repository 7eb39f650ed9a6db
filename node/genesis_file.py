"""genesis.json: the form in which people read and exchange a chain's genesis document.

One JSON object, the fields of ``types.Genesis`` one to one behind a line that says what the file is; bytes
are lower-case hex, times are milliseconds since 1970. The JSON is another spelling of the same struct and is
never hashed: the chain's identity is the hash of the struct's encoding (ledger/genesis.py). What always
holds: a genesis that was loaded or made here starts a chain on this release.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from contracts import assemble
from node.json_form import JsonRefused, from_json, parse_document, to_json, write_document
from node.keys.verify import VERIFIERS
from node.ledger import codec, hashing
from node.ledger.genesis import GENESIS_BYTES_MAX
from node.ledger.ledger import PROTOCOL
from node.ledger.types import Activation, AdministratorKey, Authority, Genesis, Limits

FORMAT: Final = "vostro genesis"
FILE_BYTES_MAX: Final = 4 * GENESIS_BYTES_MAX
"""Hex and names take more room than the encoding."""

LIMITS_DEFAULT: Final = Limits(
    lifetime_ms=600_000, heartbeat_ms=1_000, block_work_max=1_000_000, block_bytes_max=4 * 1024 * 1024
)
"""Ten minutes for a transaction; a second between heartbeats; blocks of at most about 500 ms on two cores
and 4 MiB.
"""

_MEMBER: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,15}")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


class GenesisRefused(JsonRefused):
    """A genesis document that cannot start a chain here; the text says what to correct."""


def make_genesis(
    name: str,
    administrators: Sequence[AdministratorKey],
    authority: Sequence[Authority],
    *,
    time_ms: int,
    administrator: str = "ADMIN",
    threshold: int = 1,
    nodes: Sequence[AdministratorKey] = (),
    limits: Limits = LIMITS_DEFAULT,
    suite: str = hashing.INTERNATIONAL.name,
) -> Genesis:
    """A genesis with every contract of this release active from the start.

    administrators: keys, of which ``threshold`` holders sign together under the member id ``administrator``.
    authority: whose signatures certify headers. nodes: keys that may sign bundles. Raises GenesisRefused.
    """
    contracts = tuple([Activation(contract.name, 0) for contract in assemble()])
    genesis = Genesis(
        1,
        name,
        suite,
        PROTOCOL,
        time_ms,
        limits,
        administrator,
        threshold,
        tuple(administrators),
        tuple(authority),
        tuple(nodes),
        contracts,
    )
    check_genesis(genesis)
    return genesis


def load_genesis(path: Path) -> Genesis:
    """The genesis in a file, fit to start a chain. Raises GenesisRefused, also where the file cannot be
    read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GenesisRefused(f"{path}: {error.strerror}") from error
    try:
        genesis = parse_genesis(data)
        check_genesis(genesis)
    except GenesisRefused as refused:
        raise GenesisRefused(f"{path}: {refused}") from refused
    return genesis


def save_genesis(path: Path, genesis: Genesis) -> None:
    """Write genesis.json; what cannot be read again is not written. Raises GenesisRefused, also where a file
    is there already.
    """
    data = format_genesis(genesis)
    if parse_genesis(data) != genesis:
        raise GenesisRefused("the document does not read back as it was written")
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise GenesisRefused(f"{path}: {error.strerror}") from error


def format_genesis(genesis: Genesis) -> bytes:
    """The file's bytes."""
    fields: dict[str, Any] = to_json(genesis)
    return write_document({"format": FORMAT, **fields})


def parse_genesis(data: bytes) -> Genesis:
    """The genesis that a file's bytes spell, even if this release cannot run it. Raises GenesisRefused."""
    try:
        return genesis_from_document(parse_document(data, FILE_BYTES_MAX))
    except JsonRefused as refused:
        raise GenesisRefused(str(refused)) from refused


def genesis_from_document(document: dict[str, Any]) -> Genesis:
    """The genesis that a parsed JSON document spells. Raises JsonRefused."""
    if document.get("format") != FORMAT:
        raise JsonRefused(f'this is no genesis document: it does not begin with "format": "{FORMAT}"')
    genesis: Genesis = from_json(
        Genesis, {name: value for name, value in document.items() if name != "format"}
    )
    if len(codec.encode(genesis)) > GENESIS_BYTES_MAX:
        raise JsonRefused(f"the document encodes to more than {GENESIS_BYTES_MAX} bytes")
    return genesis


def check_genesis(genesis: Genesis) -> None:
    """Whether a chain can start from this on this release. Raises GenesisRefused with the first thing to
    correct.
    """
    parse_genesis(format_genesis(genesis))  # made in Python, its bounds were never looked at
    suite = hashing.SUITES.get(genesis.suite)
    if suite is None:
        raise GenesisRefused(
            f"suite: this release has no suite {genesis.suite!r}; it has {', '.join(hashing.SUITES)}"
        )
    if genesis.protocol != PROTOCOL:
        raise GenesisRefused(
            f"protocol: this release has protocol {PROTOCOL}, the document asks for {genesis.protocol}"
        )
    if not _MEMBER.fullmatch(genesis.administrator):
        raise GenesisRefused(
            "administrator: a member id is 1 to 16 capitals, digits and hyphens, no hyphen first"
        )
    for what, text in (
        ("name", genesis.name),
        *((f"holder {key.holder!r}", key.holder) for key in genesis.administrators),
    ):
        if _CONTROL.search(text):
            raise GenesisRefused(f"{what}: a text holds a control character")
    holders = dict.fromkeys(key.holder for key in genesis.administrators)
    if genesis.threshold > len(holders):
        raise GenesisRefused(
            f"threshold: {genesis.threshold} holders are to sign together and there are {len(holders)}"
        )
    _check_contracts(genesis)
    _check_keys(genesis, suite)


def _check_contracts(genesis: Genesis) -> None:
    known = [contract.name for contract in assemble()]
    named = [activation.contract for activation in genesis.contracts]
    if unknown := [name for name in named if name not in known]:
        raise GenesisRefused(
            f"contracts: this release has no contract {unknown[0]!r}; it has {', '.join(known)}"
        )
    if len(set(named)) != len(named):
        raise GenesisRefused("contracts: one is named twice")
    if genesis.contracts[0] != Activation(known[0], 0):
        raise GenesisRefused(f"contracts: the first is {known[0]!r}, from height 0")


def _check_keys(genesis: Genesis, suite: hashing.Suite) -> None:
    verifier = VERIFIERS[suite.name]()
    lists: tuple[tuple[str, Sequence[AdministratorKey | Authority], tuple[str, ...]], ...] = (
        ("administrators", genesis.administrators, suite.algorithms),
        ("authority", genesis.authority, suite.authority_algorithms),
        ("nodes", genesis.nodes, suite.algorithms),
    )
    for what, entries, algorithms in lists:
        seen: dict[bytes, int] = {}
        for at, entry in enumerate(entries):
            if entry.algorithm not in algorithms:
                raise GenesisRefused(
                    f"{what}[{at}].algorithm: the suite {suite.name} has {', '.join(algorithms)}"
                )
            if not verifier.is_valid_key(entry.algorithm, entry.public_key):
                raise GenesisRefused(f"{what}[{at}].public_key: not a public key of {entry.algorithm}")
            if (before := seen.setdefault(entry.public_key, at)) != at:
                raise GenesisRefused(f"{what}[{at}].public_key: the same key as {what}[{before}]")
