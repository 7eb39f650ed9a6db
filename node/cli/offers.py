"""``vostro offers``: what members offer one another, and taking it. The two signatures make a deal."""

from typing import Annotated, Any, Final

import typer

from contracts.deals import Accounts, Conditions, NamedOffer, Offer
from node.cli.output import Row, hex_bytes, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Offers: make, ask for, answer and take them.")

ID_BYTES: Final = 32
HOUR_MS: Final = 3_600_000

SideArgument = Annotated[str, typer.Argument(help="sell or buy.")]
AssetArgument = Annotated[str, typer.Argument(help="The asset that is traded.")]
LotArgument = Annotated[str, typer.Argument(help="How much of it one lot is.")]
LotsArgument = Annotated[int, typer.Argument(help="How many lots.", min=1)]
MakerArgument = Annotated[str, typer.Argument(help="The member that made it.")]
OfferArgument = Annotated[str, typer.Argument(help="Its id, 64 hexadecimal digits.")]
AccountOption = Annotated[str, typer.Option(help="Your account for the asset, MEMBER/local.")]
CashOption = Annotated[str, typer.Option(help="Your account for what is paid; default: the same.")]
LeastOption = Annotated[int, typer.Option(help="The least number of lots taken at once.", min=1)]
ToOption = Annotated[
    list[str] | None, typer.Option("--to", help="A member it is for; repeat it. Default all.")
]
HoursOption = Annotated[int, typer.Option(help="How long it is open.", min=1)]
DueOption = Annotated[int, typer.Option(help="Hours after its expiry until a deal is due.", min=1)]
BuyInOption = Annotated[int, typer.Option(help="Hours after that until the buyer may buy in.", min=0)]
SecuredOption = Annotated[bool, typer.Option(help="Hold both legs from the agreement on.")]
PartialOption = Annotated[bool, typer.Option(help="Deals may be settled in parts.")]


@app.command("make")
def make(
    ctx: typer.Context,
    side: SideArgument,
    asset: AssetArgument,
    lot: LotArgument,
    lots: LotsArgument,
    price: Annotated[str, typer.Argument(help="What one lot costs.")],
    against: Annotated[str, typer.Argument(help="The asset in which it is paid.")],
    account: AccountOption,
    cash: CashOption = "",
    least: LeastOption = 1,
    to: ToOption = None,
    hours: HoursOption = 1,
    due: DueOption = 24,
    buy_in: BuyInOption = 96,
    secured: SecuredOption = False,
    partial: PartialOption = False,
) -> None:
    """Offer to sell or to buy lots at a price a lot; the offer's id stands in the event that is shown.

    Example: `vostro --member PA --key pa.json offers make sell BOND 5 6 98.50 CZK --account PA/securities`
    """
    session = session_of(ctx)
    with session.client() as client:
        expires_ms = client.status().time_ms + hours * HOUR_MS
        units, money = session.amount(client, asset, lot), session.amount(client, against, price)
        conditions = _conditions(expires_ms, due, buy_in, secured=secured, partial=partial)
        head = (side, asset, units, lots, least, against, money, _accounts(account, cash))
        session.act(client, "trading", "make_offer", *head, tuple(to or ()), expires_ms, conditions)


@app.command("request")
def request(
    ctx: typer.Context,
    side: SideArgument,
    asset: AssetArgument,
    lot: LotArgument,
    lots: LotsArgument,
    against: Annotated[str, typer.Argument(help="The asset in which it would be paid.")],
    account: AccountOption,
    cash: CashOption = "",
    least: LeastOption = 1,
    to: ToOption = None,
    hours: HoursOption = 1,
    due: DueOption = 24,
    buy_in: BuyInOption = 96,
    secured: SecuredOption = False,
    partial: PartialOption = False,
) -> None:
    """Ask members for quotes at which you could sell or buy."""
    session = session_of(ctx)
    with session.client() as client:
        expires_ms = client.status().time_ms + hours * HOUR_MS
        conditions = _conditions(expires_ms, due, buy_in, secured=secured, partial=partial)
        head = (
            side,
            asset,
            session.amount(client, asset, lot),
            lots,
            least,
            against,
            _accounts(account, cash),
        )
        session.act(client, "trading", "request", *head, tuple(to or ()), expires_ms, conditions)


@app.command("answer")
def answer(
    ctx: typer.Context,
    maker: MakerArgument,
    offer: OfferArgument,
    lots: LotsArgument,
    price: Annotated[str, typer.Argument(help="What one lot costs.")],
    account: AccountOption,
    cash: CashOption = "",
) -> None:
    """Answer a request with a quote, or an offer with a counter-offer; open as long as what it answers."""
    session = session_of(ctx)
    with session.client() as client:
        found: Offer = client.query("trading", "get_offer", session.member, maker, _id(offer))
        money = session.amount(client, found.against, price)
        body = (maker, _id(offer), lots, money, _accounts(account, cash), found.expires_ms)
        session.act(client, "trading", "answer", *body)


@app.command("take")
def take(
    ctx: typer.Context,
    maker: MakerArgument,
    offer: OfferArgument,
    lots: LotsArgument,
    account: AccountOption,
    cash: CashOption = "",
) -> None:
    """Take lots of an offer at its price; the deal's id stands in the events that are shown."""
    session = session_of(ctx)
    with session.client() as client:
        found: Offer = client.query("trading", "get_offer", session.member, maker, _id(offer))
        amount = lots * found.price
        body = (maker, _id(offer), lots, found.against, amount, _accounts(account, cash))
        session.act(client, "trading", "take", *body)


@app.command("cancel")
def cancel(ctx: typer.Context, offer: OfferArgument) -> None:
    """Take an offer of yours back; deals from it stand."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "trading", "cancel", _id(offer))


@app.command("list")
def list_(ctx: typer.Context, asset: AssetArgument) -> None:
    """List the open offers and requests for an asset that your member may see."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.market(lambda market: market.open_offers(session.member, asset))
        rows = [_row(session, client, named) for named in found]
    columns = {"maker": "Maker", "offer": "Offer", "side": "Side", "lot": "Lot", "left": "Lots left"}
    columns |= {"price": "Price a lot", "against": "Against", "expires": "Expires"}
    session.output.rows(f"Open offers for {asset}", columns, rows, numbers=("lot", "left", "price"))


@app.command("show")
def show(ctx: typer.Context, maker: MakerArgument, offer: OfferArgument) -> None:
    """Show one offer."""
    session = session_of(ctx)
    with session.client() as client:
        named = NamedOffer(
            maker, _id(offer), client.query("trading", "get_offer", session.member, maker, _id(offer))
        )
        session.output.record("Offer", _row(session, client, named))


def _id(text: str) -> bytes:
    return hex_bytes(text, ID_BYTES, "an offer's id")


def _accounts(asset: str, cash: str) -> Accounts:
    return Accounts(asset, cash or asset)


def _conditions(expires_ms: int, due: int, buy_in: int, *, secured: bool, partial: bool) -> Conditions:
    due_ms = expires_ms + due * HOUR_MS
    return Conditions(0, due_ms, due_ms + buy_in * HOUR_MS, 1 if secured else 0, 1 if partial else 0)


def _row(session: Session, client: BlockingClient, named: NamedOffer) -> Row:
    offer = named.offer
    row: dict[str, Any] = {
        "maker": named.maker,
        "offer": named.id,
        "kind": offer.kind,
        "side": offer.side,
        "asset": offer.asset,
        "lot": session.told_amount(client, offer.asset, offer.lot),
        "lots": offer.lots,
        "left": offer.left,
        "least": offer.least,
        "price": session.told_amount(client, offer.against, offer.price),
        "against": offer.against,
        "audience": ", ".join(offer.audience),
        "expires": when(offer.expires_ms),
        "status": offer.status,
    }
    return row
