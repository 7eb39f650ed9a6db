"""``vostro governance``: what the members decide together: proposals, ballots, rules."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from contracts import assemble
from contracts.powers import Change, Judgement
from contracts.proposals import NamedProposal, Order
from node.cli.output import Row, hex_bytes, usage, when
from node.cli.session import session_of, unverified
from node.client import BlockingClient
from node.json_form import JsonRefused, from_json, parse_document, to_json
from node.ledger import codec, hashing
from node.ledger.types import Operation
from node.receipts.explain import explain_code, explain_operation

KEY_ID_BYTES: Final = 16
CONTENT_BYTES_MAX: Final = 1024 * 1024
UNDER_WAY: Final = ("open", "waiting")

app = typer.Typer(
    no_args_is_help=True, help="Governance: propose, approve, reject; rules; the pre-flight of validators."
)

NumberArgument = Annotated[int, typer.Argument(help="The proposal's number.", min=1, metavar="NUMBER")]
ContentArgument = Annotated[
    str, typer.Argument(help="Hash of the content as `show` told it, 64 digits.", metavar="CONTENTHASH")
]


@app.command("propose")
def propose(
    ctx: typer.Context,
    operation: Annotated[
        list[str],
        typer.Argument(
            help="CONTRACT.METHOD=JSON, its arguments by name, bytes in hexadecimal digits; repeat it."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; public, at most 140 characters.")] = "",
) -> None:
    """Propose operations to the members; they are applied together or not at all. The proposer approves.

    Example:
        vostro --member AB --key ab.json governance propose 'members.resume={"member": "CD"}' --reason paid
    """
    session = session_of(ctx)
    operations = tuple([read_operation(spec) for spec in operation])
    with session.client() as client:
        session.act(client, "governance", "propose", operations, reason)


@app.command("approve")
def approve(ctx: typer.Context, number: NumberArgument, content_hash: ContentArgument) -> None:
    """Vote for a proposal with exactly the content that was shown; with enough votes it is carried out at
    once.
    """
    _vote(ctx, "approve", number, content_hash)


@app.command("reject")
def reject(ctx: typer.Context, number: NumberArgument, content_hash: ContentArgument) -> None:
    """Vote against a proposal with the content that was shown, also while it waits to be carried out."""
    _vote(ctx, "reject", number, content_hash)


@app.command("withdraw")
def withdraw(ctx: typer.Context, number: NumberArgument) -> None:
    """Take back a proposal of the acting member."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "governance", "withdraw", number)


@app.command("list")
def list_(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
) -> None:
    """List proposals, newest first."""
    session = session_of(ctx)
    found: list[NamedProposal] = []
    with session.client() as client:
        while page := client.query("governance", "list_proposals", found[-1].number if found else 0):
            found += page
            if found[-1].number == 1:
                break
    rows = [_row(entry) for entry in found if everything or entry.proposal.status in UNDER_WAY]
    columns = {
        "number": "Number",
        "status": "Status",
        "methods": "Would do",
        "proposer": "Proposer",
        "approvals": "Approvals",
        "required": "Required",
        "rejections": "Rejections",
        "due": "Due",
        "reason": "Reason",
    }
    session.output.rows("Proposals", columns, rows, numbers=("approvals", "required", "rejections"))


@app.command("show")
def show(ctx: typer.Context, number: NumberArgument) -> None:
    """Show a proposal with its content and its ballots."""
    session = session_of(ctx)
    with session.client() as client:
        found: NamedProposal = client.query("governance", "get_proposal", number)
        _check_content(client, found)
    operations = [explain_operation(operation) for operation in found.operations]
    ballots: list[Row] = [
        {"member": ballot.member, "choice": ballot.choice, "counts": bool(ballot.counts)}
        for ballot in found.ballots
    ]
    if session.output.is_json:
        session.output.json({**_row(found), "operations": operations, "ballots": ballots})
        return
    session.output.record(f"Proposal {number}", _row(found))
    columns = {"contract": "Contract", "method": "Method", "arguments": "Arguments"}
    session.output.rows("Content", columns, operations)
    session.output.rows("Ballots", {"member": "Member", "choice": "Choice", "counts": "Counts"}, ballots)


@app.command("rules")
def rules(ctx: typer.Context) -> None:
    """Show who governs, by which rules, and who votes."""
    session = session_of(ctx)
    with session.client() as client:
        order: Order = client.query("governance", "get_order")
    told = to_json(order.rules)
    fields = {
        "by": order.by,
        "since_height": order.since_height,
        "voters": list(order.voters),
        "veto": f"{order.rules.veto_numerator}/{order.rules.veto_denominator}",
        "lifetime_ms": order.rules.lifetime_ms,
    }
    kinds = {name: value for name, value in told.items() if isinstance(value, dict)}
    if session.output.is_json:
        session.output.json(fields | {"requirements": kinds})
        return
    session.output.record("Governance", fields)
    rows = [
        {
            "kind": kind,
            "part": f"{value['numerator']}/{value['denominator']}",
            "waits_ms": value["waiting_ms"],
        }
        for kind, value in kinds.items()
    ]
    columns = {"kind": "Kind of change", "part": "Of the voters", "waits_ms": "Then waits, ms"}
    session.output.rows("Requirements", columns, rows, numbers=("waits_ms",))


@app.command("preflight")
def preflight(
    ctx: typer.Context,
    change: Annotated[
        list[str],
        typer.Argument(help="KEYID=POWER; 0 removes the validator, an unknown id adds one. Repeat it."),
    ],
    override: Annotated[bool, typer.Option(help="As a proposal that says override.")] = False,
) -> None:
    """Say what changes of power, made together in the next block, would come to; change nothing.

    Exit code 4 where they would be refused.
    """
    session = session_of(ctx)
    changes = tuple([_change(spec) for spec in change])
    with session.client() as client:
        judged: Judgement = client.query("validators", "preflight", changes, "override" if override else "")
    session.output.record("Pre-flight", {**to_json(judged), "margin": to_json(judged.margin)})
    if judged.refusal:
        raise unverified(f"{judged.refusal}: {judged.sentence}")


# --- what the commands share ------------------------------------------------------------------------------


def _vote(ctx: typer.Context, choice: str, number: int, shown: str) -> None:
    """Sign a ballot that names the content which this program has seen and hashed itself. shown: its hash, as
    a person has read it: a node that shows one proposal and hands out another to sign is found out.
    """
    session, content_hash = session_of(ctx), hex_bytes(shown, hashing.HASH_BYTES, "a content's hash")
    with session.client() as client:
        found: NamedProposal = client.query("governance", "get_proposal", number)
        if _check_content(client, found) != content_hash:
            raise unverified("the proposal is not the one that was shown")
        session.act(client, "governance", choice, number, content_hash)


def _check_content(client: BlockingClient, found: NamedProposal) -> bytes:
    """The hash of the content that the node shows; it must be the one that ballots name."""
    content_hash = client.suite.digest(hashing.CONTENT + codec.encode(found.operations))
    if content_hash != found.proposal.content_hash:
        raise unverified("the node shows another content than the one that is put to the vote")
    return content_hash


def read_operation(spec: str) -> Operation:
    """An operation from ``CONTRACT.METHOD=JSON``. Raises Failure."""
    name, _, text = spec.partition("=")
    contract, _, method_name = name.partition(".")
    methods = {(each.name, method.name): method for each in assemble() for method in each.methods.values()}
    method = methods.get((contract, method_name))
    if method is None:
        raise usage(f"an operation is CONTRACT.METHOD=JSON, and {name!r} is no method")
    try:
        given = parse_document((text or "{}").encode(), CONTENT_BYTES_MAX)
        if sorted(given) != sorted(method.arguments):
            raise JsonRefused(f"{name} takes {', '.join(method.arguments) or 'no arguments'}")
        arguments = tuple(
            [from_json(annotation, given[each], each) for each, annotation in method.arguments.items()]
        )
    except JsonRefused as refused:
        raise usage(f"{name}: {refused}") from refused
    return Operation(contract, method_name, codec.encode(arguments))


def _change(spec: str) -> Change:
    key_id, _, power = spec.partition("=")
    if not power.isdecimal():
        raise usage(f"a change is KEYID=POWER, not {spec!r}")
    return Change(hex_bytes(key_id, KEY_ID_BYTES, "a key id"), int(power))


def _row(found: NamedProposal) -> Row:
    proposal = found.proposal
    row: dict[str, Any] = {
        "number": found.number,
        "status": proposal.status,
        "methods": _methods(found.operations),
        "proposer": proposal.proposer,
        "reason": proposal.reason,
        "approvals": _count(found, "approve"),
        "rejections": _count(found, "reject"),
        "required": found.required,
        "veto": found.veto,
        "voters": found.voters,
        "opened": when(proposal.opened_ms),
        "due": when(proposal.due_ms),
        "content_hash": proposal.content_hash,
    }
    if proposal.code:
        row["failure"] = explain_code(proposal.codespace, proposal.code)
    return row


def _methods(operations: Sequence[Operation]) -> str:
    return ", ".join(f"{operation.contract}.{operation.method}" for operation in operations)


def _count(found: NamedProposal, choice: str) -> int:
    return sum(1 for ballot in found.ballots if ballot.counts and ballot.choice == choice)
