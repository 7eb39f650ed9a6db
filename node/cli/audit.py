"""``vostro audit``: the custody's audit log, recomputed and compared with what the ledger keeps of it."""

from pathlib import Path
from typing import Annotated

import typer

from contracts.anchors import NamedAnchor
from node.cli.output import usage
from node.cli.session import Session, session_of, unverified
from node.client import BlockingClient
from node.engine.custody import ANCHOR_PURPOSE
from node.keys.audit import Anchor, verify
from node.keys.custody_policy import load_policy
from node.keys.custody_queue import ROOT
from node.keys.keystore import read_metadata

app = typer.Typer(no_args_is_help=True, help="The audit log of custody: verify it, alone or against a node.")


@app.command("verify")
def verify_(
    ctx: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(help="Where it lies; default: custody_dir of the configuration.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="host:port of a node, whose ledger's anchors are compared.")
    ] = "",
) -> None:
    """Recompute the chain of the log, its head, and with --against its anchors on the ledger.

    Whatever was changed, removed, reordered or cut is told with its line; the exit code is then 4. The member
    whose anchors are compared is --member, or the policy's.
    """
    session = session_of(ctx)
    folder = directory or session.config.custody_dir
    public_key = read_metadata(folder / ROOT).public_key
    report = verify(folder, public_key, _anchors(session, against) if against else ())
    for problem in report.problems:
        session.output.say(f"line {problem.line}: {problem.text}")
    told = {
        "directory": str(folder),
        "lines": report.lines,
        "head": report.head,
        "anchors": report.anchors,
        "anchored_lines": report.anchored,
        "problems": [f"line {problem.line}: {problem.text}" for problem in report.problems],
    }
    if report.problems:
        raise unverified(f"the audit log does not verify: {len(report.problems)} problems")
    session.output.record("The audit log verifies", told)


def _anchors(session: Session, target: str) -> list[Anchor]:
    member = session.member_id
    if not member:
        if not session.has_config or session.config.custody_policy is None:
            raise usage("name the member whose log it is with --member")
        member = load_policy(session.config.custody_policy).member
    found: list[NamedAnchor] = []
    with BlockingClient.connect(target, tls=session.tls, seconds=session.seconds) as client:
        while page := client.query(
            "anchors", "list_anchors", member, ANCHOR_PURPOSE, found[-1].number if found else 0
        ):
            found += page
    return [Anchor(each.number, each.anchor.hash, each.anchor.time_ms) for each in found]
