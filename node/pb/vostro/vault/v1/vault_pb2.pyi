from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Condition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONDITION_UNSPECIFIED: _ClassVar[Condition]
    CONDITION_WHOLE: _ClassVar[Condition]
    CONDITION_MISSING: _ClassVar[Condition]
    CONDITION_DAMAGED: _ClassVar[Condition]
CONDITION_UNSPECIFIED: Condition
CONDITION_WHOLE: Condition
CONDITION_MISSING: Condition
CONDITION_DAMAGED: Condition

class StoreRequest(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class StoreResponse(_message.Message):
    __slots__ = ("sealed", "size_bytes")
    SEALED_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    sealed: bytes
    size_bytes: int
    def __init__(self, sealed: _Optional[bytes] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class FetchRequest(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    def __init__(self, document: _Optional[bytes] = ...) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class DestroyRequest(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    def __init__(self, document: _Optional[bytes] = ...) -> None: ...

class DestroyResponse(_message.Message):
    __slots__ = ("was_there",)
    WAS_THERE_FIELD_NUMBER: _ClassVar[int]
    was_there: bool
    def __init__(self, was_there: _Optional[bool] = ...) -> None: ...

class ExamineRequest(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    def __init__(self, document: _Optional[bytes] = ...) -> None: ...

class ExamineResponse(_message.Message):
    __slots__ = ("condition",)
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    condition: Condition
    def __init__(self, condition: _Optional[_Union[Condition, str]] = ...) -> None: ...

class GetHoldingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHoldingsResponse(_message.Message):
    __slots__ = ("documents", "size_bytes", "orphans", "missing", "damaged", "disk_bytes", "bytes_max")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    documents: int
    size_bytes: int
    orphans: int
    missing: _containers.RepeatedScalarFieldContainer[bytes]
    damaged: _containers.RepeatedScalarFieldContainer[bytes]
    disk_bytes: int
    bytes_max: int
    def __init__(self, documents: _Optional[int] = ..., size_bytes: _Optional[int] = ..., orphans: _Optional[int] = ..., missing: _Optional[_Iterable[bytes]] = ..., damaged: _Optional[_Iterable[bytes]] = ..., disk_bytes: _Optional[int] = ..., bytes_max: _Optional[int] = ...) -> None: ...
