"""``vostro members``: the institutions of the consortium, their keys and signing policies."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from contracts.institutions import Member, NewKey, Rule
from node.cli import encryption
from node.cli.output import Row, hex_bytes, usage
from node.cli.session import Session, session_of
from node.client import BlockingClient, operation
from node.client.amounts import BadAmount, parse_amount
from node.keys.loader import read_public

KEY_ID_BYTES: Final = 16

app = typer.Typer(no_args_is_help=True, help="Members: who takes part, with which keys, under which policy.")
policy = typer.Typer(no_args_is_help=True, help="A member's signing policy: how many officers for what.")
key = typer.Typer(no_args_is_help=True, help="A member's keys: register, rotate, retire, revoke.")
app.add_typer(policy, name="policy")
app.add_typer(key, name="key")
app.add_typer(encryption.app, name="encryption-key")

MemberArgument = Annotated[str, typer.Argument(help="The member's id.", metavar="MEMBER")]
KeyFile = Annotated[Path, typer.Argument(help="A key file; only its public half is read.")]
KeyId = Annotated[str, typer.Argument(help="32 hexadecimal digits.")]
Holder = Annotated[str, typer.Option(help="Who holds the key: a function or initials, no name of a person.")]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope", help="What it may sign: a contract, contract.method, or *. Repeat it; default *."
    ),
]


@app.command("admit")
def admit(
    ctx: typer.Context,
    member: MemberArgument,
    full_name: Annotated[str, typer.Argument(help="The institution's name.")],
    member_key: Annotated[list[str], typer.Option(help="HOLDER=KEYFILE, its first keys; repeat it.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="participant, issuer, registrar, observer or regulator; repeat it."),
    ] = None,
    bic: Annotated[str, typer.Option(help="Its BIC, if it has one.")] = "",
) -> None:
    """Admit a member with its first keys. Signed by the administrators.

    Example:
        vostro --member ADMIN --key admin.json members admit AB "Bank AB" --member-key payments=ab.json
    """
    session = session_of(ctx)
    keys = tuple(_new_key(spec) for spec in member_key)
    with session.client() as client:
        session.act(client, "members", "admit", member, full_name, bic, tuple(role or ["participant"]), keys)


@app.command("change")
def change(
    ctx: typer.Context,
    member: MemberArgument,
    full_name: Annotated[str, typer.Argument(help="The institution's name.")],
    role: Annotated[list[str], typer.Option(help="All its roles from now on; repeat it.")],
    bic: Annotated[str, typer.Option(help="Its BIC.")] = "",
) -> None:
    """Change a member's name, roles or BIC. Signed by the administrators."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "change", member, full_name, bic, tuple(role))


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the members."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [_summary(member) for member in all_members(client)]
    columns = {
        "member": "Member",
        "full_name": "Name",
        "bic": "BIC",
        "roles": "Roles",
        "status": "Status",
        "active_keys": "Active keys",
    }
    session.output.rows("Members", columns, rows, numbers=("active_keys",))


@app.command("show")
def show(ctx: typer.Context, member: MemberArgument) -> None:
    """Show a member with its keys and its policy."""
    session = session_of(ctx)
    with session.client() as client:
        found: Member = client.query("members", "get_member", member)
    keys = [_key_row(entry) for entry in found.keys]
    rules = [_rule_row(rule) for rule in found.rules]
    if session.output.is_json:
        session.output.json(_summary(found) | {"keys": keys, "policy": rules})
        return
    session.output.record(member, _summary(found))
    columns = {
        name: name.replace("_", " ").capitalize()
        for name in ("key_id", "algorithm", "holder", "scopes", "active")
    }
    session.output.rows("Keys", columns, keys)
    session.output.rows("Policy", _RULE_COLUMNS, rules, numbers=("from_amount", "officers"))


@app.command("suspend")
def suspend(
    ctx: typer.Context,
    member: MemberArgument,
    reason: Annotated[str, typer.Option(help="Why; public, at most 64 characters.")],
) -> None:
    """Keep a member from signing; its accounts can still be credited. Signed by the administrators."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "suspend", member, reason)


@app.command("resume")
def resume(ctx: typer.Context, member: MemberArgument) -> None:
    """Let a suspended member sign again. Signed by the administrators."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "resume", member)


@app.command("recover")
def recover(
    ctx: typer.Context, member: MemberArgument, path: KeyFile, holder: Holder, scope: ScopeOption = None
) -> None:
    """Propose a key for a member that has too few left to register one; it waits, so that others can object.

    Signed by the administrators, or by a member that votes. `vostro governance show` tells until when.
    """
    session = session_of(ctx)
    with session.client() as client:
        recovery = operation("members", "recover", member, new_key(path, holder, scope))
        session.act(client, "governance", "propose", (recovery,), "")


# --- keys -------------------------------------------------------------------------------------------------


@key.command("register")
def register(ctx: typer.Context, path: KeyFile, holder: Holder, scope: ScopeOption = None) -> None:
    """Register another key of the acting member.

    Example: `vostro --member AB --key ab.json members key register clearing.json --holder clearing --scope
    transfers`
    """
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "register_key", new_key(path, holder, scope))


@key.command("rotate")
def rotate(
    ctx: typer.Context,
    old: KeyId,
    path: KeyFile,
    holder: Holder,
    at: Annotated[int, typer.Option(help="Height from which on the old key signs no more.", min=1)],
    scope: ScopeOption = None,
) -> None:
    """Register a key and let the old one end at a later height; both sign in between."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "rotate_key", _key_id(old), at, new_key(path, holder, scope))


@key.command("retire")
def retire(
    ctx: typer.Context,
    key_id: KeyId,
    at: Annotated[int, typer.Option(help="Height from which on it signs no more.", min=1)],
) -> None:
    """Let a key end at a later height."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "retire_key", _key_id(key_id), at)


@key.command("revoke")
def revoke(ctx: typer.Context, key_id: KeyId) -> None:
    """End a key at once, for example because others may know it."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "members", "revoke_key", _key_id(key_id))


# --- policy -----------------------------------------------------------------------------------------------

_RULE_COLUMNS: Final = {
    "contract": "Contract",
    "method": "Method",
    "asset": "Asset",
    "from_amount": "From amount",
    "officers": "Officers",
}


@policy.command("set")
def set_policy(
    ctx: typer.Context,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="CONTRACT.METHOD,ASSET,FROM,OFFICERS; * is any, an empty asset any. Repeat it."),
    ] = None,
) -> None:
    """Replace the acting member's policy; without a rule one officer suffices for everything.

    Example, two officers from a million crowns on:

        vostro --member AB --key a.json members policy set --rule "transfers.send,CZK,1000000.00,2"
    """
    session = session_of(ctx)
    with session.client() as client:
        session.act(
            client, "members", "set_policy", tuple(_rule(session, client, spec) for spec in rule or ())
        )


@policy.command("show")
def show_policy(ctx: typer.Context, member: MemberArgument) -> None:
    """Show a member's signing policy."""
    session = session_of(ctx)
    with session.client() as client:
        found: Member = client.query("members", "get_member", member)
    rows = [_rule_row(rule) for rule in found.rules]
    session.output.rows(f"Policy of {member}", _RULE_COLUMNS, rows, numbers=("from_amount", "officers"))


# --- what the commands share ------------------------------------------------------------------------------


def all_members(client: BlockingClient) -> list[Member]:
    """Every member, ascending by id."""
    members: list[Member] = []
    while page := client.query("members", "list_members", members[-1].member if members else ""):
        members += page
    return members


def new_key(path: Path, holder: str, scopes: Sequence[str] | None) -> NewKey:
    """A key to be registered, from its file's public half."""
    known = read_public(path)
    return NewKey(known.algorithm, known.public_key, holder, tuple(scopes or ["*"]))


def _new_key(spec: str) -> NewKey:
    holder, _, path = spec.partition("=")
    if not holder or not path:
        raise usage(f"--member-key is HOLDER=KEYFILE, not {spec!r}")
    return new_key(Path(path), holder, None)


def _key_id(text: str) -> bytes:
    return hex_bytes(text, KEY_ID_BYTES, "a key id")


def _rule(session: Session, client: BlockingClient, spec: str) -> Rule:
    try:
        what, asset, least, officers = (part.strip() for part in spec.split(","))
    except ValueError:
        raise usage(f"a rule is CONTRACT.METHOD,ASSET,FROM,OFFICERS, not {spec!r}") from None
    contract, _, method = what.partition(".")
    if not officers.isdecimal():
        raise usage(f"the number of officers is digits, not {officers!r}")
    amount = 0
    if least not in ("", "0"):
        try:
            amount = parse_amount(least, session.decimals(client, asset) if asset else 0)
        except BadAmount as error:
            raise usage(str(error)) from error
    return Rule(contract, method or "*", asset, amount, int(officers))


def _summary(member: Member) -> dict[str, Any]:
    institution = member.institution
    return {
        "member": member.member,
        "full_name": institution.full_name,
        "bic": institution.bic,
        "roles": list(institution.roles),
        "status": institution.status,
        "admitted_height": institution.admitted_height,
        "active_keys": sum(entry.active for entry in member.keys),
    }


def _key_row(entry: Any) -> Row:
    found = entry.key
    return {
        "key_id": entry.key_id,
        "algorithm": found.algorithm,
        "public_key": found.public_key,
        "holder": found.holder,
        "scopes": list(found.scopes),
        "active": bool(entry.active),
        "active_from": found.active_from,
        "retires_at": found.retires_at,
        "revoked_at": found.revoked_at,
    }


def _rule_row(rule: Rule) -> Row:
    return {
        "contract": rule.contract,
        "method": rule.method,
        "asset": rule.asset,
        "from_amount": rule.from_amount,
        "officers": rule.officers,
    }
