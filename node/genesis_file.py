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
from contracts.institutions import FOUNDER_ROLES, VOTER
from contracts.proposals import unsound
from node.json_form import JsonRefused, from_json, parse_document, to_json, write_document
from node.keys.verify import VERIFIERS
from node.ledger import codec, hashing
from node.ledger.genesis import GENESIS_BYTES_MAX
from node.ledger.ledger import PROTOCOL, PROTOCOLS
from node.ledger.types import (
    Activation,
    AdministratorKey,
    Authority,
    Founder,
    Genesis,
    GovernanceRules,
    Limits,
    Node,
    Requirement,
)

FORMAT: Final = "vostro genesis"
FILE_BYTES_MAX: Final = 4 * GENESIS_BYTES_MAX
"""Hex and names take more room than the encoding."""

LIMITS_DEFAULT: Final = Limits(
    lifetime_ms=600_000, heartbeat_ms=1_000, block_work_max=1_000_000, block_bytes_max=4 * 1024 * 1024
)
"""Ten minutes for a transaction; a second between heartbeats; blocks of at most about 500 ms on two cores
and 4 MiB.
"""

_TWO_THIRDS: Final = Requirement(2, 3, 0)
GOVERNANCE_DEFAULT: Final = GovernanceRules(
    members=_TWO_THIRDS,
    validators=_TWO_THIRDS,
    upgrades=_TWO_THIRDS,
    rules=Requirement(3, 4, 0),
    recovery=Requirement(2, 3, 3 * 86_400_000),
    veto_numerator=2,
    veto_denominator=5,
    lifetime_ms=14 * 86_400_000,
)
"""Two thirds of the voters, three quarters for the rules; two fifths can veto a recovery for three days."""

_MEMBER: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,15}")
_MEMBER_ID_TOLD: Final = "a member id is 1 to 16 capitals, digits and hyphens, no hyphen first"
_BIC: Final = re.compile(r"([A-Z0-9]{8}([A-Z0-9]{3})?)?")
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
    founders: Sequence[Founder] = (),
    nodes: Sequence[Node] = (),
    governance: GovernanceRules = GOVERNANCE_DEFAULT,
    limits: Limits = LIMITS_DEFAULT,
    suite: str = hashing.INTERNATIONAL.name,
) -> Genesis:
    """A genesis with every contract of this release active from the start.

    administrators: keys, of which ``threshold`` holders sign together under the member id ``administrator``;
    where there are none, founders govern. authority: whose signatures certify headers. nodes: which may sign
    bundles. governance: how members decide. Raises GenesisRefused.
    """
    contracts = tuple([Activation(contract.name, 0) for contract in assemble()])
    genesis = Genesis(
        2,
        name,
        suite,
        PROTOCOL,
        time_ms,
        limits,
        administrator if administrators else "",
        threshold if administrators else 0,
        tuple(administrators),
        tuple(founders),
        tuple(authority),
        tuple(nodes),
        governance,
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
    if genesis.protocol not in PROTOCOLS:
        raise GenesisRefused(
            f"protocol: this release has protocol {', '.join(map(str, PROTOCOLS))}, the document asks for "
            f"{genesis.protocol}"
        )
    if _CONTROL.search(genesis.name):
        raise GenesisRefused("name: a text holds a control character")
    _check_contracts(genesis)
    _check_administrators(genesis)
    _check_founders(genesis)
    _check_keys(genesis, suite)
    _check_nodes(genesis)
    _check_rules(genesis.governance)


def _check_administrators(genesis: Genesis) -> None:
    if not genesis.administrators:
        if genesis.administrator or genesis.threshold:
            raise GenesisRefused("administrators: there are none, so administrator is empty and threshold 0")
        return
    if not _MEMBER.fullmatch(genesis.administrator):
        raise GenesisRefused(f"administrator: {_MEMBER_ID_TOLD}")
    for key in genesis.administrators:
        if _CONTROL.search(key.holder):
            raise GenesisRefused(f"holder {key.holder!r}: a text holds a control character")
    holders = dict.fromkeys(key.holder for key in genesis.administrators)
    if not 1 <= genesis.threshold <= len(holders):
        raise GenesisRefused(
            f"threshold: {genesis.threshold} holders are to sign together and there are {len(holders)}"
        )


def _check_founders(genesis: Genesis) -> None:
    taken = {genesis.administrator: "administrator"}
    for at, founder in enumerate(genesis.founders):
        place = f"founders[{at}]"
        if not _MEMBER.fullmatch(founder.member):
            raise GenesisRefused(f"{place}.member: {_MEMBER_ID_TOLD}")
        if (before := taken.setdefault(founder.member, place)) != place:
            raise GenesisRefused(f"{place}.member: the same id as {before}")
        if not _BIC.fullmatch(founder.bic):
            raise GenesisRefused(f"{place}.bic: a BIC has 8 or 11 capitals and digits, or is empty")
        roles = [role for role in founder.roles if role not in FOUNDER_ROLES]
        if roles or len(set(founder.roles)) != len(founder.roles):
            raise GenesisRefused(f"{place}.roles: different ones of {', '.join(FOUNDER_ROLES)}")
        for text in (founder.full_name, *(key.holder for key in founder.keys)):
            if _CONTROL.search(text):
                raise GenesisRefused(f"{place}: a text holds a control character")
    if genesis.administrators:
        return
    named = [activation.contract for activation in genesis.contracts if activation.height == 0]
    if not any(VOTER in founder.roles for founder in genesis.founders):
        raise GenesisRefused(f"founders: without administrators at least one needs the role {VOTER}")
    if missing := [name for name in ("validators", "governance") if name not in named]:
        raise GenesisRefused(
            f"contracts: without administrators the chain needs {missing[0]!r} from height 0"
        )


def _check_nodes(genesis: Genesis) -> None:
    """Whose node is whose: members that exist, and validators that stand in the authority, each once."""
    members = {genesis.administrator} | {founder.member for founder in genesis.founders}
    powers = {entry.public_key for entry in genesis.authority}
    validators: dict[bytes, int] = {}
    for at, node in enumerate(genesis.nodes):
        if node.member not in members or not node.member:
            raise GenesisRefused(f"nodes[{at}].member: neither the administrators nor a founder")
        if node.validator and node.validator not in powers:
            raise GenesisRefused(f"nodes[{at}].validator: no key of the authority")
        if node.validator and validators.setdefault(node.validator, at) != at:
            raise GenesisRefused(
                f"nodes[{at}].validator: the same key as nodes[{validators[node.validator]}]"
            )


def _check_rules(rules: GovernanceRules) -> None:
    if told := unsound(rules):
        raise GenesisRefused(f"governance.{told}")


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
    members = [key for founder in genesis.founders for key in founder.keys]
    lists: tuple[tuple[str, Sequence[AdministratorKey | Authority | Node], tuple[str, ...]], ...] = (
        ("administrators", genesis.administrators, suite.algorithms),
        ("authority", genesis.authority, suite.authority_algorithms),
        ("nodes", genesis.nodes, suite.algorithms),
        ("founders' keys", [*genesis.administrators, *members], suite.algorithms),
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
