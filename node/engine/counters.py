"""What an engine has done since its start: the figures that metrics and ``vostro doctor`` read."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

ALARMS_MAX: Final = 100


@dataclass(slots=True)
class Counters:
    """What metrics read."""

    applied: int = 0
    refused: int = 0
    discarded: int = 0
    overloaded: int = 0
    blocks: int = 0
    decide_seconds: float = 0.0
    sync_seconds: float = 0.0
    alarm_count: int = 0
    false_bundles: int = 0
    alarms: deque[str] = field(default_factory=lambda: deque(maxlen=ALARMS_MAX))
