"""``vostro custody``: a bank's people ask their own node to sign: makers ask, checkers approve."""

import secrets
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

import typer

from node.cli.governance import read_operation
from node.cli.output import Row, hex_bytes, when
from node.cli.policy import told_ruling
from node.cli.session import session_of
from node.client.custody import Custody, CustodyRequest
from node.keys.custody import ID_BYTES

HASH_BYTES: Final = 32

app = typer.Typer(
    no_args_is_help=True,
    help="Custody: ask the member's own node to sign, approve, reject; needs mutual TLS.",
)

IdArgument = Annotated[str, typer.Argument(help="The request's id, 32 hexadecimal digits.", metavar="ID")]
HashArgument = Annotated[
    str, typer.Argument(help="Hash of the content as `show` told it, 64 digits.", metavar="CONTENTHASH")
]


@app.command("request")
def request(
    ctx: typer.Context,
    operation: Annotated[
        list[str],
        typer.Argument(
            help="CONTRACT.METHOD=JSON, its arguments by name, bytes in hexadecimal digits; repeat it."
        ),
    ],
    reference: Annotated[str, typer.Option(help="Words for the checkers; at most 140 characters.")] = "",
    request_id: Annotated[
        str, typer.Option("--id", help="The request's id, to repeat it safely; default: a new one.")
    ] = "",
    life: Annotated[
        int, typer.Option(help="Seconds that the transaction lives once signed; 0: the chain's.", min=0)
    ] = 0,
) -> None:
    """Ask for operations to be signed and submitted, applied together or not at all.

    Example:
        vostro custody request 'transfers.send={"source": "AB/1", "destination": "CD/1", "asset": "EUR",
        "amount": 1250, "end_to_end_id": "inv-7", "uetr": "", "purpose": ""}' --reference "invoice 7"
    """
    named = hex_bytes(request_id, ID_BYTES, "an id") if request_id else secrets.token_bytes(ID_BYTES)
    operations = [read_operation(spec) for spec in operation]
    _act(ctx, lambda desk: desk.request(named, operations, reference=reference, life_ms=1_000 * life))


@app.command("approve")
def approve(ctx: typer.Context, request_id: IdArgument, content_hash: HashArgument) -> None:
    """Approve a request exactly as it was shown; the last approval that is needed signs and submits it."""
    named = hex_bytes(request_id, ID_BYTES, "an id")
    digest = hex_bytes(content_hash, HASH_BYTES, "a content's hash")
    _act(ctx, lambda desk: desk.approve(named, digest))


@app.command("reject")
def reject(
    ctx: typer.Context,
    request_id: IdArgument,
    content_hash: HashArgument,
    reason: Annotated[str, typer.Option(help="Words for the maker; at most 140 characters.")] = "",
) -> None:
    """Reject a request, which ends it."""
    named = hex_bytes(request_id, ID_BYTES, "an id")
    digest = hex_bytes(content_hash, HASH_BYTES, "a content's hash")
    _act(ctx, lambda desk: desk.reject(named, digest, reason))


@app.command("cancel")
def cancel(ctx: typer.Context, request_id: IdArgument) -> None:
    """Take one's own request back while it waits."""
    named = hex_bytes(request_id, ID_BYTES, "an id")
    _act(ctx, lambda desk: desk.cancel(named))


@app.command("show")
def show(
    ctx: typer.Context,
    request_id: IdArgument,
    wait: Annotated[float, typer.Option(help="Seconds to wait for its outcome.", min=0, max=55)] = 0,
) -> None:
    """Show a request, what the policy says of it, and who may approve it."""
    named = hex_bytes(request_id, ID_BYTES, "an id")
    _act(ctx, lambda desk: desk.show(named, wait_seconds=wait))


@app.command("list")
def list_(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
) -> None:
    """List requests, oldest first."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.custody(lambda desk: desk.list(open_only=not everything))
    columns = {
        "id": "Request",
        "status": "Status",
        "maker": "Maker",
        "methods": "Would do",
        "approved_by": "Approved by",
        "expires": "Until",
        "reference": "Reference",
    }
    session.output.rows("Requests", columns, [_row(each) for each in found])


def _act(ctx: typer.Context, work: Callable[[Custody], Coroutine[Any, Any, CustodyRequest]]) -> None:
    session = session_of(ctx)
    with session.client() as client:
        found = client.custody(work)
    told = {
        **_row(found),
        **(told_ruling(found.ruling) if found.status == "waiting" and found.ruling else {}),
    }
    if not session.output.is_json:
        told["operations"] = [f"{name} {arguments}" for name, arguments in found.operations]
    session.output.record("Request", told)


def _row(found: CustodyRequest) -> dict[str, object]:
    row: Row = {
        "id": found.id,
        "content_hash": found.content_hash,
        "status": found.status,
        "member": found.member,
        "maker": found.maker,
        "methods": [name for name, _ in found.operations],
        "operations": [{"method": name, "arguments": arguments} for name, arguments in found.operations],
        "reference": found.reference,
        "made": when(found.created_ms),
        "expires": when(found.expires_ms),
        "approved_by": [each.by for each in found.approvals],
        "certificates": [each.certificate for each in found.approvals],
        "closed_by": found.closed_by,
        "reason": found.reason,
        "tx_id": found.tx_id,
        "signed": when(found.signed_ms),
        "codespace": found.codespace,
        "code": found.code,
        "height": found.height,
    }
    return dict(row)
