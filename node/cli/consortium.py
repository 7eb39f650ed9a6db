"""``vostro consortium``: banks found a network together, each with keys of its own making."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.output import Exit, Failure, usage
from node.cli.session import Session, SuiteOption, session_of
from node.ledger import hashing

if TYPE_CHECKING:
    from node.network.bank import Officer
    from node.network.entry import SignedEntry

HOLDER_CHARACTERS_MAX = 32

app = typer.Typer(
    no_args_is_help=True, help="Found a network of banks: entries, the genesis of all, each bank's home."
)

EntryArgument = Annotated[list[Path], typer.Argument(help="Entry files, of every bank one.", metavar="ENTRY")]
GenesisOption = Annotated[Path, typer.Option(help="genesis.json, as assembled.")]
NetworkOption = Annotated[Path, typer.Option(help="network.json, as assembled.")]


@app.command("entry")
def entry(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The bank's directory; new, or without an entry.")],
    name: Annotated[str, typer.Option(help="The network's name, on which the banks agreed.")],
    full_name: Annotated[str, typer.Option(help="The bank's name.")],
    address: Annotated[str, typer.Option(help="host:port at which other banks' nodes reach this one's.")],
    grpc: Annotated[str, typer.Option(help="host:port at which clients reach the node.")] = "127.0.0.1:7600",
    bic: Annotated[str, typer.Option(help="The bank's BIC.")] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="issuer, participant, observer, regulator or voter; repeat it. "
            "Default: participant and voter; with --observer: observer."
        ),
    ] = None,
    observer: Annotated[
        bool, typer.Option("--observer", help="The node only follows: it does not vote on blocks.")
    ] = False,
    guarded: Annotated[
        bool,
        typer.Option(
            "--guarded",
            help="The node itself votes, with an encrypted key and a record against signing twice; "
            "else CometBFT does, with a key file of its own.",
        ),
    ] = False,
    suite: SuiteOption = hashing.INTERNATIONAL.name,
) -> None:
    """Make this bank's keys and its entry: a file to hand to the other banks, signed with every key.

    The officers' keys are those of --key (its file's name is the holder's); without one, a key is made and
    encrypted under a passphrase that is asked for, or read from the file that VOSTRO_PASSPHRASE_FILE names.
    The member id is --member.

    Example:
        vostro --member BANK-A consortium entry bank-a --name Interbank --full-name "Bank A"
        --address a.example:26656
    """
    from node.network.bank import Particulars, make_entry
    from node.network.entry import default_roles

    session = session_of(ctx)
    roles: Any = tuple(role or default_roles(observer=observer))
    told = Particulars(
        *(name, session.member, full_name, roles, address, grpc, bic), suite=suite, validates=not observer
    )
    with refusals():
        officers = _officers(session)
        passphrase = b"" if officers else session.passphrase_bytes("Passphrase for the key", confirm=True)
        signed = make_entry(directory, told, officers, passphrase=passphrase, guarded=guarded)
    session.output.record("Entry", _told(signed) | {"file": str(directory / "entry.json")})
    session.output.say("Hand the file to every bank, and take theirs: then `vostro consortium assemble`.")


@app.command("show")
def show(ctx: typer.Context, entry: Annotated[Path, typer.Argument(help="An entry file.")]) -> None:
    """Check an entry and show what it says."""
    from node.network.entry import read_entry

    with refusals():
        signed = read_entry(entry)
    session_of(ctx).output.record("Entry, every signature true", _told(signed))


@app.command("assemble")
def assemble(
    ctx: typer.Context,
    entries: EntryArgument,
    name: Annotated[str, typer.Option(help="The network's name.")],
    time: Annotated[str, typer.Option(help="When the chain begins, such as 2026-01-05T09:00:00Z.")],
    out: Annotated[Path, typer.Option(help="The directory for genesis.json and network.json.")],
) -> None:
    """Check every bank's entry and make the genesis: the same bytes at every bank that has the same entries.

    Compare the chain id with the other banks by telephone before you start a node.

    Example: `vostro consortium assemble *.json --name Interbank --time 2026-01-05T09:00:00Z --out founded`
    """
    from node.network import assembly
    from node.network.entry import read_entry

    session = session_of(ctx)
    with refusals():
        signed = [read_entry(path) for path in entries]
        assembled = assembly.assemble(signed, name, assembly.parse_time(time))
        assembly.write_assembled(out, assembled)
    network = assembled.network
    session.output.record(
        "Assembled",
        {
            "chain_id": network.chain,
            "name": name,
            "members": [node.member for node in network.nodes],
            "validators": sum(node.validates for node in network.nodes),
            "may_fail": assembled.may_fail,
            "genesis": str(out / assembly.GENESIS),
            "network": str(out / assembly.NETWORK),
        },
    )
    if not assembled.may_fail:
        session.output.say("No validator may fail: with four, one may.")


@app.command("home")
def home(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The bank's directory, with its entry.")],
    genesis: GenesisOption,
    network: NetworkOption,
    listen: Annotated[
        str, typer.Option(help="host:port for other nodes, where it is not the entry's address.")
    ] = "",
    grpc_listen: Annotated[
        str, typer.Option(help="host:port for clients, where it is not the entry's.")
    ] = "",
) -> None:
    """Give a bank's directory the chain, so that `vostro run` starts its node.

    A node.toml that is there stays as it is.

    Example: `vostro consortium home bank-a --genesis founded/genesis.json --network founded/network.json`
    """
    from node.config import LOOPBACK, host_of
    from node.network.assembly import read_foundation
    from node.network.bank import make_home

    session = session_of(ctx)
    with refusals():
        assembled = read_foundation(genesis, network)
        ready = make_home(directory, assembled, listen=listen, grpc_listen=grpc_listen)
    session.output.record(
        "Ready",
        {
            "config": str(ready.config),
            "chain_id": assembled.network.chain,
            "founder": ready.founder,
            "kept_config": ready.kept,
        },
    )
    if not ready.founder:
        session.output.say(
            "The members must admit this bank first: `vostro consortium admit` at one of them."
        )
    if grpc_listen and host_of(grpc_listen) not in LOOPBACK:
        session.output.say(
            f"Beyond loopback the node needs tls_certificate, tls_key, tls_ca in {ready.config}."
        )
    session.output.say(f"Start it with: vostro --config {ready.config} run")


@app.command("admit")
def admit(
    ctx: typer.Context,
    entry: Annotated[Path, typer.Argument(help="The entry file of a bank that joins later.")],
    reason: Annotated[str, typer.Option(help="Why; public, at most 140 characters.")] = "",
    power: Annotated[int, typer.Option(help="Of its validator.", min=1)] = 10,
) -> None:
    """Propose to the members that a bank joins: its admission, its node and its validator, all or nothing.

    Example: `vostro --member BANK-A --key officer.json consortium admit bank-e/entry.json --reason joins`
    """
    from node.network.entry import joining, read_entry

    session = session_of(ctx)
    with refusals():
        signed = read_entry(entry)
    with session.client() as client:
        if client.genesis.name != signed.entry.network:
            raise usage(f"the entry is for {signed.entry.network!r}, this chain is {client.genesis.name!r}")
        session.act(client, "governance", "propose", joining(signed.entry, power), reason)


@contextmanager
def refusals() -> Iterator[None]:
    """Ends a command for what a person has to put right, with the code for programs. Raises Failure."""
    from node.engine.cometbft.home import HomeRefused
    from node.network.errors import Code, NetworkRefused

    try:
        yield
    except NetworkRefused as refused:
        code = Exit.UNVERIFIED if refused.code is Code.SIGNATURE else Exit.LOCAL
        raise Failure(code, str(refused), code=refused.code.value) from refused
    except HomeRefused as refused:
        raise Failure(Exit.LOCAL, str(refused)) from refused


def _officers(session: Session) -> "list[Officer]":
    """The keys of --key. A file's name is its holder; a token's key has a number."""
    from node.keys.token_uri import is_token_uri
    from node.network.bank import Officer

    if not session.key_paths:
        return []
    return [
        Officer(
            f"officer-{number}" if is_token_uri(path) else Path(path).stem[:HOLDER_CHARACTERS_MAX], signer
        )
        for number, (path, signer) in enumerate(zip(session.key_paths, session.signers, strict=True), 1)
    ]


def _told(signed: "SignedEntry") -> dict[str, object]:
    from node.network.entry import keys_of

    entry = signed.entry
    return {
        "member": entry.member,
        "full_name": entry.full_name,
        "network": entry.network,
        "suite": entry.suite,
        "bic": entry.bic,
        "roles": list(entry.roles),
        "address": entry.address,
        "grpc": entry.grpc,
        "peer": signed.peer.node_id,
        **{f"{what} key": key for what, _, key in keys_of(entry)},
    }
