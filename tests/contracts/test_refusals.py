"""Runs the tables of refusals.py: a call is applied, a flaw refuses it, of two flaws the earlier is told."""

from itertools import combinations
from typing import Any

import pytest

from contracts import assemble
from node.ledger.contract import Contract
from node.ledger.types import Receipt
from tests.contracts.cases import LATER_MS, Case, Flaw, is_late
from tests.contracts.refusals import ALL, SWEEPERS
from tests.kit import Consortium, op

SINGLES = [(case, (flaw,)) for case in ALL for flaw in case.flaws]
PAIRS = [
    (case, pair)
    for case in ALL
    for pair in combinations(case.flaws, 2)
    if not pair[0].touches & pair[1].touches
]


def run(
    case: Case, flaws: tuple[Flaw, ...], patch: pytest.MonkeyPatch
) -> tuple[Consortium, dict[bytes, bytes], Receipt]:
    """The world, its state before the call, and the call's receipt."""
    world = Consortium()
    arguments, by = dict(case.arguments), case.by
    if case.given:
        case.given(world)
    for flaw in flaws:
        if flaw.given:
            flaw.given(world)
        arguments |= flaw.arguments
        by = flaw.by or by
    time_ms = None
    if is_late(flaws):
        time_ms = LATER_MS
        for module in SWEEPERS:
            patch.setattr(module, "EXPIRY_MAX", 0)
    values = [value(world) if callable(value) else value for value in arguments.values()]
    before = world.state()
    officers = world.officers.get(by, (by,))
    call = op(case.contract, case.method, *values)
    if case.proposed and not any(flaw.directly for flaw in flaws):
        call = op("governance", "propose", (call,), "")
    receipt = world.send(by, call, time_ms=time_ms, created_ms=time_ms, officers=officers)
    return world, before, receipt


def name(entry: Any) -> str:
    case, flaws = entry
    return "-".join([case.id, *(f"{flaw.error.name}({','.join(sorted(flaw.touches))})" for flaw in flaws)])


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
@pytest.mark.evidence(
    "ACT4", asset="signing keys", threat="administrators take a member over", mitigation="guards of recover"
)
def test_the_call_without_a_flaw_is_applied(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    world, before, receipt = run(case, (), monkeypatch)
    assert (receipt.codespace, receipt.code, receipt.failed_operation) == ("", 0, 0)
    assert receipt.events
    assert world.state() != before


@pytest.mark.parametrize("entry", SINGLES, ids=name)
@pytest.mark.evidence(
    "ACT1",
    asset="balances",
    threat="a member acts for another",
    mitigation="guards in a public order of precedence",
)
@pytest.mark.evidence(
    "ACT6",
    asset="balances",
    threat="an issuer takes units",
    mitigation="only redemption from its own account",
)
@pytest.mark.evidence(
    "KEY10", asset="encryption keys", threat="another member changes it", mitigation="a member's own methods"
)
def test_a_flaw_is_refused_with_its_code_and_changes_nothing(
    entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, flaws = entry
    world, before, receipt = run(case, flaws, monkeypatch)
    error = flaws[0].error
    assert (receipt.codespace, receipt.code) == (error.codespace, error.code)
    assert (receipt.failed_operation, receipt.events) == (1, ())
    assert world.state() == before


@pytest.mark.parametrize("entry", PAIRS, ids=name)
@pytest.mark.evidence(
    "ACT1",
    asset="balances",
    threat="a member acts for another",
    mitigation="guards in a public order of precedence",
)
def test_of_two_flaws_the_earlier_in_the_public_order_is_told(
    entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, flaws = entry
    world, before, receipt = run(case, flaws, monkeypatch)
    error = flaws[0].error
    assert (receipt.codespace, receipt.code) == (error.codespace, error.code)
    assert world.state() == before


@pytest.mark.parametrize("contract", assemble(), ids=lambda contract: contract.name)
def test_every_refusal_and_every_method_of_a_contract_stands_in_a_table(contract: Contract) -> None:
    exercised = {flaw.error for case in ALL for flaw in case.flaws}
    assert set(contract.errors) - exercised == set()
    assert {
        m
        for m in contract.methods
        if (contract.name, m) not in {(case.contract, case.method) for case in ALL}
    } == set()


def test_the_tables_hold_pairs_enough_to_say_something_about_precedence() -> None:
    assert len(PAIRS) > 150
    assert {case.id for case, _ in PAIRS} >= {
        case.id for case in ALL if len({flaw.error for flaw in case.flaws}) > 3
    }
