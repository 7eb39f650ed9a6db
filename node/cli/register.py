"""``vostro register``: applications for assets and their review, legal orders, retirement."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from contracts.terms import NamedApplication, NamedOrder, Terms
from node.cli.exporting import time_ms
from node.cli.output import Row, hex_bytes, usage, when
from node.cli.session import Session, session_of
from node.client import BlockingClient, operation
from node.client.amounts import BadAmount, format_amount, parse_amount
from node.ledger.hashing import HASH_BYTES
from node.ledger.types import Operation

app = typer.Typer(no_args_is_help=True, help="The register: applications, review, legal orders, retirement.")

AssetArgument = Annotated[str, typer.Argument(help="The asset's id.")]
DocumentOption = Annotated[
    str, typer.Option("--document", help="In place of --terms: the id of the terms in the issuer's vault.")
]
ReasonOption = Annotated[str, typer.Option(help="At most 35 characters.")]
TermsOption = Annotated[
    Path | None, typer.Option(help="The document of terms; its SHA-256 is put on record.")
]


@app.command("apply")
def apply(
    ctx: typer.Context,
    asset: AssetArgument,
    cap: Annotated[str, typer.Option(help="The most there may ever be at a time.")],
    asset_class: Annotated[
        str,
        typer.Option(
            "--class",
            help="deposit-certificate, bill, bond, receivable, fund-share, placement, loan, deposit, other.",
        ),
    ],
    decimals: Annotated[int, typer.Option(help="Decimals of an amount.", min=0, max=18)] = 0,
    terms: TermsOption = None,
    document: DocumentOption = "",
    isin: Annotated[str, typer.Option(help="ISO 6166.")] = "",
    lei: Annotated[str, typer.Option(help="ISO 17442, of the debtor.")] = "",
    currency: Annotated[str, typer.Option(help="The asset in which it pays interest.")] = "",
    nominal: Annotated[str, typer.Option(help="What one minor unit stands for, in the currency.")] = "0",
    rate: Annotated[int, typer.Option(help="A year's interest in millionths: 5% is 50000.", min=0)] = 0,
    day_count: Annotated[str, typer.Option(help="ACT/360, ACT/365 or 30E/360.")] = "ACT/365",
    starts: Annotated[str, typer.Option(help="From when on it bears interest, 2026-01-31.")] = "",
    matures: Annotated[str, typer.Option(help="Until when.")] = "",
) -> None:
    """Apply for an asset of which your member will be the issuer; a registrar reviews it.

    Example: `vostro --member PA --key pa.json register apply PA-BOND --class bond --cap 1000`
    """
    session = session_of(ctx)
    with session.client() as client:
        try:
            most = parse_amount(cap, decimals)
        except BadAmount as error:
            raise usage(str(error)) from error
        worth = session.amount(client, currency, nominal) if currency else 0
        promises = (
            currency,
            worth,
            rate,
            day_count,
            time_ms(starts, last=False),
            time_ms(matures, last=False),
        )
        hashed = _terms_hash(terms, document)
        head = (asset, asset_class, decimals, most, hashed, isin, lei)
        apply_ = operation("registration", "apply", *head, promises)
        session.act_many(client, [apply_, *_keeping(asset, document)])


@app.command("supplement")
def supplement(
    ctx: typer.Context,
    asset: AssetArgument,
    more: Annotated[str, typer.Argument(help="How much more there may be.")],
    terms: TermsOption = None,
    document: DocumentOption = "",
) -> None:
    """Apply for more of an asset of your member's."""
    session = session_of(ctx)
    with session.client() as client:
        units, hashed = session.amount(client, asset, more), _terms_hash(terms, document)
        supplement_ = operation("registration", "supplement", asset, units, hashed)
        session.act_many(client, [supplement_, *_keeping(asset, document)])


@app.command("withdraw")
def withdraw(ctx: typer.Context, asset: AssetArgument, reason: ReasonOption = "") -> None:
    """Take an application back that is not decided."""
    _act(ctx, "withdraw", asset, reason)


@app.command("take-up")
def take_up(ctx: typer.Context, asset: AssetArgument) -> None:
    """Begin to review an application, as a registrar."""
    _act(ctx, "take_up", asset)


@app.command("approve")
def approve(
    ctx: typer.Context,
    asset: AssetArgument,
    terms: TermsOption = None,
    document: DocumentOption = "",
    reason: ReasonOption = "",
) -> None:
    """Put what was applied for on the register, under the terms that you have read, as a registrar."""
    _act(ctx, "approve", asset, _terms_hash(terms, document), reason)


@app.command("reject")
def reject(ctx: typer.Context, asset: AssetArgument, reason: ReasonOption = "") -> None:
    """Decline an application, as a registrar."""
    _act(ctx, "reject", asset, reason)


@app.command("retire")
def retire(ctx: typer.Context, asset: AssetArgument) -> None:
    """End an asset of which nothing is out, for ever."""
    _act(ctx, "retire", asset)


@app.command("impose")
def impose(
    ctx: typer.Context,
    asset: AssetArgument,
    reference: Annotated[str, typer.Argument(help="The order's reference, at most 35 characters.")],
    lifter: Annotated[str, typer.Option(help="The member that alone may lift it.")],
    document: Annotated[Path | None, typer.Option(help="The order; its SHA-256 is put on record.")] = None,
) -> None:
    """Stop an asset for a legal order, as a registrar or a regulator."""
    _act(ctx, "impose", asset, reference, lifter, _digest(document))


@app.command("lift")
def lift(
    ctx: typer.Context,
    asset: AssetArgument,
    reference: Annotated[str, typer.Argument(help="The order's reference.")],
) -> None:
    """Lift a legal order that names your member."""
    _act(ctx, "lift", asset, reference)


@app.command("waiting")
def waiting(ctx: typer.Context) -> None:
    """List the applications that are not decided."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [_application(named) for named in client.market(lambda market: market.applications())]
    columns = {"asset": "Asset", "kind": "Kind", "applicant": "Applicant", "class": "Class", "cap": "Cap"}
    columns |= {"isin": "ISIN", "status": "Status", "reviewer": "Reviewer"}
    session.output.rows("Applications", columns, rows, numbers=("cap",))


@app.command("show")
def show(ctx: typer.Context, asset: AssetArgument) -> None:
    """Show an asset's last application and what it promises."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.market(lambda market: market.application(asset))
        row = dict(_application(NamedApplication(asset, found)))
        kept = client.market(lambda market: market.terms_documents(asset))
        row |= {"terms": [f"document {each.document.hex()} in the vault of {each.owner}" for each in kept]}
        row |= {"fetch": [f"vostro vault get {each.document.hex()} FILE --private-key KEY" for each in kept]}
        session.output.record("Application", {**row, **_terms(session, client, found.terms)})


@app.command("orders")
def orders(ctx: typer.Context, asset: AssetArgument) -> None:
    """List an asset's legal orders, lifted ones too."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [_order(named) for named in client.market(lambda market: market.orders(asset))]
    columns = {"reference": "Reference", "imposer": "Imposed by", "lifter": "Lifted by", "imposed": "Imposed"}
    session.output.rows(f"Legal orders of {asset}", columns | {"status": "Status"}, rows)


def _act(ctx: typer.Context, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "registration", method, *arguments)


def _digest(document: Path | None) -> bytes:
    return hashlib.sha256(document.read_bytes()).digest() if document else bytes(32)


def _terms_hash(terms: Path | None, document: str) -> bytes:
    """Of a file, or the id of a document in a vault. Raises Failure."""
    if terms and document:
        raise usage("the terms are a file (--terms) or a document in a vault (--document), not both")
    return hex_bytes(document, HASH_BYTES, "a document's id") if document else _digest(terms)


def _keeping(asset: str, document: str) -> list[Operation]:
    """What has the ledger look the document up, and keep it, where there is one."""
    if not document:
        return []
    return [operation("registration", "keep_terms", asset, _terms_hash(None, document))]


def _application(named: NamedApplication) -> Row:
    found = named.application
    return {
        "asset": named.asset,
        "kind": found.kind,
        "applicant": found.applicant,
        "class": found.asset_class,
        "cap": format_amount(found.cap, found.decimals),
        "terms_hash": found.terms_hash,
        "isin": found.isin,
        "lei": found.lei,
        "status": found.status,
        "reviewer": found.reviewer,
    }


def _terms(session: Session, client: BlockingClient, terms: Terms) -> Row:
    return {
        "currency": terms.currency,
        "nominal": session.told_amount(client, terms.currency, terms.nominal) if terms.currency else "",
        "rate_millionths": terms.rate,
        "day_count": terms.day_count,
        "starts": when(terms.starts_ms),
        "matures": when(terms.matures_ms),
    }


def _order(named: NamedOrder) -> Row:
    order = named.order
    return {
        "reference": named.reference,
        "imposer": order.imposer,
        "lifter": order.lifter,
        "document_hash": order.document_hash,
        "imposed": when(order.imposed_ms),
        "status": order.status,
    }
