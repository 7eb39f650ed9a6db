"""Terms that are documents in their issuer's vault: bound to the asset, and kept as long as it lives."""

from typing import Any

import pytest

from contracts.vault import Vault
from node.ledger import codec
from tests.checker import check_ledger
from tests.contracts.refusals_terms import SHEET, applied_for, approve, keep
from tests.kit import Consortium, is_refused, op

DELETE = op("vault", "delete", SHEET)


@pytest.fixture
def world() -> Consortium:
    found = Consortium()
    applied_for(found)
    found.apply("CNB", keep("NOTE", SHEET))
    return found


def _terms(world: Consortium) -> list[tuple[bytes, str]]:
    told: Any = world.ledger.query("registration", "list_terms", codec.encode(("NOTE",)))
    return [(each.document, each.owner) for each in told]


def test_terms_in_a_vault_are_kept_from_the_application_until_the_asset_is_retired(world: Consortium) -> None:
    assert _terms(world) == [(SHEET, "CNB")]
    assert is_refused(world.send("CNB", DELETE), Vault.TERMS_IN_FORCE)
    approve(world, "NOTE", SHEET)
    world.apply("CNB", op("assets", "issue", "NOTE", "CNB/main", 5, ""))
    assert is_refused(world.send("CNB", DELETE), Vault.TERMS_IN_FORCE)
    world.apply(
        "CNB", op("assets", "redeem", "NOTE", "CNB/main", 5, ""), op("registration", "retire", "NOTE")
    )
    assert _terms(world) == []
    world.apply("CNB", DELETE, op("vault", "confirm_destroyed", SHEET))
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.parametrize("ending", ["withdraw", "reject"])
def test_terms_of_an_application_that_comes_to_nothing_are_free_again(world: Consortium, ending: str) -> None:
    if ending == "reject":
        world.apply("REG", op("registration", "take_up", "NOTE"))
    world.apply("CNB" if ending == "withdraw" else "REG", op("registration", ending, "NOTE", "no"))
    assert _terms(world) == []
    world.apply("CNB", DELETE)


def test_a_rejected_supplement_lets_its_own_document_go_and_not_the_assets(world: Consortium) -> None:
    approve(world, "NOTE", SHEET)
    more = b"\x41" * 32
    store = op("vault", "store", more, more[::-1], 10, "text/plain", 0, ())
    world.apply("CNB", store, op("registration", "supplement", "NOTE", 7, more), keep("NOTE", more))
    assert _terms(world) == [(SHEET, "CNB"), (more, "CNB")]
    world.apply("CNB", op("registration", "withdraw", "NOTE", "no"))
    assert _terms(world) == [(SHEET, "CNB")]
    assert is_refused(world.send("CNB", DELETE), Vault.TERMS_IN_FORCE)
    world.apply("CNB", op("vault", "delete", more))
