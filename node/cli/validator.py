"""``vostro validator``: the signer of a CometBFT validator, as a process of its own, and its record.

A node signs for its own CometBFT by itself; a signer beside it keeps the key under another account.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import local
from node.cli.session import Session, session_of
from node.keys.loader import load_signer, read_public

app = typer.Typer(no_args_is_help=True, help="A CometBFT validator's signer and its record.")

Reference = Annotated[str, typer.Option("--signer-key", help="A key file, or a pkcs11: URI; Ed25519.")]
Record = Annotated[Path, typer.Option(help="The last-signed record; outside every data directory.")]
Chain = Annotated[str, typer.Option(help="CometBFT's chain id, vostro-...")]


@app.command("record")
def record(
    ctx: typer.Context,
    signer_key: Reference,
    record: Record,
    chain: Chain,
    height: Annotated[
        int, typer.Option(help="Sign nothing at this height or below; 0 on a new chain.", min=0)
    ] = 0,
) -> None:
    """Make the record without which a validator does not sign. Refused where one is there.

    For a validator that moves, give a height above the last that the old one can have signed, and be sure
    that the old one never runs again.
    """
    from node.engine.cometbft.guard import Guard

    known = read_public(signer_key)
    try:
        Guard.create(record, chain, known.public_key, height)
    except FileExistsError:
        raise local(f"{record} is there already: a validator has one record") from None
    session_of(ctx).output.record(
        "Record", {"file": str(record), "chain": chain, "key_id": known.key_id, "signs_above": height}
    )


@app.command("run")
def run(
    ctx: typer.Context,
    signer_key: Reference,
    record: Record,
    chain: Chain,
    socket: Annotated[Path, typer.Option(help="CometBFT's priv_validator_laddr, without unix://.")],
    peer_uid: Annotated[int | None, typer.Option(help="CometBFT's user; default: this one.")] = None,
) -> None:
    """Sign for a CometBFT until stopped. Every refusal is a line on stderr."""
    from node.engine.cometbft.guard import GuardRefused
    from node.engine.cometbft.signer import RemoteSigner, serve

    session = session_of(ctx)
    signer = load_signer(signer_key, lambda: _secret(session, signer_key))
    try:
        remote = RemoteSigner(signer, chain, record, _alarm)
    except (GuardRefused, ValueError) as error:
        raise local(str(error)) from error
    session.output.say(f"Signing for {chain} above height {remote.guard.last.height}")
    try:
        asyncio.run(serve(remote, socket, peer_uid=peer_uid))
    except KeyboardInterrupt:
        session.output.say("Stopped")
    finally:
        remote.close()


def _secret(session: Session, reference: str) -> bytes:
    return session.passphrase_bytes(f"Passphrase or PIN of {reference.partition('?')[0]}")


def _alarm(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
