"""Members: what applied operations leave in the state and tell, and how keys and officers are regained."""

import pytest

from contracts.institutions import Institution, Key, Policy, Rule
from contracts.members import KEYS_MAX, Members
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.types import Operation
from tests.kit import ADMINISTRATOR, Consortium, is_discarded, is_refused, new_key, officer, op, pay, told


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def key(name: str) -> bytes:
    return officer(name).key_id


def proposed(*operations: Operation) -> Operation:
    return op("governance", "propose", operations, "")


def recover(world: Consortium, member: str, name: str) -> None:
    """Administrators propose a key for a member, and nobody objects in time."""
    opened = world.apply(ADMINISTRATOR, proposed(op("members", "recover", member, new_key(name))))
    due_ms = told(opened)[-1][1][1]
    world.block(time_ms=due_ms)


def test_genesis_makes_the_administrators_a_member_with_a_policy(world: Consortium) -> None:
    assert world.record("members", "institution", ADMINISTRATOR) == Institution(
        "Administrators", "", ("administrator",), "active", 0
    )
    assert world.record("members", "policy", ADMINISTRATOR) == Policy((Rule("*", "*", "", 0, 2),))
    holders = [
        row.holder for (member, _), row in world.rows("members", "key").items() if member == ADMINISTRATOR
    ]
    assert sorted(holders) == ["chair", "deputy", "secretary"]


def test_a_member_is_admitted_with_its_keys(world: Consortium) -> None:
    keys = (new_key("n1", holder="first"), new_key("n2", scopes=("transfers.send",)))
    receipt = world.apply(
        ADMINISTRATOR,
        op("members", "admit", "N-1", "New Bank", "NEWBCZPPXYZ", ("participant", "issuer"), keys),
    )
    assert told(receipt) == [
        ("members.Admitted", ["N-1", "New Bank", ["participant", "issuer"]]),
        ("members.KeyRegistered", ["N-1", key("n1"), "first"]),
        ("members.KeyRegistered", ["N-1", key("n2"), "n2"]),
    ]
    institution = Institution("New Bank", "NEWBCZPPXYZ", ("participant", "issuer"), "active", world.height)
    assert world.record("members", "institution", "N-1") == institution
    assert world.record("members", "key", "N-1", key("n2")) == Key(
        "ed25519", officer("n2").public_key, "n2", ("transfers.send",), world.height, 0, 0
    )
    assert world.record("members", "owner", key("n1")).member == "N-1"
    assert world.record("members", "policy", "N-1") is None


@pytest.mark.parametrize("member", ["", "pa", "A B", "-A", "Ä", "A/B", "A\n", "A" * 17, "A_B"])
def test_a_member_id_has_a_closed_alphabet(member: str, world: Consortium) -> None:
    admit = op("members", "admit", member, "Bank", "", ("participant",), (new_key("n"),))
    assert is_refused(world.send(ADMINISTRATOR, admit), LedgerError.BAD_ARGUMENTS)


def test_a_member_is_changed_suspended_and_resumed(world: Consortium) -> None:
    admitted = world.record("members", "institution", "PA").admitted_height
    receipt = world.apply(
        ADMINISTRATOR,
        op("members", "change", "PA", "New Name", "PABACZPP", ("participant", "regulator")),
        op("members", "suspend", "PA", "audit"),
    )
    assert told(receipt) == [
        ("members.Changed", ["PA", "New Name", ["participant", "regulator"]]),
        ("members.Suspended", ["PA", "audit"]),
    ]
    changed = Institution("New Name", "PABACZPP", ("participant", "regulator"), "suspended", admitted)
    assert world.record("members", "institution", "PA") == changed
    receipt = world.apply(ADMINISTRATOR, op("members", "resume", "PA"))
    assert told(receipt) == [("members.Resumed", ["PA"])]
    assert world.record("members", "institution", "PA").status == "active"


@pytest.mark.evidence(
    "KEY7",
    asset="signing keys",
    threat="an old or stolen key signs on",
    mitigation="heights of retirement and revocation",
)
def test_a_key_is_rotated_and_both_sign_in_between(world: Consortium) -> None:
    ends = world.height + 3
    receipt = world.apply("PA", op("members", "rotate_key", key("PA-officer"), ends, new_key("next")))
    assert told(receipt) == [
        ("members.KeyRegistered", ["PA", key("next"), "next"]),
        ("members.KeyRetired", ["PA", key("PA-officer"), ends]),
    ]
    for name in ("PA-officer", "next"):
        world.apply("PA", pay("PA/main", "KB/main", 1), officers=(name,)) if world.height < ends - 1 else None
    assert world.height == ends - 1
    old, new = (
        world.make("PA", pay("PA/main", "KB/main", 1), officers=(name,)) for name in ("PA-officer", "next")
    )
    first, second = world.block(old, new)
    assert is_discarded(first, LedgerError.KEY_NOT_ACTIVE)
    assert not is_discarded(second, LedgerError.KEY_NOT_ACTIVE)


@pytest.mark.evidence(
    "KEY7",
    asset="signing keys",
    threat="an old or stolen key signs on",
    mitigation="heights of retirement and revocation",
)
def test_a_revoked_key_keeps_its_record_and_can_never_be_registered_again(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("second")))
    receipt = world.apply("PA", op("members", "revoke_key", key("second")))
    assert told(receipt) == [("members.KeyRevoked", ["PA", key("second")])]
    assert world.record("members", "key", "PA", key("second")).revoked_at == world.height
    for member in ("PA", "KB"):
        again = world.send(member, op("members", "register_key", new_key("second")))
        assert is_refused(again, Members.KEY_KNOWN)


def test_a_policy_binds_from_the_next_transaction_on_and_counts_holders_not_keys(world: Consortium) -> None:
    rules = (Rule("*", "*", "", 0, 2),)
    world.apply("PA", op("members", "register_key", new_key("again", holder="PA-officer")))
    assert is_refused(world.send("PA", op("members", "set_policy", rules)), Members.POLICY_UNMEETABLE)
    world.apply("PA", op("members", "register_key", new_key("second")))
    receipt = world.apply("PA", op("members", "set_policy", rules), pay("PA/main", "KB/main", 1))
    assert told(receipt)[0] == ("members.PolicySet", ["PA", [["*", "*", "", 0, 2]]])
    (alone,) = world.block(world.make("PA", pay("PA/main", "KB/main", 1)))
    assert is_discarded(alone, LedgerError.POLICY_NOT_MET)
    world.apply("PA", op("members", "set_policy", ()), officers=("PA-officer", "second"))
    assert world.record("members", "policy", "PA") == Policy(())
    world.apply("PA", pay("PA/main", "KB/main", 1))


def test_a_key_about_to_retire_does_not_count_for_a_new_policy(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("second")))
    world.apply("PA", op("members", "retire_key", key("second"), world.height + 50))
    refused = world.send("PA", op("members", "set_policy", (Rule("*", "*", "", 0, 2),)))
    assert is_refused(refused, Members.POLICY_UNMEETABLE)


@pytest.mark.evidence(
    "ACT4",
    asset="signing keys",
    threat="administrators take a member over",
    mitigation="recovery only where keys are lost",
)
def test_a_member_whose_policy_its_last_keys_cannot_meet_is_recovered(world: Consortium) -> None:
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in ("second", "third")))
    team = ("PA-officer", "second", "third")
    world.apply("PA", op("members", "set_policy", (Rule("*", "*", "", 0, 3),)))
    revoke = [op("members", "revoke_key", key(name)) for name in ("second", "third")]
    world.apply("PA", *revoke, officers=team)
    (alone,) = world.block(world.make("PA", op("members", "register_key", new_key("new"))))
    assert is_discarded(alone, LedgerError.POLICY_NOT_MET)
    for name in ("new", "newer"):
        recover(world, "PA", name)
        assert world.record("members", "key", "PA", key(name)).holder == name
    more = world.send(ADMINISTRATOR, proposed(op("members", "recover", "PA", new_key("one-more"))))
    assert is_refused(more, Members.KEYS_REMAIN)
    world.apply("PA", pay("PA/main", "KB/main", 1), officers=("PA-officer", "new", "newer"))


@pytest.mark.evidence(
    "ACT4",
    asset="signing keys",
    threat="administrators take a member over",
    mitigation="recovery only where keys are lost",
)
def test_a_member_whose_keys_are_all_scoped_elsewhere_is_recovered(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("teller", scopes=("transfers",))))
    still = world.send(ADMINISTRATOR, proposed(op("members", "recover", "PA", new_key("new"))))
    assert is_refused(still, Members.KEYS_REMAIN)
    world.apply("PA", op("members", "revoke_key", key("PA-officer")))
    recover(world, "PA", "new")
    world.apply("PA", op("members", "register_key", new_key("second")), officers=("new",))


def test_members_are_listed_in_pages_with_their_keys_and_rules(world: Consortium) -> None:
    def page(after: str) -> list[str]:
        return [row.member for row in world.ledger.query("members", "list_members", codec.encode((after,)))]

    assert page("") == sorted(world.officers)
    assert page("GONE") == ["KB", "PA"]
    assert page("PA") == []
    member = world.ledger.query("members", "get_member", codec.encode((ADMINISTRATOR,)))
    assert [entry.active for entry in member.keys] == [1, 1, 1]
    assert member.rules == (Rule("*", "*", "", 0, 2),)


def test_ended_keys_do_not_count_among_those_in_use(world: Consortium) -> None:
    names = [f"PA-{number}" for number in range(KEYS_MAX - 1)]
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in names))
    register = op("members", "register_key", new_key("one-more"))
    assert is_refused(world.send("PA", register), Members.TOO_MANY_KEYS)
    world.apply("PA", op("members", "revoke_key", key("PA-7")), register)
