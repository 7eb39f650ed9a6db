"""Encryption keys: with which key others encrypt what is meant for one member alone.

A member registers a key, replaces it and revokes it; nobody else can, and the ledger itself encrypts nothing.
The private half never comes near a node. A replaced key stays on record, so that its owner knows with what
to open what was encrypted before; a revoked one must not be used by anybody from then on.

State       current / member -> Current
            key / member, key id -> EncryptionKey
Life        in use --replace--> replaced;  in use --revoke--> revoked;  both for good
Invariants  E1 a member has at most one key that others may use.
            E2 a key is registered once for ever, by one member, and for one purpose: its owner stands in the
               table of keys that sign (members.py, owner), which refuses it to both.
            E3 a key that is no point of the suite's curve, or of small order there, is refused.
            E4 to change it takes as many officers as the strictest rule of the member's policy, as for keys
               that sign (members.py).
Privacy     which member has which key since when is public to all members.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.institutions import Owner
from contracts.members import Members
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import Algorithm, Height, KeyId, MemberId, PublicKey, Record

KEYS_EVER_MAX: Final = 256
"""Keys of a member, ended ones included: what a registration and the list scan."""

Ended = Literal["", "replaced", "revoked"]


class EncryptionKey(Record, frozen=True):
    """A key and its life, in heights of blocks. ``ended`` empty and ``ended_at`` 0: in use."""

    algorithm: Algorithm
    public_key: PublicKey
    active_from: Height
    ended_at: Height
    ended: Ended


class Current(Record, frozen=True):
    """The key that is in use."""

    key_id: KeyId


class EncryptionKeyRegistered(Fact, frozen=True):
    """A member has an encryption key."""

    member: MemberId
    key_id: KeyId
    algorithm: Algorithm


class EncryptionKeyReplaced(Fact, frozen=True):
    """A member's encryption key gave way to another: encrypt with the new one from now on."""

    member: MemberId
    old: KeyId
    new: KeyId


class EncryptionKeyRevoked(Fact, frozen=True):
    """Nobody should use this key any more; the member has none until it registers another."""

    member: MemberId
    key_id: KeyId


class NamedEncryptionKey(Record, frozen=True):
    """A key with its id and owner."""

    member: MemberId
    key_id: KeyId
    key: EncryptionKey


class Encryption(Contract):
    """See the module's docstring."""

    name = "encryption"
    facts = (EncryptionKeyRegistered, EncryptionKeyReplaced, EncryptionKeyRevoked)

    KEY_IN_USE = error(1, Category.PRECONDITION, "The member has an encryption key: replace it.")
    KEY_UNKNOWN = error(2, Category.NOT_FOUND, "The member has no such encryption key in use.")
    KEY_INVALID = error(
        3, Category.INVALID, "The public key is not admissible for encryption in the chain's suite."
    )
    KEY_KNOWN = error(4, Category.ALREADY_EXISTS, "The key is registered already: make a new one.")
    TOO_MANY_KEYS = error(5, Category.OVERLOADED, "A member has at most 256 encryption keys in its life.")

    current = table(Current, member=MemberId)
    key = table(EncryptionKey, member=MemberId, key_id=KeyId)

    def __init__(self, members: Members) -> None:
        """members: who knows whose key an id names."""
        self.members = members

    # --- by the member itself -------------------------------------------------------------------------------

    @method(flat=500)
    def register(self, ctx: Context, algorithm: Algorithm, public_key: PublicKey) -> None:
        """Register the member's encryption key."""
        if self.current.get(ctx.member):
            raise Rejected(self.KEY_IN_USE)
        key_id = self._register(ctx, algorithm, public_key)
        ctx.emit(EncryptionKeyRegistered(ctx.member, key_id, algorithm))

    @method(flat=500)
    def replace(self, ctx: Context, old: KeyId, algorithm: Algorithm, public_key: PublicKey) -> None:
        """Put a new key in the place of the one in use; what is on its way can still be opened with the old
        one.
        """
        ended = self._require_current(ctx, old)
        new = self._register(ctx, algorithm, public_key)
        self.key.put(replace(ended, ended_at=ctx.height, ended="replaced"), ctx.member, old)
        ctx.emit(EncryptionKeyReplaced(ctx.member, old, new))

    @method
    def revoke(self, ctx: Context, key_id: KeyId) -> None:
        """End the key in use at once, for example because others may know its private half."""
        ended = self._require_current(ctx, key_id)
        self.key.put(replace(ended, ended_at=ctx.height, ended="revoked"), ctx.member, key_id)
        self.current.delete(ctx.member)
        ctx.emit(EncryptionKeyRevoked(ctx.member, key_id))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_key(self, ctx: Context, member: MemberId) -> NamedEncryptionKey:
        """The key with which to encrypt for a member now."""
        current = self.current.get(member)
        key = self.key.get(member, current.key_id) if current else None
        if current is None or key is None:
            raise Rejected(self.KEY_UNKNOWN, member=member)
        return NamedEncryptionKey(member, current.key_id, key)

    @query
    def list_keys(
        self, ctx: Context, member: MemberId
    ) -> Annotated[tuple[NamedEncryptionKey, ...], Meta(max_length=KEYS_EVER_MAX)]:
        """All keys that a member ever had, by id."""
        return tuple([NamedEncryptionKey(member, parts[1], key) for parts, key in self.key.scan(member)])

    # --- effects --------------------------------------------------------------------------------------------

    def _require_current(self, ctx: Context, key_id: bytes) -> EncryptionKey:
        current = self.current.get(ctx.member)
        key = self.key.get(ctx.member, key_id) if current and current.key_id == key_id else None
        if key is None:
            raise Rejected(self.KEY_UNKNOWN, key_id=key_id.hex())
        return key

    def _register(self, ctx: Context, algorithm: str, public_key: bytes) -> bytes:
        if not ctx.proofs.is_valid_encryption_key(algorithm, public_key):
            raise Rejected(self.KEY_INVALID, algorithm=algorithm)
        key_id = ctx.proofs.key_id(algorithm, public_key)
        if self.members.owner.get(key_id):
            raise Rejected(self.KEY_KNOWN, key_id=key_id.hex())
        if sum([1 for _ in self.key.scan(ctx.member)]) >= KEYS_EVER_MAX:
            raise Rejected(self.TOO_MANY_KEYS)
        self.members.owner.put(Owner(ctx.member), key_id)
        self.key.put(EncryptionKey(algorithm, public_key, ctx.height, 0, ""), ctx.member, key_id)
        self.current.put(Current(key_id), ctx.member)
        return key_id
