"""Signatures, keys, scopes and the signing policy: who must have signed, or the transaction burns nothing."""

from collections.abc import Sequence

import pytest

from contracts.institutions import Rule
from node.ledger import codec, hashing
from node.ledger.errors import ErrorCode, LedgerError
from node.ledger.types import (
    KeySignature,
    SignedTransaction,
)
from tests.kit import (
    Consortium,
    applied,
    discarded,
    is_discarded,
    new_key,
    officer,
    op,
    pay,
    refusal,
)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


# --- signatures ---------------------------------------------------------------------------------------------


def with_signatures(body: bytes, entries: Sequence[KeySignature]) -> bytes:
    return codec.encode((body, tuple((entry.key_id, entry.signature) for entry in entries)))


def entries_of(raw: bytes) -> list[KeySignature]:
    return list(codec.decoder(SignedTransaction)(raw).signatures)


def team(world: Consortium, size: int) -> tuple[str, ...]:
    """PA has so many officers more."""
    names = tuple(f"PA-{number}" for number in range(size))
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in names))
    return names


def test_one_to_sixteen_signatures_are_admitted_in_order_of_distinct_key_ids(world: Consortium) -> None:
    names = team(world, 17)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    for error, chosen in ((LedgerError.MALFORMED, names[:17]), (LedgerError.MALFORMED, ())):
        assert is_discarded(discarded(world, world.sign(body, *chosen)), error)
    assert applied(world, world.sign(body, *names[:16]))


def test_unsorted_and_duplicate_signatures_discard(world: Consortium) -> None:
    names = team(world, 3)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    first, second, third = entries_of(world.sign(body, *names))
    for wrong in ([second, first], [first, first], [first, third, second], [first, second, second]):
        assert is_discarded(discarded(world, with_signatures(body, wrong)), LedgerError.MALFORMED)
    assert applied(world, with_signatures(body, [first, second, third]))


@pytest.mark.evidence(
    "ACT1", asset="balances", threat="a member signs for another", mitigation="keys belong to members"
)
def test_a_signature_by_the_wrong_key_over_the_wrong_words_or_with_a_flipped_bit_discards(
    world: Consortium,
) -> None:
    names = team(world, 2)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    one, two = entries_of(world.sign(body, *names))
    tx_id = hashing.INTERNATIONAL.digest(hashing.TX + body)
    signer = next(officer(name) for name in names if officer(name).key_id == one.key_id)
    wrong = [
        two.signature,
        bytes(64),
        one.signature[:-1] + bytes([one.signature[-1] ^ 0x10]),
        signer.sign(body),
        signer.sign(tx_id),
        signer.sign(hashing.SIGN_TX + tx_id),
        signer.sign(hashing.SIGN_TX + bytes(32) + tx_id),
        signer.sign(hashing.SIGN_BUNDLE + world.chain_id + tx_id),
        signer.sign(hashing.SIGN_HEADER + world.chain_id + tx_id),
    ]
    for signature in wrong:
        raw = with_signatures(body, [KeySignature(one.key_id, signature), two])
        assert is_discarded(discarded(world, raw, door=False), LedgerError.BAD_SIGNATURE)
    assert applied(world, with_signatures(body, [one, two]))


@pytest.mark.evidence(
    "TX1",
    asset="balances",
    threat="a signature for another purpose",
    mitigation="signatures name their purpose",
)
def test_every_signature_counts_even_where_one_would_do(world: Consortium) -> None:
    stranger = KeySignature(officer("stranger").key_id, bytes(64))
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    entries = sorted([*entries_of(world.sign(body, "PA-officer")), stranger], key=lambda entry: entry.key_id)
    assert is_discarded(discarded(world, with_signatures(body, entries)), LedgerError.UNKNOWN_KEY)


@pytest.mark.evidence(
    "KEY7",
    asset="signing keys",
    threat="an old or stolen key signs on",
    mitigation="heights of retirement and revocation",
)
def test_a_retired_key_signs_up_to_the_height_before_its_retirement(world: Consortium) -> None:
    (name,) = team(world, 1)
    last = world.height + 4
    world.apply("PA", op("members", "retire_key", officer(name).key_id, last))
    while world.height < last - 1:
        world.apply("PA", pay("PA/main", "KB/main", 1), officers=(name,))
    assert is_discarded(
        discarded(world, world.make("PA", pay("PA/main", "KB/main", 1), officers=(name,))),
        LedgerError.KEY_NOT_ACTIVE,
    )


@pytest.mark.evidence(
    "KEY7",
    asset="signing keys",
    threat="an old or stolen key signs on",
    mitigation="heights of retirement and revocation",
)
def test_a_key_signs_from_the_next_transaction_on_and_a_revoked_one_no_more_from_there(
    world: Consortium,
) -> None:
    early = world.make("PA", pay("PA/main", "KB/main", 1), officers=("new",))
    register = world.make("PA", op("members", "register_key", new_key("new")))
    late = world.make("PA", pay("PA/main", "KB/main", 2), officers=("new",))
    revoke = world.make("PA", op("members", "revoke_key", officer("new").key_id))
    after = world.make("PA", pay("PA/main", "KB/main", 4), officers=("new",))
    outcomes = world.block(early, register, late, revoke, after)
    assert is_discarded(outcomes[0], LedgerError.UNKNOWN_KEY)
    assert [refusal(outcome) for outcome in outcomes[1:4]] == [("", 0)] * 3
    assert is_discarded(outcomes[4], LedgerError.KEY_NOT_ACTIVE)
    assert world.balance("KB/main") == (502, 0)


@pytest.mark.parametrize(
    ("scopes", "error"),
    [
        (("*",), None),
        (("transfers",), None),
        (("transfers.send",), None),
        (("assets", "transfers.reserve", "transfers.send"), None),
        (("transfers.reserve",), LedgerError.KEY_OUT_OF_SCOPE),
        (("transfers.send_many",), LedgerError.KEY_OUT_OF_SCOPE),
        (("assets",), LedgerError.KEY_OUT_OF_SCOPE),
        (("send",), LedgerError.KEY_OUT_OF_SCOPE),
    ],
)
def test_a_key_signs_within_its_scopes_only(
    scopes: tuple[str, ...], error: ErrorCode | None, world: Consortium
) -> None:
    world.apply("PA", op("members", "register_key", new_key("scoped", scopes=scopes)))
    raw = world.make("PA", pay("PA/main", "KB/main", 1), officers=("scoped",))
    if error:
        assert is_discarded(discarded(world, raw), error)
    else:
        assert applied(world, raw)


def test_a_key_must_be_in_scope_for_every_operation_and_every_key_of_them(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("scoped", scopes=("transfers.send",))))
    both = (pay("PA/main", "KB/main", 1), op("assets", "freeze_account", "PA/empty"))
    for officers in (("scoped",), ("scoped", "PA-officer")):
        assert is_discarded(
            discarded(world, world.make("PA", *both, officers=officers)), LedgerError.KEY_OUT_OF_SCOPE
        )
    assert applied(world, world.make("PA", *both))


# --- the signing policy -------------------------------------------------------------------------------------


def policed(world: Consortium, *rules: Rule) -> None:
    """PA has three officers, one of them with two keys, and this policy."""
    keys = (new_key("two"), new_key("three"), new_key("two-again", holder="two"))
    world.apply("PA", *(op("members", "register_key", key) for key in keys))
    world.apply("PA", op("members", "set_policy", rules))


@pytest.mark.parametrize(
    ("amount", "officers", "enough"),
    [
        (99, ("PA-officer",), True),
        (100, ("PA-officer",), False),
        (100, ("PA-officer", "two"), True),
        (100, ("two", "two-again"), False),  # one holder with two keys
        (499, ("PA-officer", "two", "two-again"), True),
        (500, ("PA-officer", "two"), False),
        (500, ("PA-officer", "two", "three"), True),
    ],
)
def test_the_strictest_rule_that_fits_says_how_many_officers(
    amount: int, officers: tuple[str, ...], enough: bool, world: Consortium
) -> None:
    policed(
        world,
        Rule("transfers", "send", "CZK", 500, 3),
        Rule("*", "*", "CZK", 100, 2),
        Rule("transfers", "send", "EUR", 0, 3),
        Rule("transfers", "reserve", "CZK", 0, 3),
    )
    raw = world.make("PA", pay("PA/main", "KB/main", amount), officers=officers)
    if enough:
        assert applied(world, raw)
    else:
        found = discarded(world, raw)
        assert is_discarded(found, LedgerError.POLICY_NOT_MET)
        assert found
        assert found.details["required"] in (2, 3)


@pytest.mark.evidence(
    "ACT2", asset="balances", threat="one officer splits an amount", mitigation="rules weigh the sum"
)
def test_an_amount_split_inside_one_transaction_is_weighed_as_one(world: Consortium) -> None:
    policed(world, Rule("transfers", "send", "CZK", 100, 2))
    split = [pay("PA/main", "KB/main", 50), pay("PA/main", "CNB/main", 50)]
    assert is_discarded(discarded(world, world.make("PA", *split)), LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("PA", split[0], pay("PA/main", "CNB/main", 49)))
    assert applied(world, world.make("PA", *split, officers=("PA-officer", "three")))


@pytest.mark.evidence(
    "ACT2", asset="balances", threat="one officer splits an amount", mitigation="rules weigh the sum"
)
def test_amounts_of_all_methods_that_a_rule_fits_are_weighed_together(world: Consortium) -> None:
    policed(world, Rule("transfers", "*", "CZK", 100, 2))
    single = pay("PA/main", "KB/main", 60)
    batch = op("transfers", "send_many", "PA/main", "CZK", 60, (("KB/main", 60, ""),), b"", "")
    assert is_discarded(discarded(world, world.make("PA", single, batch)), LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("PA", single))
    assert applied(world, world.make("PA", batch))


@pytest.mark.evidence(
    "ACT2",
    asset="signing keys",
    threat="one officer changes the policy",
    mitigation="the strictest rule decides",
)
def test_keys_and_policy_are_changed_by_as_many_officers_as_the_strictest_rule_asks_for(
    world: Consortium,
) -> None:
    policed(world, Rule("transfers", "send", "CZK", 10**6, 2))
    alone = ("PA-officer",)
    for change in (
        op("members", "set_policy", ()),
        op("members", "register_key", new_key("a fourth officer")),
        op("members", "revoke_key", officer("three").key_id),
    ):
        assert is_discarded(
            discarded(world, world.make("PA", change, officers=alone)), LedgerError.POLICY_NOT_MET
        )
    assert applied(world, world.make("PA", pay("PA/main", "KB/main", 1), officers=alone))
    assert applied(world, world.make("PA", op("members", "set_policy", ()), officers=("PA-officer", "three")))


@pytest.mark.evidence(
    "ACT2", asset="balances", threat="one officer splits an amount", mitigation="rules weigh the sum"
)
def test_the_total_of_a_batch_is_what_the_policy_weighs(world: Consortium) -> None:
    policed(world, Rule("transfers", "*", "CZK", 100, 2))
    legs = (("KB/main", 60, ""), ("CNB/main", 40, ""))
    raw = world.make("PA", op("transfers", "send_many", "PA/main", "CZK", 100, legs, b"", ""))
    assert is_discarded(discarded(world, raw), LedgerError.POLICY_NOT_MET)


def test_a_rule_without_an_amount_binds_methods_that_have_none(world: Consortium) -> None:
    policed(world, Rule("assets", "*", "", 0, 2))
    raw = world.make("PA", op("assets", "freeze_account", "PA/empty"))
    assert is_discarded(discarded(world, raw), LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("PA", pay("PA/main", "KB/main", 1)))


@pytest.mark.evidence(
    "ACT3", asset="membership", threat="too few administrators act", mitigation="k of n holders"
)
def test_administrators_need_as_many_as_genesis_says(world: Consortium) -> None:
    resume = op("members", "resume", "GONE")
    assert is_discarded(
        discarded(world, world.make("ADMIN", resume, officers=("chair",))), LedgerError.POLICY_NOT_MET
    )
    assert applied(world, world.make("ADMIN", resume, officers=("deputy", "secretary")))
