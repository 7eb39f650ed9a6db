"""``vostro keys hsm``: keys in a hardware token, made there and never out."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import Row
from node.cli.session import Session, session_of
from node.keys.pkcs11 import TokenKey, generate_in_token, list_token_keys
from node.keys.token_uri import TokenUri, parse_uri
from node.ledger.hashing import INTERNATIONAL, key_id

app = typer.Typer(no_args_is_help=True, help="Keys in a hardware token (PKCS#11).")

Uri = Annotated[
    str, typer.Argument(help="pkcs11:token=LABEL;object=LABEL?module-path=/library.so&pin-source=file:/pin")
]


@app.command("new")
def new(
    ctx: typer.Context, uri: Uri, algorithm: Annotated[str, typer.Option(help="ed25519 or p256.")] = "ed25519"
) -> None:
    """Make a key in a token, so that it can sign and never leave. It has no backup but the token's own.

    Example: `vostro keys hsm new "pkcs11:token=bank;object=validator?module-path=/usr/lib/vendor.so"`
    """
    session, named = session_of(ctx), parse_uri(uri)
    session.output.record("Key", _told(generate_in_token(named, _pin(session, named), algorithm)))


@app.command("list")
def list_(ctx: typer.Context, uri: Uri) -> None:
    """List the keys of a token by their public halves. Needs no PIN."""
    columns = {"label": "Label", "algorithm": "Algorithm", "key_id": "Key id", "id": "Id in the token"}
    keys = list_token_keys(parse_uri(uri))
    session_of(ctx).output.rows("Keys in the token", columns, [_told(key) for key in keys])


@app.command("check")
def check(ctx: typer.Context, uri: Uri) -> None:
    """Log in, sign something with a key, and verify it: the token, its library and the PIN are in order."""
    from node.keys.loader import load_signer

    session, named = session_of(ctx), parse_uri(uri)
    signer = load_signer(uri, lambda: _pin(session, named), sessions=1)
    signer.sign(b"vostro/check/1\0" + signer.public_key)
    session.output.record(
        "Key", {"signs": True, "algorithm": signer.algorithm, "key_id": signer.key_id, "may_leave": False}
    )


def _pin(session: Session, uri: TokenUri) -> bytes:
    from node.keys.keystore import read_passphrase

    source: Path | None = uri.pin_source
    return read_passphrase(source) if source else session.passphrase_bytes("PIN of the token")


def _told(key: TokenKey) -> Row:
    return key._asdict() | {"key_id": key_id(INTERNATIONAL, key.algorithm, key.public_key)}
