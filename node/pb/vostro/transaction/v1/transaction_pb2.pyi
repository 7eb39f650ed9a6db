from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Category(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATEGORY_UNSPECIFIED: _ClassVar[Category]
    CATEGORY_INVALID: _ClassVar[Category]
    CATEGORY_UNAUTHENTICATED: _ClassVar[Category]
    CATEGORY_PERMISSION_DENIED: _ClassVar[Category]
    CATEGORY_NOT_FOUND: _ClassVar[Category]
    CATEGORY_ALREADY_EXISTS: _ClassVar[Category]
    CATEGORY_PRECONDITION: _ClassVar[Category]
    CATEGORY_CONFLICT: _ClassVar[Category]
    CATEGORY_OUT_OF_RANGE: _ClassVar[Category]
    CATEGORY_OVERLOADED: _ClassVar[Category]
    CATEGORY_UNAVAILABLE: _ClassVar[Category]
    CATEGORY_UNKNOWN_OUTCOME: _ClassVar[Category]
    CATEGORY_UNIMPLEMENTED: _ClassVar[Category]
    CATEGORY_CORRUPTED: _ClassVar[Category]
    CATEGORY_INTERNAL: _ClassVar[Category]
CATEGORY_UNSPECIFIED: Category
CATEGORY_INVALID: Category
CATEGORY_UNAUTHENTICATED: Category
CATEGORY_PERMISSION_DENIED: Category
CATEGORY_NOT_FOUND: Category
CATEGORY_ALREADY_EXISTS: Category
CATEGORY_PRECONDITION: Category
CATEGORY_CONFLICT: Category
CATEGORY_OUT_OF_RANGE: Category
CATEGORY_OVERLOADED: Category
CATEGORY_UNAVAILABLE: Category
CATEGORY_UNKNOWN_OUTCOME: Category
CATEGORY_UNIMPLEMENTED: Category
CATEGORY_CORRUPTED: Category
CATEGORY_INTERNAL: Category

class Receipt(_message.Message):
    __slots__ = ("encoded", "tx_id", "height", "index", "codespace", "code", "name", "sentence", "failed_operation")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CODESPACE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FAILED_OPERATION_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    tx_id: bytes
    height: int
    index: int
    codespace: str
    code: int
    name: str
    sentence: str
    failed_operation: int
    def __init__(self, encoded: _Optional[bytes] = ..., tx_id: _Optional[bytes] = ..., height: _Optional[int] = ..., index: _Optional[int] = ..., codespace: _Optional[str] = ..., code: _Optional[int] = ..., name: _Optional[str] = ..., sentence: _Optional[str] = ..., failed_operation: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("codespace", "code", "name", "category", "sentence", "details", "decided", "height", "spent_by", "spent_receipt")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODESPACE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SPENT_BY_FIELD_NUMBER: _ClassVar[int]
    SPENT_RECEIPT_FIELD_NUMBER: _ClassVar[int]
    codespace: str
    code: int
    name: str
    category: Category
    sentence: str
    details: _containers.ScalarMap[str, str]
    decided: bool
    height: int
    spent_by: bytes
    spent_receipt: Receipt
    def __init__(self, codespace: _Optional[str] = ..., code: _Optional[int] = ..., name: _Optional[str] = ..., category: _Optional[_Union[Category, str]] = ..., sentence: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., decided: _Optional[bool] = ..., height: _Optional[int] = ..., spent_by: _Optional[bytes] = ..., spent_receipt: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("receipt", "error")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    receipt: Receipt
    error: Error
    def __init__(self, receipt: _Optional[_Union[Receipt, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("contract", "event", "fields", "fields_json")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_JSON_FIELD_NUMBER: _ClassVar[int]
    contract: str
    event: str
    fields: bytes
    fields_json: str
    def __init__(self, contract: _Optional[str] = ..., event: _Optional[str] = ..., fields: _Optional[bytes] = ..., fields_json: _Optional[str] = ...) -> None: ...

class Transaction(_message.Message):
    __slots__ = ("receipt", "signed_transaction", "time_ms", "member", "request_id", "events")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SIGNED_TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    receipt: Receipt
    signed_transaction: bytes
    time_ms: int
    member: str
    request_id: bytes
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, receipt: _Optional[_Union[Receipt, _Mapping]] = ..., signed_transaction: _Optional[bytes] = ..., time_ms: _Optional[int] = ..., member: _Optional[str] = ..., request_id: _Optional[bytes] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("signed_transaction",)
    SIGNED_TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    signed_transaction: bytes
    def __init__(self, signed_transaction: _Optional[bytes] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: Receipt
    def __init__(self, receipt: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...

class SubmitBatchRequest(_message.Message):
    __slots__ = ("signed_transactions",)
    SIGNED_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    signed_transactions: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, signed_transactions: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitBatchResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class SubmitStreamRequest(_message.Message):
    __slots__ = ("correlation", "signed_transactions")
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    SIGNED_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    correlation: int
    signed_transactions: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, correlation: _Optional[int] = ..., signed_transactions: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitStreamResponse(_message.Message):
    __slots__ = ("correlation", "outcomes")
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    correlation: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, correlation: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class GetTransactionRequest(_message.Message):
    __slots__ = ("tx_id",)
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    tx_id: bytes
    def __init__(self, tx_id: _Optional[bytes] = ...) -> None: ...

class GetTransactionResponse(_message.Message):
    __slots__ = ("transaction", "height", "time_ms")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    height: int
    time_ms: int
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class WaitTransactionRequest(_message.Message):
    __slots__ = ("tx_id",)
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    tx_id: bytes
    def __init__(self, tx_id: _Optional[bytes] = ...) -> None: ...

class WaitTransactionResponse(_message.Message):
    __slots__ = ("transaction", "height", "time_ms")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    transaction: Transaction
    height: int
    time_ms: int
    def __init__(self, transaction: _Optional[_Union[Transaction, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListTransactionsRequest(_message.Message):
    __slots__ = ("account", "member", "from_ms", "to_ms", "reverse", "page_size", "page_token")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    TO_MS_FIELD_NUMBER: _ClassVar[int]
    REVERSE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account: str
    member: str
    from_ms: int
    to_ms: int
    reverse: bool
    page_size: int
    page_token: str
    def __init__(self, account: _Optional[str] = ..., member: _Optional[str] = ..., from_ms: _Optional[int] = ..., to_ms: _Optional[int] = ..., reverse: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTransactionsResponse(_message.Message):
    __slots__ = ("transactions", "next_page_token", "index_height", "height", "time_ms")
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INDEX_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    transactions: _containers.RepeatedCompositeFieldContainer[Transaction]
    next_page_token: str
    index_height: int
    height: int
    time_ms: int
    def __init__(self, transactions: _Optional[_Iterable[_Union[Transaction, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., index_height: _Optional[int] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...
