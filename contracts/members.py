"""Members: the institutions of the consortium, their keys, and what each demands of its own officers.

A member is admitted, changed, suspended and removed by the consortium's administrators (a member themselves,
named in genesis, whose policy asks for k of n holders), or by decision of the members (governance.py): the
same methods, which a decision may always call, and the administrators until the members have taken over. Its
keys and its signing policy are its own business: nobody can sign for a bank, only help one that has lost too
many keys to register a new one.

State       institution / member -> Institution
            voter / roll, member -> Voter
            government / government -> Government
            key / member, key id -> Key
            owner / key id -> Owner
            policy / member -> Policy
Invariants  M1 a key belongs to one member for ever and its id names it.
            M2 a key signs from ``active_from`` until ``retires_at`` and never once revoked.
            M3 a policy never asks for more officers than could change it when it is set.
            M4 only governing administrators or a decision admit, change, suspend, resume or remove; only a
            decision that has waited recovers.
            M5 the rolls are the active members with the roles ``voter`` and ``registrar``; that of voters is
            never empty where members govern.
Privacy     everything here is public to all members: names of institutions, BICs, and the labels of key
            holders. Use functions or initials as holders, not people's names.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.institutions import (
    ADMINISTRATOR,
    KEY_AFFAIRS,
    KEYS_EVER_MAX,
    REGISTRAR,
    RULES_MAX,
    VOTER,
    Admitted,
    Bic,
    Changed,
    FullName,
    Government,
    Institution,
    Key,
    KeyRegistered,
    KeyRetired,
    KeyRevoked,
    Member,
    MemberKey,
    NewKey,
    NewMemberId,
    Owner,
    Policy,
    PolicySet,
    Reason,
    Removed,
    Resumed,
    Roles,
    Rule,
    Status,
    Suspended,
    TakenOver,
    Voter,
    fits,
)
from node.ledger.contract import (
    Category,
    Charge,
    Context,
    Contract,
    Rejected,
    Signatory,
    error,
    method,
    query,
    table,
)
from node.ledger.errors import InvariantViolated, LedgerError
from node.ledger.types import Founder, Genesis, Height, KeyId, MemberId, Name

PAGE_MAX: Final = 100
KEYS_MAX: Final = 64
VOTERS_MAX: Final = 256
"""Members that vote: what a count of ballots scans."""
ROLL: Final = "voters"
REGISTRARS: Final = "registrars"
GOVERNMENT: Final = "government"


class Members(Contract):
    """See the module's docstring."""

    name = "members"
    facts = (
        Admitted,
        Changed,
        Suspended,
        Resumed,
        KeyRegistered,
        KeyRetired,
        KeyRevoked,
        PolicySet,
        Removed,
        TakenOver,
    )

    NOT_ADMINISTRATOR = error(
        1, Category.PERMISSION_DENIED, "Only the consortium's administrators may do this."
    )
    MEMBER_UNKNOWN = error(2, Category.NOT_FOUND, "No such member.")
    MEMBER_EXISTS = error(3, Category.ALREADY_EXISTS, "The member id is taken.")
    ADMINISTRATOR_FIXED = error(
        4,
        Category.PERMISSION_DENIED,
        "The administrators can be neither suspended nor given other roles here.",
    )
    STATUS_UNCHANGED = error(5, Category.PRECONDITION, "The member has that status already.")
    KEY_INVALID = error(6, Category.INVALID, "The public key is not admissible in the chain's suite.")
    KEY_KNOWN = error(7, Category.ALREADY_EXISTS, "The key is registered already: make a new one.")
    KEY_UNKNOWN = error(8, Category.NOT_FOUND, "The member has no such key.")
    KEY_ENDED = error(9, Category.PRECONDITION, "The key is retired or revoked already.")
    TOO_MANY_KEYS = error(10, Category.OVERLOADED, "A member has at most 64 keys in use, 1,024 in its life.")
    RETIRES_IN_THE_PAST = error(11, Category.INVALID, "A key retires at a later height than the present one.")
    POLICY_UNMEETABLE = error(
        12,
        Category.PRECONDITION,
        "The policy would ask for more officers than there are holders of keys that may change it.",
    )
    KEYS_REMAIN = error(13, Category.PRECONDITION, "The member has keys enough to register others itself.")

    GOVERNED_BY_MEMBERS = error(
        14, Category.PERMISSION_DENIED, "The members have taken over from the administrators: propose it."
    )
    MEMBER_REMOVED = error(15, Category.PRECONDITION, "The member has left for good.")
    LAST_VOTER = error(16, Category.PRECONDITION, "At least one member that votes must remain.")
    TOO_MANY_VOTERS = error(17, Category.OVERLOADED, "At most 256 members vote.")
    MEMBER_INACTIVE = error(18, Category.PRECONDITION, "The member is suspended or has left.")
    RECOVERY_WAITS = error(
        19, Category.PERMISSION_DENIED, "A recovery is proposed and waits, so that others can object."
    )

    institution = table(Institution, member=MemberId)
    voter = table(Voter, roll=Name, member=MemberId)
    government = table(Government, name=Name)
    key = table(Key, member=MemberId, key_id=KeyId)
    owner = table(Owner, key_id=KeyId)
    policy = table(Policy, member=MemberId)

    def on_genesis(self, ctx: Context, genesis: Genesis) -> None:
        """The administrators are a member like any other, whose policy asks for ``threshold`` holders;
        without them the founders govern.
        """
        self.government.put(
            Government("administrators" if genesis.administrators else "members", 0), GOVERNMENT
        )
        if genesis.administrators:
            member = genesis.administrator
            self.institution.put(Institution("Administrators", "", (ADMINISTRATOR,), "active", 0), member)
            for entry in genesis.administrators:
                self._register(ctx, member, NewKey(entry.algorithm, entry.public_key, entry.holder, ("*",)))
            self._set_policy(ctx, member, (Rule("*", "*", "", 0, genesis.threshold),))
        for founder in genesis.founders:
            self._found(ctx, founder)

    def _found(self, ctx: Context, founder: Founder) -> None:
        roles: Roles = founder.roles  # type: ignore[assignment]  # of FOUNDER_ROLES, by genesis_file.py
        self._put(founder.member, Institution(founder.full_name, founder.bic, roles, "active", 0))
        for entry in founder.keys:
            new = NewKey(entry.algorithm, entry.public_key, entry.holder, ("*",))
            self._register(ctx, founder.member, new)

    # --- by the administrators, or by decision --------------------------------------------------------------

    @method(flat=500)
    def admit(
        self,
        ctx: Context,
        member: NewMemberId,
        full_name: FullName,
        bic: Bic,
        roles: Roles,
        keys: Annotated[tuple[NewKey, ...], Meta(min_length=1, max_length=16)],
    ) -> None:
        """Admit a member with its first keys."""
        self.check_governs(ctx)
        if self.institution.get(member):
            raise Rejected(self.MEMBER_EXISTS, member=member)
        if ADMINISTRATOR in roles:
            raise Rejected(self.ADMINISTRATOR_FIXED)
        self._put(member, Institution(full_name, bic, roles, "active", ctx.height))
        ctx.emit(Admitted(member, full_name, roles))
        for key in keys:
            self._register(ctx, member, key)

    @method
    def change(self, ctx: Context, member: MemberId, full_name: FullName, bic: Bic, roles: Roles) -> None:
        """Change a member's name, BIC or roles."""
        self.check_governs(ctx)
        institution = self._require_institution(member)
        if ADMINISTRATOR in roles or ADMINISTRATOR in institution.roles:
            raise Rejected(self.ADMINISTRATOR_FIXED)
        self._put(member, replace(institution, full_name=full_name, bic=bic, roles=roles))
        ctx.emit(Changed(member, full_name, roles))

    @method
    def suspend(self, ctx: Context, member: MemberId, reason: Reason) -> None:
        """Keep a member from signing; its accounts can still be credited."""
        self.check_governs(ctx)
        self._set_status(member, "suspended")
        ctx.emit(Suspended(member, reason))

    @method
    def resume(self, ctx: Context, member: MemberId) -> None:
        """Let a suspended member sign again."""
        self.check_governs(ctx)
        self._set_status(member, "active")
        ctx.emit(Resumed(member))

    @method
    def remove(self, ctx: Context, member: MemberId, reason: Reason) -> None:
        """Let a member leave for good; what it owns stays and can still be credited."""
        self.check_governs(ctx)
        self._set_status(member, "removed")
        ctx.emit(Removed(member, reason))

    @method(flat=1_500)
    def recover(self, ctx: Context, member: MemberId, key: NewKey) -> None:
        """Give a key to a member that has too few left to register one itself. By a decision alone, which
        governance.py lets wait, so that others can object.
        """
        if not ctx.decided:
            raise Rejected(self.RECOVERY_WAITS)
        self._require_institution(member)
        if self._can_register(member, ctx.height):
            raise Rejected(self.KEYS_REMAIN, member=member)
        self._register(ctx, member, key)

    # --- by the member itself -------------------------------------------------------------------------------

    @method(flat=1_500)
    def register_key(self, ctx: Context, key: NewKey) -> None:
        """Add a key; it signs from the next transaction on."""
        self._register(ctx, ctx.member, key)

    @method
    def retire_key(self, ctx: Context, key_id: KeyId, retires_at: Height) -> None:
        """Let a key end at a later height."""
        self._retire(ctx, key_id, retires_at)

    @method(flat=1_500)
    def rotate_key(self, ctx: Context, old: KeyId, retires_at: Height, new: NewKey) -> None:
        """Register a key and let the old one end at a later height; both sign in between."""
        self._register(ctx, ctx.member, new)
        self._retire(ctx, old, retires_at)

    @method
    def revoke_key(self, ctx: Context, key_id: KeyId) -> None:
        """End a key at once, for example because others may know it. A policy that it leaves unmeetable needs
        ``recover``.
        """
        key = self._require_key(ctx, key_id)
        if key.revoked_at:
            raise Rejected(self.KEY_ENDED)
        self.key.put(replace(key, revoked_at=ctx.height), ctx.member, key_id)
        ctx.emit(KeyRevoked(ctx.member, key_id))

    @method(flat=1_500)
    def set_policy(
        self, ctx: Context, rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)]
    ) -> None:
        """Replace the member's signing policy; it binds from the next transaction on."""
        self._set_policy(ctx, ctx.member, rules)

    # --- what the ledger and other contracts ask ------------------------------------------------------------

    def require_signatory(self, member: str, key_id: bytes, height: int) -> Signatory:
        """The key, if it may sign for this member now. Raises Rejected with a ledger refusal."""
        institution = self.institution.get(member)
        if institution is None:
            raise Rejected(LedgerError.UNKNOWN_MEMBER, member=member)
        if institution.status != "active":
            raise Rejected(LedgerError.MEMBER_SUSPENDED, member=member)
        key = self.key.get(member, key_id)
        if key is None:
            raise Rejected(LedgerError.UNKNOWN_KEY, key_id=key_id.hex())
        if not _is_active(key, height):
            raise Rejected(LedgerError.KEY_NOT_ACTIVE, key_id=key_id.hex())
        return key

    def get_signatory(self, member: str, key_id: bytes) -> Signatory | None:
        """The key, if the member ever had it."""
        return self.key.get(member, key_id)

    def required_officers(self, member: str, charges: Iterable[Charge]) -> int:
        """How many distinct officers must sign for these operations together: each rule weighs the sum of all
        that it fits, so that splitting an amount gains nothing; the strictest decides, 1 where none fits. To
        change keys or the policy takes as many officers as the strictest rule of all.
        """
        policy = self.policy.get(member)
        if policy is None:
            return 1
        asked, all_charges = [1], tuple(charges)
        for rule in policy.rules:
            weighed = [charge.amount for charge in all_charges if fits(rule, charge)]
            if weighed and sum(weighed) >= rule.from_amount:
                asked.append(rule.officers)
            elif any(charge.contract in KEY_AFFAIRS for charge in all_charges):
                asked.append(rule.officers)  # who may change keys and policy may do all that they allow
        return max(asked)

    def has_role(self, member: str, role: str) -> bool:
        """Whether the member has the role."""
        institution = self.institution.get(member)
        return institution is not None and role in institution.roles

    def has_registrar(self) -> bool:
        """Whether an active member has the role of registrar."""
        return any(True for _ in self.voter.scan(REGISTRARS))

    def check_governs(self, ctx: Context) -> None:
        """Refuse unless the members decided this, or administrators who govern have signed it."""
        if ctx.decided:
            return
        if not self.has_role(ctx.member, ADMINISTRATOR):
            raise Rejected(self.NOT_ADMINISTRATOR)
        if self.by_members():
            raise Rejected(self.GOVERNED_BY_MEMBERS)

    def by_members(self) -> bool:
        """Whether the members govern."""
        return self.governs()[0] == "members"

    def governs(self) -> tuple[Literal["administrators", "members"], int]:
        """(who governs, from which height on)."""
        government = self.government.get(GOVERNMENT)
        if government is None:
            raise InvariantViolated("nobody governs the chain")
        return government.by, government.since_height

    def voters(self) -> tuple[str, ...]:
        """The members that vote now, ascending."""
        return tuple([member for (_, member), _ in self.voter.scan(ROLL)])

    def is_voter(self, member: str) -> bool:
        """Whether the member votes now."""
        return self.voter.get(ROLL, member) is not None

    def is_active(self, member: str) -> bool:
        """Whether the member exists and may act."""
        institution = self.institution.get(member)
        return institution is not None and institution.status == "active"

    def is_removed(self, member: str) -> bool:
        """Whether it was a member and never will be again."""
        institution = self.institution.get(member)
        return institution is not None and institution.status == "removed"

    def check_active(self, member: str) -> None:
        """Raises Rejected MEMBER_UNKNOWN, MEMBER_INACTIVE."""
        if self._require_institution(member).status != "active":
            raise Rejected(self.MEMBER_INACTIVE, member=member)

    def take_over(self, ctx: Context) -> None:
        """Let the members govern from now on. Raises Rejected GOVERNED_BY_MEMBERS, LAST_VOTER."""
        voters = self.voters()
        if self.by_members():
            raise Rejected(self.GOVERNED_BY_MEMBERS)
        if not voters:
            raise Rejected(self.LAST_VOTER)
        self.government.put(Government("members", ctx.height), GOVERNMENT)
        ctx.emit(TakenOver(len(voters)))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_member(self, ctx: Context, member: MemberId) -> Member:
        """A member with its keys and its policy."""
        return self._member(ctx, member, self._require_institution(member))

    @query
    def list_members(self, ctx: Context, after: Annotated[str, Meta(max_length=16)]) -> tuple[Member, ...]:
        """Up to 100 members, ascending by id, from behind ``after`` on."""
        members: list[Member] = []
        for (member,), institution in self.institution.scan(start=(after,)):
            if member != after:
                members.append(self._member(ctx, member, institution))
            if len(members) == PAGE_MAX:
                break
        return tuple(members)

    def _member(self, ctx: Context, member: str, institution: Institution) -> Member:
        keys = tuple(
            [
                MemberKey(parts[1], key, int(_is_active(key, ctx.height)))
                for parts, key in self.key.scan(member)
            ]
        )
        policy = self.policy.get(member)
        return Member(member, institution, keys, policy.rules if policy else ())

    # --- effects --------------------------------------------------------------------------------------------

    def _require_institution(self, member: str) -> Institution:
        institution = self.institution.get(member)
        if institution is None:
            raise Rejected(self.MEMBER_UNKNOWN, member=member)
        return institution

    def _require_key(self, ctx: Context, key_id: bytes) -> Key:
        key = self.key.get(ctx.member, key_id)
        if key is None:
            raise Rejected(self.KEY_UNKNOWN, key_id=key_id.hex())
        return key

    def _register(self, ctx: Context, member: str, new: NewKey) -> None:
        if not ctx.proofs.is_valid_key(new.algorithm, new.public_key):
            raise Rejected(self.KEY_INVALID, algorithm=new.algorithm)
        key_id = ctx.proofs.key_id(new.algorithm, new.public_key)
        if self.owner.get(key_id):
            raise Rejected(self.KEY_KNOWN, key_id=key_id.hex())
        known = [_is_active(key, ctx.height) for _, key in self.key.scan(member)]
        if sum(known) >= KEYS_MAX or len(known) >= KEYS_EVER_MAX:
            raise Rejected(self.TOO_MANY_KEYS)
        self.owner.put(Owner(member), key_id)
        self.key.put(
            Key(new.algorithm, new.public_key, new.holder, new.scopes, ctx.height, 0, 0), member, key_id
        )
        ctx.emit(KeyRegistered(member, key_id, new.holder))

    def _retire(self, ctx: Context, key_id: bytes, retires_at: int) -> None:
        key = self._require_key(ctx, key_id)
        if key.revoked_at or key.retires_at:
            raise Rejected(self.KEY_ENDED)
        if retires_at <= ctx.height:
            raise Rejected(self.RETIRES_IN_THE_PAST, height=ctx.height)
        self.key.put(replace(key, retires_at=retires_at), ctx.member, key_id)
        ctx.emit(KeyRetired(ctx.member, key_id, retires_at))

    def _set_policy(self, ctx: Context, member: str, rules: tuple[Rule, ...]) -> None:
        holders = self._holders(member, ctx.height, "set_policy", lasting=True)
        if any(rule.officers > len(holders) for rule in rules):
            raise Rejected(self.POLICY_UNMEETABLE, holders=len(holders))
        self.policy.put(Policy(rules), member)
        ctx.emit(PolicySet(member, rules))

    def _can_register(self, member: str, height: int) -> bool:
        """Whether the holders of a member's active keys suffice for ``register_key`` under its policy."""
        charge = Charge(self.name, "register_key", "", 0)
        holders = self._holders(member, height, "register_key")
        return len(holders) >= self.required_officers(member, (charge,))

    def _holders(self, member: str, height: int, method: str, *, lasting: bool = False) -> dict[str, None]:
        """Who may sign for a method of this contract; ``lasting``: without those whose key is to retire."""
        scopes = ("*", self.name, f"{self.name}.{method}")
        return dict.fromkeys(
            key.holder
            for _, key in self.key.scan(member)
            if _is_active(key, height)
            and not (lasting and key.retires_at)
            and any(scope in scopes for scope in key.scopes)
        )

    def _set_status(self, member: str, status: Status) -> None:
        institution = self._require_institution(member)
        if ADMINISTRATOR in institution.roles and not self.by_members():
            raise Rejected(self.ADMINISTRATOR_FIXED)
        if institution.status == status:
            raise Rejected(self.STATUS_UNCHANGED, status=status)
        if institution.status == "removed":
            raise Rejected(self.MEMBER_REMOVED, member=member)
        self._put(member, replace(institution, status=status))

    def _put(self, member: str, institution: Institution) -> None:
        """Keep an institution, and the rolls with it."""
        self.institution.put(institution, member)
        if REGISTRAR in institution.roles and institution.status == "active":
            self.voter.put(Voter(1), REGISTRARS, member)
        elif self.voter.get(REGISTRARS, member):
            self.voter.delete(REGISTRARS, member)
        votes = VOTER in institution.roles and institution.status == "active"
        if votes == self.is_voter(member):
            return
        if votes:
            if len(self.voters()) >= VOTERS_MAX:
                raise Rejected(self.TOO_MANY_VOTERS)
            self.voter.put(Voter(1), ROLL, member)
            return
        self.voter.delete(ROLL, member)
        if self.by_members() and not self.voters():
            raise Rejected(self.LAST_VOTER)


def _is_active(key: Key, height: int) -> bool:
    return (
        key.active_from <= height and not key.revoked_at and (not key.retires_at or height < key.retires_at)
    )
