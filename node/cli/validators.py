"""``vostro validators``: whose votes certify blocks, with what power, and how many may fail now."""

from typing import Any

import typer

from contracts.powers import Margin, NamedNode, NamedValidator
from node.cli.output import Row
from node.cli.session import session_of


def validators(ctx: typer.Context) -> None:
    """Show validators with their power and member, the nodes that hand in bundles, and the safety margin.

    Example: `vostro --node bank-a:7370 validators`
    """
    session = session_of(ctx)
    with session.client() as client:
        named: tuple[NamedValidator, ...] = client.query("validators", "list_validators")
        nodes: tuple[NamedNode, ...] = client.query("validators", "list_nodes")
        margin: Margin = client.query("validators", "margin")
    rows = [_validator(entry) for entry in named]
    node_rows = [_node(entry) for entry in nodes]
    safety = told_margin(margin)
    if session.output.is_json:
        session.output.json({"validators": rows, "nodes": node_rows, "margin": safety})
        return
    columns = {"member": "Member", "label": "Label", "active": "Active"}
    powers = {"key_id": "Validator", "power": "Power", **columns}
    session.output.rows("Validators", powers, rows, numbers=("power",))
    session.output.rows("Nodes", {"key_id": "Node", **columns}, node_rows)
    session.output.record("Safety margin", safety)


def told_margin(margin: Margin) -> dict[str, Any]:
    """The margin under stable names."""
    return {"validators": margin.validators, "power": margin.power, "may_fail": margin.may_fail}


def _validator(entry: NamedValidator) -> Row:
    found = entry.validator
    return {
        "key_id": entry.key_id,
        "algorithm": found.algorithm,
        "public_key": found.public_key,
        "power": found.power,
        "member": found.member,
        "node": found.node,
        "label": found.label,
        "active": bool(entry.active),
    }


def _node(entry: NamedNode) -> Row:
    found = entry.node
    return {
        "key_id": entry.key_id,
        "algorithm": found.algorithm,
        "public_key": found.public_key,
        "member": found.member,
        "label": found.label,
        "registered_height": found.registered_height,
        "retired_height": found.retired_height,
        "active": bool(entry.active),
    }
