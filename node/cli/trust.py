"""``vostro trust``: what another bank must hear, on a second way, before its node begins from a snapshot."""

import asyncio

import grpc
import msgspec
import typer

from node.cli.output import Exit, Failure
from node.cli.session import session_of
from node.client import Tls
from node.engine.cometbft.answers import AnswerRefused, read_signed_header
from node.engine.cometbft.light import CommitRefused, SignedHeader, check_signed_header, header_hash
from node.engine.cometbft.tunnel import PeerDoor, TunnelFailed
from node.keys.verify import InternationalVerifier


def trust(ctx: typer.Context) -> None:
    """Show the last height of CometBFT and its header's hash, for a bank whose node begins from a snapshot.

    Tell them both to the other bank on another way than the network: they go into its node.toml as
    trust_height and trust_hash, and its node believes nothing that does not follow from them.

    Example: `vostro --node bank-a:7370 trust`
    """
    session = session_of(ctx)
    try:
        signed = asyncio.run(_last(session.target, session.tls))
    except (TunnelFailed, AnswerRefused, CommitRefused) as error:
        raise Failure(Exit.UNAVAILABLE, str(error)) from error
    fields = {
        "trust_height": signed.height,
        "trust_hash": header_hash(signed.header),
        "chain": signed.header.chain_id,
    }
    session.output.record("What a new node may trust", fields)


async def _last(target: str, tls: Tls | None) -> SignedHeader:
    """The last header, signed by its own set. Raises TunnelFailed, AnswerRefused, CommitRefused."""
    credentials = None
    if tls:
        ca, key, certificate = (path.read_bytes() for path in (tls.ca, tls.key, tls.certificate))
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    door = PeerDoor(target, credentials)
    try:
        commit = msgspec.json.decode(await door.ask("commit", {}))["signed_header"]
        height = str(commit["header"]["height"])
        validators = msgspec.json.decode(await door.ask("validators", {"height": height}))["validators"]
    finally:
        await door.close()
    signed = read_signed_header(commit, validators)
    check_signed_header(signed, InternationalVerifier())
    return signed
