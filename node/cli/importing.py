"""One file of a bank: checked whole, carried out or taken note of, and answered (``vostro import``)."""

import csv
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from node.adapters.accounts import Accounts
from node.adapters.csv_files import load_mapping
from node.adapters.identifiers import is_bic
from node.adapters.iso_write import Envelope, answer_to, write_camt029, write_pacs002, write_pacs008
from node.adapters.journal import Journal, JournalBusy
from node.adapters.money import format_money
from node.adapters.reading import Plan, Source, check_file, records_of
from node.adapters.records import (
    Kind,
    Money,
    PaymentInstruction,
    Recall,
    RecallAnswer,
    References,
    Status,
)
from node.adapters.refusals import REMEDIES, Bad, FileRefused, Problem, Problems
from node.cli.import_payments import PENDING, REJECTED, SETTLED, Result, Told, pay, statuses
from node.cli.output import Exit, Failure, Output, usage
from node.cli.session import Session

SHOWN_MAX: Final = 50
TX_DIGITS: Final = 32
"""So many hexadecimal digits of a ledger's transaction id stand in a message."""
PAYMENTS: Final = ("PaymentInstruction", "Return")


@dataclass(frozen=True, slots=True)
class Desk:
    """What stays the same from file to file. now: the moment of this run."""

    session: Session
    accounts: Accounts
    journal: Path
    form: str = ""
    encoding: str = "utf-8"
    mapping: Path | None = None
    recall: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file: its plan, and for payments each one's fate."""

    plan: Plan
    result: Result | None = None
    answers: tuple[dict[str, Any], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing of the file is left to do."""
        return self.result is None or self.result.count(SETTLED) == len(self.result.told)


@contextmanager
def refusals_told() -> Iterator[None]:
    """A refused file ends the command with all its problems."""
    try:
        yield
    except FileRefused as refused:
        raise Failure(
            Exit.LOCAL, told_problems(refused.problems), problems=[_problem(one) for one in refused.problems]
        ) from refused
    except JournalBusy as busy:
        raise Failure(Exit.LOCAL, str(busy)) from busy


def told_problems(problems: tuple[Problem, ...]) -> str:
    """Every problem on a line, and then what is to be done about each kind."""
    shown = [str(problem) for problem in problems[:SHOWN_MAX]]
    more = [f"... and {len(problems) - SHOWN_MAX:,} more"] if len(problems) > SHOWN_MAX else []
    reasons = dict.fromkeys(problem.reason for problem in problems)
    to_do = ["what to do:", *(f"{reason.value}: {REMEDIES[reason]}" for reason in reasons)]
    return "\n".join(["the file is refused, nothing of it was imported:", *shown, *more, *to_do])


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "reason": problem.reason.value,
        "detail": problem.detail,
        "to_do": REMEDIES[problem.reason],
    }


# --- one file -----------------------------------------------------------------------------------


def check(desk: Desk, path: Path) -> Plan:
    """Read and check a whole file. Raises FileRefused."""
    columns = load_mapping(desk.mapping) if desk.mapping else None
    return check_file(Source(path, desk.form, desk.encoding, columns))


def carry_out(desk: Desk, plan: Plan) -> Report:
    """Do what a file asks for. Raises FileRefused, and what the client raises."""
    problems = Problems(plan.source.path.name)
    with Journal(desk.journal) as journal:
        try:
            journal.check(plan.name, plan.digest)
            for statement in plan.statements:
                journal.check_statement(plan.form, statement)
        except Bad as bad:
            raise problems.stop(bad.line, bad.reason, bad.detail) from bad
        if any(plan.counts.get(kind) for kind in PAYMENTS):
            return _pay(desk, plan, journal)
        answers = tuple(_linked(plan, journal))
        journal.begin(plan.name, plan.digest)
        for statement in plan.statements:
            journal.take_statement(plan.form, statement)
        journal.end(plan.name, plan.digest, complete=True)
    return Report(plan, None, answers)


def _pay(desk: Desk, plan: Plan, journal: Journal) -> Report:
    with desk.session.client() as client:
        journal.begin(plan.name, plan.digest)
        result = pay(desk.session, client, plan, journal, desk.accounts, datetime.now(UTC).date())
    report = Report(plan, result)
    journal.end(plan.name, plan.digest, complete=report.complete)
    return report


def _linked(plan: Plan, journal: Journal) -> Iterator[dict[str, Any]]:
    """Recalls, their answers and status reports, each with the payment of this journal that it speaks of."""
    for record in records_of(plan):
        if not isinstance(record, Recall | RecallAnswer | Status):
            continue
        found = journal.find(record.original.message_id, record.original.references)
        yield {
            "line": record.line,
            "end_to_end_id": record.original.references.end_to_end_id,
            "says": record.reason
            if isinstance(record, Recall)
            else f"{record.status} {record.reason}".strip(),
            "source": found.source if found else "",
            "destination": found.destination if found else "",
            "amount": Money(found.minor, found.asset).minor if found else "",
            "tx_id": found.tx_id if found else "",
        }


# --- answers ------------------------------------------------------------------------------------


def write_answer(desk: Desk, report: Report, path: Path) -> None:
    """A pacs.002 of payments, or a camt.029 of recalls. Raises Failure, OSError."""
    now = datetime.now(UTC)
    plan = report.plan
    stamp = hashlib.sha256(f"{plan.digest}{now.isoformat()}".encode()).hexdigest()[:20].upper()
    message = plan.messages[0]
    sender, receiver = (bank if is_bic(bank) else "" for bank in (message.receiver, message.sender))
    envelope = Envelope(f"VS{stamp}", _now_text(now), sender, receiver)
    with path.open("xb") as file:
        if report.result is not None:
            write_pacs002(file, envelope, statuses(plan, report.result.told, report.result.group))
            return
        recalls = [record for record in records_of(plan) if isinstance(record, Recall)]
        if not recalls:
            raise usage("only payments and recalls are answered")
        status, reason = recall_status(desk.recall)
        answers = [answer_to(one, f"{number}", status, reason) for number, one in enumerate(recalls, 1)]
        write_camt029(file, envelope, answers)


def write_forward(report: Report, path: Path) -> int:
    """A pacs.008 of the customers' payments that are settled, for the creditors' bank: names and remittance,
    which the ledger does not carry. It keeps the file's message id, so that what the bank answers to it finds
    the payments. How many there are. Raises Failure, OSError.
    """
    plan, result = report.plan, report.result
    settled = {one.line: one for one in result.told if one.status == SETTLED} if result else {}
    found = [
        replace(record, requested=None, references=_on_ledger(record.references, settled[record.line].tx_id))
        for record in records_of(plan)
        if isinstance(record, PaymentInstruction) and record.line in settled and record.kind is Kind.CUSTOMER
    ]
    if not found:
        raise usage("no customer's payment of the file is settled")
    envelope = Envelope(plan.message_id, _now_text(datetime.now(UTC)))
    with path.open("xb") as file:
        write_pacs008(file, envelope, found)
    return len(found)


def _on_ledger(references: References, tx_id: str) -> References:
    """The references with a transaction id: the ledger's where the payment has none."""
    return replace(references, transaction_id=references.transaction_id or tx_id[:TX_DIGITS])


def _now_text(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S") + f".{now.microsecond // 1000:03}Z"


def recall_status(text: str) -> tuple[str, str]:
    """(status, reason) of ``--recall``. Raises Failure."""
    word, _, code = text.partition(":")
    known = {"accept": "ACCR", "pending": "PDCR", "reject": "RJCR"}
    if word not in known or (word == "reject") != bool(code):
        raise usage("answer a recall with --recall accept, --recall pending or --recall reject:CODE")
    return known[word], code


def write_report(path: Path, result: Result) -> None:
    """What was not settled, as CSV. Raises OSError."""
    with path.open("x", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(
            (
                "line",
                "end_to_end_id",
                "source",
                "destination",
                "amount",
                "currency",
                "status",
                "code",
                "sentence",
            )
        )
        for one in _open(result):
            row = _row(one)
            rows.writerow([row[name] for name in row])


def _open(result: Result) -> list[Told]:
    return sorted((one for one in result.told if one.status != SETTLED), key=lambda one: one.line)


def _row(one: Told) -> dict[str, Any]:
    return {
        "line": one.line,
        "end_to_end_id": one.references.end_to_end_id,
        "source": one.source,
        "destination": one.destination,
        "amount": format_money(one.amount),
        "currency": one.amount.currency,
        "status": one.status,
        "code": one.code,
        "sentence": one.sentence,
    }


# --- showing ------------------------------------------------------------------------------------


def told_plan(plan: Plan) -> dict[str, Any]:
    """A plan's fields under their stable names."""
    return {
        "file": plan.source.path.name,
        "format": plan.version,
        "message_id": plan.message_id,
        "messages": len(plan.messages),
        "bytes": plan.size,
        "sha256": plan.digest,
        "records": plan.counts,
        "statements": [
            {
                "account": one.account,
                "currency": one.currency,
                "sequence": one.sequence,
                "entries": one.entry_count,
                "opening": _balance(one.opening.amount) if one.opening else "",
                "closing": _balance(one.closing.amount) if one.closing else "",
            }
            for one in plan.statements
        ],
    }


def _balance(money: Money) -> str:
    return f"{'-' if money.minor < 0 else ''}{format_money(money)}"


def show_plan(output: Output, plan: Plan) -> None:
    """What a file holds."""
    told = told_plan(plan)
    if output.is_json:
        output.json(told)
        return
    rows = told.pop("statements")
    output.record("The file is right", told)
    if rows:
        columns = {name: name.capitalize() for name in rows[0]}
        output.rows("Statements", columns, rows[:SHOWN_MAX], numbers=("entries", "opening", "closing"))


def show(output: Output, report: Report) -> None:
    """What became of a file, for people or programs."""
    result = report.result
    told = told_plan(report.plan)
    if result is None:
        told |= {"answers": list(report.answers)} if report.answers else {}
        if output.is_json:
            output.json(told)
            return
        show_plan(output, report.plan)
        if report.answers:
            columns = {name: name.replace("_", " ").capitalize() for name in report.answers[0]}
            output.rows("Speaks of", columns, report.answers[:SHOWN_MAX], numbers=("line", "amount"))
        return
    counts = {
        "file": told["file"],
        "format": told["format"],
        "message_id": told["message_id"],
        "payments": len(result.told),
        "settled": result.count(SETTLED),
        "settled_before": result.before,
        "refused": result.count(REJECTED),
        "undecided": result.count(PENDING),
    }
    rows = [_row(one) for one in _open(result)]
    if output.is_json:
        output.json(counts | {"not_settled": rows})
        return
    output.record("Imported", counts)
    if rows:
        names = ("line", "end_to_end_id", "amount", "currency", "code", "sentence")
        columns = {name: name.replace("_", " ").capitalize() for name in names}
        output.rows("Not settled", columns, rows[:SHOWN_MAX], numbers=("line", "amount"))
    if len(rows) > SHOWN_MAX:
        output.say(f"... and {len(rows) - SHOWN_MAX:,} more: --report FILE writes all")


def end(report: Report) -> None:
    """Raises Failure where something of the file is left to do."""
    result = report.result
    if result is None:
        return
    if result.count(PENDING):
        raise Failure(Exit.UNAVAILABLE, f"{result.count(PENDING):,} are undecided: feed the same file again")
    if result.count(REJECTED):
        raise Failure(
            Exit.REFUSED, f"{result.count(REJECTED):,} of {len(result.told):,} payments were refused"
        )
