"""``vostro keys``: key files, encrypted under a passphrase; their public half can be read without it."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import Row, usage
from node.cli.session import session_of
from node.keys.keystore import KeyMetadata, list_keys, read_metadata, save_signer
from node.keys.signer import SIGNERS, generate

app = typer.Typer(no_args_is_help=True, help="Key files: make them and read their public half.")


@app.command("new")
def new(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The new file.")],
    algorithm: Annotated[
        str,
        typer.Option(help="ed25519, p256 or sm2; default: the usual one of the configured chain's suite."),
    ] = "",
    label: Annotated[str, typer.Option(help="For people; not secret.")] = "",
) -> None:
    """Make a key and write it, encrypted, to a new file.

    Example: `vostro keys new keys/payments-1.json --label "payments, officer 1"`
    """
    session = session_of(ctx)
    algorithm = algorithm or session.suite.algorithms[0]
    if algorithm not in SIGNERS:
        raise usage(f"--algorithm is one of {', '.join(SIGNERS)}")
    passphrase = session.passphrase_bytes(f"Passphrase for {path}", confirm=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    session.output.record("Key", _told(save_signer(path, generate(algorithm), passphrase, label=label)))


@app.command("list")
def list_(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A directory of key files.")] = Path("keys"),
) -> None:
    """List the key files of a directory. Needs no passphrase."""
    session = session_of(ctx)
    found = list_keys(directory)
    for refused in found.refused:
        session.output.say(f"{refused.code}: {refused}")
    columns = {
        "path": "File",
        "label": "Label",
        "algorithm": "Algorithm",
        "key_id": "Key id",
        "created": "Made",
    }
    session.output.rows(f"Keys in {directory}", columns, [_told(key) for key in found.keys])


@app.command("show")
def show(ctx: typer.Context, path: Annotated[Path, typer.Argument(help="A key file.")]) -> None:
    """Show the public half of a key file, to be registered or compared. Needs no passphrase."""
    session_of(ctx).output.record("Key", _told(read_metadata(path)))


def _told(key: KeyMetadata) -> Row:
    return key._asdict() | {"path": str(key.path)}
