"""A payment day on a real ledger: `python3 scripts/demo.py` in a fresh clone is enough.

Makes the project's environment, then becomes `vostro demo` with the arguments given here.
"""

import os
import sys

import environment

if __name__ == "__main__":
    environment.enter()
    vostro = str(environment.ROOT / ".venv" / "bin" / "vostro")
    os.execv(vostro, [vostro, "demo", *sys.argv[1:]])  # noqa: S606 - our own command
