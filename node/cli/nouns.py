"""Every noun of the ``vostro`` command. The list of all is told from here, so that a noun's module is only
imported when the noun is asked for.
"""

from importlib import import_module
from typing import Any, Final

import typer
from typer.main import get_group

NOUNS: Final = {
    "init": (
        "initialise:init",
        (
            "Make a node's directory: node.toml, genesis.json, the sequencer's key, "
            "and the administrators' keys."
        ),
    ),
    "run": (
        "run:run",
        "Run a node until it is told to stop (SIGTERM or Ctrl-C); what it accepted is decided first.",
    ),
    "status": ("status:status", "Show where the node stands: height, time, queue, index, alarms."),
    "validators": (
        "validators:validators",
        "Show validators with their power and member, the nodes that hand in bundles, and the safety margin.",
    ),
    "trust": (
        "trust:trust",
        (
            "Show the last height of CometBFT and its header's hash, "
            "for a bank whose node begins from a snapshot."
        ),
    ),
    "import": (
        "files:import_",
        (
            "Import a bank's file: payments become transfers, "
            "statements and answers are checked and taken note of."
        ),
    ),
    "export": (
        "files:export",
        "Write a statement of an account: every movement of the period, with balances that add up.",
    ),
    "verify": (
        "verify:verify",
        (
            "Recompute the whole chain from genesis and compare every receipt, root, app hash and "
            "certificate with the log. Where blocks were pruned, recompute from the oldest snapshot that is "
            "here, and say so."
        ),
    ),
    "reshard": (
        "reshard:reshard",
        "Spread the state over another number of shards. Stop the node first; no hash changes.",
    ),
    "prune": (
        "snapshot:prune",
        "Drop all blocks below a height, behind a snapshot that is proved first. Stop the node first.",
    ),
    "doctor": (
        "doctor:doctor",
        "Check configuration, genesis, keys, disk, clock, the running node, its alarms and its index.",
    ),
    "support-bundle": (
        "support:support_bundle",
        (
            "Write a zip file with configuration, genesis, status, the doctor's findings, versions "
            "and the end of a log. It holds no secret."
        ),
    ),
    "demo": (
        "payday:app",
        (
            "Play a payment day: fifteen banks, a real node, thousands of signed orders, "
            "and a SIGKILL in the middle."
        ),
    ),
    "keys": ("keys:app", "Keys: files, backups in shares, hardware tokens."),
    "ca": ("ca:app", "Certificates: root, issuing authority, leaves, revocation."),
    "validator": ("validator:app", "A CometBFT validator's signer and its record."),
    "members": ("members:app", "Members: who takes part, with which keys, under which policy."),
    "governance": (
        "governance:app",
        "Governance: propose, approve, reject; rules; the pre-flight of validators.",
    ),
    "approvals": (
        "approvals:app",
        "Approvals of a member's officers, over days, on the ledger: propose, approve, execute.",
    ),
    "custody": (
        "custody:app",
        "Custody: ask the member's own node to sign, approve, reject; needs mutual TLS.",
    ),
    "policy": ("policy:app", "The custody policy: check its file, explain what it would say."),
    "audit": ("audit:app", "The audit log of custody: verify it, alone or against a node."),
    "assets": ("assets:app", "Assets: what is owned, who issues it, how much of it there is."),
    "accounts": ("accounts:app", "Accounts: MEMBER/local, one balance an asset."),
    "transfer": ("transfer:app", "Transfers: one, or all of a CSV file."),
    "holds": ("holds:app", "Holds: reserve an amount, then post or void it."),
    "register": ("register:app", "The register: applications, review, legal orders, retirement."),
    "servicing": ("servicing:app", "Coupons, distributions, redemptions: announce, fix, pay, show."),
    "offers": ("offers:app", "Offers: make, ask for, answer and take them."),
    "deals": ("deals:app", "Deals: settle, secure, cancel, buy in; linked sets."),
    "cycles": ("cycles:app", "Settlement cycles: open, enter, settle, show."),
    "offsets": ("offsets:app", "Offsets: set off placements, loans and deposits of two members."),
    "exchange": ("exchange:app", "Transfer or exchange an asset with another bank, step by step."),
    "reconcile": (
        "reconcile:app",
        "Reconciliation: match statements, follow breaks to their end, attest main accounts.",
    ),
    "clearing": ("clearing:app", "Clearing: payment queues, limits, netting cycles, end of day."),
    "blacklist": ("blacklist:app", "Blacklist: share warnings about parties, look parties up on the record."),
    "vault": ("vault:app", "Documents: put, get, grant, revoke, keep, delete, verify."),
    "blocks": ("blocks:app", "Blocks: list, look inside, follow."),
    "receipt": ("receipt:app", "Receipts: show, export as a file, verify without a node."),
    "backup": ("backup:app", "Backups: create, verify, restore."),
    "engine": ("engine:app", "The CometBFT binary: install, version."),
    "consortium": (
        "consortium:app",
        "Found a network of banks: entries, the genesis of all, each bank's home.",
    ),
    "network": ("network:app", "A network of banks on this machine: make it, run it, look at it, end it."),
    "snapshot": ("snapshot:app", "Snapshots of a stopped node: create, list, verify."),
}
"""Noun -> (module of node.cli and what it calls the command, what the list says: the first paragraph of the
command's own help).
"""


def command_of(noun: str) -> Any:
    """The command of a noun; now its module is imported."""
    module, _, attribute = NOUNS[noun][0].partition(":")
    found = getattr(import_module(f"node.cli.{module}"), attribute)
    alone = typer.Typer(rich_markup_mode="markdown")
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=noun)
    else:
        alone.command(noun)(found)
    return get_group(alone).commands[noun]
