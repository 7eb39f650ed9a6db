from node.pb.vostro.transaction.v1 import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Method(_message.Message):
    __slots__ = ("name", "sentence", "arguments", "amount_argument", "asset_argument")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    ASSET_ARGUMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    sentence: str
    arguments: _containers.RepeatedScalarFieldContainer[str]
    amount_argument: str
    asset_argument: str
    def __init__(self, name: _Optional[str] = ..., sentence: _Optional[str] = ..., arguments: _Optional[_Iterable[str]] = ..., amount_argument: _Optional[str] = ..., asset_argument: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "name", "category", "sentence")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    code: int
    name: str
    category: _transaction_pb2.Category
    sentence: str
    def __init__(self, code: _Optional[int] = ..., name: _Optional[str] = ..., category: _Optional[_Union[_transaction_pb2.Category, str]] = ..., sentence: _Optional[str] = ...) -> None: ...

class Contract(_message.Message):
    __slots__ = ("name", "sentence", "activation_height", "methods", "queries", "refusals", "events")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    sentence: str
    activation_height: int
    methods: _containers.RepeatedCompositeFieldContainer[Method]
    queries: _containers.RepeatedCompositeFieldContainer[Method]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    events: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., sentence: _Optional[str] = ..., activation_height: _Optional[int] = ..., methods: _Optional[_Iterable[_Union[Method, _Mapping]]] = ..., queries: _Optional[_Iterable[_Union[Method, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., events: _Optional[_Iterable[str]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("contract", "method", "arguments_json")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    contract: str
    method: str
    arguments_json: str
    def __init__(self, contract: _Optional[str] = ..., method: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class ListContractsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListContractsResponse(_message.Message):
    __slots__ = ("contracts", "height", "time_ms")
    CONTRACTS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    contracts: _containers.RepeatedCompositeFieldContainer[Contract]
    height: int
    time_ms: int
    def __init__(self, contracts: _Optional[_Iterable[_Union[Contract, _Mapping]]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetSchemaRequest(_message.Message):
    __slots__ = ("contract", "method")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    contract: str
    method: str
    def __init__(self, contract: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class GetSchemaResponse(_message.Message):
    __slots__ = ("schema_json", "height", "time_ms")
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    schema_json: str
    height: int
    time_ms: int
    def __init__(self, schema_json: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class PrepareTransactionRequest(_message.Message):
    __slots__ = ("member", "operations", "valid_until_ms", "request_id")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    member: str
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    valid_until_ms: int
    request_id: bytes
    def __init__(self, member: _Optional[str] = ..., operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ..., valid_until_ms: _Optional[int] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class PrepareTransactionResponse(_message.Message):
    __slots__ = ("transaction", "tx_id", "message", "required_officers", "request_id", "height", "time_ms")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_OFFICERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    tx_id: bytes
    message: bytes
    required_officers: int
    request_id: bytes
    height: int
    time_ms: int
    def __init__(self, transaction: _Optional[bytes] = ..., tx_id: _Optional[bytes] = ..., message: _Optional[bytes] = ..., required_officers: _Optional[int] = ..., request_id: _Optional[bytes] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("contract", "query", "arguments_json")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    contract: str
    query: str
    arguments_json: str
    def __init__(self, contract: _Optional[str] = ..., query: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("result_json", "height", "time_ms")
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    result_json: str
    height: int
    time_ms: int
    def __init__(self, result_json: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...
