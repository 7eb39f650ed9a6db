"""``vostro clearing``: payment instructions, queues, limits, and netting cycles. Reports are in
clearing_reports.py.
"""

from typing import Annotated, Final

import typer

from contracts.calendars import DAY_MINUTES, Calendar
from contracts.instructions import PRIORITIES, Limit, Order, Priority
from node.cli import clearing_reports
from node.cli.cycle_runs import CycleRun
from node.cli.day_end import day_number
from node.cli.output import usage
from node.cli.session import session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Clearing: payment queues, limits, netting cycles, end of day.")
clearing_reports.add_to(app)

HOUR_MINUTES: Final = 60
MINUTE_DIGITS: Final = 2

AssetArgument = Annotated[str, typer.Argument(help="The asset that is cleared.")]
NumberArgument = Annotated[int, typer.Argument(help="The instruction's number.", min=1)]
CycleArgument = Annotated[int, typer.Argument(help="The cycle; default: the last one.")]


@app.command("set-calendar")
def set_calendar(
    ctx: typer.Context,
    asset: AssetArgument,
    opens: Annotated[str, typer.Option(help="When settlement opens, HH:MM local time.")] = "00:00",
    cut_off: Annotated[str, typer.Option(help="When it is cut off, HH:MM local time.")] = "24:00",
    zone: Annotated[int, typer.Option(help="Minutes that local time is ahead of UTC.")] = 0,
    weekend: Annotated[str, typer.Option(help="Weekdays without settlement, Monday 1.")] = "67",
    holiday: Annotated[list[str] | None, typer.Option(help="A day without, YYYY-MM-DD; repeat it.")] = None,
) -> None:
    """Set the calendar of an asset that you issue; where it has one, from the next local day on.

    Example: `vostro --member CNB --key cnb.json clearing set-calendar CZK --opens 07:00 --cut-off 18:00`
    """
    days = tuple(sorted({day_number(text) for text in holiday or ()}))
    hours = (_minute(opens), _minute(cut_off))
    weekdays = tuple(sorted({int(text) - 1 for text in weekend if text in "1234567"}))
    calendar = Calendar(max(zone, 0), max(-zone, 0), *hours, weekdays, days)
    _act(ctx, "calendars", "set_calendar", asset, calendar)


@app.command("open")
def open_(
    ctx: typer.Context,
    asset: AssetArgument,
    account: Annotated[str, typer.Argument(help="Your account through which net positions pass.")],
) -> None:
    """Clear an asset that you issue; it needs a calendar."""
    _act(ctx, "participants", "set_clearing", asset, account)


@app.command("join")
def join(
    ctx: typer.Context,
    asset: AssetArgument,
    account: Annotated[str, typer.Argument(help="Your account over which you settle.")],
) -> None:
    """Take part in an asset's clearing."""
    _act(ctx, "participants", "join", asset, account)


@app.command("set-limits")
def set_limits(
    ctx: typer.Context,
    asset: AssetArgument,
    limit: Annotated[
        list[str] | None, typer.Option(help="MEMBER=AMOUNT, or ALL=AMOUNT; repeat it. None: no limits.")
    ] = None,
) -> None:
    """Replace your limits: how much more to pay another, or all, in a day than comes from there."""
    session = session_of(ctx)
    with session.client() as client:
        limits = []
        for text in limit or ():
            member, _, amount = text.partition("=")
            most = session.amount(client, asset, amount) if amount.strip("0.") else 0
            limits.append(Limit("" if member == "ALL" else member, most))
        session.act(client, "participants", "set_limits", asset, tuple(limits))


@app.command("instruct")
def instruct(
    ctx: typer.Context,
    creditor: Annotated[str, typer.Argument(help="The member that is paid.")],
    amount: Annotated[str, typer.Argument(help="The amount.")],
    asset: AssetArgument,
    priority: Annotated[str, typer.Option(help="urgent, high or normal.")] = "normal",
    day: Annotated[str, typer.Option(help="Value day, YYYY-MM-DD; default: the business day.")] = "",
    earliest: Annotated[str, typer.Option(help="Not before, HH:MM local time.")] = "00:00",
    latest: Annotated[str, typer.Option(help="Until, HH:MM local time; default: the cut-off.")] = "00:00",
    reference: Annotated[str, typer.Option(help="At most 35 characters.")] = "",
) -> None:
    """Give a payment instruction: it settles at once if it can, and waits if it cannot.

    Example: `vostro --member PA --key pa.json clearing instruct KB 1500.00 CZK --priority high`
    """
    lane = _priority(priority)
    session = session_of(ctx)
    with session.client() as client:
        minor = session.amount(client, asset, amount)
        today = client.clearing(lambda reads: reads.business_day(asset)).business_day
        value_day = day_number(day) if day else today
        window = (_minute(earliest), _minute(latest))
        order = Order(creditor, minor, lane, value_day, *window, reference)
        session.act(client, "queues", "instruct", asset, minor, (order,))


@app.command("hold")
def hold(ctx: typer.Context, asset: AssetArgument, number: NumberArgument) -> None:
    """Take an instruction out of the queue until you release it."""
    _act(ctx, "queues", "hold", asset, number)


@app.command("release")
def release(ctx: typer.Context, asset: AssetArgument, number: NumberArgument) -> None:
    """Let a held instruction back in, behind what waits."""
    _act(ctx, "queues", "release", asset, number)


@app.command("cancel")
def cancel(ctx: typer.Context, asset: AssetArgument, number: NumberArgument) -> None:
    """Take an instruction back for good."""
    _act(ctx, "queues", "cancel", asset, number)


@app.command("prefer")
def prefer(
    ctx: typer.Context,
    asset: AssetArgument,
    number: NumberArgument,
    priority: Annotated[str, typer.Argument(help="urgent, high or normal.")],
) -> None:
    """Give an instruction another priority; it goes behind what waits there."""
    _act(ctx, "queues", "prefer", asset, number, _priority(priority))


@app.command("reorder")
def reorder(
    ctx: typer.Context,
    asset: AssetArgument,
    number: NumberArgument,
    before: Annotated[int, typer.Argument(help="The instruction before which it goes.", min=1)],
) -> None:
    """Move an instruction directly before another of the same priority."""
    _act(ctx, "queues", "reorder", asset, number, before)


@app.command("advance")
def advance(
    ctx: typer.Context,
    asset: AssetArgument,
    member: Annotated[str, typer.Option("--of", help="Whose queue; default: your own.")] = "",
    most: Annotated[int, typer.Option(help="At most so many instructions.", min=1, max=100)] = 100,
) -> None:
    """Pay the first instructions of a queue as long as the money lasts."""
    _act(ctx, "queues", "advance", asset, member or session_of(ctx).member, most)


@app.command("offset")
def offset(
    ctx: typer.Context,
    asset: AssetArgument,
    member: Annotated[str, typer.Argument(help="The other participant.")],
    own: Annotated[int, typer.Argument(help="How many of your first instructions.", min=1)],
    others: Annotated[int, typer.Argument(help="How many of the other's.", min=1)],
) -> None:
    """Settle your first instructions together with another's; the difference moves."""
    _act(ctx, "queues", "offset", asset, member, own, others)


@app.command("seal")
def seal(ctx: typer.Context, asset: AssetArgument) -> None:
    """Begin a netting cycle of an asset that you issue: freeze what waits."""
    _act(ctx, "clearing", "seal", asset)


@app.command("solve")
def solve(ctx: typer.Context, asset: AssetArgument) -> None:
    """Solve the sealed cycle here, propose the solution and have it checked. Takes a reader of all queues."""
    session = session_of(ctx)
    with session.client() as client:
        CycleRun(session, client, asset).solve_and_check()


@app.command("settle")
def settle(ctx: typer.Context, asset: AssetArgument, cycle: CycleArgument = 0) -> None:
    """Settle the best proposal of the sealed cycle, or take out who cannot pay."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "clearing", "settle", asset, _cycle(client, asset, cycle))


@app.command("abandon")
def abandon(ctx: typer.Context, asset: AssetArgument, cycle: CycleArgument = 0) -> None:
    """End the sealed cycle without settlement."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "clearing", "abandon", asset, _cycle(client, asset, cycle))


@app.command("run")
def run(ctx: typer.Context, asset: AssetArgument) -> None:
    """A whole cycle: seal, solve, check, settle; solved again where somebody cannot pay by then, at most 20
    times. The report says who was taken out, and why.
    """
    session = session_of(ctx)
    with session.client() as client:
        cycle = CycleRun(session, client, asset)
        clearing_reports.show_cycle(session, client, asset, cycle.run(), cycle.notes)


def _act(ctx: typer.Context, contract: str, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, contract, method, *arguments)


def _cycle(client: BlockingClient, asset: str, number: int) -> int:
    return number or clearing_reports.cycle_of(client, asset).cycle


def _priority(text: str) -> Priority:
    """A lane by its name. Raises Failure."""
    for priority in PRIORITIES:
        if priority == text:
            return priority
    raise usage(f"a priority is one of {', '.join(PRIORITIES)}")


def _minute(text: str) -> int:
    """Minutes since midnight of HH:MM. Raises Failure."""
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and len(minutes) == MINUTE_DIGITS):
        raise usage(f"{text!r} is no time: write 18:00")
    found = int(hours) * 60 + int(minutes)
    if found > DAY_MINUTES or int(minutes) >= HOUR_MINUTES:
        raise usage(f"{text!r} is no time of a day")
    return found
