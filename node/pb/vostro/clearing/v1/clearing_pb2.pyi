from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCalendarRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class GetCalendarResponse(_message.Message):
    __slots__ = ("ahead", "behind", "opens", "cut_off", "weekend", "holidays", "today", "business_day")
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    OPENS_FIELD_NUMBER: _ClassVar[int]
    CUT_OFF_FIELD_NUMBER: _ClassVar[int]
    WEEKEND_FIELD_NUMBER: _ClassVar[int]
    HOLIDAYS_FIELD_NUMBER: _ClassVar[int]
    TODAY_FIELD_NUMBER: _ClassVar[int]
    BUSINESS_DAY_FIELD_NUMBER: _ClassVar[int]
    ahead: int
    behind: int
    opens: int
    cut_off: int
    weekend: _containers.RepeatedScalarFieldContainer[int]
    holidays: _containers.RepeatedScalarFieldContainer[int]
    today: int
    business_day: int
    def __init__(self, ahead: _Optional[int] = ..., behind: _Optional[int] = ..., opens: _Optional[int] = ..., cut_off: _Optional[int] = ..., weekend: _Optional[_Iterable[int]] = ..., holidays: _Optional[_Iterable[int]] = ..., today: _Optional[int] = ..., business_day: _Optional[int] = ...) -> None: ...

class GetQueueRequest(_message.Message):
    __slots__ = ("member", "asset")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    member: str
    asset: str
    def __init__(self, member: _Optional[str] = ..., asset: _Optional[str] = ...) -> None: ...

class Lane(_message.Message):
    __slots__ = ("priority", "count")
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    priority: str
    count: int
    def __init__(self, priority: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("counterparty", "most", "paid", "received")
    COUNTERPARTY_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    PAID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    counterparty: str
    most: int
    paid: int
    received: int
    def __init__(self, counterparty: _Optional[str] = ..., most: _Optional[int] = ..., paid: _Optional[int] = ..., received: _Optional[int] = ...) -> None: ...

class GetQueueResponse(_message.Message):
    __slots__ = ("seat", "account", "available", "queued", "aside", "lanes", "limits", "frozen", "height", "time_ms")
    SEAT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    ASIDE_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    seat: int
    account: str
    available: int
    queued: int
    aside: int
    lanes: _containers.RepeatedCompositeFieldContainer[Lane]
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    frozen: bool
    height: int
    time_ms: int
    def __init__(self, seat: _Optional[int] = ..., account: _Optional[str] = ..., available: _Optional[int] = ..., queued: _Optional[int] = ..., aside: _Optional[int] = ..., lanes: _Optional[_Iterable[_Union[Lane, _Mapping]]] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., frozen: _Optional[bool] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class Instruction(_message.Message):
    __slots__ = ("member", "number", "creditor", "amount", "priority", "value_day", "until_ms", "reference", "state", "cycle")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CREDITOR_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    VALUE_DAY_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    member: str
    number: int
    creditor: str
    amount: int
    priority: str
    value_day: int
    until_ms: int
    reference: str
    state: str
    cycle: int
    def __init__(self, member: _Optional[str] = ..., number: _Optional[int] = ..., creditor: _Optional[str] = ..., amount: _Optional[int] = ..., priority: _Optional[str] = ..., value_day: _Optional[int] = ..., until_ms: _Optional[int] = ..., reference: _Optional[str] = ..., state: _Optional[str] = ..., cycle: _Optional[int] = ...) -> None: ...

class GetInstructionRequest(_message.Message):
    __slots__ = ("member", "asset", "number")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    member: str
    asset: str
    number: int
    def __init__(self, member: _Optional[str] = ..., asset: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class GetInstructionResponse(_message.Message):
    __slots__ = ("instruction", "height", "time_ms")
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    instruction: Instruction
    height: int
    time_ms: int
    def __init__(self, instruction: _Optional[_Union[Instruction, _Mapping]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class ListInstructionsRequest(_message.Message):
    __slots__ = ("member", "asset", "below", "page_size")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    member: str
    asset: str
    below: int
    page_size: int
    def __init__(self, member: _Optional[str] = ..., asset: _Optional[str] = ..., below: _Optional[int] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListInstructionsResponse(_message.Message):
    __slots__ = ("instructions", "next_below", "height", "time_ms")
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_BELOW_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    instructions: _containers.RepeatedCompositeFieldContainer[Instruction]
    next_below: int
    height: int
    time_ms: int
    def __init__(self, instructions: _Optional[_Iterable[_Union[Instruction, _Mapping]]] = ..., next_below: _Optional[int] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetCycleRequest(_message.Message):
    __slots__ = ("asset", "cycle")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    asset: str
    cycle: int
    def __init__(self, asset: _Optional[str] = ..., cycle: _Optional[int] = ...) -> None: ...

class Exclusion(_message.Message):
    __slots__ = ("member", "reason")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    member: str
    reason: str
    def __init__(self, member: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class GetCycleResponse(_message.Message):
    __slots__ = ("cycle", "status", "sealed_ms", "frozen_count", "frozen_gross", "attempt", "best", "excluded", "count", "gross", "net", "settled_ms", "seats", "height", "time_ms")
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SEALED_MS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FROZEN_GROSS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    GROSS_FIELD_NUMBER: _ClassVar[int]
    NET_FIELD_NUMBER: _ClassVar[int]
    SETTLED_MS_FIELD_NUMBER: _ClassVar[int]
    SEATS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    cycle: int
    status: str
    sealed_ms: int
    frozen_count: int
    frozen_gross: int
    attempt: int
    best: str
    excluded: _containers.RepeatedCompositeFieldContainer[Exclusion]
    count: int
    gross: int
    net: int
    settled_ms: int
    seats: _containers.RepeatedScalarFieldContainer[str]
    height: int
    time_ms: int
    def __init__(self, cycle: _Optional[int] = ..., status: _Optional[str] = ..., sealed_ms: _Optional[int] = ..., frozen_count: _Optional[int] = ..., frozen_gross: _Optional[int] = ..., attempt: _Optional[int] = ..., best: _Optional[str] = ..., excluded: _Optional[_Iterable[_Union[Exclusion, _Mapping]]] = ..., count: _Optional[int] = ..., gross: _Optional[int] = ..., net: _Optional[int] = ..., settled_ms: _Optional[int] = ..., seats: _Optional[_Iterable[str]] = ..., height: _Optional[int] = ..., time_ms: _Optional[int] = ...) -> None: ...

class GetLineRequest(_message.Message):
    __slots__ = ("member", "asset", "cycle")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    member: str
    asset: str
    cycle: int
    def __init__(self, member: _Optional[str] = ..., asset: _Optional[str] = ..., cycle: _Optional[int] = ...) -> None: ...

class GetLineResponse(_message.Message):
    __slots__ = ("member", "before", "after", "pays", "receives", "count", "left")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    PAYS_FIELD_NUMBER: _ClassVar[int]
    RECEIVES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    member: str
    before: int
    after: int
    pays: int
    receives: int
    count: int
    left: int
    def __init__(self, member: _Optional[str] = ..., before: _Optional[int] = ..., after: _Optional[int] = ..., pays: _Optional[int] = ..., receives: _Optional[int] = ..., count: _Optional[int] = ..., left: _Optional[int] = ...) -> None: ...

class GetClaimsRequest(_message.Message):
    __slots__ = ("asset", "cycle", "seat", "place")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    SEAT_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    asset: str
    cycle: int
    seat: int
    place: int
    def __init__(self, asset: _Optional[str] = ..., cycle: _Optional[int] = ..., seat: _Optional[int] = ..., place: _Optional[int] = ...) -> None: ...

class GetClaimsResponse(_message.Message):
    __slots__ = ("available", "length", "out", "places", "creditors", "amounts", "limits", "next_place")
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    OUT_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    CREDITORS_FIELD_NUMBER: _ClassVar[int]
    AMOUNTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PLACE_FIELD_NUMBER: _ClassVar[int]
    available: int
    length: int
    out: bool
    places: _containers.RepeatedScalarFieldContainer[int]
    creditors: _containers.RepeatedScalarFieldContainer[int]
    amounts: _containers.RepeatedScalarFieldContainer[int]
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    next_place: int
    def __init__(self, available: _Optional[int] = ..., length: _Optional[int] = ..., out: _Optional[bool] = ..., places: _Optional[_Iterable[int]] = ..., creditors: _Optional[_Iterable[int]] = ..., amounts: _Optional[_Iterable[int]] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., next_place: _Optional[int] = ...) -> None: ...
