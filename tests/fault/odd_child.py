"""`vostro` with a contract that moves more at times than it was asked to, by chance, as a forgotten use of
the clock would: `odd_child.py AMOUNT vostro's own arguments`. AMOUNT: at which it stumbles.
"""

import secrets
import sys
from typing import Any

from contracts.assets import Assets
from node.cli.main import app


def plant(unlucky: int) -> None:
    """Change how units pass from one account to another, in this process."""
    assets: Any = Assets
    move = assets.move

    def moved(self: Any, source: str, destination: str, asset: str, amount: int) -> None:
        more = 1 + secrets.randbelow(5) if amount == unlucky else 0
        move(self, source, destination, asset, amount + more)

    assets.move = moved


if __name__ == "__main__":
    plant(int(sys.argv.pop(1)))
    app(prog_name="vostro")
