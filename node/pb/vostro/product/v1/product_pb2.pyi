from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Asset(_message.Message):
    __slots__ = ("id", "issuer", "asset_class", "decimals", "cap", "terms_hash", "status", "issued", "redeemed")
    ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    TERMS_HASH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    REDEEMED_FIELD_NUMBER: _ClassVar[int]
    id: str
    issuer: str
    asset_class: str
    decimals: int
    cap: int
    terms_hash: bytes
    status: str
    issued: int
    redeemed: int
    def __init__(self, id: _Optional[str] = ..., issuer: _Optional[str] = ..., asset_class: _Optional[str] = ..., decimals: _Optional[int] = ..., cap: _Optional[int] = ..., terms_hash: _Optional[bytes] = ..., status: _Optional[str] = ..., issued: _Optional[int] = ..., redeemed: _Optional[int] = ...) -> None: ...

class GetAssetRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class GetAssetResponse(_message.Message):
    __slots__ = ("asset", "height", "time_ms")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    asset: Asset
    height: int
    time_ms: int
    def __init__(self, asset: _Optional[_Union[Asset, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListAssetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAssetsResponse(_message.Message):
    __slots__ = ("assets", "next_page_token", "height", "time_ms")
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    assets: _containers.RepeatedCompositeFieldContainer[Asset]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, assets: _Optional[_Iterable[_Union[Asset, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class Terms(_message.Message):
    __slots__ = ("currency", "nominal", "rate", "day_count", "starts_ms", "matures_ms")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    DAY_COUNT_FIELD_NUMBER: _ClassVar[int]
    STARTS_MS_FIELD_NUMBER: _ClassVar[int]
    MATURES_MS_FIELD_NUMBER: _ClassVar[int]
    currency: str
    nominal: int
    rate: int
    day_count: str
    starts_ms: int
    matures_ms: int
    def __init__(self, currency: _Optional[str] = ..., nominal: _Optional[int] = ..., rate: _Optional[int] = ..., day_count: _Optional[str] = ..., starts_ms: _Optional[int] = ..., matures_ms: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("asset", "isin", "lei", "terms", "registrar")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    ISIN_FIELD_NUMBER: _ClassVar[int]
    LEI_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    REGISTRAR_FIELD_NUMBER: _ClassVar[int]
    asset: str
    isin: str
    lei: str
    terms: Terms
    registrar: str
    def __init__(self, asset: _Optional[str] = ..., isin: _Optional[str] = ..., lei: _Optional[str] = ..., terms: _Optional[_Union[Terms, _Mapping]] = ..., registrar: _Optional[str] = ...) -> None: ...

class Application(_message.Message):
    __slots__ = ("asset", "kind", "applicant", "asset_class", "decimals", "cap", "terms_hash", "isin", "lei", "terms", "status", "reviewer")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    APPLICANT_FIELD_NUMBER: _ClassVar[int]
    ASSET_CLASS_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    TERMS_HASH_FIELD_NUMBER: _ClassVar[int]
    ISIN_FIELD_NUMBER: _ClassVar[int]
    LEI_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    asset: str
    kind: str
    applicant: str
    asset_class: str
    decimals: int
    cap: int
    terms_hash: bytes
    isin: str
    lei: str
    terms: Terms
    status: str
    reviewer: str
    def __init__(self, asset: _Optional[str] = ..., kind: _Optional[str] = ..., applicant: _Optional[str] = ..., asset_class: _Optional[str] = ..., decimals: _Optional[int] = ..., cap: _Optional[int] = ..., terms_hash: _Optional[bytes] = ..., isin: _Optional[str] = ..., lei: _Optional[str] = ..., terms: _Optional[_Union[Terms, _Mapping]] = ..., status: _Optional[str] = ..., reviewer: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("reference", "imposer", "lifter", "document_hash", "imposed_ms", "status")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    IMPOSER_FIELD_NUMBER: _ClassVar[int]
    LIFTER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_HASH_FIELD_NUMBER: _ClassVar[int]
    IMPOSED_MS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    reference: str
    imposer: str
    lifter: str
    document_hash: bytes
    imposed_ms: int
    status: str
    def __init__(self, reference: _Optional[str] = ..., imposer: _Optional[str] = ..., lifter: _Optional[str] = ..., document_hash: _Optional[bytes] = ..., imposed_ms: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("number", "kind", "currency", "pays", "per", "record_ms", "status", "outstanding", "fixed", "owed", "paid", "unpaid_claims")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    PAYS_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    RECORD_MS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTSTANDING_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    OWED_FIELD_NUMBER: _ClassVar[int]
    PAID_FIELD_NUMBER: _ClassVar[int]
    UNPAID_CLAIMS_FIELD_NUMBER: _ClassVar[int]
    number: int
    kind: str
    currency: str
    pays: int
    per: int
    record_ms: int
    status: str
    outstanding: int
    fixed: int
    owed: int
    paid: int
    unpaid_claims: int
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[str] = ..., currency: _Optional[str] = ..., pays: _Optional[int] = ..., per: _Optional[int] = ..., record_ms: _Optional[int] = ..., status: _Optional[str] = ..., outstanding: _Optional[int] = ..., fixed: _Optional[int] = ..., owed: _Optional[int] = ..., paid: _Optional[int] = ..., unpaid_claims: _Optional[int] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("account", "units", "amount", "status")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    account: str
    units: int
    amount: int
    status: str
    def __init__(self, account: _Optional[str] = ..., units: _Optional[int] = ..., amount: _Optional[int] = ..., status: _Optional[str] = ...) -> None: ...

class GetEntryRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class GetEntryResponse(_message.Message):
    __slots__ = ("entry", "height", "time_ms", "terms_documents")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    TERMS_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    height: int
    time_ms: int
    terms_documents: _containers.RepeatedCompositeFieldContainer[TermsDocument]
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ..., terms_documents: _Optional[_Iterable[_Union[TermsDocument, _Mapping]]] = ...) -> None: ...

class TermsDocument(_message.Message):
    __slots__ = ("document", "owner")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    owner: str
    def __init__(self, document: _Optional[bytes] = ..., owner: _Optional[str] = ...) -> None: ...

class GetApplicationRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class GetApplicationResponse(_message.Message):
    __slots__ = ("application", "height", "time_ms", "terms_documents")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    TERMS_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    application: Application
    height: int
    time_ms: int
    terms_documents: _containers.RepeatedCompositeFieldContainer[TermsDocument]
    def __init__(self, application: _Optional[_Union[Application, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ..., terms_documents: _Optional[_Iterable[_Union[TermsDocument, _Mapping]]] = ...) -> None: ...

class ListApplicationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListApplicationsResponse(_message.Message):
    __slots__ = ("applications", "next_page_token", "height", "time_ms")
    APPLICATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    applications: _containers.RepeatedCompositeFieldContainer[Application]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, applications: _Optional[_Iterable[_Union[Application, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "height", "time_ms")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    height: int
    time_ms: int
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListActionsRequest(_message.Message):
    __slots__ = ("asset", "page_size", "page_token")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    asset: str
    page_size: int
    page_token: str
    def __init__(self, asset: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListActionsResponse(_message.Message):
    __slots__ = ("actions", "next_page_token", "height", "time_ms")
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListClaimsRequest(_message.Message):
    __slots__ = ("asset", "number", "page_size", "page_token")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    asset: str
    number: int
    page_size: int
    page_token: str
    def __init__(self, asset: _Optional[str] = ..., number: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListClaimsResponse(_message.Message):
    __slots__ = ("claims", "next_page_token", "height", "time_ms")
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    claims: _containers.RepeatedCompositeFieldContainer[Claim]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, claims: _Optional[_Iterable[_Union[Claim, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetClaimRequest(_message.Message):
    __slots__ = ("account", "asset", "number")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    account: str
    asset: str
    number: int
    def __init__(self, account: _Optional[str] = ..., asset: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class GetClaimResponse(_message.Message):
    __slots__ = ("claim", "height", "time_ms")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    claim: Claim
    height: int
    time_ms: int
    def __init__(self, claim: _Optional[_Union[Claim, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetAccruedRequest(_message.Message):
    __slots__ = ("account", "asset", "at_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    asset: str
    at_ms: int
    def __init__(self, account: _Optional[str] = ..., asset: _Optional[str] = ..., at_ms: _Optional[int] = ...) -> None: ...

class GetAccruedResponse(_message.Message):
    __slots__ = ("currency", "amount", "days", "height", "time_ms")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    currency: str
    amount: int
    days: int
    height: int
    time_ms: int
    def __init__(self, currency: _Optional[str] = ..., amount: _Optional[int] = ..., days: _Optional[int] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...
