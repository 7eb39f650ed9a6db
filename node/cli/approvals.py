"""``vostro approvals``: officers of one member sign for the same thing one after the other, on the ledger."""

from typing import Annotated, Final

import typer

from contracts.approvals import NamedDraft
from node.cli.governance import read_operation
from node.cli.output import Row, hex_bytes, when
from node.cli.session import session_of, unverified
from node.client import BlockingClient
from node.ledger import codec, hashing
from node.receipts.explain import explain_operation

HOUR_MS: Final = 3_600_000
HOURS_MAX: Final = 90 * 24

app = typer.Typer(
    no_args_is_help=True,
    help="Approvals of a member's officers, over days, on the ledger: propose, approve, execute.",
)

NumberArgument = Annotated[int, typer.Argument(help="The draft's number.", min=1, metavar="NUMBER")]


@app.command("propose")
def propose(
    ctx: typer.Context,
    operation: Annotated[
        list[str],
        typer.Argument(
            help="CONTRACT.METHOD=JSON, its arguments by name, bytes in hexadecimal digits; repeat it."
        ),
    ],
    hours: Annotated[int, typer.Option(help="How long officers may approve it.", min=1, max=HOURS_MAX)] = 72,
    reason: Annotated[str, typer.Option(help="Words for the officers; at most 140 characters.")] = "",
) -> None:
    """Draft operations of the acting member; the keys that sign approve them.

    Example:
        vostro --member AB --key mary.json approvals propose 'transfers.send={"source": "AB/1",
        "destination": "CD/1", "asset": "EUR", "amount": 1250, "end_to_end_id": "inv-7", "uetr": "",
        "purpose": ""}' --reason "invoice 7"
    """
    session = session_of(ctx)
    operations = tuple([read_operation(spec) for spec in operation])
    with session.client() as client:
        expires_ms = client.status().time_ms + hours * HOUR_MS
        session.act(client, "approvals", "propose", operations, expires_ms, reason)


@app.command("approve")
def approve(
    ctx: typer.Context,
    number: NumberArgument,
    content_hash: Annotated[
        str, typer.Argument(help="Hash of the content as `show` told it, 64 digits.", metavar="CONTENTHASH")
    ],
) -> None:
    """Approve a draft of the acting member with exactly the content that was shown."""
    _sign(ctx, "approve", number, hex_bytes(content_hash, hashing.HASH_BYTES, "a content's hash"))


@app.command("withdraw")
def withdraw(ctx: typer.Context, number: NumberArgument) -> None:
    """Take the signing keys' approval back; a draft of whose approvals none counts now ends."""
    _sign(ctx, "withdraw", number)


@app.command("execute")
def execute(ctx: typer.Context, number: NumberArgument) -> None:
    """Run a draft that enough officers have approved, as the acting member."""
    _sign(ctx, "execute", number)


@app.command("list")
def list_(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
) -> None:
    """List drafts of the acting member, newest first."""
    session = session_of(ctx)
    found: list[NamedDraft] = []
    with session.client() as client:
        while page := client.query("approvals", "list_drafts", session.member, _before(found)):
            found += page
            if found[-1].number == 1:
                break
    rows = [_row(entry) for entry in found if everything or entry.draft.status == "open"]
    columns = {
        "number": "Number",
        "status": "Status",
        "methods": "Would do",
        "officers": "Officers",
        "required": "Required",
        "expires": "Until",
        "reason": "Reason",
    }
    session.output.rows("Drafts", columns, rows, numbers=("officers", "required"))


@app.command("show")
def show(ctx: typer.Context, number: NumberArgument) -> None:
    """Show a draft of the acting member with what it would do and who approved it."""
    session = session_of(ctx)
    with session.client() as client:
        found: NamedDraft = client.query("approvals", "get_draft", session.member, number)
        if found.draft.status == "open":
            _check_content(client, found)
    operations = [explain_operation(operation) for operation in found.operations]
    approvals: list[Row] = [
        {"key_id": each.key_id, "holder": each.holder, "approved": when(each.time_ms)}
        for each in found.approvals
    ]
    if session.output.is_json:
        session.output.json({**_row(found), "operations": operations, "approvals": approvals})
        return
    session.output.record(f"Draft {number}", _row(found))
    columns = {"contract": "Contract", "method": "Method", "arguments": "Arguments"}
    session.output.rows("Content", columns, operations)
    columns = {"key_id": "Key", "holder": "Holder, if it counts now", "approved": "Approved"}
    session.output.rows("Approvals", columns, approvals)


def _sign(ctx: typer.Context, method: str, number: int, shown: bytes = b"") -> None:
    """Sign for the content which this program has seen and hashed itself. shown: its hash, where a person has
    read it before: a node that shows one draft and hands out another to sign is found out.
    """
    session = session_of(ctx)
    with session.client() as client:
        found: NamedDraft = client.query("approvals", "get_draft", session.member, number)
        _check_content(client, found)
        if shown and found.draft.content_hash != shown:
            raise unverified("the draft is not the one that was shown")
        session.act(client, "approvals", method, number, found.draft.content_hash)


def _check_content(client: BlockingClient, found: NamedDraft) -> None:
    """The content that the node shows must be the one that is signed for; an ended draft has none."""
    content_hash = client.suite.digest(hashing.CONTENT + codec.encode(found.operations))
    if content_hash != found.draft.content_hash:
        raise unverified(
            f"the node does not show the content of the draft, which it calls {found.draft.status}"
        )


def _before(found: list[NamedDraft]) -> int:
    return found[-1].number if found else 0


def _row(found: NamedDraft) -> Row:
    draft = found.draft
    return {
        "number": found.number,
        "status": draft.status,
        "methods": ", ".join(f"{each.contract}.{each.method}" for each in found.operations),
        "officers": found.officers,
        "required": found.required,
        "reason": draft.reason,
        "opened": when(draft.opened_ms),
        "expires": when(draft.expires_ms),
        "ended": when(draft.ended_ms),
        "content_hash": draft.content_hash,
    }
