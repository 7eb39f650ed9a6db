"""``vostro policy``: the custody policy, checked and explained without anything being asked for."""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from contracts import assemble
from node.cli.governance import read_operation
from node.cli.output import hex_bytes, usage
from node.cli.session import Session, session_of
from node.client.custody import CustodyRule, CustodyRuling
from node.engine.weighing import facts_of_call
from node.json_form import JsonRefused, parse_document
from node.keys.custody import ID_BYTES, MAKER
from node.keys.custody_policy import Facts, Person, Policy, Ruling, load_policy
from node.ledger.errors import Rejected
from node.ledger.running import bound
from node.ledger.state import View
from node.ledger.transactions import Call
from node.storage.memory import MemoryStore

REQUEST_BYTES_MAX: Final = 1024 * 1024
_ID: Final = re.compile(r"[0-9a-f]{32}")

app = typer.Typer(no_args_is_help=True, help="The custody policy: check its file, explain what it would say.")

FileArgument = Annotated[
    Path | None, typer.Argument(help="The policy's file; default: custody_policy of the configuration.")
]


@app.command("check")
def check(ctx: typer.Context, file: FileArgument = None) -> None:
    """Check a policy: unknown names and contradictions are refused, what is doubtful is told."""
    session = session_of(ctx)
    policy = _load(session, file)
    for warning in policy.warnings:
        session.output.say(f"warning: {warning}")
    uncovered = [
        name
        for name in _methods()
        if not any(_covers(pattern, name) for rule in policy.document.rule for pattern in rule.methods)
    ]
    session.output.record(
        "Policy",
        {
            "member": policy.member,
            "time_zone": policy.document.time_zone,
            "rules": [rule.name for rule in policy.document.rule],
            "groups": list(policy.document.groups),
            "never_signed": uncovered,
            "warnings": list(policy.warnings),
            "sha256": policy.sha256,
        },
    )


@app.command("explain")
def explain(
    ctx: typer.Context,
    request: Annotated[
        str,
        typer.Argument(
            help="The id of a request at the node; or a JSON file: maker, roles, operations (each "
            "CONTRACT.METHOD=JSON), approvals, at.",
            metavar="REQUEST",
        ),
    ],
    file: Annotated[Path | None, typer.Option("--policy", help="The policy's file.")] = None,
) -> None:
    """Tell which rules bind a request, who may approve it, and how many are missing. Nothing is asked for.

    From a file it is a dry run that knows nothing of what was signed before; of an id the node tells, which
    does. Example of a file:

        {"maker": "mary", "operations": ["transfers.void={...}"], "approvals": ["bob"]}
    """
    session = session_of(ctx)
    if _ID.fullmatch(request):
        named = hex_bytes(request, ID_BYTES, "an id")
        with session.client() as client:
            told = client.custody(lambda desk: desk.explain(named))
    else:
        told = _dry_run(_load(session, file), _document(Path(request)))
    session.output.record("Policy says", told_ruling(told))


def told_ruling(ruling: CustodyRuling) -> dict[str, object]:
    """A ruling's fields under their stable names."""
    rules = [
        f"{rule.rule}: " + ("; ".join(_told_line(*line) for line in rule.asks) or "no approval")
        for rule in ruling.rules
    ]
    return {
        "rules": rules,
        "weighed": [f"{rule.rule}: {rule.total}" for rule in ruling.rules if rule.total],
        "uncovered_operations": [str(number) for number in ruling.uncovered],
        "missing": ruling.missing,
        "may_approve": list(ruling.may_approve),
        "would_be_signed": bool(ruling.rules) and not ruling.missing and not ruling.uncovered,
    }


def _told_line(asked: int, of: tuple[str, ...], missing: int) -> str:
    return f"{asked} of {', '.join(of)} ({missing} missing)"


def _load(session: Session, file: Path | None) -> Policy:
    path = file or session.config.custody_policy
    if path is None:
        raise usage("name the policy's file, or set custody_policy in the node's configuration")
    return load_policy(path, _methods())


def _methods() -> list[str]:
    return [f"{contract.name}.{name}" for contract in assemble() for name in contract.methods]


def _covers(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def _document(path: Path) -> Mapping[str, Any]:
    try:
        return parse_document(path.read_bytes(), REQUEST_BYTES_MAX)
    except JsonRefused as refused:
        raise usage(f"{path}: {refused}") from refused


def _dry_run(policy: Policy, given: Mapping[str, Any]) -> CustodyRuling:
    known = ("maker", "roles", "operations", "approvals", "at")
    if unknown := [name for name in given if name not in known]:
        raise usage(f"{unknown[0]} is not known in a request; there are {', '.join(known)}")
    maker = Person(str(given.get("maker", "")), frozenset(given.get("roles", [MAKER])))
    approvals = [Person(str(name), frozenset({"checker"})) for name in given.get("approvals", [])]
    specs = [str(spec) for spec in given.get("operations", [])]
    facts = [each for number, spec in enumerate(specs, 1) for each in _facts(number, spec)]
    if not facts:
        raise usage("a request has operations, each CONTRACT.METHOD=JSON")
    people = list({person.key: person for person in approvals}.values())
    return _told(policy.judge(facts, maker, people, _time(given.get("at"))))


def _facts(number: int, spec: str) -> list[Facts]:
    """Of a chain that has begun with nothing: what an operation is about is not looked up."""
    operation = read_operation(spec)
    known = bound(assemble(), View(MemoryStore(lifetime_ms=1)))
    method = known.contracts[operation.contract].methods[operation.method]
    call = Call(operation.contract, method, method.decode(operation.arguments))
    try:
        return facts_of_call(number, call, known)
    except Rejected as refused:
        raise usage(
            f"what {operation.contract}.{operation.method} is about stands on the ledger: make the request, "
            "and explain it by its id"
        ) from refused


def _time(text: object) -> int:
    if text is None:
        return time.time_ns() // 1_000_000
    sentence = "at is a time with its zone, for example 2026-03-04T18:30:00+01:00"
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise usage(sentence) from error
    if moment.tzinfo is None:
        raise usage(sentence)
    return int(moment.timestamp() * 1_000)


def _told(ruling: Ruling) -> CustodyRuling:
    rules = tuple(
        CustodyRule(each.rule, each.total, tuple((s.asked, s.of, s.missing) for s in each.slots))
        for each in ruling.bindings
    )
    return CustodyRuling(rules, ruling.uncovered, ruling.missing, ruling.may_approve)
