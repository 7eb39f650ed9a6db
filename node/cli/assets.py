"""``vostro assets``: register, issue, redeem, freeze."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from contracts.positions import NamedAsset
from node.cli.output import Row, usage
from node.cli.session import session_of
from node.client import BlockingClient
from node.client.amounts import BadAmount, format_amount, parse_amount

app = typer.Typer(no_args_is_help=True, help="Assets: what is owned, who issues it, how much of it there is.")

Asset = Annotated[str, typer.Argument(help="The asset's id, for example CZK.")]
Account = Annotated[str, typer.Argument(help="MEMBER/local.")]
AmountText = Annotated[str, typer.Argument(help="Digits and at most one point, for example 2452.00.")]
ReferenceOption = Annotated[
    str, typer.Option("--reference", help="At most 35 characters; an identifier, not free text.")
]
_COLUMNS = {
    "asset": "Asset",
    "issuer": "Issuer",
    "asset_class": "Class",
    "status": "Status",
    "outstanding": "Outstanding",
    "issued": "Issued",
    "redeemed": "Redeemed",
    "cap": "Cap",
}
_NUMBERS = ("outstanding", "issued", "redeemed", "cap")


@app.command("register")
def register(
    ctx: typer.Context,
    asset: Asset,
    cap: Annotated[
        str, typer.Option(help="The most there may ever be at a time, for example 1000000000.00.")
    ],
    decimals: Annotated[int, typer.Option(help="Decimals of an amount.", min=0, max=18)] = 2,
    asset_class: Annotated[
        str,
        typer.Option(
            "--class", help="currency, deposit-certificate, bill, bond, receivable, fund-share or other."
        ),
    ] = "currency",
    terms: Annotated[
        Path | None, typer.Option(help="The terms document; its SHA-256 is put on record.")
    ] = None,
) -> None:
    """Register an asset of which the acting member is the issuer.

    Example: `vostro --member CNB --key cnb.json assets register CZK --cap 1000000000000.00`
    """
    session = session_of(ctx)
    try:
        most = parse_amount(cap, decimals)
    except BadAmount as error:
        raise usage(str(error)) from error
    digest = hashlib.sha256(terms.read_bytes()).digest() if terms else bytes(32)
    with session.client() as client:
        session.act(client, "assets", "register", asset, asset_class, decimals, most, digest)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List all assets with their supply."""
    session = session_of(ctx)
    with session.client() as client:
        session.output.rows(
            "Assets", _COLUMNS, [_row(found) for found in all_assets(client)], numbers=_NUMBERS
        )


@app.command("show")
def show(ctx: typer.Context, asset: Asset) -> None:
    """Show one asset."""
    session = session_of(ctx)
    with session.client() as client:
        session.output.record(asset, _row(NamedAsset(asset, client.query("assets", "get_asset", asset))))


@app.command("issue")
def issue(
    ctx: typer.Context, asset: Asset, account: Account, amount: AmountText, reference: ReferenceOption = ""
) -> None:
    """Create units in an account. Signed by the issuer.

    Example: `vostro --member CNB --key cnb.json assets issue CZK PA/1 2452.00`
    """
    session = session_of(ctx)
    with session.client() as client:
        minor = session.amount(client, asset, amount)
        session.act(client, "assets", "issue", asset, account, minor, reference)


@app.command("redeem")
def redeem(
    ctx: typer.Context, asset: Asset, account: Account, amount: AmountText, reference: ReferenceOption = ""
) -> None:
    """Destroy units out of an account of the issuer's own."""
    session = session_of(ctx)
    with session.client() as client:
        minor = session.amount(client, asset, amount)
        session.act(client, "assets", "redeem", asset, account, minor, reference)


@app.command("freeze")
def freeze(ctx: typer.Context, asset: Asset) -> None:
    """Stop all issues and movements of an asset. Signed by the issuer."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "freeze_asset", asset)


@app.command("release")
def release(ctx: typer.Context, asset: Asset) -> None:
    """Lift the freeze."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "release_asset", asset)


def all_assets(client: BlockingClient) -> list[NamedAsset]:
    """Every asset, ascending by id."""
    assets: list[NamedAsset] = []
    while page := client.query("assets", "list_assets", assets[-1].id if assets else ""):
        assets += page
    return assets


def _row(named: NamedAsset) -> Row:
    asset = named.asset
    amounts = {
        "outstanding": asset.issued - asset.redeemed,
        "issued": asset.issued,
        "redeemed": asset.redeemed,
        "cap": asset.cap,
    }
    return {
        "asset": named.id,
        "issuer": asset.issuer,
        "asset_class": asset.asset_class,
        "decimals": asset.decimals,
        "status": asset.status,
        "terms_hash": asset.terms_hash,
        **{name: format_amount(minor, asset.decimals) for name, minor in amounts.items()},
    }
