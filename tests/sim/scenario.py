"""One day that touches every rule once, every outcome known beforehand: what a planted bug must trip over.

``play`` does not stop at the first surprise: it returns all that differ from what is written here.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from contracts import assemble
from contracts.institutions import Rule
from node.ledger import codec
from node.ledger.contract import Context, Contract, method, table
from node.ledger.types import Count, MemberId, Name, Receipt, Record, SignedTransaction
from tests.kit import (
    LIMITS,
    START_MS,
    Consortium,
    fields_of,
    make_genesis,
    new_key,
    officer,
    op,
    pay,
    refusal,
)
from tests.sim.scenario_approvals import approve
from tests.sim.scenario_clearing import clear
from tests.sim.scenario_encryption import encrypt
from tests.sim.scenario_governance import govern
from tests.sim.scenario_reconciliation import reconcile
from tests.sim.scenario_trading import trade
from tests.sim.scenario_vault import keep

WORK_MAX: Final = 100_000
OK: Final = ("", 0)


class Mark(Record, frozen=True):
    """A record that must not remain."""

    count: Count


class Faulty(Contract):
    """A contract with a bug."""

    name = "faulty"
    mark = table(Mark, member=MemberId)

    @method
    def fail(self, ctx: Context, name: Name) -> None:
        """Write, then raise."""
        self.mark.put(Mark(1), ctx.member)
        raise LookupError(name)


def with_faulty() -> tuple[Contract, ...]:
    return *assemble(), Faulty()


class Day:
    """A consortium and the surprises it gave."""

    def __init__(self) -> None:
        names = (*[contract.name for contract in assemble()], "faulty")
        genesis = make_genesis(
            limits=replace(LIMITS, block_work_max=WORK_MAX), contracts=tuple((name, 0) for name in names)
        )
        self.world = Consortium(genesis, contracts=with_faulty)
        self.surprises: list[str] = []

    def expect(
        self, what: str, items: Sequence[bytes], codes: Sequence[tuple[str, int]], time_ms: int = 0
    ) -> list[Receipt]:
        """Run a block; each item's outcome is known. The receipts."""
        outcomes = self.world.block(*items, time_ms=time_ms or None)
        told = [refusal(outcome) for outcome in outcomes]
        if told != list(codes):
            self.surprises.append(f"{what}: {told} instead of {list(codes)}")
        return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]

    def same(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.surprises.append(f"{what}: {found} instead of {expected}")


def play() -> Day:
    """The whole day."""
    day = Day()
    for part in (
        _payments,
        _identities,
        _signatures,
        _bytes,
        _times,
        _money,
        _holds,
        _listings,
        encrypt,
        _work,
        trade,
        approve,
        reconcile,
        clear,
        _rest,
        keep,
        govern,
    ):
        part(day)
    return day


def _payments(day: Day) -> None:
    w = day.world
    pays = [w.make("PA", pay("PA/main", "KB/main", amount)) for amount in (100, 701, 10_000)]
    day.expect("what is held cannot be spent", pays, [OK, ("assets", 14), ("assets", 14)])
    both = w.make(
        "PA", pay("PA/main", "KB/main", 50), pay("PA/main", "PA/empty", 5), pay("PA/main", "KB/main", 700)
    )
    fault = w.make("PA", pay("PA/main", "KB/main", 60), op("faulty", "fail", "x"))
    good = w.make("PA", pay("PA/main", "KB/main", 1))
    receipts = day.expect(
        "all or none", [both, good, both, fault], [("assets", 14), OK, ("ledger", 7), ("ledger", 19)]
    )
    day.same("the operation that failed", [receipt.failed_operation for receipt in receipts], [3, 0, 2])
    day.same("no trace of a fault", w.rows("faulty", "mark"), {})
    day.expect("not the owner", [w.make("KB", pay("PA/main", "KB/main", 1))], [("assets", 10)])
    legs = (("KB/main", 30, ""), ("CNB/main", 20, ""))
    many = [w.make("PA", op("transfers", "send_many", "PA/main", "CZK", n, legs, b"", "")) for n in (50, 51)]
    day.expect("totals", many, [OK, ("transfers", 3)])
    day.same(
        "balances",
        [w.balance(a) for a in ("PA/main", "KB/main", "CNB/main")],
        [(849, 200), (631, 0), (420, 0)],
    )


def _identities(day: Day) -> None:
    w = day.world
    one = w.make("PA", pay("PA/main", "KB/main", 1))
    identifier = w.new_request_id()
    two, three = (w.make("PA", pay("PA/main", "KB/main", n), use_id=identifier) for n in (1, 2))
    duplicate, spent = ("ledger", 7), ("ledger", 6)
    day.expect("twice in a block", [one, one, two, three], [OK, duplicate, OK, spent])
    day.expect("again in the next", [three, one, two], [spent, duplicate, duplicate])
    head = w.ledger.info()
    day.expect("quiet", [one, b"junk"], [duplicate, ("ledger", 1)])
    day.same("a quiet block's app hash", w.ledger.info(), head)
    day.same("money paid once", w.balance("KB/main"), (633, 0))


def _signatures(day: Day) -> None:
    w = day.world
    keys = [new_key("scoped", scopes=("assets",)), new_key("lost"), new_key("second"), new_key("ending")]
    day.expect("keys", [w.make("PA", *(op("members", "register_key", key) for key in keys))], [OK])
    ends = op("members", "retire_key", officer("ending").key_id, w.height + 3)
    day.expect("an end", [w.make("PA", op("members", "revoke_key", officer("lost").key_id), ends)], [OK])
    good = pay("PA/main", "KB/main", 1)
    broken: SignedTransaction = codec.decoder(SignedTransaction)(w.make("PA", good))
    forged = codec.encode(replace(broken, signatures=(replace(broken.signatures[0], signature=bytes(64)),)))
    bad = [w.make("PA", good, officers=(name,)) for name in ("scoped", "lost", "stranger")]
    gone = w.make("GONE", good)
    refused = [("ledger", code) for code in (13, 12, 11, 10, 9)]
    day.expect("who may not sign", [forged, *bad, gone], refused)
    day.expect("retired from this height on", [w.make("PA", good, officers=("ending",))], [("ledger", 11)])
    rules = (Rule("transfers", "*", "CZK", 10, 2), Rule("transfers", "send", "CZK", 5, 1))
    day.expect("a policy", [w.make("PA", op("members", "set_policy", rules))], [OK])
    large, split = (pay("PA/main", "KB/main", 10),), (pay("PA/main", "KB/main", 5),) * 2
    team = ("PA-officer", "second")
    items = [
        w.make("PA", *large),
        w.make("PA", *split),
        w.make("PA", *split, officers=team),
        w.make("PA", good),
    ]
    day.expect("how many officers", items, [("ledger", 14), ("ledger", 14), OK, OK])
    alone = w.make("ADMIN", op("members", "resume", "GONE"), officers=("chair",))
    day.expect(
        "administrators",
        [alone, w.make("PA", op("members", "resume", "GONE"), officers=team)],
        [("ledger", 14), ("members", 1)],
    )
    undo = op("members", "set_policy", ())
    day.expect("no policy", [w.make("PA", undo), w.make("PA", undo, officers=team)], [("ledger", 14), OK])


def _bytes(day: Day) -> None:
    w = day.world
    body = w.body("PA", pay("PA/main", "KB/main", 1))
    good = w.sign(body, "PA-officer", "second")
    signed: SignedTransaction = codec.decoder(SignedTransaction)(good)
    one, two = signed.signatures
    longer = good[:1] + b"\xc5" + len(body).to_bytes(2, "big") + good[good.index(body) :]
    if longer == good:
        longer = good[:1] + b"\xc6" + len(body).to_bytes(4, "big") + good[good.index(body) :]
    twisted = [codec.encode(replace(signed, signatures=entries)) for entries in ((two, one), (one, one))]
    other = w.sign(body.replace(w.chain_id[:8], bytes(8)), "PA-officer")
    malformed = ("ledger", 1)
    day.expect("bytes", [longer, *twisted, other, good], [malformed, malformed, malformed, ("ledger", 3), OK])
    text = w.make("PA", pay("PA/main", "KB/main", 1, reference="a\nb"))
    unknown = w.make("PA", op("assets", "move", "PA/main", "KB/main", "CZK", 1))
    nothing = w.make("PA", pay("PA/main", "KB/main", 0))
    day.expect("arguments", [text, unknown, nothing], [("ledger", 17), ("ledger", 15), ("ledger", 16)])


def _times(day: Day) -> None:
    w = day.world
    now = w.time_ms + 700_000

    def made(created_ms: int, valid_until_ms: int = 0) -> bytes:
        return w.make(
            "PA", pay("PA/main", "KB/main", 1), created_ms=created_ms, valid_until_ms=valid_until_ms
        )

    items = [made(now + 60_000), made(now + 60_001), made(now - 600_000), made(now - 600_001)]
    items += [made(now, now), made(now - 5, now - 1), made(now - 600_001, now + 10)]
    dead, early = ("ledger", 4), ("ledger", 5)
    day.expect("life", items, [OK, early, OK, dead, OK, dead, dead], time_ms=now)
    day.same("block time", w.time_ms, now)
    day.expect("a clock that goes back", [made(now)], [OK], time_ms=now - 50)
    day.same("block time increases", w.time_ms, now + 1)


def _money(day: Day) -> None:
    w = day.world
    issues = [w.make("CNB", op("assets", "issue", "CZK", "CNB/main", n, "")) for n in (998_000, 998_001, 100)]
    day.expect("the cap", issues, [OK, ("assets", 6), ("assets", 6)])
    redeems = [w.make("CNB", op("assets", "redeem", "CZK", "CNB/main", n, "")) for n in (998_000, 421)]
    day.expect("redeemed", redeems, [OK, ("assets", 14)])
    asset = w.record("assets", "asset", "CZK")
    day.same("supply", (asset.issued, asset.redeemed), (1_000_000, 998_000))
    frozen = w.make("PA", pay("PA/main", "KB/main", 1, asset="EUR"))
    closing = w.make("PA", op("assets", "close_account", "PA/main"))
    to_frozen = w.make("PA", pay("PA/main", "KB/frozen", 1))
    day.expect(
        "frozen and closed", [frozen, closing, to_frozen], [("assets", 4), ("assets", 13), ("assets", 11)]
    )


def _holds(day: Day) -> None:
    w = day.world
    source, hold = w.holds["pending"]
    before = w.balance("PA/main")
    day.same("the debtor before", before, (831, 200))
    post = [op("transfers", "post", source, hold, n) for n in (51, 20, 20)]
    items = [w.make("CNB", op("transfers", "void", source, hold)), *(w.make("PA", each) for each in post)]
    day.expect("a post", items, [("transfers", 9), ("transfers", 8), OK, ("transfers", 6)])
    day.same("the rest is released", w.balance("PA/main"), (before[0] - 20, before[1] - 50))
    soon = w.time_ms + 10_000
    reserve = op("transfers", "reserve", "PA/main", "KB/main", "CZK", 30, soon, "")
    day.expect(
        "two holds",
        [w.make("PA", reserve, reserve), w.make("PA", pay("PA/main", "KB/main", 602))],
        [OK, ("assets", 14)],
    )
    day.expect("not yet due", [w.make("PA", pay("PA/main", "KB/main", 1))], [OK], time_ms=soon - 1)
    day.same("held until then", w.balance("PA/main")[1], before[1] - 50 + 60)
    day.expect("due", [], [], time_ms=soon)
    day.same("given back", w.balance("PA/main")[1], before[1] - 50)
    receipts: list[Receipt] = [codec.decoder(Receipt)(data) for data in w.blocks()[-1].receipts]
    day.same("the system receipt", [(r.tx_id, len(r.events)) for r in receipts], [(bytes(32), 2)])


def _listings(day: Day) -> None:
    w = day.world
    party, other = b"\1" * 32, b"\2" * 32
    later = w.time_ms + 20_000

    def listing(member: str, which: bytes) -> bytes:
        return w.make(member, op("blacklist", "list_party", which, "fraud", bytes(32), later))

    look = [w.make("CNB", op("blacklist", "look_up", which, "lending")) for which in (party, other)]
    retract = w.make("KB", op("blacklist", "retract", other))
    items = [
        listing("PA", party),
        listing("KB", party),
        listing("KB", other),
        listing("KB", other),
        retract,
        *look,
    ]
    receipts = day.expect("listings", items, [OK, OK, OK, ("blacklist", 1), OK, OK, OK])
    counts = [fields_of(receipt.events[0])[-1] for receipt in receipts[-2:] if receipt.events]
    day.same("what a look-up in the same block sees", counts, [2, 0])
    day.expect("over", [], [], time_ms=later)
    day.same("gone", (w.rows("blacklist", "listing"), w.rows("blacklist", "due")), ({}, {}))


def _work(day: Day) -> None:
    w = day.world

    def batch(count: int) -> bytes:
        return w.make(
            "PA",
            op("transfers", "send_many", "PA/main", "CZK", 1, (("KB/main", 1, "x" * 35),) * count, b"", ""),
        )

    codes = [("transfers", 3), ("transfers", 3), ("ledger", 21), OK]
    day.expect("a full block", [batch(800), batch(800), batch(800), batch(1)], codes)


def _rest(day: Day) -> None:
    w = day.world
    day.expect("everything falls due", [], [], time_ms=START_MS + w.HOLD_MS)
    day.same("nothing is held", [row.held for row in w.rows("assets", "balance").values() if row.held], [])
    day.same("nothing is due", w.rows("transfers", "due"), {})
    positions = w.rows("assets", "balance").items()
    total = sum(row.posted for (_, asset), row in positions if asset == "CZK")
    day.same("all the money", total, 2_000)
