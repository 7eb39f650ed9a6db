"""Everything that changes state. The list's order is part of consensus: scheduled work runs in it. Members
come first, always.
"""

from contracts.anchors import Anchors
from contracts.approvals import Approvals
from contracts.assets import Assets
from contracts.calendars import Calendars
from contracts.clearing import Clearing
from contracts.encryption import Encryption
from contracts.governance import Governance
from contracts.members import Members
from contracts.offsets import Offsets
from contracts.participants import Participants
from contracts.queues import Queues
from contracts.reconciliation import Reconciliation
from contracts.registration import Registration
from contracts.scenarios.asset_transfer import AssetTransfer
from contracts.scenarios.blacklist import Blacklist
from contracts.scenarios.main_account import MainAccount
from contracts.servicing import Servicing
from contracts.settlement import Settlement
from contracts.settlement_cycles import SettlementCycles
from contracts.trading import Trading
from contracts.transfers import Transfers
from contracts.validators import Validators
from contracts.vault import Vault
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
    vault = Vault(members, encryption)
    registration = Registration(members, assets, vault)
    servicing = Servicing(assets, registration)
    settlement = Settlement(members, assets)
    trading = Trading(members, assets, settlement)
    anchors = Anchors()
    approvals = Approvals(members)
    cycles = SettlementCycles(assets, settlement)
    offsets = Offsets(members, assets)
    exchange = AssetTransfer(assets, registration, trading, settlement)
    reconciliation = Reconciliation(members, assets)
    main_account = MainAccount(members, assets, reconciliation)
    calendars = Calendars(assets)
    participants = Participants(assets, calendars)
    queues = Queues(members, assets, participants)
    clearing = Clearing(members, assets, participants)
    return (
        members,
        validators,
        governance,
        assets,
        transfers,
        blacklist,
        encryption,
        registration,
        servicing,
        settlement,
        trading,
        anchors,
        approvals,
        vault,
        cycles,
        offsets,
        exchange,
        reconciliation,
        main_account,
        calendars,
        participants,
        queues,
        clearing,
    )
