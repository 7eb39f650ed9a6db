"""The SDK: what a contract's file is written with.

A contract declares its refusals (``error``), its tables (``table``), its facts (``Fact``), and its methods. A
method's annotations are the wire types: arguments are decoded once, canonically, before anything else sees
them, so that a method's guards speak of the business alone. A method changes state through its tables and
tells the world through ``ctx.emit``; it raises ``Rejected`` to refuse, and then nothing that its transaction
did remains.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    NamedTuple,
    Protocol,
    TypeVar,
    get_args,
    get_origin,
    overload,
    runtime_checkable,
)

import msgspec

from node.ledger import codec
from node.ledger.errors import Category, ErrorCode, LedgerError, Rejected
from node.ledger.ports import Proofs
from node.ledger.state import State, Table, table
from node.ledger.types import (
    EVENTS_MAX,
    Authority,
    Event,
    Evidence,
    Genesis,
    NodeKey,
    Operation,
    Record,
)

__all__ = [
    "Category",
    "Charge",
    "Context",
    "Contract",
    "Fact",
    "Movement",
    "Rejected",
    "Signatory",
    "Span",
    "error",
    "method",
    "query",
    "table",
]

F = TypeVar("F", bound=Callable[..., Any])

EIGHTHS_PER_BYTE: Final = 1
"""What a byte of arguments costs unless its method says more: eighths of a unit of work (transactions.py)."""

Texts = Callable[[Any], Iterable[str]]
"""Reads every text in a value."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Movement(NamedTuple):
    """What a fact did to one account, for the index: amount is signed, in minor units."""

    account: str
    asset: str
    amount: int
    counterparty: str
    reference: str


class Fact(Record, frozen=True):
    """Base of a contract's events: a record whose name and fields stand in the receipt."""

    def movements(self) -> Iterable[Movement]:
        """The changes of posted balances that this fact tells of."""
        return ()


class Context(msgspec.Struct, gc=False):
    """One transaction's surroundings, as a method sees them.

    member: who signed. tx_id: 32 bytes. operation: its number, from 1. height and time_ms: of the block.
    protocol: the number of the rules that hold at this height. proofs: keys and heavy cryptography. perform:
    runs operations that were decided or approved before. weigh: what a signing policy weighs of operations.
    keys: ids of the keys that signed; none in a run of ``perform``. decided: whether this is a run of what
    the members decided, which no signature can bring about; ``member`` is then empty. Nothing here differs
    between nodes.
    """

    member: str
    tx_id: bytes
    height: int
    time_ms: int
    protocol: int
    proofs: Proofs
    names: dict[type[Fact], tuple[str, str]]
    perform: "Perform"
    weigh: "Weigh"
    keys: tuple[bytes, ...] = ()
    operation: int = 0
    events: list[Event] | None = None
    decided: bool = False

    def emit(self, fact: Fact) -> None:
        """Tell a fact; it stands in the receipt if the transaction is applied."""
        contract, name = self.names[type(fact)]
        if self.events is None:
            self.events = []
        if len(self.events) == EVENTS_MAX:
            raise Rejected(LedgerError.TOO_MANY_EVENTS)
        self.events.append(Event(contract, name, codec.encode(fact)))


class Perform(Protocol):
    """Runs operations that were decided or approved before: all, or none."""

    def __call__(
        self, ctx: Context, operations: Iterable[Operation], *, rehearsal: bool = False, member: str = ""
    ) -> ErrorCode | None:
        """The refusal for which nothing was done, or None. rehearsal: undo it in any case. member: as whose
        they run; empty: as a decision of the members.
        """


class Weigh(Protocol):
    """What the ledger would say of operations before they run."""

    def __call__(self, operations: Iterable[Operation]) -> tuple[tuple["Charge", ...], int]:
        """(what a signing policy weighs of them, their work). Raises Rejected UNKNOWN_METHOD, BAD_ARGUMENTS,
        BAD_TEXT.
        """


class Contract:
    """Base of all contracts. An instance is bound to one state; a contract that uses another takes it in its
    constructor. A release that changes what a contract does gives it a new ``version`` beside the old one.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    facts: ClassVar[tuple[type[Fact], ...]] = ()
    methods: ClassVar[dict[str, "Method"]] = {}
    queries: ClassVar[dict[str, "Method"]] = {}
    errors: ClassVar[tuple[ErrorCode, ...]] = ()
    tables: ClassVar[dict[str, Table[Any]]] = {}

    def __init_subclass__(cls) -> None:
        """Collect what the class declares, in its order."""
        declared = vars(cls).items()
        methods = [Method(v, **v.declared) for _, v in declared if hasattr(v, "declared")]
        cls.methods = {m.name: m for m in methods if m.writes}
        cls.queries = {m.name: m for m in methods if not m.writes}
        cls.errors = tuple(v for _, v in declared if isinstance(v, ErrorCode))
        cls.tables = {n: v for n, v in declared if isinstance(v, Table)}
        if len({e.code for e in cls.errors}) != len(cls.errors):
            raise TypeError(f"{cls.name}: two refusals share a code")

    def bind(self, state: State) -> None:
        """Put every table over ``state``."""
        for name, declared in self.tables.items():
            setattr(self, name, declared.bound(state))

    def on_genesis(self, ctx: Context, genesis: Genesis) -> None:
        """Write what the genesis document says of this contract."""

    def on_block(self, ctx: Context) -> None:
        """Do what falls due, before the block's transactions. A method tests expiry itself all the same."""


class Signatory(Protocol):
    """A key that may sign for a member now, and the officer who holds it."""

    @property
    def algorithm(self) -> str:
        """Of the chain's suite."""

    @property
    def public_key(self) -> bytes:
        """As registered."""

    @property
    def holder(self) -> str:
        """The officer."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it may sign for: ``*``, a contract, or ``contract.method``."""


class Charge(NamedTuple):
    """What a signing policy weighs of one operation. asset empty, amount 0: the method has none."""

    contract: str
    method: str
    asset: str
    amount: int


Weight = Callable[..., Iterable[tuple[str, int]]]
"""Reads (asset, amount) of everything that a call commits its member to, from the contract and the call's
arguments, where no argument says it. Raises Rejected where the state does not know what the call is about.
"""


class Signatories(Protocol):
    """What the ledger asks of the contract that keeps members and keys."""

    def require_signatory(self, member: str, key_id: bytes, height: int) -> Signatory:
        """The key, if it may sign for this member at this height; otherwise Rejected with a LedgerError."""

    def get_signatory(self, member: str, key_id: bytes) -> Signatory | None:
        """The key, if the member ever had it, whatever has become of both."""

    def required_officers(self, member: str, charges: Iterable[Charge]) -> int:
        """How many distinct officers of the member must sign for these operations together."""


class Bound(NamedTuple):
    """One set of contracts over a state, by name, and that of them which keeps members and keys."""

    signatories: Signatories
    contracts: dict[str, Contract]


@runtime_checkable
class Authorities(Protocol):
    """What the ledger asks of the contract that keeps validators and nodes, if the chain has one."""

    def authority(self) -> tuple[Authority, ...]:
        """The set wanted: whose signatures certify headers."""

    def node_keys(self) -> dict[bytes, NodeKey]:
        """Every key ever registered that signs bundles, by key id."""

    def is_node_active(self, key_id: bytes) -> bool:
        """Whether the node may hand in bundles now: it is not retired, and its member not suspended."""

    def on_evidence(self, ctx: Context, evidence: Evidence) -> None:
        """Record a validator's misbehaviour."""


class Span(NamedTuple):
    """A version of a contract acts from a height on, below another; ``until_height`` 0: without end."""

    contract: str
    version: int
    from_height: int
    until_height: int


@runtime_checkable
class Upgrades(Protocol):
    """What the ledger asks of the contract that keeps which contracts and rules hold from which height."""

    def spans(self) -> tuple[Span, ...]:
        """Every span of every contract, beside those that genesis names."""

    def protocols(self) -> tuple[tuple[int, int], ...]:
        """(height, protocol number from it on), ascending, beside that of genesis."""


class Method:
    """A contract's method or query: a function with its wire types.

    arguments: name -> annotation, in order. amount, asset: which argument the signing policy looks at, as
    positions; -1 none. weight: what it looks at instead. work, flat: see ``method``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        writes: bool,
        amount: str = "",
        asset: str = "",
        weight: Weight | None = None,
        work: int = 0,
        flat: int = 0,
    ) -> None:
        signature = inspect.signature(function, eval_str=True)
        self.function = function
        self.writes = writes
        self.weight = weight
        self.work = work
        self.flat = flat
        self.name = function.__name__
        self.arguments = {p.name: p.annotation for p in list(signature.parameters.values())[2:]}
        self.result = signature.return_annotation
        names = list(self.arguments)
        self.amount = names.index(amount) if amount else -1
        self.asset = names.index(asset) if asset else -1
        types: Any = tuple.__class_getitem__(tuple(self.arguments.values()))
        self._decode: Callable[[bytes], tuple[Any, ...]] = codec.decoder(types)
        bases = [_base(annotation) for annotation in self.arguments.values()]
        plain = [at for at, base in enumerate(bases) if base is str]
        # Twice the first, so that what it gives is a tuple also where there is one.
        self._plain: Texts = itemgetter(*plain, plain[0]) if plain else lambda _arguments: ()
        nested = [(at, _texts(base)) for at, base in enumerate(bases) if base is not str]
        self._nested = [(at, read) for at, read in nested if read]

    @property
    def sentence(self) -> str:
        """The first line of the docstring, for people."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Arguments from their encoding. Raises Rejected BAD_ARGUMENTS or BAD_TEXT."""
        try:
            arguments: tuple[Any, ...] = self._decode(data)
        except codec.NotCanonical as reason:
            raise Rejected(LedgerError.BAD_ARGUMENTS, method=self.name, reason=str(reason)) from reason
        text = "".join(self._plain(arguments))
        for at, read in self._nested:
            text += "".join(read(arguments[at]))
        if not (text.isascii() and text.isprintable()) and _CONTROL.search(text):
            raise Rejected(LedgerError.BAD_TEXT, method=self.name)
        return arguments


@overload
def method(function: F) -> F: ...
@overload
def method(
    *,
    amount: str = "",
    asset: str = "",
    weight: Weight | None = None,
    work: int = EIGHTHS_PER_BYTE,
    flat: int = 0,
) -> Callable[[F], F]: ...
def method(
    function: Any = None,
    *,
    amount: str = "",
    asset: str = "",
    weight: Weight | None = None,
    work: int = EIGHTHS_PER_BYTE,
    flat: int = 0,
) -> Any:
    """Declare a method. amount, asset: the arguments that the signing policy weighs; weight: reads what it
    weighs instead. work: eighths of a unit that an argument byte costs; flat: units that a call costs
    besides, because it scans.
    """

    def declare(function: Any) -> Any:
        function.declared = {
            "writes": True,
            "amount": amount,
            "asset": asset,
            "weight": weight,
            "work": work,
            "flat": flat,
        }
        return function

    return declare if function is None else declare(function)


def query(function: F) -> F:
    """Declare a query: reads the state at one height, answers a record or a tuple of records."""
    function.declared = {"writes": False}  # type: ignore[attr-defined]
    return function


def error(code: int, category: Category, sentence: str) -> ErrorCode:
    """Declare a refusal of this contract, permanent from then on."""
    return ErrorCode(code, category, sentence)


def _base(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _texts(annotation: Any) -> Texts | None:
    """A function that reads every text in a value of this type, for the check for control characters; None
    where there is none.
    """
    base = _base(annotation)
    if base is str:
        return lambda value: (value,)
    if get_origin(base) is tuple:
        item = _texts(get_args(base)[0])
        if item is None or _base(get_args(base)[0]) is str:
            return item and (lambda values: values)
        return lambda values: [text for value in values for text in item(value)]
    if isinstance(base, type) and issubclass(base, Record):
        fields = [(field.name, field.type, _texts(field.type)) for field in msgspec.structs.fields(base)]
        readers = [(name, reader) for name, _, reader in fields if reader]
        plain = [name for name, type_, _ in fields if _base(type_) is str]
        if readers and len(plain) == len(readers):
            return attrgetter(*plain, plain[0])  # two names at least, so that it gives a tuple
        return lambda record: (
            [text for name, read in readers for text in read(getattr(record, name))] if readers else ()
        )
    return None
