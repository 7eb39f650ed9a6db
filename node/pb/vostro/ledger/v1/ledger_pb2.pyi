from node.pb.vostro.transaction.v1 import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Header(_message.Message):
    __slots__ = ("encoded", "height", "time_ms", "app_hash", "previous_app_hash", "history_root", "transaction_count", "transactions_root", "receipts_root", "state_root", "authority_root", "protocol", "certificate")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    APP_HASH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_APP_HASH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_ROOT_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_ROOT_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_ROOT_FIELD_NUMBER: _ClassVar[int]
    STATE_ROOT_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_ROOT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    height: int
    time_ms: int
    app_hash: bytes
    previous_app_hash: bytes
    history_root: bytes
    transaction_count: int
    transactions_root: bytes
    receipts_root: bytes
    state_root: bytes
    authority_root: bytes
    protocol: int
    certificate: bytes
    def __init__(self, encoded: _Optional[bytes] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ..., app_hash: _Optional[bytes] = ..., previous_app_hash: _Optional[bytes] = ..., history_root: _Optional[bytes] = ..., transaction_count: _Optional[int] = ..., transactions_root: _Optional[bytes] = ..., receipts_root: _Optional[bytes] = ..., state_root: _Optional[bytes] = ..., authority_root: _Optional[bytes] = ..., protocol: _Optional[int] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class Cursor(_message.Message):
    __slots__ = ("height", "index", "event")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    height: int
    index: int
    event: int
    def __init__(self, height: _Optional[int] = ..., index: _Optional[int] = ..., event: _Optional[int] = ...) -> None: ...

class TableKey(_message.Message):
    __slots__ = ("contract", "table", "parts_json")
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PARTS_JSON_FIELD_NUMBER: _ClassVar[int]
    contract: str
    table: str
    parts_json: str
    def __init__(self, contract: _Optional[str] = ..., table: _Optional[str] = ..., parts_json: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("engine", "serving", "height", "time_ms", "app_hash", "pending", "pending_max", "alarms", "index_height", "disk_free_bytes", "protocol", "chain_id", "chain_name", "version")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    APP_HASH_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    PENDING_MAX_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    INDEX_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    CHAIN_NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    engine: str
    serving: bool
    height: int
    time_ms: int
    app_hash: bytes
    pending: int
    pending_max: int
    alarms: _containers.RepeatedScalarFieldContainer[str]
    index_height: int
    disk_free_bytes: int
    protocol: int
    chain_id: bytes
    chain_name: str
    version: str
    def __init__(self, engine: _Optional[str] = ..., serving: _Optional[bool] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ..., app_hash: _Optional[bytes] = ..., pending: _Optional[int] = ..., pending_max: _Optional[int] = ..., alarms: _Optional[_Iterable[str]] = ..., index_height: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., protocol: _Optional[int] = ..., chain_id: _Optional[bytes] = ..., chain_name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class GetGenesisRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetGenesisResponse(_message.Message):
    __slots__ = ("encoded", "genesis_json", "chain_id", "height", "time_ms")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    GENESIS_JSON_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    genesis_json: str
    chain_id: bytes
    height: int
    time_ms: int
    def __init__(self, encoded: _Optional[bytes] = ..., genesis_json: _Optional[str] = ..., chain_id: _Optional[bytes] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetBlockRequest(_message.Message):
    __slots__ = ("height", "include_leaves", "include_receipts", "include_bodies", "page_size", "page_token")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LEAVES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BODIES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    height: int
    include_leaves: bool
    include_receipts: bool
    include_bodies: bool
    page_size: int
    page_token: str
    def __init__(self, height: _Optional[int] = ..., include_leaves: _Optional[bool] = ..., include_receipts: _Optional[bool] = ..., include_bodies: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetBlockResponse(_message.Message):
    __slots__ = ("header", "first_index", "leaves", "receipts", "bodies", "next_page_token", "height", "time_ms")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    BODIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    header: Header
    first_index: int
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    bodies: _containers.RepeatedScalarFieldContainer[bytes]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., first_index: _Optional[int] = ..., leaves: _Optional[_Iterable[bytes]] = ..., receipts: _Optional[_Iterable[bytes]] = ..., bodies: _Optional[_Iterable[bytes]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListHeadersRequest(_message.Message):
    __slots__ = ("from_height", "page_size", "page_token")
    FROM_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    from_height: int
    page_size: int
    page_token: str
    def __init__(self, from_height: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListHeadersResponse(_message.Message):
    __slots__ = ("headers", "next_page_token", "height", "time_ms")
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class StreamBlocksRequest(_message.Message):
    __slots__ = ("from_height", "include_leaves", "include_receipts", "include_bodies")
    FROM_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LEAVES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BODIES_FIELD_NUMBER: _ClassVar[int]
    from_height: int
    include_leaves: bool
    include_receipts: bool
    include_bodies: bool
    def __init__(self, from_height: _Optional[int] = ..., include_leaves: _Optional[bool] = ..., include_receipts: _Optional[bool] = ..., include_bodies: _Optional[bool] = ...) -> None: ...

class StreamBlocksResponse(_message.Message):
    __slots__ = ("header", "first_index", "leaves", "receipts", "bodies", "last")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    BODIES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    header: Header
    first_index: int
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    bodies: _containers.RepeatedScalarFieldContainer[bytes]
    last: bool
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., first_index: _Optional[int] = ..., leaves: _Optional[_Iterable[bytes]] = ..., receipts: _Optional[_Iterable[bytes]] = ..., bodies: _Optional[_Iterable[bytes]] = ..., last: _Optional[bool] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("contract", "event", "account")
    FROM_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    contract: str
    event: str
    account: str
    def __init__(self, contract: _Optional[str] = ..., event: _Optional[str] = ..., account: _Optional[str] = ..., **kwargs) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("event", "tx_id", "at", "next", "time_ms")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    event: _transaction_pb2.Event
    tx_id: bytes
    at: Cursor
    next: Cursor
    time_ms: int
    def __init__(self, event: _Optional[_Union[_transaction_pb2.Event, _Mapping]] = ..., tx_id: _Optional[bytes] = ..., at: _Optional[_Union[Cursor, _Mapping]] = ..., next: _Optional[_Union[Cursor, _Mapping]] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetProofRequest(_message.Message):
    __slots__ = ("table_key", "key")
    TABLE_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    table_key: TableKey
    key: bytes
    def __init__(self, table_key: _Optional[_Union[TableKey, _Mapping]] = ..., key: _Optional[bytes] = ...) -> None: ...

class GetProofResponse(_message.Message):
    __slots__ = ("key", "found", "value", "proof", "header", "height", "time_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    found: bool
    value: bytes
    proof: bytes
    header: Header
    height: int
    time_ms: int
    def __init__(self, key: _Optional[bytes] = ..., found: _Optional[bool] = ..., value: _Optional[bytes] = ..., proof: _Optional[bytes] = ..., header: _Optional[_Union[Header, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetReceiptFileRequest(_message.Message):
    __slots__ = ("tx_id",)
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    tx_id: bytes
    def __init__(self, tx_id: _Optional[bytes] = ...) -> None: ...

class GetReceiptFileResponse(_message.Message):
    __slots__ = ("file", "height", "time_ms")
    FILE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    height: int
    time_ms: int
    def __init__(self, file: _Optional[bytes] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class StreamBackupRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamBackupResponse(_message.Message):
    __slots__ = ("chunk", "summary_json")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_JSON_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    summary_json: str
    def __init__(self, chunk: _Optional[bytes] = ..., summary_json: _Optional[str] = ...) -> None: ...
