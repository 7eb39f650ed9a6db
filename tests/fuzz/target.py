"""What a fuzzed decoder is: a name, bytes to begin with, and a function that must let every input through.

A target's ``run`` catches the refusals that the decoder documents and nothing else: any other exception is a
finding. What it asserts besides, mostly that decoding and encoding are inverse, is a finding, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Form = Literal["bytes", "json", "msgpack"]


@dataclass(frozen=True)
class Target:
    """One decoder under test.

    form: how its input is built, so that it can be changed in its parts and not only in its bytes. seeds:
    inputs that it takes. run: tries one. bytes_max: of an input.
    """

    name: str
    form: Form
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes], None]
    bytes_max: int = 65_536


def expect(held: bool, error: Exception) -> None:
    """A refusal that is not among those expected is a finding."""
    if not held:
        raise AssertionError(repr(error)) from error
