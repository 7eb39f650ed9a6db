"""The refusals of ``members`` (cases.py says how to read a table)."""

from typing import Final

from contracts.governance import Governance
from contracts.institutions import Rule
from contracts.members import Members
from tests.contracts.cases import (
    Case,
    Flaw,
    _lose_every_key,
    _many_keys,
    _many_voters,
    _removed,
    _retire_now,
    _revoke_second,
    _second_key,
    key,
    taken_over,
)
from tests.kit import ADMINISTRATOR, new_key

# --- members ------------------------------------------------------------------------------------------------

BAD_KEY: Final = ("ed25519", bytes(32), "x", ("*",))  # the identity's encoding is not a point of prime order
NEW_KEY: Final = new_key("fresh")
KNOWN_KEY: Final = new_key("KB-officer")
TWO_OFFICERS: Final = (Rule("transfers", "send", "", 0, 2),)

_REGISTER_FLAWS: Final = (
    Flaw(Members.KEY_INVALID, key=BAD_KEY),
    Flaw(Members.KEY_KNOWN, key=KNOWN_KEY),
)

MEMBERS: Final = (
    Case(
        "members",
        "admit",
        ADMINISTRATOR,
        {
            "member": "NEW",
            "full_name": "New Bank",
            "bic": "NEWBCZPP",
            "roles": ("participant",),
            "keys": (NEW_KEY,),
        },
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
            Flaw(Members.MEMBER_EXISTS, member="KB"),
            Flaw(Members.ADMINISTRATOR_FIXED, roles=("participant", "administrator")),
            Flaw(Members.KEY_INVALID, keys=(NEW_KEY, BAD_KEY)),
            Flaw(Members.KEY_KNOWN, keys=(NEW_KEY, NEW_KEY)),
        ),
    ),
    Case(
        "members",
        "admit",
        ADMINISTRATOR,
        {
            "member": "NEW",
            "full_name": "New Bank",
            "bic": "",
            "roles": ("participant",),
            "keys": (NEW_KEY,),
        },
        (Flaw(Members.TOO_MANY_VOTERS, roles=("voter",)),),
        given=_many_voters,
        label=" among many voters",
    ),
    Case(
        "members",
        "change",
        ADMINISTRATOR,
        {"member": "PA", "full_name": "Other Name", "bic": "", "roles": ("regulator",)},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, roles=("administrator",)),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
        ),
    ),
    Case(
        "members",
        "suspend",
        ADMINISTRATOR,
        {"member": "PA", "reason": "late"},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
            Flaw(Members.STATUS_UNCHANGED, member="GONE"),
        ),
    ),
    Case(
        "members",
        "resume",
        ADMINISTRATOR,
        {"member": "GONE"},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
            Flaw(Members.STATUS_UNCHANGED, member="PA"),
            Flaw(Members.MEMBER_REMOVED, member="KB", given=_removed),
        ),
    ),
    Case(
        "members",
        "remove",
        ADMINISTRATOR,
        {"member": "GONE", "reason": "merged"},
        (
            Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.ADMINISTRATOR_FIXED, member=ADMINISTRATOR),
            Flaw(Members.STATUS_UNCHANGED, member="KB", given=_removed),
        ),
    ),
    Case(
        "members",
        "recover",
        ADMINISTRATOR,
        {"member": "LOST", "key": NEW_KEY},
        (
            Flaw(Members.RECOVERY_WAITS, directly=True),
            Flaw(Governance.NOT_VOTER, by="PA"),
            Flaw(Members.GOVERNED_BY_MEMBERS, by=ADMINISTRATOR, given=taken_over),
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.KEYS_REMAIN, member="PA"),
            *_REGISTER_FLAWS,
        ),
        given=_lose_every_key,
        proposed=True,
    ),
    Case(
        "members",
        "register_key",
        "PA",
        {"key": NEW_KEY},
        (*_REGISTER_FLAWS, Flaw(Members.TOO_MANY_KEYS, given=_many_keys)),
    ),
    Case(
        "members",
        "retire_key",
        "PA",
        {"key_id": key("PA-officer"), "retires_at": 1_000},
        (
            Flaw(Members.KEY_UNKNOWN, key_id=key("KB-officer")),
            Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_retire_now),
            Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_revoke_second),
            Flaw(Members.RETIRES_IN_THE_PAST, retires_at=20),
        ),
    ),
    Case(
        "members",
        "rotate_key",
        "PA",
        {"old": key("PA-officer"), "retires_at": 1_000, "new": NEW_KEY},
        (
            Flaw(Members.KEY_INVALID, new=BAD_KEY),
            Flaw(Members.KEY_KNOWN, new=KNOWN_KEY),
            Flaw(Members.TOO_MANY_KEYS, given=_many_keys),
            Flaw(Members.KEY_UNKNOWN, old=key("KB-officer")),
            Flaw(Members.KEY_ENDED, old=key("PA-second"), given=_retire_now),
            Flaw(Members.RETIRES_IN_THE_PAST, retires_at=20),
        ),
    ),
    Case(
        "members",
        "revoke_key",
        "PA",
        {"key_id": key("PA-second")},
        (Flaw(Members.KEY_UNKNOWN, key_id=key("KB-officer")),),
        given=_second_key,
    ),
    Case(
        "members",
        "revoke_key",
        "PA",
        {"key_id": key("PA-officer")},
        (Flaw(Members.KEY_ENDED, key_id=key("PA-second"), given=_revoke_second),),
        label=" again",
    ),
    Case(
        "members",
        "set_policy",
        "PA",
        {"rules": (Rule("*", "*", "", 0, 1),)},
        (Flaw(Members.POLICY_UNMEETABLE, rules=TWO_OFFICERS),),
    ),
)
