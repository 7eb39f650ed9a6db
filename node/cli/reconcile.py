"""``vostro reconcile``: statements against the ledger, breaks as cases, and accounts that two banks vouch
for.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from contracts.cases import Case, NamedCase
from node.cli.output import Row, hex_bytes, usage, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

if TYPE_CHECKING:
    from contracts.scenarios.main_account import Day
    from node.cli.attesting import MainAccount, Period
    from node.ledger.types import Operation
    from node.reconciliation.rules import Rules

app = typer.Typer(
    no_args_is_help=True,
    help="Reconciliation: match statements, follow breaks to their end, attest main accounts.",
)

HASH_BYTES: Final = 32
DAY_MS: Final = 86_400_000
NOTHING: Final = "00" * HASH_BYTES

SubjectArgument = Annotated[str, typer.Argument(help="The case's subject, 64 hexadecimal digits.")]
OfOption = Annotated[str, typer.Option("--of", help="The member whose case it is; default: --member.")]
DocumentOption = Annotated[
    str, typer.Option(help="What says why: a file that stays with you, or the hash of one in the vault.")
]
AccountOption = Annotated[str, typer.Option(help="MEMBER/local.")]
AssetOption = Annotated[str, typer.Option(help="The currency.")]
ServicerOption = Annotated[str, typer.Option(help="The member that services the account.")]
RulesOption = Annotated[Path | None, typer.Option(help="TOML: the rules; default: the standard ones.")]


# --- statements ---------------------------------------------------------------------------------------------


@app.command("statement")
def statement(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A statement: camt.05x, MT9xx or CSV.", metavar="FILE")],
    account: Annotated[str, typer.Option(help="MEMBER/local; default: as the file or --accounts says.")] = "",
    accounts: Annotated[Path | None, typer.Option(help="TOML: IBAN to MEMBER/local.")] = None,
    rules: RulesOption = None,
    form: Annotated[str, typer.Option("--as", help="The file's format; default: find out.")] = "",
    mapping: Annotated[Path | None, typer.Option(help="TOML: the columns of a CSV file.")] = None,
    encoding: Annotated[str, typer.Option(help="Of MT files.")] = "utf-8",
    csv: Annotated[Path | None, typer.Option(help="Write all breaks to this CSV file.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Bring the breaks to the ledger as cases.")] = False,
    counterparty: Annotated[str, typer.Option(help="With --open: the member that may dispute.")] = "",
    patience: Annotated[
        int, typer.Option(help="With --open: days until a case is escalated; 0: never.", min=0, max=90)
    ] = 1,
) -> None:
    """Match a statement with the ledger and tell every difference by name.

    Ends with 0 where nothing differs, with 1 where there are breaks. Run it again as often as you like: with
    --open a break that is a case already is not opened again, and cases that the statement explains are
    matched.

    Example: `vostro --member PA --key pa.json reconcile statement january.xml --account PA/main --open`
    """
    from node.adapters.accounts import load_accounts
    from node.adapters.csv_files import load_mapping
    from node.adapters.reading import Source
    from node.cli import importing, reconciling

    session = session_of(ctx)
    if csv is not None and csv.exists():
        raise usage(f"{csv} exists already: name a new file")
    checked = _rules(rules)
    with importing.refusals_told():
        columns = load_mapping(mapping) if mapping else None
        taken = reconciling.take(Source(path, form, encoding, columns), checked)
        known = load_accounts(accounts)
    with session.client() as client:
        every = reconciling.compare(client, taken, checked, known, account)
        if open_:
            evidence = bytes.fromhex(taken.plan.digest)
            for done in every:
                told = (evidence, counterparty, patience * DAY_MS, session.member)
                for operation in reconciling.case_operations(client, done, *told):
                    client.submit(
                        client.sign(session.member, [operation], session.signers).raw, seconds=session.seconds
                    )
    if csv is not None:
        reconciling.write_csv(csv, every)
    reconciling.show(session.output, every)
    reconciling.end(every)


@app.command("rules")
def rules_(
    ctx: typer.Context, path: Annotated[Path | None, typer.Argument(help="A rules file to check.")] = None
) -> None:
    """Show the standard rules as a file to begin with, or check one.

    Example: `vostro reconcile rules > rules.toml`
    """
    from node.reconciliation.rules import STANDARD

    session = session_of(ctx)
    if path is None:
        typer.echo(STANDARD.strip())
        return
    rows = [
        {
            "rule": rule.name,
            "kind": rule.kind,
            "reference": rule.reference,
            "amount": rule.amount,
            "days": rule.days,
        }
        for rule in _rules(path).rule
    ]
    columns = {name: name.capitalize() for name in rows[0]}
    session.output.rows("The file is right", columns, rows, numbers=("amount", "days"))


# --- cases --------------------------------------------------------------------------------------------------


@app.command("cases")
def cases(
    ctx: typer.Context,
    against: Annotated[bool, typer.Option("--against", help="Cases of others against the member.")] = False,
    status: Annotated[
        str, typer.Option(help="open (not ended), all, or one status: unmatched, disputed ...")
    ] = "open",
) -> None:
    """List cases, the oldest first: what is open, for how long, on whose desk.

    Example: `vostro --member PA reconcile cases`
    """
    from node.cli import reconciling

    session = session_of(ctx)
    with session.client() as client:
        now_ms = client.status().time_ms
        found = [
            named
            for named in reconciling.cases_of(client, session.member, against=against)
            if named.case.status in (reconciling.OPEN if status == "open" else (status,)) or status == "all"
        ]
        found.sort(key=lambda named: (named.case.opened_ms, named.subject))
        rows = [_row(session, client, named, now_ms) for named in found]
    names = (
        "subject",
        "kind",
        "account",
        "amount",
        "asset",
        "counterparty",
        "status",
        "days",
        "level",
        "desk",
    )
    columns = {name: name.capitalize() for name in names}
    title = f"Cases against {session.member}" if against else f"Cases of {session.member}"
    session.output.rows(title, columns, rows, numbers=("amount", "days", "level"))


@app.command("show")
def show(ctx: typer.Context, subject: SubjectArgument, of: OfOption = "") -> None:
    """Show one case with its notes."""
    session = session_of(ctx)
    member = of or session.member
    with session.client() as client:
        found: Case = client.query("reconciliation", "get_case", member, _hash(subject))
        notes = client.query("reconciliation", "list_notes", member, _hash(subject), 0)
        now_ms = client.status().time_ms
        row = dict(_row(session, client, NamedCase(member, _hash(subject), found), now_ms))
    row["notes"] = [
        f"{named.number}. {named.note.member} {when(named.note.time_ms)} {named.note.document.hex()}"
        for named in notes
    ]
    session.output.record("Case", row)


@app.command("match")
def match(
    ctx: typer.Context,
    subjects: Annotated[list[str], typer.Argument(help="Subjects of cases, up to 100.")],
    document: DocumentOption = NOTHING,
) -> None:
    """End cases that something explains: a later entry, a correction, a document."""
    _act(ctx, "match_cases", tuple([_hash(subject) for subject in subjects]), _document(document))


@app.command("unmatched")
def unmatched(ctx: typer.Context, subject: SubjectArgument, document: DocumentOption = NOTHING) -> None:
    """Say that a case was examined and is a break, or answer a dispute so."""
    _act(ctx, "mark_unmatched", _hash(subject), _document(document))


@app.command("force")
def force(ctx: typer.Context, subject: SubjectArgument, document: DocumentOption) -> None:
    """End a case that nothing explains: its amount is let go, and the signing policy weighs it like a
    payment.
    """
    session = session_of(ctx)
    with session.client() as client:
        found: Case = client.query("reconciliation", "get_case", session.member, _hash(subject))
        told = (_hash(subject), found.asset, found.amount, _document(document))
        session.act(client, "reconciliation", "force_match", *told)


@app.command("assign")
def assign(
    ctx: typer.Context,
    subject: SubjectArgument,
    desk: Annotated[str, typer.Argument(help="Who works on it: a desk, no person's name.")],
) -> None:
    """Put a case on somebody's desk."""
    _act(ctx, "assign", _hash(subject), desk)


@app.command("dispute")
def dispute(
    ctx: typer.Context,
    subject: SubjectArgument,
    of: Annotated[str, typer.Option("--of", help="The member whose case it is.")],
    document: DocumentOption = NOTHING,
) -> None:
    """As the counterparty of a case: say that it is no break, or not yours."""
    _act(ctx, "dispute", of, _hash(subject), _document(document))


@app.command("note")
def note(ctx: typer.Context, subject: SubjectArgument, document: DocumentOption, of: OfOption = "") -> None:
    """Put a note on a case: the hash of a document."""
    session = session_of(ctx)
    _act(ctx, "add_note", of or session.member, _hash(subject), _document(document))


# --- main accounts ------------------------------------------------------------------------------------------


@app.command("attest")
def attest(
    ctx: typer.Context,
    account: AccountOption,
    asset: AssetOption,
    servicer: ServicerOption,
    day: Annotated[str, typer.Option(help="A day (UTC) that is over, for example 2026-01-31.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Or from a time on ...")] = "",
    to: Annotated[str, typer.Option("--to", help="... until before a time.")] = "",
    statement_: Annotated[
        Path | None, typer.Option("--statement", help="Your own books of it; default: what the ledger says.")
    ] = None,
    every: Annotated[
        int, typer.Option(help="Attest every so many seconds what the ledger says, until stopped.", min=0)
    ] = 0,
    rounds: Annotated[int, typer.Option(help="With --every: end after so many looks.", min=0)] = 0,
) -> None:
    """Vouch for an account's books, as its owner or its servicer. Where both vouch for the same, the ledger
    keeps the proof; where not, a case is open at once.

    Example: `vostro --member KB --key kb.json reconcile attest --account PA/main --asset CZK --servicer KB
    --day 2026-01-31 --statement ours.xml`
    """
    from node.adapters.reading import Source
    from node.cli import attesting, importing, reconciling

    session = session_of(ctx)
    main = attesting.MainAccount(account, asset, servicer)
    with session.client() as client:
        if every:
            attesting.keep_attesting(
                client,
                main,
                session.member,
                every * 1_000,
                lambda operation: _submit(session, client, operation),
                lambda at, found: session.output.line(_day(session, client, main, at, found)),
                rounds or None,
            )
            return
        period = _period(day, from_, to)
        if statement_ is None:
            books = attesting.ledger_books(client, main, period)
        else:
            with importing.refusals_told():
                taken = reconciling.take(Source(statement_), _rules(None))
            books = attesting.statement_books(client, taken)
        _submit(session, client, attesting.attest(main, period, books))
        found = attesting.day_of(client, main, period)
        session.output.record("Attested", _day(session, client, main, period, found))


@app.command("days")
def days(
    ctx: typer.Context,
    account: AccountOption,
    asset: AssetOption,
    servicer: ServicerOption,
    after: Annotated[str, typer.Option(help="Only periods that begin later.")] = "",
) -> None:
    """List the periods of a main account: who vouched, and whether both agree."""
    from node.cli import attesting
    from node.cli.exporting import time_ms

    session = session_of(ctx)
    main = attesting.MainAccount(account, asset, servicer)
    with session.client() as client:
        rows = [
            _day(session, client, main, attesting.Period(named.begins_ms, named.ends_ms), named.day)
            for named in attesting.days_of(client, main, time_ms(after, last=False))
        ]
    columns = {"from": "From", "to": "Until", "status": "Status", "owner_closing": f"{main.owner} closes"}
    columns |= {"servicer_closing": f"{servicer} closes", "case": "Case"}
    numbers = ("owner_closing", "servicer_closing")
    session.output.rows(f"{account} in {asset}, serviced by {servicer}", columns, rows, numbers=numbers)


def _day(session: Session, client: BlockingClient, main: "MainAccount", at: "Period", day: "Day") -> Row:
    from node.cli.attesting import row_of

    return row_of(main, at, day, lambda minor: session.told_amount(client, main.asset, minor))


def _period(day: str, from_: str, to: str) -> "Period":
    """A period as typed. Raises Failure."""
    from node.cli.attesting import Period
    from node.cli.exporting import time_ms

    if day and not (from_ or to):
        begins_ms = time_ms(day, last=False)
        return Period(begins_ms, begins_ms + DAY_MS)
    if from_ and to and not day:
        return Period(time_ms(from_, last=False), time_ms(to, last=False))
    raise usage("name a --day, or --from and --to")


# --- what the commands share --------------------------------------------------------------------------------


def _act(ctx: typer.Context, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "reconciliation", method, *arguments)


def _submit(session: Session, client: BlockingClient, operation: "Operation") -> None:
    signed = client.sign(session.member, [operation], session.signers)
    client.submit(signed.raw, seconds=session.seconds)


def _rules(path: Path | None) -> "Rules":
    from node.cli.output import local
    from node.reconciliation.rules import RulesRefused, load_rules

    try:
        return load_rules(path)
    except RulesRefused as refused:
        raise local(str(refused)) from refused


def _hash(text: str) -> bytes:
    return hex_bytes(text, HASH_BYTES, "a subject")


def _document(text: str) -> bytes:
    """The hash of a document: of a file here, or as typed. Raises Failure."""
    path = Path(text)
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).digest()
    return hex_bytes(text, HASH_BYTES, "a document is a file, or its hash; a hash")


def _row(session: Session, client: BlockingClient, named: NamedCase, now_ms: int) -> Row:
    case = named.case
    sign = "-" if case.direction == "debit" and case.amount else ""
    return {
        "subject": named.subject,
        "member": named.member,
        "kind": case.kind,
        "account": case.account,
        "amount": sign + session.told_amount(client, case.asset, case.amount),
        "asset": case.asset,
        "counterparty": case.counterparty,
        "status": case.status,
        "opened": when(case.opened_ms),
        "days": (now_ms - case.opened_ms) // DAY_MS,
        "level": case.level,
        "escalates": when(case.escalates_ms),
        "desk": case.desk,
        "notes": case.notes,
        "evidence": case.evidence,
        "explained": case.explained,
        "changed": when(case.changed_ms),
    }
