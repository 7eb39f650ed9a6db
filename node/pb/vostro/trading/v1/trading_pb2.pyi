from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Accounts(_message.Message):
    __slots__ = ("asset", "cash")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    CASH_FIELD_NUMBER: _ClassVar[int]
    asset: str
    cash: str
    def __init__(self, asset: _Optional[str] = ..., cash: _Optional[str] = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("value_ms", "due_ms", "buy_in_ms", "secured", "partial")
    VALUE_MS_FIELD_NUMBER: _ClassVar[int]
    DUE_MS_FIELD_NUMBER: _ClassVar[int]
    BUY_IN_MS_FIELD_NUMBER: _ClassVar[int]
    SECURED_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    value_ms: int
    due_ms: int
    buy_in_ms: int
    secured: bool
    partial: bool
    def __init__(self, value_ms: _Optional[int] = ..., due_ms: _Optional[int] = ..., buy_in_ms: _Optional[int] = ..., secured: _Optional[bool] = ..., partial: _Optional[bool] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("id", "maker", "kind", "side", "asset", "lot", "lots", "left", "least", "against", "price", "accounts", "audience", "expires_ms", "conditions", "root_maker", "root", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    MAKER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    LOT_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    ROOT_MAKER_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    maker: str
    kind: str
    side: str
    asset: str
    lot: int
    lots: int
    left: int
    least: int
    against: str
    price: int
    accounts: Accounts
    audience: _containers.RepeatedScalarFieldContainer[str]
    expires_ms: int
    conditions: Conditions
    root_maker: str
    root: bytes
    status: str
    def __init__(self, id: _Optional[bytes] = ..., maker: _Optional[str] = ..., kind: _Optional[str] = ..., side: _Optional[str] = ..., asset: _Optional[str] = ..., lot: _Optional[int] = ..., lots: _Optional[int] = ..., left: _Optional[int] = ..., least: _Optional[int] = ..., against: _Optional[str] = ..., price: _Optional[int] = ..., accounts: _Optional[_Union[Accounts, _Mapping]] = ..., audience: _Optional[_Iterable[str]] = ..., expires_ms: _Optional[int] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., root_maker: _Optional[str] = ..., root: _Optional[bytes] = ..., status: _Optional[str] = ...) -> None: ...

class Deal(_message.Message):
    __slots__ = ("id", "seller", "buyer", "asset", "lot", "lots", "left", "against", "price", "seller_accounts", "buyer_accounts", "conditions", "seller_held", "buyer_held", "cancels", "linked", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    SELLER_FIELD_NUMBER: _ClassVar[int]
    BUYER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    LOT_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    SELLER_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    BUYER_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    SELLER_HELD_FIELD_NUMBER: _ClassVar[int]
    BUYER_HELD_FIELD_NUMBER: _ClassVar[int]
    CANCELS_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    seller: str
    buyer: str
    asset: str
    lot: int
    lots: int
    left: int
    against: str
    price: int
    seller_accounts: Accounts
    buyer_accounts: Accounts
    conditions: Conditions
    seller_held: bool
    buyer_held: bool
    cancels: str
    linked: bytes
    status: str
    def __init__(self, id: _Optional[bytes] = ..., seller: _Optional[str] = ..., buyer: _Optional[str] = ..., asset: _Optional[str] = ..., lot: _Optional[int] = ..., lots: _Optional[int] = ..., left: _Optional[int] = ..., against: _Optional[str] = ..., price: _Optional[int] = ..., seller_accounts: _Optional[_Union[Accounts, _Mapping]] = ..., buyer_accounts: _Optional[_Union[Accounts, _Mapping]] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., seller_held: _Optional[bool] = ..., buyer_held: _Optional[bool] = ..., cancels: _Optional[str] = ..., linked: _Optional[bytes] = ..., status: _Optional[str] = ...) -> None: ...

class LinkedSet(_message.Message):
    __slots__ = ("id", "deals", "missing", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEALS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    deals: _containers.RepeatedScalarFieldContainer[bytes]
    missing: _containers.RepeatedScalarFieldContainer[str]
    status: str
    def __init__(self, id: _Optional[bytes] = ..., deals: _Optional[_Iterable[bytes]] = ..., missing: _Optional[_Iterable[str]] = ..., status: _Optional[str] = ...) -> None: ...

class Cycle(_message.Message):
    __slots__ = ("id", "opener", "model", "against", "closes_ms", "deal_count", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    OPENER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    CLOSES_MS_FIELD_NUMBER: _ClassVar[int]
    DEAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    opener: str
    model: int
    against: str
    closes_ms: int
    deal_count: int
    status: str
    def __init__(self, id: _Optional[bytes] = ..., opener: _Optional[str] = ..., model: _Optional[int] = ..., against: _Optional[str] = ..., closes_ms: _Optional[int] = ..., deal_count: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class GetOfferRequest(_message.Message):
    __slots__ = ("member", "maker", "offer")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MAKER_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    member: str
    maker: str
    offer: bytes
    def __init__(self, member: _Optional[str] = ..., maker: _Optional[str] = ..., offer: _Optional[bytes] = ...) -> None: ...

class GetOfferResponse(_message.Message):
    __slots__ = ("offer", "height", "time_ms")
    OFFER_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    offer: Offer
    height: int
    time_ms: int
    def __init__(self, offer: _Optional[_Union[Offer, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListOffersRequest(_message.Message):
    __slots__ = ("member", "page_size", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    page_size: int
    page_token: str
    def __init__(self, member: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOffersResponse(_message.Message):
    __slots__ = ("offers", "next_page_token", "height", "time_ms")
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListOpenOffersRequest(_message.Message):
    __slots__ = ("member", "asset", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    asset: str
    page_token: str
    def __init__(self, member: _Optional[str] = ..., asset: _Optional[str] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOpenOffersResponse(_message.Message):
    __slots__ = ("offers", "next_page_token", "height", "time_ms")
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetDealRequest(_message.Message):
    __slots__ = ("member", "deal")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    DEAL_FIELD_NUMBER: _ClassVar[int]
    member: str
    deal: bytes
    def __init__(self, member: _Optional[str] = ..., deal: _Optional[bytes] = ...) -> None: ...

class GetDealResponse(_message.Message):
    __slots__ = ("deal", "height", "time_ms")
    DEAL_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    deal: Deal
    height: int
    time_ms: int
    def __init__(self, deal: _Optional[_Union[Deal, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListDealsRequest(_message.Message):
    __slots__ = ("member", "page_size", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    page_size: int
    page_token: str
    def __init__(self, member: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDealsResponse(_message.Message):
    __slots__ = ("deals", "next_page_token", "height", "time_ms")
    DEALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    deals: _containers.RepeatedCompositeFieldContainer[Deal]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, deals: _Optional[_Iterable[_Union[Deal, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetLinkedSetRequest(_message.Message):
    __slots__ = ("member", "set_id")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SET_ID_FIELD_NUMBER: _ClassVar[int]
    member: str
    set_id: bytes
    def __init__(self, member: _Optional[str] = ..., set_id: _Optional[bytes] = ...) -> None: ...

class GetLinkedSetResponse(_message.Message):
    __slots__ = ("linked_set", "height", "time_ms")
    LINKED_SET_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    linked_set: LinkedSet
    height: int
    time_ms: int
    def __init__(self, linked_set: _Optional[_Union[LinkedSet, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetCycleRequest(_message.Message):
    __slots__ = ("member", "cycle")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    member: str
    cycle: bytes
    def __init__(self, member: _Optional[str] = ..., cycle: _Optional[bytes] = ...) -> None: ...

class GetCycleResponse(_message.Message):
    __slots__ = ("cycle", "deals", "height", "time_ms")
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    DEALS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    cycle: Cycle
    deals: _containers.RepeatedCompositeFieldContainer[Deal]
    height: int
    time_ms: int
    def __init__(self, cycle: _Optional[_Union[Cycle, _Mapping]] = ..., deals: _Optional[_Iterable[_Union[Deal, _Mapping]]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListCyclesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCyclesResponse(_message.Message):
    __slots__ = ("cycles", "next_page_token", "height", "time_ms")
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    cycles: _containers.RepeatedCompositeFieldContainer[Cycle]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, cycles: _Optional[_Iterable[_Union[Cycle, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class MakeOffer(_message.Message):
    __slots__ = ("offer",)
    OFFER_FIELD_NUMBER: _ClassVar[int]
    offer: Offer
    def __init__(self, offer: _Optional[_Union[Offer, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("maker", "offer", "lots", "price", "accounts")
    MAKER_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    maker: str
    offer: bytes
    lots: int
    price: int
    accounts: Accounts
    def __init__(self, maker: _Optional[str] = ..., offer: _Optional[bytes] = ..., lots: _Optional[int] = ..., price: _Optional[int] = ..., accounts: _Optional[_Union[Accounts, _Mapping]] = ...) -> None: ...

class Take(_message.Message):
    __slots__ = ("maker", "offer", "lots", "accounts")
    MAKER_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    maker: str
    offer: bytes
    lots: int
    accounts: Accounts
    def __init__(self, maker: _Optional[str] = ..., offer: _Optional[bytes] = ..., lots: _Optional[int] = ..., accounts: _Optional[_Union[Accounts, _Mapping]] = ...) -> None: ...

class Settle(_message.Message):
    __slots__ = ("deal", "lots")
    DEAL_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    deal: bytes
    lots: int
    def __init__(self, deal: _Optional[bytes] = ..., lots: _Optional[int] = ...) -> None: ...

class PrepareStepRequest(_message.Message):
    __slots__ = ("member", "make_offer", "answer", "take", "cancel_offer", "settle", "valid_until_ms", "request_id")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MAKE_OFFER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    TAKE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_OFFER_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    member: str
    make_offer: MakeOffer
    answer: Answer
    take: Take
    cancel_offer: bytes
    settle: Settle
    valid_until_ms: int
    request_id: bytes
    def __init__(self, member: _Optional[str] = ..., make_offer: _Optional[_Union[MakeOffer, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., take: _Optional[_Union[Take, _Mapping]] = ..., cancel_offer: _Optional[bytes] = ..., settle: _Optional[_Union[Settle, _Mapping]] = ..., valid_until_ms: _Optional[int] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class PrepareStepResponse(_message.Message):
    __slots__ = ("transaction", "tx_id", "message", "required_officers", "request_id", "amount", "height", "time_ms")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_OFFICERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    tx_id: bytes
    message: bytes
    required_officers: int
    request_id: bytes
    amount: int
    height: int
    time_ms: int
    def __init__(self, transaction: _Optional[bytes] = ..., tx_id: _Optional[bytes] = ..., message: _Optional[bytes] = ..., required_officers: _Optional[int] = ..., request_id: _Optional[bytes] = ..., amount: _Optional[int] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...
