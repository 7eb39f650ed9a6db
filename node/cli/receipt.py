"""``vostro receipt``: proof of what was decided, for people who trust neither node nor network."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.output import Exit, Failure, hex_bytes
from node.cli.session import session_of, told_receipt

app = typer.Typer(no_args_is_help=True, help="Receipts: show, export as a file, verify without a node.")

TX_ID_BYTES: Final = 32
FILE_BYTES_MAX: Final = 64 * 1024 * 1024

TxId = Annotated[str, typer.Argument(help="The transaction's id, 64 hexadecimal digits.", metavar="TX_ID")]


@app.command("show")
def show(
    ctx: typer.Context,
    tx_id: TxId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is decided.")] = False,
) -> None:
    """Show what became of a transaction."""
    session = session_of(ctx)
    wanted = hex_bytes(tx_id, TX_ID_BYTES, "a transaction's id")
    with session.client() as client:
        if wait:
            session.output.record("Receipt", told_receipt(client.wait(wanted, seconds=session.seconds)))
            return
        found = client.get_transaction(wanted)
    if found is None or found.receipt is None:
        raise Failure(
            Exit.UNAVAILABLE,
            "there is no receipt of such a transaction; it may still be waiting to be decided",
        )
    session.output.record(
        "Receipt", told_receipt(found.receipt) | {"member": found.member, "time_ms": found.time_ms}
    )


@app.command("export")
def export(
    ctx: typer.Context,
    tx_id: TxId,
    path: Annotated[Path | None, typer.Argument(help="The new file; default TX_ID.receipt.json.")] = None,
) -> None:
    """Write the receipt file of a transaction: its signed bytes, its receipt, and the proof of both.

    Example: `vostro receipt export 3f1c... proof.json && vostro receipt verify proof.json --trust
    genesis.json`
    """
    session = session_of(ctx)
    wanted = hex_bytes(tx_id, TX_ID_BYTES, "a transaction's id")
    with session.client() as client:
        data = client.receipt_file(wanted)
    target = path or Path(f"{wanted.hex()}.receipt.json")
    with target.open("xb") as file:
        file.write(data)
    session.output.record("Exported", {"tx_id": wanted, "file": str(target), "bytes": len(data)})


@app.command("verify")
def verify(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A receipt file.")],
    trust: Annotated[Path, typer.Option(help="What you trust: genesis.json, or a checkpoint.")],
) -> None:
    """Verify a receipt file. Needs no node and no network, only the genesis document or a checkpoint that
    you trust.

    Exit code 0: every signature, path and hash holds. Exit code 4: the file proves nothing.

    Example: `vostro receipt verify proof.json --trust genesis.json`
    """
    from node.receipts import ReceiptRefused, verify_receipt_file

    session = session_of(ctx)
    try:
        proven = verify_receipt_file(_read(path), _read(trust))
    except ReceiptRefused as refused:
        name = refused.problem.name
        raise Failure(Exit.UNVERIFIED, f"{path} proves nothing: {name}: {refused}", problem=name) from refused
    told = asdict(proven)
    if not session.output.is_json:
        told["certificate"] = _who_signed(proven.certificate)
        told["handovers"] = "\n".join([_who_signed(link) for link in proven.handovers])
    session.output.record("Verified", told)


def _who_signed(link: dict[str, Any]) -> str:
    """A certificate or hand-over in lines for people: which power of how much, then who."""
    if "signers" not in link:
        return f"height {link['height']}, by the sequencer {link['public_key']}"
    lines = [f"height {link['height']}, {link['power']} of the power of {link['of_power']}:"]
    for signer in link["signers"]:
        voted = "signed" if signer.get("voted_ms", 0) is not None else "did not sign"
        lines.append(f"  {signer['public_key']}, power {signer['power']}, {voted}")
    return "\n".join(lines)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FILE_BYTES_MAX)
