"""``vostro init``: a directory in which a node of a new chain can start."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import usage
from node.cli.session import SuiteOption, session_of, suite_named
from node.keys.keystore import read_metadata, save_signer
from node.keys.signer import generate
from node.ledger import hashing
from node.ledger.types import AdministratorKey


def init(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where; new or empty.")],
    name: Annotated[str, typer.Option(help="The chain's name, for people.")] = "Vostro",
    administrators: Annotated[
        int, typer.Option(help="Keys of administrators to make here, where none are given.", min=1, max=16)
    ] = 1,
    administrator_key: Annotated[
        list[str] | None,
        typer.Option(help="HOLDER=KEYFILE of an administrator; only its public half is read. Repeat it."),
    ] = None,
    threshold: Annotated[
        int, typer.Option(help="How many administrators must sign together.", min=1, max=16)
    ] = 1,
    listen: Annotated[
        str, typer.Option(help="host:port of the gRPC face; beyond loopback it needs mutual TLS.")
    ] = "127.0.0.1:7600",
    shards: Annotated[int, typer.Option(help="LevelDBs behind the state.", min=1, max=256)] = 8,
    suite: SuiteOption = hashing.INTERNATIONAL.name,
) -> None:
    """Make a node's directory: node.toml, genesis.json, the sequencer's key, and the administrators' keys.

    Examples:
        vostro init first --name "My first ledger"

        vostro init node --threshold 2 --administrator-key a=a.json --administrator-key b=b.json

        vostro init national --suite guomi

    The keys of administrators that are made here are encrypted under a passphrase that is asked for, or
    read from --passphrase-file.
    """
    from node.cli.directory import KEYS, make_directory

    session = session_of(ctx)
    chosen = suite_named(suite)
    if directory.exists() and any(directory.iterdir()):
        raise usage(f"{directory} is not empty: name a directory that is new or empty")
    made: list[Path] = []
    if administrator_key:
        entries = [_given(spec) for spec in administrator_key]
    else:
        passphrase = session.passphrase_bytes("Passphrase for the administrators' keys", confirm=True)
        (directory / KEYS).mkdir(parents=True, mode=0o700)
        made = [directory / KEYS / f"administrator-{number}.json" for number in range(1, administrators + 1)]
        entries = [_made(path, chosen.algorithms[0], passphrase) for path in made]
    node = make_directory(
        directory,
        name=name,
        administrators=entries,
        threshold=threshold,
        settings={"listen": listen, "shards": shards},
        made_keys=made,
        suite=chosen,
    )
    session.output.record(
        "Made",
        {
            "directory": str(directory),
            "config": str(node.config),
            "chain_id": node.chain_id,
            "chain_name": name,
            "suite": chosen.name,
            "administrators": [entry.holder for entry in entries],
            "threshold": threshold,
            "keys": [str(path) for path in made],
        },
    )
    session.output.say(f"Start it with: vostro --config {node.config} run")


def _made(path: Path, algorithm: str, passphrase: bytes) -> AdministratorKey:
    """A new key in a new file, whose name is the holder's."""
    signer = generate(algorithm)
    save_signer(path, signer, passphrase, label=path.stem)
    return AdministratorKey(signer.algorithm, signer.public_key, path.stem)


def _given(spec: str) -> AdministratorKey:
    holder, _, path = spec.partition("=")
    if not holder or not path:
        raise usage(f"--administrator-key is HOLDER=KEYFILE, not {spec!r}")
    known = read_metadata(Path(path))
    return AdministratorKey(known.algorithm, known.public_key, holder)
