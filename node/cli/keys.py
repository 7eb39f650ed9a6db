"""``vostro keys``: key files, encrypted under a passphrase; their public half can be read without it.

Backups in shares and keys in a token have files of their own beside this one.
"""

from pathlib import Path
from typing import Annotated

import typer

from node.cli import hsm, shares
from node.cli.output import Row, local, usage
from node.cli.session import session_of
from node.keys import keystore
from node.keys.keystore import KeyMetadata, list_keys, save_signer
from node.keys.loader import read_public
from node.keys.signer import SIGNERS, generate
from node.keys.token_uri import is_token_uri

app = typer.Typer(no_args_is_help=True, help="Keys: files, backups in shares, hardware tokens.")
app.add_typer(hsm.app, name="hsm")
app.command("backup")(shares.backup)
app.command("restore")(shares.restore)
app.command("drill")(shares.drill)


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
def show(
    ctx: typer.Context, path: Annotated[str, typer.Argument(help="A key file, or a pkcs11: URI.")]
) -> None:
    """Show the public half of a key, to be registered or compared. Needs no passphrase."""
    session_of(ctx).output.record("Key", _told(read_public(path)))


@app.command("passphrase")
def passphrase(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A key file.")],
) -> None:
    """Encrypt a key file under another passphrase, at the cost of today. The key stays the same.

    The new one is asked for, or read from the file that VOSTRO_OTHER_PASSPHRASE_FILE names.
    Copies of the old file still open with the old passphrase: destroy them.

    Example: `vostro keys passphrase keys/payments-1.json`
    """
    session = session_of(ctx)
    old = session.passphrase_bytes(f"Passphrase of {path}")
    new_ = session.other_passphrase_bytes(f"New passphrase for {path}", confirm=True)
    session.output.record("Key", _told(keystore.change_passphrase(path, old, new_)))


@app.command("label")
def label(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A key file.")],
    text: Annotated[str, typer.Argument(help="The new label; not secret.")],
) -> None:
    """Give a key file another label. It is authenticated with the key, so the passphrase is needed."""
    session = session_of(ctx)
    secret = session.passphrase_bytes(f"Passphrase of {path}")
    session.output.record("Key", _told(keystore.relabel(path, secret, text)))


@app.command("import")
def import_(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(help="A private key in PKCS#8, PEM or DER.")],
    path: Annotated[Path, typer.Argument(help="The new key file.")],
    label: Annotated[str, typer.Option(help="For people; not secret.")] = "",
) -> None:
    """Take over a key that OpenSSL or another tool made. Destroy the source afterwards.

    The source's passphrase, if it has one, is asked for, or read from the file that
    VOSTRO_OTHER_PASSPHRASE_FILE names.

    Example: `vostro keys import payments.pem keys/payments-1.json --label payments`
    """
    from node.keys.pkcs8 import PKCS8_BYTES_MAX, is_encrypted, read_pkcs8

    session = session_of(ctx)
    with source.open("rb") as file:
        data = file.read(PKCS8_BYTES_MAX + 1)
    password = None
    if is_encrypted(data):
        password = session.other_passphrase_bytes(f"Passphrase of {source}")
    signer = read_pkcs8(data, password)
    secret = session.passphrase_bytes(f"Passphrase for {path}", confirm=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    session.output.record("Key", _told(save_signer(path, signer, secret, label=label)))


@app.command("export")
def export(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A key file.")],
    target: Annotated[Path, typer.Argument(help="The new file: an encrypted private key in PKCS#8, PEM.")],
) -> None:
    """Write a key for OpenSSL or another tool, encrypted. From then on it is protected by that file only.

    The new file's passphrase is asked for, or read from the file that VOSTRO_OTHER_PASSPHRASE_FILE names.

    Example: `vostro keys export keys/payments-1.json payments.pem`
    """
    from node.keys.pkcs8 import write_pkcs8

    session = session_of(ctx)
    if is_token_uri(path):
        raise local("a key in a token does not leave it")
    if target.exists():
        raise local(f"{target} is there already: name a new file")
    signer = keystore.load_signer(path, session.passphrase_bytes(f"Passphrase of {path}"))
    password = session.other_passphrase_bytes(f"Passphrase for {target}", confirm=True)
    data = write_pkcs8(signer, password)
    with keystore.told_by_system(target):
        keystore.write_whole(target, data, overwrite=False)
    session.output.record("Exported", {"file": str(target), "key_id": signer.key_id})


def _told(key: KeyMetadata) -> Row:
    return key._asdict() | {"path": str(key.path)}
