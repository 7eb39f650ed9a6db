"""No control character reaches the state: each of the 65 is refused in every text of every method."""

from collections.abc import Iterator
from typing import Any

import pytest

from contracts import assemble
from node.ledger import codec
from node.ledger.contract import Rejected
from node.ledger.errors import LedgerError
from tests.contracts.cases import Case
from tests.contracts.refusals import ALL

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]
METHODS = {
    (contract.name, name): method for contract in assemble() for name, method in contract.methods.items()
}


OPEN = {
    "members.admit": 3,  # the full name, a key's algorithm, a key's holder
    "members.change": 2,
    "members.suspend": 2,
    "members.resume": 1,
    "members.remove": 2,
    "members.recover": 3,
    "members.register_key": 2,
    "members.retire_key": 0,
    "members.rotate_key": 2,
    "members.revoke_key": 0,
    "members.set_policy": 3,
    "approvals.propose": 3,  # of a drafted operation its contract and its method; the reason
    "approvals.approve": 0,
    "approvals.withdraw": 0,
    "approvals.execute": 0,
    "validators.add": 4,
    "validators.reweigh": 0,
    "validators.remove": 0,
    "validators.move": 16,
    "validators.register_node": 3,
    "validators.retire_node": 0,
    "governance.propose": 3,  # arguments of the operation itself are read when it is rehearsed
    "governance.approve": 0,
    "governance.reject": 0,
    "governance.withdraw": 0,
    "governance.set_rules": 0,
    "governance.take_over": 0,
    "governance.activate": 1,
    "governance.freeze": 1,
    "governance.schedule_protocol": 0,
    "encryption.register": 1,
    "encryption.replace": 1,
    "encryption.revoke": 0,
    "anchors.anchor": 0,
    "assets.register": 0,
    "assets.issue": 3,
    "assets.redeem": 3,
    "assets.freeze_asset": 1,
    "assets.release_asset": 1,
    "assets.open_accounts": 0,
    "assets.close_account": 1,
    "assets.freeze_account": 1,
    "assets.release_account": 1,
    "transfers.send": 5,
    "transfers.send_many": 7,
    "transfers.reserve": 4,
    "transfers.post": 1,
    "transfers.void": 1,
    "blacklist.list_party": 0,
    "blacklist.retract": 0,
    "blacklist.appeal": 1,
    "blacklist.uphold": 0,
    "blacklist.look_up": 0,
    "registration.apply": 1,
    "registration.supplement": 1,
    "registration.keep_terms": 1,
    "registration.withdraw": 2,
    "registration.retire": 1,
    "registration.take_up": 1,
    "registration.approve": 2,
    "registration.reject": 2,
    "registration.impose": 3,
    "registration.lift": 2,
    "servicing.announce": 2,
    "servicing.cancel": 1,
    "servicing.fix": 2,
    "servicing.pay": 4,
    "settlement.settle": 0,
    "settlement.settle_partly": 0,
    "settlement.secure": 0,
    "settlement.cancel": 1,
    "settlement.release": 0,
    "settlement.buy_in": 0,
    "settlement.join": 0,
    "settlement.settle_set": 0,
    "settlement.dissolve": 0,
    "trading.make_offer": 5,
    "trading.request": 5,
    "trading.answer": 3,
    "trading.take": 4,
    "trading.cancel": 0,
    "vault.store": 2,
    "vault.grant": 1,
    "vault.revoke": 1,
    "vault.extend": 0,
    "vault.delete": 0,
    "vault.confirm_destroyed": 0,
    "vault.impose_hold": 1,
    "vault.lift_hold": 1,
    "servicing.announce_interest": 1,
    "cycles.open": 1,
    "cycles.enter": 0,
    "cycles.leave": 0,
    "cycles.settle": 0,
    "offsets.propose": 4,
    "offsets.agree": 2,
    "offsets.withdraw": 0,
    "exchange.open": 6,
    "exchange.accept": 3,
    "exchange.decline": 1,
    "exchange.withdraw": 1,
    "exchange.confirm": 0,
    "exchange.dispute": 1,
    "reconciliation.open_cases": 6,  # two cases: the account, the asset, the counterparty
    "reconciliation.match_cases": 0,
    "reconciliation.mark_unmatched": 0,
    "reconciliation.force_match": 1,
    "reconciliation.assign": 0,
    "reconciliation.dispute": 1,
    "reconciliation.add_note": 1,
    "main_account.attest": 3,
    "calendars.set_calendar": 1,
    "participants.set_clearing": 2,
    "participants.join": 2,
    "participants.set_limits": 3,
    "queues.instruct": 5,
    "queues.hold": 1,
    "queues.release": 1,
    "queues.prefer": 1,
    "queues.reorder": 1,
    "queues.cancel": 1,
    "queues.advance": 2,
    "queues.offset": 2,
    "clearing.seal": 1,
    "clearing.propose": 1,
    "clearing.check": 2,
    "clearing.settle": 1,
    "clearing.abandon": 1,
}
"""How many texts are open: neither of a closed list nor held by a pattern: the check must see them."""


def places(value: Any) -> Iterator[tuple[str, Any]]:
    """Every text in a value, and how to make the value again with another text in its place."""
    if isinstance(value, str):
        yield value, lambda text: text
    elif isinstance(value, list):
        for at, item in enumerate(value):
            for found, make in places(item):
                yield found, lambda text, at=at, make=make: [*value[:at], make(text), *value[at + 1 :]]


@pytest.mark.parametrize("case", [case for case in ALL if not case.label], ids=lambda case: case.id)
@pytest.mark.evidence(
    "TX7", asset="the ledger", threat="text that hides what it is", mitigation="a closed alphabet"
)
def test_a_control_character_is_refused_in_every_text(case: Case) -> None:
    method = METHODS[case.contract, case.method]
    filled = [bytes(32) if callable(value) else value for value in case.arguments.values()]
    plain: list[Any] = codec.decoder(Any)(codec.encode(filled))
    method.decode(codec.encode(plain))
    texts = list(places(plain))
    open_texts = 0
    for found, make in texts:
        told = set()
        for control in CONTROLS:
            for text in (found + control, control + found):
                with pytest.raises(Rejected) as refused:
                    method.decode(codec.encode(make(text)))
                told.add(refused.value.error)
        assert len(told) == 1
        assert told <= {LedgerError.BAD_TEXT, LedgerError.BAD_ARGUMENTS}
        open_texts += told == {LedgerError.BAD_TEXT}
    assert open_texts == OPEN[case.id]
