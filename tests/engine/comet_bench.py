"""Engines under real CometBFT in this process: one validator or several, each with its ledger on disk.

A ``Validator`` is what a node is made of below the services; it can be stopped in order, crash (its parts are
dropped without a last word) and come back over the same directory. Clients are founders whose keys come from
their names; times are the machine's, because CometBFT's blocks have them.
"""

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from contracts import assemble
from contracts.proposals import Opened
from node.client import signing
from node.engine.cometbft.abci import DecidedBlock
from node.engine.cometbft.abci_server import Call
from node.engine.cometbft.application import LedgerApplication
from node.engine.cometbft.certificates import Elder, ValidatorCertificates
from node.engine.cometbft.engine import CometEngine
from node.engine.cometbft.home import (
    Home,
    HomeConfig,
    Keys,
    Peer,
    genesis_json,
    new_key,
    node_id,
    public_key,
    write_home,
)
from node.engine.cometbft.identity import hold_against_chain, hold_back, look_for_ourselves
from node.engine.cometbft.light import comet_chain_id
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.engine.cometbft.signer import RemoteSigner, serve
from node.engine.cometbft.state_sync import Keeping, LedgerSnapshots
from node.engine.cometbft.supervisor import Restarts, Supervisor
from node.engine.cometbft.tunnel import TunnelFailed
from node.engine.engine import Outcome
from node.genesis_file import GOVERNANCE_DEFAULT, make_genesis
from node.keys.signer import Ed25519Signer
from node.keys.verify import UNSEEN, CachedVerifier, InternationalVerifier, verify_many
from node.ledger import codec
from node.ledger.bundles import signed_bundle
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import PROTOCOLS, Ledger
from node.ledger.ports import Check
from node.ledger.proofs import SuiteProofs
from node.ledger.types import (
    AdministratorKey,
    Authority,
    BundleBody,
    Founder,
    Genesis,
    GovernanceRules,
    Limits,
    Node,
    Operation,
)
from node.network.local import free_ports
from node.storage.handovers import HandoverShelf
from node.storage.sharded import Budget, ShardedStore
from tests.comet_kit import binary, peers_of
from tests.kit import officer

SECONDS: Final = 30.0
LIMITS: Final = Limits(600_000, 500, 1_000_000, 4 * 1024 * 1024)
SMALL: Final = Budget(1 << 20, 1 << 20, log_write_buffer_bytes=1 << 18, reserve_bytes=0)
QUICK: Final = Restarts(first_s=0.05, longest_s=0.2)
op = signing.operation

Contracts = Callable[[], tuple[Any, ...]]


class HereWorkers:
    """Implements engine.ports.Workers in this process, at the loop's next turn."""

    def __init__(self) -> None:
        self.looked_at = 0

    def verify(self, checks: Sequence[Check], *, until_false: bool = False) -> "asyncio.Future[list[bool]]":
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[bool]] = loop.create_future()
        said = verify_many("international", checks, until_false=until_false).rstrip(bytes((UNSEEN,)))
        self.looked_at += len(said)
        loop.call_soon(lambda: answers.set_result([answer == 1 for answer in said]))
        return answers


@dataclass
class Validator:
    """One node of a consortium."""

    place: int
    folder: Path
    genesis: Genesis
    keys: Keys
    config: HomeConfig
    contracts: Contracts = assemble
    trace: list[Call] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    snapshot_every: int = 0
    keeping: Keeping = field(default_factory=Keeping)
    elders: Sequence[Elder] = ()
    protocols: tuple[int, ...] = PROTOCOLS
    record: Path | None = None
    """Of a signer beside CometBFT; none: the key is in CometBFT's home."""
    make_remote: Callable[["Validator"], RemoteSigner] | None = None
    """Makes another signer than the sound one."""
    initial_height: int = 1
    budget: Budget = SMALL
    engine: CometEngine = field(init=False)
    ledger: Ledger = field(init=False)
    store: ShardedStore = field(init=False)
    rpc: RpcClient = field(init=False)
    comet: Supervisor = field(init=False)
    certificates: ValidatorCertificates = field(init=False)
    remote: RemoteSigner | None = field(init=False, default=None)

    @property
    def home(self) -> Home:
        """CometBFT's directory."""
        return Home(self.folder / "comet")

    @property
    def comet_chain(self) -> str:
        """CometBFT's name of the chain."""
        return comet_chain_id(chain_id(self.genesis))

    @property
    def signer(self) -> Any:
        """The key of its bundles."""
        return officer(f"node-{self.place}")

    @property
    def application(self) -> LedgerApplication:
        """What CometBFT calls."""
        return self.engine._application

    async def start(self) -> None:
        """Open the directory and run. Raises what the engine raises."""
        data = self.folder / "data"
        if not data.exists() or not any(data.iterdir()):
            ShardedStore.create(data, INTERNATIONAL, shards=2).close()
        self.store = ShardedStore.open(
            data, INTERNATIONAL, budget=self.budget, lifetime_ms=self.genesis.limits.lifetime_ms
        )
        self.store.snapshot_every = self.snapshot_every
        verifier = CachedVerifier(InternationalVerifier(), 10_000)
        self.ledger = Ledger(
            self.genesis, self.contracts, self.store, verifier, records=1_000, protocols=self.protocols
        )
        self.rpc = RpcClient(self.config.rpc)
        settled: list[Callable[[], int]] = []
        self.trace.clear()
        self.engine = CometEngine(
            self.ledger,
            self.store,
            verifier,
            HereWorkers(),
            signer=self.signer,
            home=self.folder / "comet",
            abci_socket=self.config.abci,
            rpc=self.rpc,
            version="test",
            peers=self.config.peers,
            trace=self.trace.append,
            witness=self._look,
            snapshots=partial(LedgerSnapshots, self.ledger, self.store, self.keeping, settled),
            **{"queue_max": 10_000, **self.options},
        )
        beside = self._signing()
        home = write_home(
            self.folder / "comet", self.config, (self.folder / "genesis.json").read_bytes(), self.keys
        )
        self.comet = Supervisor(
            binary(),
            home,
            self.folder / "comet.log",
            alarm=self.engine.alarm,
            sockets=[self.config.rpc, *([self.config.signer] if self.config.signer else [])],
            restarts=QUICK,
            said=self.engine.hear,
        )
        self.certificates = ValidatorCertificates(
            self.rpc,
            self.store,
            HandoverShelf(data),
            verifier,
            self.genesis,
            initial_height=self.initial_height,
            alarm=self.engine.alarm,
            rpc_errors=(RpcError, TunnelFailed),
            elders=self.elders,
        )
        settled.append(lambda: self.certificates.settled)
        await self.engine.start(self.comet, self.certificates, *beside)

    def _signing(self) -> list[Coroutine[Any, Any, None]]:
        """The signer with the validator's key, where CometBFT does not hold it. Raises GuardRefused."""
        if self.make_remote:
            self.config = replace(self.config, signer=self.folder / "signer.sock")
            self.remote = self.make_remote(self)
            return [serve(self.remote, self.folder / "signer.sock")]
        if self.record is None:
            return []
        chain = self.comet_chain
        self.config = replace(self.config, signer=self.folder / "signer.sock")
        alarm = self.engine._alarm_soon
        self.remote = RemoteSigner(Ed25519Signer(self.keys.validator or b""), chain, self.record, alarm)
        hold_back(self.remote)
        return [
            serve(self.remote, self.folder / "signer.sock"),
            hold_against_chain(self.remote, self.rpc, self.engine.alarm),
        ]

    def _look(self, block: DecidedBlock) -> None:
        if self.remote:
            look_for_ourselves(self.remote, self.engine.alarm, block)

    async def serving(self) -> None:
        """Until it takes transactions."""
        await until(lambda: self.engine.status().serving, f"validator {self.place} serves")

    async def stop(self) -> None:
        """End in order."""
        await self.engine.stop()
        self._let_go()
        self.store.close()

    def _let_go(self) -> None:
        if self.remote:
            self.remote.close()
            self.remote = None

    async def crash(self) -> None:
        """End as kill -9 of the node would: CometBFT goes with its parent, nothing is flushed or answered."""
        with suppress(ProcessLookupError):
            if self.comet.pid:
                self.comet._process.kill()  # type: ignore[union-attr]
        await self.comet.stop()
        followers = [*self.engine._tasks, *self.engine._needed]
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await self.engine._server.stop()
        await self.rpc.close()
        self.engine._decide.shutdown()
        self.application.close()
        self._let_go()
        self.store._close_parts()
        self.store._lock.release()

    def lose_data(self) -> None:
        """The ledger's disk is gone."""
        shutil.rmtree(self.folder / "data")

    def lose_blocks(self) -> None:
        """CometBFT's blocks and state are gone; the record of the last vote is not."""
        kept = self.home.validator_state.read_bytes()
        shutil.rmtree(self.home.validator_state.parent)
        self.home.validator_state.parent.mkdir()
        self.home.validator_state.write_bytes(kept)

    def lose_home(self) -> None:
        """All of CometBFT's directory is gone; keys and genesis come from their copies."""
        shutil.rmtree(self.home.root)

    async def submit(self, *raws: bytes) -> list[Outcome]:
        """Hand in; the outcomes."""
        return await asyncio.wait_for(self.engine.submit(raws), SECONDS)

    def balance(self, account: str, asset: str = "CZK") -> int:
        """Posted, in the published state."""
        assets: Any = self.ledger.readers["assets"]
        position = assets.balance.get(account, asset)
        return position.posted if position else 0


@dataclass
class Consortium:
    """Validators of one chain, and who signs."""

    genesis: Genesis
    validators: list[Validator]
    folder: Path
    numbers: Any = field(default_factory=itertools.count)

    @property
    def chain(self) -> bytes:
        """The chain's id."""
        return chain_id(self.genesis)

    def make(self, *operations: Operation, member: str = "PA", **options: Any) -> bytes:
        """A transaction signed by the member's officer."""
        body = signing.transaction(self.chain, member, operations, **options)
        return signing.sign(INTERNATIONAL, self.chain, body, [officer(member)])

    def pay(self, amount: int = 1, **options: Any) -> bytes:
        """A payment of PA to KB."""
        reference = f"n{next(self.numbers)}"
        return self.make(
            op("transfers", "send", "PA/main", "KB/main", "CZK", amount, reference, b"", ""), **options
        )

    def bundle(self, *items: bytes, node: int = 0, sequence: int = 0) -> bytes:
        """A bundle signed by a validator's node."""
        signer = officer(f"node-{node}")
        body = BundleBody(1, signer.key_id, sequence, items)
        return signed_bundle(self.validators[0].ledger.chain, body, signer.sign)

    async def fund(self) -> None:
        """An asset, accounts, and money in PA's."""
        first = self.validators[0]
        outcomes = await first.submit(
            self.make(
                op("assets", "register", "CZK", "currency", 2, 10**18, bytes(32)),
                op("assets", "open_accounts", ("PA/main",)),
                op("assets", "issue", "CZK", "PA/main", 10**12, "funds"),
            ),
            self.make(op("assets", "open_accounts", ("KB/main",)), member="KB"),
        )
        assert all(applied(outcome) for outcome in outcomes), outcomes

    def add_observer(self, **options: Any) -> Validator:
        """A further node, not started, that follows and does not vote: no set names its validator's key."""
        place = len(self.validators)
        root = self.folder / f"n{place}"
        root.mkdir()
        first = self.validators[0]
        (root / "genesis.json").write_bytes((first.folder / "genesis.json").read_bytes())
        peers = [
            Peer(node_id(public_key(each.keys.node)), each.config.listen) for each in self.validators[:4]
        ]
        config = replace(
            first.config,
            moniker=f"n{place}",
            abci=root / "abci.sock",
            rpc=root / "rpc.sock",
            listen=f"127.0.0.1:{free_ports(1)[0]}",
            peers=tuple(peers),
        )
        observer = Validator(
            place, root, self.genesis, Keys(new_key(), new_key()), config, first.contracts, **options
        )
        self.validators.append(observer)
        return observer

    def query(self, contract: str, name: str, *arguments: Any, place: int = 0) -> Any:
        """Ask a contract, on one node."""
        return self.validators[place].ledger.query(contract, name, codec.encode(arguments))

    async def propose(self, *operations: Operation) -> Operation:
        """PA proposes; the ballot by which the others approve."""
        first = self.validators[0]
        (proposed,) = await first.submit(self.make(op("governance", "propose", operations, "")))
        assert applied(proposed), proposed
        assert proposed.receipt is not None
        opened = next(event for event in proposed.receipt.events if event.event == "Opened")
        number = codec.trusted_decoder(Opened)(opened.fields).number
        content = SuiteProofs(INTERNATIONAL, InternationalVerifier()).content_hash(operations)
        return op("governance", "approve", number, content)

    async def decide(self, *operations: Operation, by: Sequence[str] = ("KB",)) -> Outcome:
        """Operations by decision of PA and these members; the outcome of the last ballot."""
        ballot = await self.propose(*operations)
        for member in by:
            (approved,) = await self.validators[0].submit(self.make(ballot, member=member))
            assert applied(approved), approved
        return approved

    async def level(self, height: int = 0) -> None:
        """Until all validators have the same head, at a height or above."""

        def same() -> bool:
            infos = [each.ledger.info() for each in self.validators]
            return len({info.app_hash for info in infos}) == 1 and infos[0].height >= height

        await until(same, "all validators are level")


def applied(outcome: Outcome) -> bool:
    """Decided and applied."""
    return outcome.receipt is not None and outcome.receipt.code == 0


async def until(true: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Return once ``true()``; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.01)


def founding(
    count: int,
    keys: Sequence[Keys],
    limits: Limits,
    governance: GovernanceRules = GOVERNANCE_DEFAULT,
    members: Sequence[str] = ("PA", "KB"),
) -> Genesis:
    """A genesis of two banks or more and so many validators, each of theirs in turn."""
    validators = [public_key(each.validator or b"") for each in keys]
    founders = [
        Founder(
            member, f"Bank {member}", "", ("issuer", "participant", "voter"),
            (AdministratorKey("ed25519", officer(member).public_key, "chief"),),
        )
        for member in members
    ]  # fmt: skip
    return make_genesis(
        "comet",
        [],
        [Authority("ed25519", each, 10) for each in validators],
        time_ms=time.time_ns() // 1_000_000,
        founders=founders,
        nodes=[
            Node(members[at % len(members)], "ed25519", officer(f"node-{at}").public_key, validators[at])
            for at in range(count)
        ],
        governance=governance,
        limits=limits,
    )


def make_validators(
    folder: Path, genesis: Genesis, document: bytes, keys: Sequence[Keys], **options: Any
) -> list[Validator]:
    """Directories of validators that are one another's peers. document: CometBFT's genesis file. options: of
    each Validator.
    """
    peers = peers_of(keys)
    validators = []
    for place, own in enumerate(keys):
        root = folder / f"n{place}"
        root.mkdir()
        (root / "genesis.json").write_bytes(document)
        config = HomeConfig(
            moniker=f"n{place}",
            abci=root / "abci.sock",
            rpc=root / "rpc.sock",
            listen=peers[place].address,
            peers=tuple([peer for peer in peers if peer is not peers[place]]),
            heartbeat_ms=genesis.limits.heartbeat_ms,
        )
        validators.append(Validator(place, root, genesis, own, config, **options))
    return validators


@asynccontextmanager
async def consortium(
    count: int = 1,
    *,
    limits: Limits = LIMITS,
    contracts: Contracts = assemble,
    snapshot_every: int = 0,
    keeping: Keeping | None = None,
    governance: GovernanceRules = GOVERNANCE_DEFAULT,
    members: Sequence[str] = ("PA", "KB"),
    adjust: Callable[[Validator], None] = lambda _validator: None,
    **options: Any,
) -> AsyncIterator[Consortium]:
    """So many validators, started, with funded accounts. adjust: changes each before it starts. options: of
    their engines.
    """
    folder = Path(tempfile.mkdtemp(prefix="vc-"))
    keys = [Keys(new_key(), new_key()) for _ in range(count)]
    genesis = founding(count, keys, limits, governance, members)
    document = genesis_json(genesis, comet_chain_id(chain_id(genesis)))
    validators = make_validators(
        folder,
        genesis,
        document,
        keys,
        contracts=contracts,
        options=options,
        snapshot_every=snapshot_every,
        keeping=keeping or Keeping(),
    )
    made = Consortium(genesis, validators, folder)
    for validator in validators:
        adjust(validator)
    try:
        await asyncio.gather(*(each.start() for each in made.validators))
        await asyncio.gather(*(each.serving() for each in made.validators))
        await made.fund()
        yield made
    finally:
        await asyncio.gather(*(each.stop() for each in made.validators), return_exceptions=True)
        shutil.rmtree(folder, ignore_errors=True)
