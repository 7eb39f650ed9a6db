"""``vostro blacklist``: members warn one another about parties, by tokens that say nothing to others."""

import hashlib
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.scenarios.blacklist import NamedListing, NamedLookups
from node.cli.output import hex_bytes, when
from node.cli.session import session_of
from node.client.signing import operation

app = typer.Typer(
    no_args_is_help=True, help="Blacklist: share warnings about parties, look parties up on the record."
)

PARTY_BYTES: Final = 32
DAY_MS: Final = 86_400_000

Party = Annotated[str, typer.Argument(help="The party's token, 64 hexadecimal digits; never its name.")]
Document = Annotated[
    Path | None, typer.Option(help="A document that stays with you; its SHA-256 is put on record.")
]


@app.command("list")
def list_(
    ctx: typer.Context,
    party: Party,
    reason: Annotated[
        str, typer.Option(help="fraud, default, identity-theft, sanction, money-laundering or other.")
    ],
    days: Annotated[int, typer.Option(help="How long the listing stands.", min=1, max=3_660)] = 365,
    evidence: Document = None,
) -> None:
    """Warn the other members about a party.

    Example: `vostro --member AB --key ab.json blacklist list 9f86...0f00a08 --reason fraud --days 180`
    """
    session = session_of(ctx)
    with session.client() as client:
        expires_ms = client.status().time_ms + days * DAY_MS
        session.act(client, "blacklist", "list_party", _party(party), reason, _digest(evidence), expires_ms)


@app.command("retract")
def retract(ctx: typer.Context, party: Party) -> None:
    """Take the acting member's own listing back."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "blacklist", "retract", _party(party))


@app.command("appeal")
def appeal(
    ctx: typer.Context,
    party: Party,
    lister: Annotated[str, typer.Argument(help="The member whose listing is contested.")],
    statement: Document = None,
) -> None:
    """Contest another member's listing on behalf of the party."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "blacklist", "appeal", _party(party), lister, _digest(statement))


@app.command("uphold")
def uphold(ctx: typer.Context, party: Party, statement: Document = None) -> None:
    """Answer an appeal: the acting member's listing stays."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "blacklist", "uphold", _party(party), _digest(statement))


@app.command("lookup")
def lookup(
    ctx: typer.Context,
    party: Party,
    purpose: Annotated[
        str, typer.Option(help="onboarding, lending, payment, periodic-review or investigation.")
    ],
) -> None:
    """Ask about a party, on the record: a signed look-up with its purpose, and who lists the party.

    Example: `vostro --member CD --key cd.json blacklist lookup 9f86...0f00a08 --purpose onboarding`
    """
    session = session_of(ctx)
    token = _party(party)
    with session.client() as client:
        signed = client.sign(
            session.member, [operation("blacklist", "look_up", token, purpose)], session.signers
        )
        receipt = client.submit(signed.raw, seconds=session.seconds)
        found: tuple[NamedListing, ...] = client.query("blacklist", "list_listings", token)
    rows = [
        {
            "member": named.member,
            "reason": named.listing.reason,
            "status": named.listing.status,
            "listed": when(named.listing.listed_ms),
            "expires": when(named.listing.expires_ms),
            "appellant": named.listing.appellant,
        }
        for named in found
    ]
    if session.output.is_json:
        session.output.json(
            {"tx_id": receipt.tx_id, "height": receipt.height, "party": token, "listings": rows}
        )
        return
    columns = {
        name: name.capitalize() for name in ("member", "reason", "status", "listed", "expires", "appellant")
    }
    session.output.rows("Listings", columns, rows)


@app.command("lookups")
def lookups(ctx: typer.Context, party: Party) -> None:
    """Show which members asked about a party: what a regulator wants to see."""
    session = session_of(ctx)
    found: list[NamedLookups] = []
    with session.client() as client:
        while page := client.query(
            "blacklist", "list_lookups", _party(party), found[-1].member if found else ""
        ):
            found += page
    rows = [
        {"member": named.member, "count": named.lookups.count, "last": when(named.lookups.last_ms)}
        for named in found
    ]
    session.output.rows(
        "Look-ups", {"member": "Member", "count": "Count", "last": "Last"}, rows, numbers=("count",)
    )


def _party(text: str) -> bytes:
    return hex_bytes(text, PARTY_BYTES, "a party's token")


def _digest(document: Path | None) -> bytes:
    """SHA-256 of a document; zeros where there is none. Raises OSError."""
    return hashlib.sha256(document.read_bytes()).digest() if document else bytes(PARTY_BYTES)
