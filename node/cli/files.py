"""``vostro import`` and ``vostro export``: files of banks in and out (node/adapters says which)."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import usage
from node.cli.session import session_of


def import_(
    ctx: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="The file.", metavar="FILE")] = None,
    form: Annotated[
        str,
        typer.Option(
            "--as", help="Its format, for example pain.001, camt.053, mt940, csv; default: find out."
        ),
    ] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="Check the file and say what it holds; do nothing.")
    ] = False,
    accounts: Annotated[Path | None, typer.Option(help="TOML: IBAN or BIC to MEMBER/local.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML: the columns of a CSV file.")] = None,
    encoding: Annotated[str, typer.Option(help="Of MT files.")] = "utf-8",
    journal: Annotated[Path, typer.Option(help="What was imported before.")] = Path("imports.journal"),
    answer: Annotated[Path | None, typer.Option(help="Write the answer here: pacs.002, or camt.029.")] = None,
    forward: Annotated[
        Path | None,
        typer.Option(help="Write the settled payments here as pacs.008, for the creditors' bank."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write what was not settled to this CSV file.")] = None,
    recall: Annotated[str, typer.Option(help="Answer recalls: accept, pending, or reject:CODE.")] = "",
    watch: Annotated[
        Path | None, typer.Option(help="Import what is laid into DIR/in, until stopped.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="With --watch: what lies there now, then end.")
    ] = False,
) -> None:
    """Import a bank's file: payments become transfers, statements and answers are checked and taken note
    of.

    Nothing of a file that is wrong anywhere is carried out. Feed the same file again after a cut or a
    refusal: what was settled is not sent again.

    Example: `vostro --member PA --key pa.json import salaries.xml --accounts accounts.toml --answer
    status.xml`
    """
    from node.adapters.accounts import load_accounts
    from node.cli import importing
    from node.cli.watching import watch_folder

    session = session_of(ctx)
    with importing.refusals_told():
        desk = importing.Desk(session, load_accounts(accounts), journal, form, encoding, mapping, recall)
        if recall:
            importing.recall_status(recall)
        if watch is not None:
            watch_folder(desk, watch, rounds=1 if once else None)
            return
        if path is None:
            raise usage("name a file, or a folder with --watch")
        for written in (answer, forward, report):
            if written is not None and written.exists():
                raise usage(f"{written} exists already: name a new file")
        checked = importing.check(desk, path)
        if plan:
            importing.show_plan(session.output, checked)
            return
        done = importing.carry_out(desk, checked)
    if answer is not None:
        importing.write_answer(desk, done, answer)
    if forward is not None:
        importing.write_forward(done, forward)
    if report is not None and done.result is not None:
        importing.write_report(report, done.result)
    importing.show(session.output, done)
    importing.end(done)


def export(
    ctx: typer.Context,
    form: Annotated[
        str, typer.Argument(help="camt.052, camt.053, camt.054, mt940, mt942 or mt950.", metavar="FORMAT")
    ],
    path: Annotated[Path, typer.Argument(help="The file to write; it must not exist.", metavar="FILE")],
    account: Annotated[str, typer.Option(help="MEMBER/local.")],
    asset: Annotated[str, typer.Option(help="The currency.")],
    from_: Annotated[str, typer.Option("--from", help="First day or time (UTC), for example 2026-01-31.")],
    to: Annotated[str, typer.Option("--to", help="Last day or time, inclusive; default now.")] = "",
    accounts: Annotated[Path | None, typer.Option(help="TOML mapping: write the account's IBAN.")] = None,
    sequence: Annotated[str, typer.Option(help="The statement's number.")] = "",
    servicer: Annotated[str, typer.Option(help="BIC of the bank that keeps the account.")] = "",
) -> None:
    """Write a statement of an account: every movement of the period, with balances that add up.

    Example: `vostro export camt.053 january.xml --account PA/main --asset CZK --from 2026-01-01 --to
    2026-01-31`
    """
    from node.adapters.accounts import load_accounts
    from node.cli import exporting, importing

    session = session_of(ctx)
    name, period = exporting.form_named(form), exporting.period_of(from_, to)
    with importing.refusals_told():
        number = load_accounts(accounts).name_of(account)
    more = {"name": number, "sequence": sequence, "servicer": servicer}
    with session.client() as client:
        decimals = session.decimals(client, asset)
        found = exporting.export_statement(client, path, name, account, asset, decimals, period, **more)
    session.output.record("Exported", exporting.told_statement(found, path))
