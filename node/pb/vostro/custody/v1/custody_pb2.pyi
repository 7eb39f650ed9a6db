from node.pb.vostro.contract.v1 import contract_pb2 as _contract_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNSPECIFIED: _ClassVar[Status]
    STATUS_WAITING: _ClassVar[Status]
    STATUS_SIGNED: _ClassVar[Status]
    STATUS_APPLIED: _ClassVar[Status]
    STATUS_REFUSED: _ClassVar[Status]
    STATUS_DEAD: _ClassVar[Status]
    STATUS_REJECTED: _ClassVar[Status]
    STATUS_CANCELLED: _ClassVar[Status]
    STATUS_EXPIRED: _ClassVar[Status]
STATUS_UNSPECIFIED: Status
STATUS_WAITING: Status
STATUS_SIGNED: Status
STATUS_APPLIED: Status
STATUS_REFUSED: Status
STATUS_DEAD: Status
STATUS_REJECTED: Status
STATUS_CANCELLED: Status
STATUS_EXPIRED: Status

class Approval(_message.Message):
    __slots__ = ("by", "time_ms", "certificate")
    BY_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    by: str
    time_ms: int
    certificate: str
    def __init__(self, by: _Optional[str] = ..., time_ms: _Optional[int] = ..., certificate: _Optional[str] = ...) -> None: ...

class Slots(_message.Message):
    __slots__ = ("count", "of", "missing")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    count: int
    of: _containers.RepeatedScalarFieldContainer[str]
    missing: int
    def __init__(self, count: _Optional[int] = ..., of: _Optional[_Iterable[str]] = ..., missing: _Optional[int] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("rule", "total", "slots")
    RULE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    rule: str
    total: int
    slots: _containers.RepeatedCompositeFieldContainer[Slots]
    def __init__(self, rule: _Optional[str] = ..., total: _Optional[int] = ..., slots: _Optional[_Iterable[_Union[Slots, _Mapping]]] = ...) -> None: ...

class Ruling(_message.Message):
    __slots__ = ("bindings", "uncovered", "missing", "may_approve")
    BINDINGS_FIELD_NUMBER: _ClassVar[int]
    UNCOVERED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MAY_APPROVE_FIELD_NUMBER: _ClassVar[int]
    bindings: _containers.RepeatedCompositeFieldContainer[Binding]
    uncovered: _containers.RepeatedScalarFieldContainer[int]
    missing: int
    may_approve: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, bindings: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., uncovered: _Optional[_Iterable[int]] = ..., missing: _Optional[int] = ..., may_approve: _Optional[_Iterable[str]] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("id", "member", "maker", "content_hash", "operations", "reference", "status", "created_ms", "expires_ms", "approvals", "closed_by", "reason", "tx_id", "signed_ms", "codespace", "code", "height", "life_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MAKER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_BY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNED_MS_FIELD_NUMBER: _ClassVar[int]
    CODESPACE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    LIFE_MS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    member: str
    maker: str
    content_hash: bytes
    operations: _containers.RepeatedCompositeFieldContainer[_contract_pb2.Operation]
    reference: str
    status: Status
    created_ms: int
    expires_ms: int
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    closed_by: str
    reason: str
    tx_id: bytes
    signed_ms: int
    codespace: str
    code: int
    height: int
    life_ms: int
    def __init__(self, id: _Optional[bytes] = ..., member: _Optional[str] = ..., maker: _Optional[str] = ..., content_hash: _Optional[bytes] = ..., operations: _Optional[_Iterable[_Union[_contract_pb2.Operation, _Mapping]]] = ..., reference: _Optional[str] = ..., status: _Optional[_Union[Status, str]] = ..., created_ms: _Optional[int] = ..., expires_ms: _Optional[int] = ..., approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ..., closed_by: _Optional[str] = ..., reason: _Optional[str] = ..., tx_id: _Optional[bytes] = ..., signed_ms: _Optional[int] = ..., codespace: _Optional[str] = ..., code: _Optional[int] = ..., height: _Optional[int] = ..., life_ms: _Optional[int] = ...) -> None: ...

class RequestSigningRequest(_message.Message):
    __slots__ = ("id", "operations", "reference", "life_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    LIFE_MS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    operations: _containers.RepeatedCompositeFieldContainer[_contract_pb2.Operation]
    reference: str
    life_ms: int
    def __init__(self, id: _Optional[bytes] = ..., operations: _Optional[_Iterable[_Union[_contract_pb2.Operation, _Mapping]]] = ..., reference: _Optional[str] = ..., life_ms: _Optional[int] = ...) -> None: ...

class RequestSigningResponse(_message.Message):
    __slots__ = ("request", "ruling")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RULING_FIELD_NUMBER: _ClassVar[int]
    request: Request
    ruling: Ruling
    def __init__(self, request: _Optional[_Union[Request, _Mapping]] = ..., ruling: _Optional[_Union[Ruling, _Mapping]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("id", "content_hash")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    content_hash: bytes
    def __init__(self, id: _Optional[bytes] = ..., content_hash: _Optional[bytes] = ...) -> None: ...

class ApproveResponse(_message.Message):
    __slots__ = ("request", "ruling")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RULING_FIELD_NUMBER: _ClassVar[int]
    request: Request
    ruling: Ruling
    def __init__(self, request: _Optional[_Union[Request, _Mapping]] = ..., ruling: _Optional[_Union[Ruling, _Mapping]] = ...) -> None: ...

class RejectRequest(_message.Message):
    __slots__ = ("id", "content_hash", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    content_hash: bytes
    reason: str
    def __init__(self, id: _Optional[bytes] = ..., content_hash: _Optional[bytes] = ..., reason: _Optional[str] = ...) -> None: ...

class RejectResponse(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: Request
    def __init__(self, request: _Optional[_Union[Request, _Mapping]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    def __init__(self, id: _Optional[bytes] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: Request
    def __init__(self, request: _Optional[_Union[Request, _Mapping]] = ...) -> None: ...

class GetRequestRequest(_message.Message):
    __slots__ = ("id", "wait_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    wait_ms: int
    def __init__(self, id: _Optional[bytes] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class GetRequestResponse(_message.Message):
    __slots__ = ("request", "ruling")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RULING_FIELD_NUMBER: _ClassVar[int]
    request: Request
    ruling: Ruling
    def __init__(self, request: _Optional[_Union[Request, _Mapping]] = ..., ruling: _Optional[_Union[Ruling, _Mapping]] = ...) -> None: ...

class ListRequestsRequest(_message.Message):
    __slots__ = ("open_only", "after", "page_size")
    OPEN_ONLY_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    open_only: bool
    after: bytes
    page_size: int
    def __init__(self, open_only: _Optional[bool] = ..., after: _Optional[bytes] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListRequestsResponse(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[Request]
    def __init__(self, requests: _Optional[_Iterable[_Union[Request, _Mapping]]] = ...) -> None: ...

class ExplainPolicyRequest(_message.Message):
    __slots__ = ("id", "operations", "maker")
    ID_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    MAKER_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    operations: _containers.RepeatedCompositeFieldContainer[_contract_pb2.Operation]
    maker: str
    def __init__(self, id: _Optional[bytes] = ..., operations: _Optional[_Iterable[_Union[_contract_pb2.Operation, _Mapping]]] = ..., maker: _Optional[str] = ...) -> None: ...

class ExplainPolicyResponse(_message.Message):
    __slots__ = ("ruling", "policy")
    RULING_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    ruling: Ruling
    policy: bytes
    def __init__(self, ruling: _Optional[_Union[Ruling, _Mapping]] = ..., policy: _Optional[bytes] = ...) -> None: ...
