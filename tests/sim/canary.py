"""Where planted bugs are registered (canaries.py, canaries_money.py)."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from node.ledger.contract import Method

Plant = Callable[[pytest.MonkeyPatch], None]
CANARIES: Final[dict[str, Plant]] = {}


def canary(plant: Plant) -> Plant:
    """Register a bug under the words of its name."""
    CANARIES[plant.__name__.replace("_", " ")] = plant
    return plant


def body(patch: pytest.MonkeyPatch, contract: Any, name: str, function: Callable[..., Any]) -> None:
    """Exchange what a method does."""
    declared: Method = contract.methods[name]
    patch.setattr(declared, "function", function)
