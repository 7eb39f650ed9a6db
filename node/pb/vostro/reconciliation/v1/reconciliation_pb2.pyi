from node.pb.vostro.contract.v1 import contract_pb2 as _contract_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Case(_message.Message):
    __slots__ = ("member", "subject", "kind", "account", "asset", "direction", "amount", "counterparty", "evidence", "opened_ms", "status", "desk", "level", "escalates_ms", "notes", "explained", "changed_ms")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    COUNTERPARTY_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    OPENED_MS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DESK_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    ESCALATES_MS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_MS_FIELD_NUMBER: _ClassVar[int]
    member: str
    subject: bytes
    kind: str
    account: str
    asset: str
    direction: str
    amount: int
    counterparty: str
    evidence: bytes
    opened_ms: int
    status: str
    desk: str
    level: int
    escalates_ms: int
    notes: int
    explained: bytes
    changed_ms: int
    def __init__(self, member: _Optional[str] = ..., subject: _Optional[bytes] = ..., kind: _Optional[str] = ..., account: _Optional[str] = ..., asset: _Optional[str] = ..., direction: _Optional[str] = ..., amount: _Optional[int] = ..., counterparty: _Optional[str] = ..., evidence: _Optional[bytes] = ..., opened_ms: _Optional[int] = ..., status: _Optional[str] = ..., desk: _Optional[str] = ..., level: _Optional[int] = ..., escalates_ms: _Optional[int] = ..., notes: _Optional[int] = ..., explained: _Optional[bytes] = ..., changed_ms: _Optional[int] = ...) -> None: ...

class Note(_message.Message):
    __slots__ = ("number", "member", "document", "time_ms")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    number: int
    member: str
    document: bytes
    time_ms: int
    def __init__(self, number: _Optional[int] = ..., member: _Optional[str] = ..., document: _Optional[bytes] = ..., time_ms: _Optional[int] = ...) -> None: ...

class Books(_message.Message):
    __slots__ = ("count", "digest", "side", "closing")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    count: int
    digest: bytes
    side: str
    closing: int
    def __init__(self, count: _Optional[int] = ..., digest: _Optional[bytes] = ..., side: _Optional[str] = ..., closing: _Optional[int] = ...) -> None: ...

class Attestation(_message.Message):
    __slots__ = ("books", "tx_id", "time_ms")
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    books: Books
    tx_id: bytes
    time_ms: int
    def __init__(self, books: _Optional[_Union[Books, _Mapping]] = ..., tx_id: _Optional[bytes] = ..., time_ms: _Optional[int] = ...) -> None: ...

class AttestedDay(_message.Message):
    __slots__ = ("asset", "servicer", "begins_ms", "ends_ms", "by_owner", "by_servicer", "status", "subject")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    SERVICER_FIELD_NUMBER: _ClassVar[int]
    BEGINS_MS_FIELD_NUMBER: _ClassVar[int]
    ENDS_MS_FIELD_NUMBER: _ClassVar[int]
    BY_OWNER_FIELD_NUMBER: _ClassVar[int]
    BY_SERVICER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    asset: str
    servicer: str
    begins_ms: int
    ends_ms: int
    by_owner: Attestation
    by_servicer: Attestation
    status: str
    subject: bytes
    def __init__(self, asset: _Optional[str] = ..., servicer: _Optional[str] = ..., begins_ms: _Optional[int] = ..., ends_ms: _Optional[int] = ..., by_owner: _Optional[_Union[Attestation, _Mapping]] = ..., by_servicer: _Optional[_Union[Attestation, _Mapping]] = ..., status: _Optional[str] = ..., subject: _Optional[bytes] = ...) -> None: ...

class GetCaseRequest(_message.Message):
    __slots__ = ("member", "subject")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    member: str
    subject: bytes
    def __init__(self, member: _Optional[str] = ..., subject: _Optional[bytes] = ...) -> None: ...

class GetCaseResponse(_message.Message):
    __slots__ = ("case", "height", "time_ms")
    CASE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    case: Case
    height: int
    time_ms: int
    def __init__(self, case: _Optional[_Union[Case, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListCasesRequest(_message.Message):
    __slots__ = ("member", "page_size", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    page_size: int
    page_token: str
    def __init__(self, member: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCasesResponse(_message.Message):
    __slots__ = ("cases", "next_page_token", "height", "time_ms")
    CASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[Case]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, cases: _Optional[_Iterable[_Union[Case, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListCasesAgainstRequest(_message.Message):
    __slots__ = ("member", "page_size", "page_token")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    member: str
    page_size: int
    page_token: str
    def __init__(self, member: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCasesAgainstResponse(_message.Message):
    __slots__ = ("cases", "next_page_token", "height", "time_ms")
    CASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[Case]
    next_page_token: str
    height: int
    time_ms: int
    def __init__(self, cases: _Optional[_Iterable[_Union[Case, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListNotesRequest(_message.Message):
    __slots__ = ("member", "subject")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    member: str
    subject: bytes
    def __init__(self, member: _Optional[str] = ..., subject: _Optional[bytes] = ...) -> None: ...

class ListNotesResponse(_message.Message):
    __slots__ = ("notes", "height", "time_ms")
    NOTES_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    height: int
    time_ms: int
    def __init__(self, notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListAttestedDaysRequest(_message.Message):
    __slots__ = ("account", "asset", "servicer", "after_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    SERVICER_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    asset: str
    servicer: str
    after_ms: int
    def __init__(self, account: _Optional[str] = ..., asset: _Optional[str] = ..., servicer: _Optional[str] = ..., after_ms: _Optional[int] = ...) -> None: ...

class ListAttestedDaysResponse(_message.Message):
    __slots__ = ("days", "height", "time_ms")
    DAYS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedCompositeFieldContainer[AttestedDay]
    height: int
    time_ms: int
    def __init__(self, days: _Optional[_Iterable[_Union[AttestedDay, _Mapping]]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class PrepareAttestationRequest(_message.Message):
    __slots__ = ("account", "asset", "servicer", "begins_ms", "ends_ms")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    SERVICER_FIELD_NUMBER: _ClassVar[int]
    BEGINS_MS_FIELD_NUMBER: _ClassVar[int]
    ENDS_MS_FIELD_NUMBER: _ClassVar[int]
    account: str
    asset: str
    servicer: str
    begins_ms: int
    ends_ms: int
    def __init__(self, account: _Optional[str] = ..., asset: _Optional[str] = ..., servicer: _Optional[str] = ..., begins_ms: _Optional[int] = ..., ends_ms: _Optional[int] = ...) -> None: ...

class PrepareAttestationResponse(_message.Message):
    __slots__ = ("books", "operation", "height", "time_ms")
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    books: Books
    operation: _contract_pb2.Operation
    height: int
    time_ms: int
    def __init__(self, books: _Optional[_Union[Books, _Mapping]] = ..., operation: _Optional[_Union[_contract_pb2.Operation, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...
