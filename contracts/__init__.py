"""Everything that changes state. The list's order is part of consensus: scheduled work runs in it. Members
come first, always.
"""

from contracts.assets import Assets
from contracts.encryption import Encryption
from contracts.governance import Governance
from contracts.members import Members
from contracts.scenarios.blacklist import Blacklist
from contracts.transfers import Transfers
from contracts.validators import Validators
from node.ledger.contract import Contract


def assemble() -> tuple[Contract, ...]:
    """One set of all contracts of this release, each given the contracts it uses."""
    members = Members()
    validators = Validators(members)
    governance = Governance(members)
    assets = Assets(members)
    transfers = Transfers(assets)
    blacklist = Blacklist()
    encryption = Encryption(members)
    return members, validators, governance, assets, transfers, blacklist, encryption
