"""Keeping the certificates of a chain under CometBFT: what is due is fetched, judged and kept; what is
missing holds back what would be newer.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from node.engine.cometbft import certificates as module
from node.engine.cometbft.answers import AnswerRefused, read_signed_header
from node.engine.cometbft.certificates import ValidatorCertificates
from node.engine.cometbft.light import CommitRefused, SequencerHeader, SignedHeader
from node.engine.errors import Degraded, NodeError
from node.genesis_file import format_genesis
from node.json_form import write_document
from node.keys.verify import InternationalVerifier
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root, chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import BlockRecord, Genesis, Header
from node.receipts import verify_receipt_file
from node.storage import layout
from node.storage.handovers import HandoverShelf
from tests.cometbft_answers import RecordedRpc, commit_of, validators_of
from tests.kit import spoilt
from tests.vectors import golden, golden_cometbft
from tests.vectors.golden_cometbft import A, B, C, Powers, authority, header, signed

D: Powers = {0: 5, 4: 1}
CONSORTIUM = golden_cometbft.consortium()
WAIT_SECONDS = 10.0


@dataclass
class Log:
    """Implements certificates.Blocks: headers of ours that name an authority each; some heights are quiet."""

    genesis: Genesis
    records: list[BlockRecord] = field(default_factory=list)
    first_position: int = 0

    def add(self, height: int, named: Powers, certificate: bytes = b"") -> BlockRecord:
        root = authority_root(INTERNATIONAL, authority(named))
        zero = bytes(32)
        chain = chain_id(self.genesis)
        encoded = codec.encode(Header(1, chain, 1, height, height, zero, zero, 0, zero, zero, zero, root))
        app_hash = INTERNATIONAL.digest(hashing.HEADER + encoded)
        record = BlockRecord(height, height, app_hash, encoded, certificate=certificate)
        self.records.append(record)
        return record

    @property
    def durable_count(self) -> int:
        return len(self.records)

    @property
    def _kept(self) -> range:
        """The numbers of the blocks whose headers are here."""
        return range(max(self.first_position - 1, 0), len(self.records))

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        assert not self.first_position or first >= self.records[self._kept[0]].height, "no longer kept"
        return [record for record in self.records if record.height >= first][:limit]

    def height_at(self, position: int) -> int | None:
        return self.records[position].height if position in self._kept else None


def comet(log: Log, height: int, powers: Powers, following: Powers | None = None) -> SignedHeader:
    """The header of CometBFT that carries the app hash of our newest header below its height."""
    below = [record for record in log.records if record.height < height][-1]
    return signed(header(CONSORTIUM.chain_id, height, below.app_hash, powers, following), powers)


@dataclass
class Chain:
    """A chain whose block 3 changes A to B, 7 B to C and 8 C to D; heights 5 and 6 are quiet."""

    log: Log
    rpc: RecordedRpc
    path: Path
    alarms: list[str] = field(default_factory=list)

    def keeper(self, **options: Any) -> ValidatorCertificates:
        """One over the same shelf, as after a restart."""
        (self.path / "data").mkdir(exist_ok=True)
        verifier = InternationalVerifier()
        return ValidatorCertificates(
            self.rpc,
            self.log,
            HandoverShelf(self.path / "data"),
            verifier,
            self.log.genesis,
            alarm=self.alarms.append,
            **options,
        )


NAMED = {0: A, 1: A, 2: A, 3: B, 4: B, 7: C, 8: D, 9: D}
SIGNING = {4: (A, B), 5: (B, B), 6: (B, B), 8: (B, C), 9: (C, D), 10: (D, D), 11: (D, D)}


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    log = Log(CONSORTIUM.genesis)
    for height, named in NAMED.items():
        log.add(height, named)
    headers = [comet(log, height, *sets) for height, sets in SIGNING.items()]
    headers += [comet(log, height, A) for height in (1, 2, 3)]
    headers.append(comet(log, 7, B))
    return Chain(log, RecordedRpc(headers), tmp_path)


def heights(keeper: ValidatorCertificates) -> list[int]:
    assert keeper.newest is not None
    return [link.height for link in keeper.newest.handovers]


@pytest.mark.asyncio
async def test_what_a_receipt_needs_is_fetched_and_nothing_else(chain: Chain) -> None:
    keeper = chain.keeper()
    await keeper.advance(11)
    assert chain.rpc.asked == [4, 8, 9, 11]
    assert heights(keeper) == [4, 8, 9]
    assert keeper.newest is not None
    assert (keeper.newest.height, keeper.newest.signed.height) == (9, 11)


@pytest.mark.asyncio
async def test_a_quiet_height_certifies_the_last_header_before_it(chain: Chain) -> None:
    keeper = chain.keeper()
    for height, certified in ((1, 0), (4, 3), (5, 4), (6, 4), (7, 4), (8, 7)):
        await keeper.advance(height)
        assert keeper.newest is not None
        assert (keeper.newest.height, keeper.newest.signed.height) == (certified, height)
    assert heights(keeper) == [4]


@pytest.mark.asyncio
async def test_hand_overs_outlive_the_process_and_cometbfts_pruning(chain: Chain) -> None:
    await chain.keeper().advance(11)
    for height in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):
        del chain.rpc.headers[height]
    again = chain.keeper()
    await again.advance(11)
    assert heights(again) == [4, 8, 9]


@pytest.mark.asyncio
async def test_a_change_that_came_while_the_node_was_down_is_fetched_on_return(chain: Chain) -> None:
    later = chain.log.records[5:]
    del chain.log.records[5:]
    await chain.keeper().advance(5)
    chain.log.records += later
    again = chain.keeper()
    chain.rpc.asked.clear()
    await again.advance(11)
    assert chain.rpc.asked == [8, 9, 11]
    assert heights(again) == [4, 8, 9]


@pytest.mark.parametrize("lost", [4, 8, 9])
@pytest.mark.parametrize("how", ["removed", "damaged"])
@pytest.mark.asyncio
async def test_a_lost_hand_over_is_fetched_again(chain: Chain, lost: int, how: str) -> None:
    keeper = chain.keeper()
    await keeper.advance(11)
    keeper._marked = 9
    keeper._mark()
    path = chain.path / "data" / layout.HANDOVERS / layout.handover_name(lost)
    if how == "removed":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[20] ^= 1
        path.write_bytes(content)
    again = chain.keeper()
    chain.rpc.asked.clear()
    await again.advance(11)
    assert chain.rpc.asked == [lost, 11]
    assert heights(again) == [4, 8, 9]


@pytest.mark.asyncio
async def test_nothing_newer_is_told_while_a_hand_over_is_missing(chain: Chain) -> None:
    keeper = chain.keeper()
    await keeper.advance(7)
    missing = chain.rpc.headers.pop(8)
    with pytest.raises(OSError, match="height 8"):
        await keeper.advance(11)
    assert keeper.newest is not None
    assert keeper.newest.signed.height == 7
    chain.rpc.headers[8] = missing
    await keeper.advance(11)
    assert heights(keeper) == [4, 8, 9]


@pytest.mark.asyncio
async def test_the_mark_saves_searching_the_whole_log_again(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARK_EVERY", 5)
    await chain.keeper().advance(11)
    assert HandoverShelf(chain.path / "data").mark == (9, 3)
    again = chain.keeper()
    await again.advance(11)
    assert again._roots == [(11, authority_root(INTERNATIONAL, authority(D)))]
    assert heights(again) == [4, 8, 9]


@pytest.mark.asyncio
@pytest.mark.evidence(
    "CFT2",
    asset="receipts",
    threat="a CometBFT that lies",
    mitigation="judged by the set that the ledger names",
)
async def test_a_header_by_another_set_than_the_ledger_names_is_refused(chain: Chain) -> None:
    sound = chain.rpc.headers[4]
    chain.rpc.headers[4] = comet(chain.log, 4, D, B)
    with pytest.raises(CommitRefused, match="another set"):
        await chain.keeper().advance(5)
    chain.rpc.headers[4] = sound
    chain.rpc.headers[11] = comet(chain.log, 11, C)
    with pytest.raises(CommitRefused, match="another set"):
        await chain.keeper().advance(11)


@pytest.mark.asyncio
async def test_a_hand_over_to_another_set_than_the_ledger_names_is_seen_with_the_next_header(
    chain: Chain,
) -> None:
    chain.rpc.headers[4] = comet(chain.log, 4, A, C)
    with pytest.raises(CommitRefused, match="between 4 and 5"):
        await chain.keeper().advance(5)


@pytest.mark.asyncio
@pytest.mark.evidence(
    "CFT2",
    asset="receipts",
    threat="a CometBFT that lies",
    mitigation="judged by the set that the ledger names",
)
async def test_a_header_that_carries_another_app_hash_is_refused(chain: Chain) -> None:
    chain.rpc.headers[11] = signed(header(CONSORTIUM.chain_id, 11, bytes(32), D), D)
    with pytest.raises(CommitRefused, match="app hash"):
        await chain.keeper().advance(11)


@pytest.mark.asyncio
@pytest.mark.parametrize("height", [4, 11])
@pytest.mark.evidence(
    "CFT2",
    asset="receipts",
    threat="a CometBFT that lies",
    mitigation="judged by the set that the ledger names",
)
async def test_a_header_without_the_signatures_of_its_set_is_refused(chain: Chain, height: int) -> None:
    good = chain.rpc.headers[height]
    for bad in (replace(good, votes=good.votes[1:]), replace(good, round=1)):
        chain.rpc.headers[height] = bad
        keeper = chain.keeper()
        with pytest.raises(CommitRefused, match=f"height {height}: "):
            await keeper.advance(11)
        assert keeper.newest is None


@pytest.mark.asyncio
async def test_what_a_restarted_node_cannot_judge_yet_waits_for_the_next_height(chain: Chain) -> None:
    await chain.keeper().advance(9)
    again = chain.keeper()
    await again.advance(9)
    assert again.newest is None
    await again.advance(10)
    assert heights(again) == [4, 8, 9]


@pytest.mark.asyncio
async def test_an_answer_for_another_height_or_chain_is_refused(chain: Chain) -> None:
    chain.rpc.headers[11] = chain.rpc.headers[10]
    with pytest.raises(AnswerRefused):
        await chain.keeper().advance(11)
    chain.rpc.headers[11] = signed(header(bytes(32), 11, bytes(32), D), D)
    with pytest.raises(AnswerRefused):
        await chain.keeper().advance(11)


@pytest.mark.asyncio
async def test_what_is_noticed_is_followed_and_what_fails_is_alarmed_once_and_tried_again(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    keeper = chain.keeper()
    missing = chain.rpc.headers.pop(8)
    task = asyncio.create_task(keeper.run())
    try:
        keeper.notice(7)
        await until(lambda: keeper.newest is not None)
        keeper.notice(11)
        await until(lambda: chain.rpc.asked.count(8) > 3)
        assert len(chain.alarms) == 1
        assert "height 8" in chain.alarms[0]
        chain.rpc.headers[8] = missing
        await until(lambda: keeper.newest is not None and keeper.newest.signed.height == 11)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(ready: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not ready():  # noqa: ASYNC110 - the certificates tell nobody
            await asyncio.sleep(0.005)


# --- a chain that began with a sequencer -----------------------------------------------


@pytest.mark.asyncio
async def test_the_sequencers_last_header_is_the_first_hand_over(chain: Chain) -> None:
    log = Log(golden.golden().genesis)
    for height, named in ((0, C), (1, C), (2, A)):
        log.add(height, named, certificate=bytes([height]) * 64)
    log.add(3, A)
    head = log.records[-1].app_hash
    certified = signed(header(golden.golden().chain_id, 5, head, A), A)
    moved = Chain(log, RecordedRpc([certified]), chain.path)
    for _ in range(2):
        keeper = moved.keeper(initial_height=3)
        await keeper.advance(5)
        assert keeper.newest is not None
        (link,) = keeper.newest.handovers
        assert isinstance(link, SequencerHeader)
        assert (link.height, link.header, link.signature) == (2, log.records[2].header, bytes([2]) * 64)
        assert link.public_key == golden.SEQUENCER.public_key
    assert moved.rpc.asked == [5, 5]


@pytest.mark.asyncio
async def test_a_sequencers_last_header_without_a_certificate_is_told(chain: Chain) -> None:
    log = Log(golden.golden().genesis)
    log.add(2, A)
    with pytest.raises(CommitRefused, match="no certificate"):
        await Chain(log, RecordedRpc([]), chain.path).keeper(initial_height=3).advance(5)


# --- a log that begins above genesis ---------------------------------------------------------------------


async def handed_out(chain: Chain) -> list[tuple[int, bytes]]:
    """What the shelf of a node holds that has seen everything."""
    await chain.keeper().advance(11)
    return list(HandoverShelf(chain.path / "data").load())


def newcomer(chain: Chain, base: int, *elders: Any) -> ValidatorCertificates:
    """A node whose log begins behind the header at height ``base``, over an empty shelf."""
    at = [record.height for record in chain.log.records].index(base)
    log = Log(chain.log.genesis, chain.log.records, first_position=at + 1)
    path = chain.path / f"behind-{base}"
    path.mkdir(exist_ok=True)
    rpc = RecordedRpc([chain.rpc.headers[height] for height in chain.rpc.headers if height > base])
    return Chain(log, rpc, path, chain.alarms).keeper(elders=elders)


def answering(contents: list[tuple[int, bytes]]) -> Any:
    async def elder() -> list[tuple[int, bytes]]:
        return contents

    return elder


@pytest.mark.asyncio
@pytest.mark.parametrize("base", [1, 3, 4, 7, 8])
async def test_hand_overs_from_before_the_log_are_inherited_wherever_it_begins(
    chain: Chain, base: int
) -> None:
    contents = await handed_out(chain)
    for _ in range(2):  # the second time from the shelf
        keeper = newcomer(chain, base, answering(contents))
        await keeper.advance(11)
        assert heights(keeper) == [4, 8, 9]
        assert keeper.settled == 9


@pytest.mark.asyncio
async def test_a_node_that_knows_nobody_who_has_them_says_what_is_missing(chain: Chain) -> None:
    with pytest.raises(CommitRefused, match="a hand-over between genesis and"):
        await newcomer(chain, 7).advance(11)


@pytest.mark.asyncio
async def test_what_a_peer_hands_out_is_believed_only_as_a_whole_from_genesis_on(chain: Chain) -> None:
    contents = await handed_out(chain)
    (first, content), second, third = contents
    other = comet(chain.log, 4, A, B)
    stranger = replace(other, header=replace(other.header, chain_id="vostro-other"))
    weak = replace(other, votes=other.votes[:1])
    tried = {
        "is missing": [[second, third], [(first, content), third]],
        "does not verify": [[(first, spoilt(content)), second, third]],
        "no hand-over of that height": [[(first + 1, content)], [(first, b"x" + content)], [(first, b"")]],
        "another chain's": [[(first, b"v" + codec.encode(stranger))]],
        "not over two thirds": [[(first, b"v" + codec.encode(weak)), second, third]],
    }
    for said, lies in tried.items():
        for lie in lies:
            with pytest.raises(CommitRefused, match=said):
                await newcomer(chain, 7, answering(lie)).advance(11)
    keeper = newcomer(chain, 7, answering(tried["does not verify"][0]), answering(contents))
    await keeper.advance(11)
    assert heights(keeper) == [4, 8, 9]
    print(f"false hand-overs tried: {sum(map(len, tried.values()))}, believed: 0")


@pytest.mark.asyncio
async def test_a_sequencers_hand_over_is_inherited_too_and_its_signature_is_looked_at(chain: Chain) -> None:
    world = golden.golden()
    log = Log(world.genesis)
    for height, named in ((0, C), (1, C), (2, A), (3, A), (5, A)):
        log.add(height, named)
    last = log.records[2]
    message = hashing.SIGN_HEADER + world.chain_id + last.app_hash
    link = SequencerHeader(
        2, last.header, "ed25519", golden.SEQUENCER.public_key, golden.SEQUENCER.sign(message)
    )
    head = log.records[-1].app_hash
    certified = signed(header(world.chain_id, 6, head, A), A)
    log.first_position = 4

    def keeper(content: bytes, name: str) -> ValidatorCertificates:
        path = chain.path / name
        path.mkdir()
        moved = Chain(log, RecordedRpc([certified]), path)
        return moved.keeper(initial_height=3, elders=[answering([(2, b"s" + content)])])

    good = keeper(codec.encode(link), "good")
    await good.advance(6)
    assert good.newest is not None
    assert good.newest.handovers == (link,)
    forged = replace(link, signature=bytes(64))
    with pytest.raises(CommitRefused, match="not signed by the sequencer"):
        await keeper(codec.encode(forged), "forged").advance(6)


# --- into a receipt file -----------------------------------------------


@pytest.mark.asyncio
async def test_a_receipt_file_waits_for_the_next_height_and_then_verifies(tmp_path: Path) -> None:
    world = CONSORTIUM
    head = world.store.headers(9, 1)[0].app_hash
    eighth = world.store.headers(8, 1)[0].app_hash
    rpc = RecordedRpc(
        [
            signed(header(world.chain_id, 9, eighth, A), A),
            signed(header(world.chain_id, 10, head, A), A),
        ]
    )
    alarms: list[str] = []
    keeper = ValidatorCertificates(
        rpc,
        world.store,
        HandoverShelf(tmp_path),
        InternationalVerifier(),
        world.genesis,
        alarm=alarms.append,
    )
    trust = format_genesis(world.genesis)
    for height, certified in ((9, 8), (10, 9)):
        with pytest.raises(Degraded) as refused:
            world.receipt_file(certified, 0, certificates=keeper)
        assert refused.value.error is NodeError.PROOF_PENDING
        await keeper.advance(height)
        for at in (1, 4, certified):
            data = write_document(world.receipt_file(at, 0, certificates=keeper))
            told = verify_receipt_file(data, trust)
            assert (told.height, told.certified_height, told.certificate_kind) == (at, certified, "cometbft")
            assert (told.certificate["power"], told.certificate["of_power"]) == (3, 4)
    assert not alarms


@pytest.mark.asyncio
async def test_after_a_move_an_early_receipt_is_certified_by_the_sequencer_until_validators_have() -> None:
    file = golden.golden().receipt_file(4, 0, certificates=SimpleNamespace(newest=None))
    assert file["certificate"]["kind"] == "embedded"
    assert golden_cometbft.moved_file()["certificate"]["kind"] == "cometbft"


def test_an_answer_reads_back_as_the_header_that_was_made() -> None:
    made = golden_cometbft.consortium().newest.signed
    assert read_signed_header(commit_of(made), validators_of(made)) == made
