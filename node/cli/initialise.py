"""``vostro init``: a directory in which a node of a new chain can start."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.output import Row, usage
from node.cli.session import Session, SuiteOption, session_of, suite_named
from node.config import OTHER_PASSPHRASE_FILE, other_passphrase_file
from node.keys.keystore import save_signer
from node.keys.loader import read_public
from node.keys.signer import generate
from node.keys.token_uri import is_token_uri
from node.ledger import hashing
from node.ledger.types import AdministratorKey

if TYPE_CHECKING:
    from node.cli.directory import NodeDirectory, SequencerKey


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
    sequencer_key: Annotated[
        str, typer.Option(help="A key of your own that signs headers: a key file, or a pkcs11: URI.")
    ] = "",
) -> None:
    """Make a node's directory: node.toml, genesis.json, the sequencer's key, and the administrators' keys.

    Examples:
        vostro init first --name "My first ledger"

        vostro init node --threshold 2 --administrator-key a=a.json --administrator-key b=b.json

        vostro init national --suite guomi

    The keys of administrators that are made here are encrypted under a passphrase that is asked for, or
    read from the file that VOSTRO_PASSPHRASE_FILE names. That of your own --sequencer-key, or its token's
    PIN, is in the file that VOSTRO_OTHER_PASSPHRASE_FILE names; that name goes into node.toml.
    """
    from node.cli.directory import KEYS, make_directory

    session = session_of(ctx)
    chosen = suite_named(suite)
    if directory.exists() and any(directory.iterdir()):
        raise usage(f"{directory} is not empty: name a directory that is new or empty")
    sequencer = _sequencer(sequencer_key)
    made: list[Path] = []
    if administrator_key:
        entries = [_given(spec) for spec in administrator_key]
    else:
        entries, made = _made_administrators(session, directory / KEYS, administrators, chosen)
    node = make_directory(
        directory,
        name=name,
        administrators=entries,
        threshold=threshold,
        settings={"listen": listen, "shards": shards},
        made_keys=made,
        suite=chosen,
        sequencer=sequencer,
    )
    session.output.record("Made", _told(node, entries))
    session.output.say(f"Start it with: vostro --config {node.config} run")


def _told(node: "NodeDirectory", administrators: list[AdministratorKey]) -> Row:
    return {
        "directory": str(node.path),
        "config": str(node.config),
        "chain_id": node.chain_id,
        "chain_name": node.genesis.name,
        "suite": node.genesis.suite,
        "administrators": [entry.holder for entry in administrators],
        "threshold": node.genesis.threshold,
        "keys": [str(path) for path in node.made_keys],
    }


def _made_administrators(
    session: Session, folder: Path, count: int, suite: hashing.Suite
) -> tuple[list[AdministratorKey], list[Path]]:
    """Keys made here, all under one passphrase, and their files, whose names are the holders'."""
    passphrase = session.passphrase_bytes("Passphrase for the administrators' keys", confirm=True)
    folder.mkdir(parents=True, mode=0o700)
    made = [folder / f"administrator-{number}.json" for number in range(1, count + 1)]
    return [_made(path, suite.algorithms[0], passphrase) for path in made], made


def _made(path: Path, algorithm: str, passphrase: bytes) -> AdministratorKey:
    signer = generate(algorithm)
    save_signer(path, signer, passphrase, label=path.stem)
    return AdministratorKey(signer.algorithm, signer.public_key, path.stem)


def _sequencer(reference: str) -> "SequencerKey | None":
    """The sequencer's own key, by its public half; None where one is to be made."""
    from node.cli.directory import SequencerKey

    if not reference:
        return None
    secret = other_passphrase_file()
    if secret is None:
        raise usage(f"--sequencer-key needs {OTHER_PASSPHRASE_FILE}: what it names goes into node.toml")
    known = read_public(reference)
    where = reference if is_token_uri(reference) else str(Path(reference).resolve())
    return SequencerKey(known.algorithm, known.public_key, where, str(secret.resolve()))


def _given(spec: str) -> AdministratorKey:
    holder, _, path = spec.partition("=")
    if not holder or not path:
        raise usage(f"--administrator-key is HOLDER=KEYFILE, not {spec!r}")
    known = read_public(path)
    return AdministratorKey(known.algorithm, known.public_key, holder)
