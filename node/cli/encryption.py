"""``vostro members encryption-key``: with which key others encrypt what is meant for a member alone.

The private half is made and kept elsewhere; only public halves pass here.
"""

from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from contracts.encryption import NamedEncryptionKey
from node.cli.output import Row, hex_bytes, usage
from node.cli.session import session_of
from node.keys.loader import read_public
from node.ledger.proofs import X25519

KEY_ID_BYTES: Final = 16
PEM_BYTES_MAX: Final = 16 * 1024
_PUBLIC: Final = b"-----BEGIN PUBLIC KEY-----"

app = typer.Typer(no_args_is_help=True, help="A member's encryption key: register, replace, revoke, show.")

PublicKeyFile = Annotated[
    Path,
    typer.Argument(
        help="A public key in PEM (X25519), or a key file of which only the public half is read (SM2).",
        metavar="FILE",
    ),
]
MemberArgument = Annotated[str, typer.Argument(help="The member's id.", metavar="MEMBER")]
KeyId = Annotated[str, typer.Argument(help="32 hexadecimal digits.")]
_COLUMNS: Final = {
    "key_id": "Key",
    "algorithm": "Algorithm",
    "public_key": "Public key",
    "active_from": "From height",
    "ended": "Ended",
    "ended_at": "At height",
}


@app.command("register")
def register(ctx: typer.Context, path: PublicKeyFile) -> None:
    """Register the acting member's encryption key.

    Example:
        openssl genpkey -algorithm X25519 -out private.pem
        openssl pkey -in private.pem -pubout -out public.pem
        vostro --member AB --key ab.json members encryption-key register public.pem
    """
    session = session_of(ctx)
    algorithm, public_key = public_half(path)
    with session.client() as client:
        session.act(client, "encryption", "register", algorithm, public_key)


@app.command("replace")
def replace(ctx: typer.Context, old: KeyId, path: PublicKeyFile) -> None:
    """Put a new encryption key in the place of the one in use; keep the old private half for what is on its
    way.
    """
    session = session_of(ctx)
    algorithm, public_key = public_half(path)
    with session.client() as client:
        session.act(client, "encryption", "replace", _key_id(old), algorithm, public_key)


@app.command("revoke")
def revoke(ctx: typer.Context, key_id: KeyId) -> None:
    """End the encryption key at once, for example because others may know its private half."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "encryption", "revoke", _key_id(key_id))


@app.command("show")
def show(ctx: typer.Context, member: MemberArgument) -> None:
    """The key with which to encrypt for a member now."""
    session = session_of(ctx)
    with session.client() as client:
        found: NamedEncryptionKey = client.query("encryption", "get_key", member)
    session.output.record(f"Encryption key of {member}", _row(found))


@app.command("list")
def list_(ctx: typer.Context, member: MemberArgument) -> None:
    """All encryption keys that a member ever had."""
    session = session_of(ctx)
    with session.client() as client:
        found: tuple[NamedEncryptionKey, ...] = client.query("encryption", "list_keys", member)
    rows = [_row(entry) for entry in sorted(found, key=lambda entry: entry.key.active_from)]
    session.output.rows(f"Encryption keys of {member}", _COLUMNS, rows, numbers=("active_from", "ended_at"))


def public_half(path: Path) -> tuple[str, bytes]:
    """(algorithm, public key) of a PEM file, or of a key file. Raises Failure, KeystoreError."""
    try:
        with path.open("rb") as file:
            data = file.read(PEM_BYTES_MAX)
    except OSError as error:
        raise usage(f"{path}: {error.strerror}") from error
    if b"PRIVATE KEY" in data:
        raise usage(f"{path}: a private key does not belong here: give the public half")
    if not data.lstrip().startswith(_PUBLIC):
        known = read_public(path)
        return known.algorithm, known.public_key
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise usage(f"{path}: not a public key in PEM") from None
    if not isinstance(key, X25519PublicKey):
        raise usage(f"{path}: a public key of another kind than X25519")
    return X25519, key.public_bytes_raw()


def _key_id(text: str) -> bytes:
    return hex_bytes(text, KEY_ID_BYTES, "a key id")


def _row(entry: NamedEncryptionKey) -> Row:
    key = entry.key
    return {
        "key_id": entry.key_id.hex(),
        "algorithm": key.algorithm,
        "public_key": key.public_key.hex(),
        "active_from": key.active_from,
        "ended": key.ended,
        "ended_at": key.ended_at or "",
    }
