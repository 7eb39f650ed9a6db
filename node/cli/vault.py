"""``vostro vault``: documents that a bank's own node keeps, encrypted, and that the ledger lets others read.

Documents are encrypted and opened by this command: neither the node nor the ledger sees a content or a key.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from contracts.vault import Document, Grant, NamedDocument, NamedGrant, NamedHold, ReaderKey
from node.cli.accounts import time_ms
from node.cli.output import hex_bytes, local, usage, when
from node.cli.session import Session, session_of, told_receipt, unverified
from node.client import BlockingClient, Declined, operation
from node.keys import sealing, wrapping
from node.keys.files import PRIVATE_MODE
from node.keys.sealing import Sealer, SealRefused
from node.ledger import hashing
from node.ledger.hashing import HASH_BYTES

READ_BYTES: Final = 256 * 1024
PAGE: Final = 100
MEDIA_TYPE: Final = "application/octet-stream"

app = typer.Typer(no_args_is_help=True, help="Documents: put, get, grant, revoke, keep, delete, verify.")

DocumentArgument = Annotated[
    str, typer.Argument(help="The document's id, 64 hexadecimal digits.", metavar="DOCUMENT")
]
PrivateKey = Annotated[
    Path,
    typer.Option(
        "--private-key",
        help="The private half of the member's encryption key: X25519 in PEM, or an SM2 key file.",
    ),
]
Until = Annotated[str, typer.Option(help="RFC 3339, or a date: not deleted before.")]
_COLUMNS: Final = {
    "document": "Document",
    "owner": "Owner",
    "size_bytes": "Bytes",
    "media_type": "Type",
    "retain_until": "Kept until",
    "status": "Status",
}


@app.command("put")
def put(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file.", metavar="FILE")],
    reader: Annotated[
        list[str] | None, typer.Option(help="A member that may read it, besides its owner; repeat it.")
    ] = None,
    media_type: Annotated[
        str, typer.Option("--type", help="Its media type, as application/pdf.")
    ] = MEDIA_TYPE,
    retain_until: Until = "",
) -> None:
    """Encrypt a file, give it to the member's node to keep, and put it on the ledger.

    The id that comes back is what others name it by, such as the terms hash of an asset.

    Example:
        vostro --member AB --key ab.json vault put terms.pdf --type application/pdf --reader REG
    """
    session = session_of(ctx)
    with session.client() as client:
        sealer = Sealer(client.suite)
        names = list(dict.fromkeys([session.member, *(reader or [])]))
        for name in names:
            _reader_key(client, name)  # known before a byte moves
        try:
            sealed, _ = client.vault(lambda vault: vault.store(sealer.pieces(_portions(path))))
        except SealRefused as refused:
            raise local(f"{path}: {refused}") from refused
        if sealed != sealer.sealed:
            raise unverified("the node keeps other bytes than it was sent: try again")
        readers = tuple([_wrapped(client, sealer.document, sealer.secret, name) for name in names])
        until_ms = time_ms(retain_until)
        record = (sealer.document, sealed, sealer.size_bytes, media_type, until_ms, readers)
        receipt = session.submit(client, [operation("vault", "store", *record)])
    session.output.record("Kept", {"document": sealer.document, "sealed": sealed} | told_receipt(receipt))


@app.command("get")
def get(
    ctx: typer.Context,
    document: DocumentArgument,
    path: Annotated[Path, typer.Argument(help="The new file.", metavar="FILE")],
    private_key: PrivateKey,
) -> None:
    """Fetch a document, from its owner's node if need be, open it, and write it once all of it is checked.

    Example:
        vostro --member REG vault get 5f0c... terms.pdf --private-key private.pem
    """
    session, named = session_of(ctx), _id(document)
    if path.exists():
        raise local(f"{path} exists already: name a new file")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    size_bytes = 0
    with session.client() as client:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in _content(session, client, named, private_key):
                    file.write(piece)
                    size_bytes += len(piece)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)  # never over a file that came meanwhile
        except FileExistsError as error:
            raise local(f"{path} exists already: name a new file") from error
        finally:
            beside.unlink(missing_ok=True)
    session.output.record("Written", {"document": named, "path": str(path), "size_bytes": size_bytes})


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """The member's documents, and those of others that it may read."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [
            _row(found.id, found.document)
            for query in ("list_documents", "list_readable")
            for found in _all(client, query, session.member)
            if query == "list_documents" or found.document.owner != session.member
        ]
    session.output.rows(f"Documents of {session.member}", _COLUMNS, rows, numbers=("size_bytes",))


@app.command("show")
def show(ctx: typer.Context, document: DocumentArgument) -> None:
    """What the ledger says of a document, who reads it (for its owner), and what holds it."""
    session, named = session_of(ctx), _id(document)
    with session.client() as client:
        found: Document = client.query("vault", "get_document", named)
        holds: tuple[NamedHold, ...] = client.query("vault", "list_holds", named)
        readers: tuple[NamedGrant, ...] = ()
        if session.member_id == found.owner:
            readers = client.query("vault", "list_readers", found.owner, named)
    row = _row(named, found) | {
        "sealed": found.sealed,
        "stored": when(found.stored_ms),
        "ended": when(found.ended_ms) if found.ended_ms else "",
        "readers": [each.reader for each in readers],
        "holds": [f"{each.imposer} {each.reference}: {each.hold.status}" for each in holds],
    }
    session.output.record("Document", row)


@app.command("grant")
def grant(
    ctx: typer.Context,
    document: DocumentArgument,
    reader: Annotated[str, typer.Argument(help="The member.", metavar="MEMBER")],
    private_key: PrivateKey,
) -> None:
    """Let a member read a document; again, when it has replaced its encryption key."""
    session, named = session_of(ctx), _id(document)
    with session.client() as client:
        secret = _secret(session, client, named, private_key)
        session.act(client, "vault", "grant", named, _wrapped(client, named, secret, reader))


@app.command("revoke")
def revoke(
    ctx: typer.Context,
    document: DocumentArgument,
    reader: Annotated[str, typer.Argument(help="The member.", metavar="MEMBER")],
) -> None:
    """Let a member read a document no more. What it has fetched before stays with it."""
    _act(ctx, "revoke", _id(document), reader)


@app.command("extend")
def extend(
    ctx: typer.Context,
    document: DocumentArgument,
    retain_until: Annotated[str, typer.Argument(help="RFC 3339, or a date.", metavar="UNTIL")],
) -> None:
    """Keep a document longer; never shorter."""
    _act(ctx, "extend", _id(document), time_ms(retain_until))


@app.command("hold")
def hold(
    ctx: typer.Context,
    document: DocumentArgument,
    reference: Annotated[str, typer.Argument(help="At most 35 characters.", metavar="REFERENCE")],
) -> None:
    """Keep a document from deletion until the same member lifts this. By its owner or a regulator."""
    _act(ctx, "impose_hold", _id(document), reference)


@app.command("lift")
def lift(
    ctx: typer.Context,
    document: DocumentArgument,
    reference: Annotated[str, typer.Argument(help="As it was imposed.", metavar="REFERENCE")],
) -> None:
    """End a legal hold of the member's own."""
    _act(ctx, "lift_hold", _id(document), reference)


@app.command("delete")
def delete(ctx: typer.Context, document: DocumentArgument) -> None:
    """Close a document, have its bytes destroyed, and sign that they are: the deletion receipt.

    Repeat it where it was interrupted: it goes on from there.
    """
    session, named = session_of(ctx), _id(document)
    with session.client() as client:
        found: Document = client.query("vault", "get_document", named)
        if found.status == "destroyed":
            raise usage("the bytes of this document are destroyed already")
        if found.status == "kept":
            session.submit(client, [operation("vault", "delete", named)])
        client.vault(lambda vault: vault.destroy(named))
        session.act(client, "vault", "confirm_destroyed", named)


@app.command("verify")
def verify(
    ctx: typer.Context,
    document: DocumentArgument,
    private_key: Annotated[
        Path | None,
        typer.Option("--private-key", help="Open it too: the private half of the member's encryption key."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Whether this file is the document; needs --private-key.")
    ] = None,
) -> None:
    """Check that a document's bytes are those that the ledger names, and with a key its content.

    With --file nothing is fetched: is this file the document of that id?
    """
    session, named = session_of(ctx), _id(document)
    if file and not private_key:
        raise usage("whether a file is the document is told by its key: give --private-key")
    with session.client() as client:
        found: Document = client.query("vault", "get_document", named)
        if file and private_key:
            secret = _secret(session, client, named, private_key)
            if sealing.document_of(client.suite, secret, _portions(file)) != named:
                raise unverified(f"{file} is not the document {named.hex()}")
        elif private_key:
            for _ in _content(session, client, named, private_key):
                pass
        else:
            told = hashing.streamed(client.suite, hashing.SEALED)
            for portion in client.fetch_document(named):
                told.update(portion)
            if told.digest() != found.sealed:
                raise unverified("the bytes are not those that the ledger names")
    session.output.record("Verified", _row(named, found))


# --- the parts --------------------------------------------------------------------------------------------


def _act(ctx: typer.Context, method: str, *arguments: Any) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "vault", method, *arguments)


def _id(text: str) -> bytes:
    return hex_bytes(text, HASH_BYTES, "a document's id")


def _portions(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while portion := file.read(READ_BYTES):
            yield portion


def _reader_key(client: BlockingClient, member: str) -> Any:
    """A member's encryption key in use. Raises Failure where it has none."""
    try:
        return client.query("encryption", "get_key", member)
    except Declined as declined:
        raise usage(f"{member} has no encryption key: {declined}") from declined


def _wrapped(client: BlockingClient, document: bytes, secret: bytes, reader: str) -> ReaderKey:
    """The document's key, for a reader."""
    named = _reader_key(client, reader)
    context = wrapping.context_of(client.chain_id, document, reader)
    made = wrapping.wrap(named.key.algorithm, named.key.public_key, secret, context)
    return ReaderKey(reader, named.key_id, made)


def _secret(session: Session, client: BlockingClient, document: bytes, private_key: Path) -> bytes:
    """The document's key, opened with the member's private key. Raises KeystoreError, Failure."""
    opener = wrapping.load_opener(
        private_key, lambda: session.passphrase_bytes(f"Passphrase of {private_key}")
    )
    grant_: Grant = client.query("vault", "get_grant", session.member, document)
    if grant_.key_id != opener.key_id:
        raise usage(
            f"the document's key was encrypted for the private key {grant_.key_id.hex()}, not this one"
        )
    return opener.unwrap(grant_.wrapped, wrapping.context_of(client.chain_id, document, session.member))


def _content(session: Session, client: BlockingClient, document: bytes, private_key: Path) -> Iterator[bytes]:
    """A document's content, which is the document only at its end. Raises Failure, KeystoreError."""
    secret = _secret(session, client, document, private_key)
    try:
        yield from sealing.opened(client.suite, secret, document, client.fetch_document(document))
    except SealRefused as refused:
        raise unverified(str(refused)) from refused


def _all(client: BlockingClient, query: str, member: str) -> Iterator[NamedDocument]:
    after = b""
    while True:
        page: tuple[NamedDocument, ...] = client.query("vault", query, member, after)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id


def _row(document: bytes, found: Document) -> dict[str, Any]:
    return {
        "document": document.hex(),
        "owner": found.owner,
        "size_bytes": found.size_bytes,
        "media_type": found.media_type,
        "retain_until": when(found.retain_until_ms) if found.retain_until_ms else "",
        "status": found.status,
    }
