"""``vostro transfer``: one payment, or a file of them."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import Exit, Failure, usage
from node.cli.session import session_of, told_receipt

app = typer.Typer(no_args_is_help=True, help="Transfers: one, or all of a CSV file.")


@app.command("send")
def send(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The debited account, MEMBER/local.")],
    destination: Annotated[str, typer.Argument(help="The credited account, MEMBER/local.")],
    amount: Annotated[str, typer.Argument(help="Digits and at most one point, for example 2452.00.")],
    asset: Annotated[str, typer.Argument(help="The asset's id, for example CZK.")],
    end_to_end_id: Annotated[
        str, typer.Option("--id", help="End-to-end reference, at most 35 characters.")
    ] = "",
    purpose: Annotated[str, typer.Option(help="Purpose code, at most 35 characters.")] = "",
    uetr: Annotated[bool, typer.Option("--uetr", help="Give it a fresh UETR (UUIDv4).")] = False,
) -> None:
    """Pay from an account of the acting member, and wait until it is settled.

    Example: `vostro --member PA --key pa.json transfer send PA/1 YZ/87144583 2452.00 CZK --id 29401
    --purpose SIPO`
    """
    from node.client.signing import operation

    session = session_of(ctx)
    with session.client() as client:
        minor = session.amount(client, asset, amount)
        reference = _uuid4() if uetr else b""
        call = operation(
            "transfers", "send", source, destination, asset, minor, end_to_end_id, reference, purpose
        )
        signed = client.sign(session.member, [call], session.signers)
        receipt = client.submit(signed.raw, seconds=session.seconds)
    session.output.record("Settled", told_receipt(receipt))


@app.command("many")
def many(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A CSV file; see above.")],
    report: Annotated[Path | None, typer.Option(help="Write what was not applied to this CSV file.")] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Sign anew what died of age without a receipt in an earlier run.")
    ] = False,
    window: Annotated[int, typer.Option(help="Batches in flight.", min=1, max=64)] = 8,
) -> None:
    """Pay every line of a CSV file, each on its own, and report what was refused.

    The first line names the columns source, destination, asset, amount, end_to_end_id, purpose, separated
    by `,` or `;`.

    Each line's request id is kept in FILE.requests before it is sent: run the same command again after a
    cut, a crash or a refusal, and every line sends the same bytes, so that nothing is ever paid twice.

    Example: `vostro --member PA --key pa.json transfer many payday.csv --report refused.csv`
    """
    from node.cli import payments

    session = session_of(ctx)
    try:
        rows = payments.read_payments(path)
    except payments.BadPayments as error:
        raise Failure(Exit.LOCAL, str(error)) from error
    if report and report.exists():
        raise usage(f"{report} exists already: name a new file")
    with session.client() as client:
        result = payments.send_all(session, client, path, rows, renew=renew, window=window)
    if report:
        payments.write_report(report, result)
    payments.show(session.output, result)
    if result.unknown:
        raise Failure(
            Exit.UNAVAILABLE, f"{len(result.unknown):,} outcomes are unknown: run the same command again"
        )
    if result.refused:
        raise Failure(Exit.REFUSED, f"{len(result.refused):,} of {len(rows):,} payments were refused")


def _uuid4() -> bytes:
    """A UUIDv4 (RFC 9562, 5.4)."""
    chance = bytearray(secrets.token_bytes(16))
    chance[6] = 0x40 | chance[6] & 0x0F
    chance[8] = 0x80 | chance[8] & 0x3F
    return bytes(chance)
