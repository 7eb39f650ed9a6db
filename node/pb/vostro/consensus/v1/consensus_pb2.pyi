from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Question(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUESTION_UNSPECIFIED: _ClassVar[Question]
    QUESTION_COMMIT: _ClassVar[Question]
    QUESTION_VALIDATORS: _ClassVar[Question]
    QUESTION_CONSENSUS_PARAMS: _ClassVar[Question]
QUESTION_UNSPECIFIED: Question
QUESTION_COMMIT: Question
QUESTION_VALIDATORS: Question
QUESTION_CONSENSUS_PARAMS: Question

class AskRequest(_message.Message):
    __slots__ = ("question", "height", "page", "per_page")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PER_PAGE_FIELD_NUMBER: _ClassVar[int]
    question: Question
    height: int
    page: int
    per_page: int
    def __init__(self, question: _Optional[_Union[Question, str]] = ..., height: _Optional[int] = ..., page: _Optional[int] = ..., per_page: _Optional[int] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("result_json",)
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    result_json: bytes
    def __init__(self, result_json: _Optional[bytes] = ...) -> None: ...

class ListHandoversRequest(_message.Message):
    __slots__ = ("after_height",)
    AFTER_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    after_height: int
    def __init__(self, after_height: _Optional[int] = ...) -> None: ...

class Handover(_message.Message):
    __slots__ = ("height", "content")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    height: int
    content: bytes
    def __init__(self, height: _Optional[int] = ..., content: _Optional[bytes] = ...) -> None: ...

class ListHandoversResponse(_message.Message):
    __slots__ = ("handovers",)
    HANDOVERS_FIELD_NUMBER: _ClassVar[int]
    handovers: _containers.RepeatedCompositeFieldContainer[Handover]
    def __init__(self, handovers: _Optional[_Iterable[_Union[Handover, _Mapping]]] = ...) -> None: ...
