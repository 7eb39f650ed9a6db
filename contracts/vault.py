"""Vault: what the ledger knows of a document that its owner keeps, encrypted, at its own node.

No byte of a document stands here. Its id commits to its content and hides it; beside that stand the hash of
the encrypted bytes, what kind and how large it is, how long it is kept, and for each reader the document's
key, encrypted with the key that the reader has registered for that (encryption.py). Who wants to know what a
reader was shown needs no more: a document has one content only, whoever opens it.

To delete takes two transactions: the first closes the document, and its owner's node then destroys the bytes;
the second is the owner's signed statement that they are destroyed, and its receipt is the deletion receipt.

State       document / id -> Document
            owned / owner, id -> Shelved
            lying / owner, sealed -> Lying
            access / id, reader -> Grant
            readable / reader, id -> Shelved
            legal_hold / id, imposer, reference -> LegalHold
            terms_of / id -> TermsOf
Life        kept --delete--> deleting --confirm_destroyed--> destroyed
Invariants  V1 the owner alone grants, revokes, extends and deletes.
            V2 what is kept longer is never kept shorter: nothing is deleted before its time, or under a hold.
            V3 a legal hold ends by its imposer alone.
            V4 a reader's key is encrypted for a key that was the reader's, and in use, at that time.
            V5 an id names one content for ever; what is deleted has no readers and does not come back.
            V6 no two documents of an owner share their bytes, so that to destroy one destroys no other.
            V7 the terms of an asset are not deleted while the asset lives (registration.py).
Privacy     that a document exists, its size and kind, its owner, readers and holds are public to all members;
            its content is known to those who were granted it, and to nobody through its id.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX
from contracts.encryption import Encryption
from contracts.institutions import REGULATOR
from contracts.members import Members
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import AssetId, Hash, KeyId, MemberId, Record, TimeMs

DOCUMENT_BYTES_MAX: Final = 2**40
"""What can be told of a document's size; a node takes less (``vault_document_mb``)."""
READERS_MAX: Final = 256
"""Readers of a document at once: what its deletion takes away."""
GRANTS_MAX: Final = 64
"""Readers named in one operation."""
HOLDS_MAX: Final = 32
"""Legal holds on a document in its life; its owner's are half of them, so that a regulator finds room."""
RETENTION_MAX_MS: Final = 100 * 366 * 86_400_000
"""A hundred years: a date further ahead is a slip of the keyboard that nobody could take back."""

MediaType = Annotated[
    str, Meta(max_length=127, pattern=r"\A[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*\Z")
]
"""As RFC 6838, section 4.2, in lower case."""
Size = Annotated[int, Meta(ge=1, le=DOCUMENT_BYTES_MAX)]
WrappedKey = Annotated[bytes, Meta(min_length=112, max_length=256)]
HoldReference = Annotated[str, Meta(min_length=1, max_length=35)]
After = Annotated[bytes, Meta(max_length=32)]
Status = Literal["kept", "deleting", "destroyed"]

TRANSITIONS: Final[dict[Status, tuple[Status, ...]]] = {
    "kept": ("deleting",),
    "deleting": ("destroyed",),
    "destroyed": (),
}


class Document(Record, frozen=True):
    """A document. sealed: the hash of its encrypted bytes, under which its owner's node keeps them.
    retain_until_ms: it is not deleted before; 0: at any time. ended_ms: when it was closed, or destroyed.
    """

    owner: MemberId
    sealed: Hash
    size_bytes: Size
    media_type: MediaType
    retain_until_ms: TimeMs
    stored_ms: TimeMs
    status: Status
    ended_ms: TimeMs


class Grant(Record, frozen=True):
    """A reader's key to a document. key_id: the reader's key for which it is encrypted."""

    key_id: KeyId
    wrapped: WrappedKey
    granted_ms: TimeMs


class LegalHold(Record, frozen=True):
    """A reason for which a document must stay, whatever its retention."""

    imposed_ms: TimeMs
    status: Literal["in force", "lifted"]


class Shelved(Record, frozen=True):
    """A document on somebody's list."""

    version: Literal[1]


class Lying(Record, frozen=True):
    """The document that bytes of an owner's are."""

    document: Hash


class TermsOf(Record, frozen=True):
    """The asset whose terms a document is."""

    asset: AssetId


class ReaderKey(Record, frozen=True):
    """A document's key, encrypted for a reader."""

    reader: MemberId
    key_id: KeyId
    wrapped: WrappedKey


class Stored(Fact, frozen=True):
    """A document is on the ledger."""

    document: Hash
    owner: MemberId
    sealed: Hash
    size_bytes: Size
    media_type: MediaType
    retain_until_ms: TimeMs


class Granted(Fact, frozen=True):
    """A member may read a document."""

    document: Hash
    owner: MemberId
    reader: MemberId
    key_id: KeyId


class Revoked(Fact, frozen=True):
    """A member may read a document no more; what it has read it knows."""

    document: Hash
    owner: MemberId
    reader: MemberId


class RetentionExtended(Fact, frozen=True):
    """A document is kept longer."""

    document: Hash
    owner: MemberId
    retain_until_ms: TimeMs


class HoldImposed(Fact, frozen=True):
    """A document must stay."""

    document: Hash
    owner: MemberId
    imposer: MemberId
    reference: HoldReference


class HoldLifted(Fact, frozen=True):
    """A reason to keep a document is gone."""

    document: Hash
    owner: MemberId
    imposer: MemberId
    reference: HoldReference


class DeletionBegun(Fact, frozen=True):
    """A document is closed: nobody reads it, and its bytes are to be destroyed."""

    document: Hash
    owner: MemberId


class Destroyed(Fact, frozen=True):
    """Its owner states that the bytes of a document are destroyed: the deletion receipt."""

    document: Hash
    owner: MemberId
    sealed: Hash
    size_bytes: Size


class NamedDocument(Record, frozen=True):
    """A document with its id."""

    id: Hash
    document: Document


class NamedGrant(Record, frozen=True):
    """A reader of a document, and its key to it."""

    document: Hash
    reader: MemberId
    grant: Grant


class NamedHold(Record, frozen=True):
    """A legal hold with its imposer and reference."""

    imposer: MemberId
    reference: HoldReference
    hold: LegalHold


class Vault(Contract):
    """See the module's docstring."""

    name = "vault"
    facts = (
        Stored,
        Granted,
        Revoked,
        RetentionExtended,
        HoldImposed,
        HoldLifted,
        DeletionBegun,
        Destroyed,
    )

    DOCUMENT_EXISTS = error(1, Category.ALREADY_EXISTS, "There is a document of this id.")
    DOCUMENT_UNKNOWN = error(2, Category.NOT_FOUND, "There is no such document.")
    NOT_OWNER = error(3, Category.PERMISSION_DENIED, "Only the document's owner may do this.")
    NOT_IN_THIS_STATE = error(4, Category.PRECONDITION, "The document is in no state that allows this.")
    RETENTION_OUT_OF_RANGE = error(
        5, Category.INVALID, "A document is kept until a time ahead, of at most a hundred years."
    )
    RETENTION_NOT_LATER = error(6, Category.PRECONDITION, "A document's retention is only ever extended.")
    RETAINED = error(7, Category.PRECONDITION, "The document is kept until a later time.")
    HELD = error(8, Category.PRECONDITION, "A legal hold on the document is in force.")
    READER_GRANTED = error(
        9, Category.ALREADY_EXISTS, "The member reads the document already, with this key."
    )
    NOT_GRANTED = error(10, Category.NOT_FOUND, "The member is not granted this document.")
    KEY_NOT_IN_USE = error(
        11,
        Category.PRECONDITION,
        "This is not the reader's encryption key now: look it up and encrypt again.",
    )
    TOO_MANY_READERS = error(12, Category.OVERLOADED, "A document has at most 256 readers.")
    NOT_AUTHORITY = error(
        13, Category.PERMISSION_DENIED, "Only the owner or a regulator imposes a legal hold."
    )
    HOLD_EXISTS = error(14, Category.ALREADY_EXISTS, "The member has imposed a hold of this reference.")
    HOLD_UNKNOWN = error(15, Category.NOT_FOUND, "The member has no such hold on the document.")
    HOLD_LIFTED = error(16, Category.PRECONDITION, "The hold is lifted already.")
    TOO_MANY_HOLDS = error(17, Category.OVERLOADED, "A document has at most 32 legal holds in its life.")

    BYTES_TAKEN = error(18, Category.ALREADY_EXISTS, "Another document of the member's has these bytes.")
    TERMS_IN_FORCE = error(
        19, Category.PRECONDITION, "The document is the terms of an asset, or of an application for one."
    )

    document = table(Document, id=Hash)
    owned = table(Shelved, owner=MemberId, id=Hash)
    access = table(Grant, id=Hash, reader=MemberId)
    lying = table(Lying, owner=MemberId, sealed=Hash)
    readable = table(Shelved, reader=MemberId, id=Hash)
    legal_hold = table(LegalHold, id=Hash, imposer=MemberId, reference=HoldReference)
    terms_of = table(TermsOf, id=Hash)

    def __init__(self, members: Members, encryption: Encryption) -> None:
        """members: who reads and who regulates. encryption: for which key a reader's key is encrypted."""
        self.members = members
        self.encryption = encryption

    # --- by the owner ---------------------------------------------------------------------------------------

    @method(flat=100)
    def store(
        self,
        ctx: Context,
        document: Hash,
        sealed: Hash,
        size_bytes: Size,
        media_type: MediaType,
        retain_until_ms: TimeMs,
        readers: Annotated[tuple[ReaderKey, ...], Meta(max_length=GRANTS_MAX)],
    ) -> None:
        """Put a document on the ledger whose encrypted bytes the signing member's node has."""
        if self.document.get(document):
            raise Rejected(self.DOCUMENT_EXISTS)
        if self.lying.get(ctx.member, sealed):
            raise Rejected(self.BYTES_TAKEN)
        if retain_until_ms:
            self._check_retention(ctx, retain_until_ms)
        self.document.put(
            Document(ctx.member, sealed, size_bytes, media_type, retain_until_ms, ctx.time_ms, "kept", 0),
            document,
        )
        self.owned.put(Shelved(1), ctx.member, document)
        self.lying.put(Lying(document), ctx.member, sealed)
        ctx.emit(Stored(document, ctx.member, sealed, size_bytes, media_type, retain_until_ms))
        for key in readers:
            self._grant(ctx, document, key)

    @method(flat=100)
    def grant(self, ctx: Context, document: Hash, key: ReaderKey) -> None:
        """Let a member read a document; again, with its new key, where it has replaced its key."""
        self._require_own(ctx, document, "kept")
        self._grant(ctx, document, key)

    @method
    def revoke(self, ctx: Context, document: Hash, reader: MemberId) -> None:
        """Let a member read a document no more. What it has fetched before stays with it."""
        self._require_own(ctx, document, "kept")
        if self.access.get(document, reader) is None:
            raise Rejected(self.NOT_GRANTED, reader=reader)
        self._take_away(document, reader)
        ctx.emit(Revoked(document, ctx.member, reader))

    @method
    def extend(self, ctx: Context, document: Hash, retain_until_ms: TimeMs) -> None:
        """Keep a document longer."""
        found = self._require_own(ctx, document, "kept")
        self._check_retention(ctx, retain_until_ms)
        if retain_until_ms <= found.retain_until_ms:
            raise Rejected(self.RETENTION_NOT_LATER)
        self.document.put(replace(found, retain_until_ms=retain_until_ms), document)
        ctx.emit(RetentionExtended(document, ctx.member, retain_until_ms))

    @method(flat=500)
    def delete(self, ctx: Context, document: Hash) -> None:
        """Close a document whose time is over. Its owner's node may destroy the bytes from then on."""
        found = self._require_own(ctx, document, "kept")
        if ctx.time_ms < found.retain_until_ms:
            raise Rejected(self.RETAINED, until_ms=found.retain_until_ms)
        if terms := self.terms_of.get(document):
            raise Rejected(self.TERMS_IN_FORCE, asset=terms.asset)
        for (_, imposer, reference), hold in self.legal_hold.scan(document):
            if hold.status == "in force":
                raise Rejected(self.HELD, imposer=imposer, reference=reference)
        for (_, reader), _ in list(self.access.scan(document)):
            self._take_away(document, reader)
        self._move_on(ctx, document, found, "deleting")
        ctx.emit(DeletionBegun(document, ctx.member))

    @method
    def confirm_destroyed(self, ctx: Context, document: Hash) -> None:
        """State that the bytes of a closed document are destroyed."""
        found = self._require_own(ctx, document, "deleting")
        self._move_on(ctx, document, found, "destroyed")
        self.owned.delete(ctx.member, document)
        self.lying.delete(ctx.member, found.sealed)
        ctx.emit(Destroyed(document, ctx.member, found.sealed, found.size_bytes))

    # --- by the owner or a regulator ------------------------------------------------------------------------

    @method(flat=60)
    def impose_hold(self, ctx: Context, document: Hash, reference: HoldReference) -> None:
        """Keep a document from deletion until the same member lifts this."""
        found = self.require_document(document)
        if found.owner != ctx.member and not self.members.has_role(ctx.member, REGULATOR):
            raise Rejected(self.NOT_AUTHORITY)
        self._check_status(found, "kept")
        if self.legal_hold.get(document, ctx.member, reference):
            raise Rejected(self.HOLD_EXISTS)
        most = HOLDS_MAX if self.members.has_role(ctx.member, REGULATOR) else HOLDS_MAX // 2
        if sum(1 for _ in self.legal_hold.scan(document)) >= most:
            raise Rejected(self.TOO_MANY_HOLDS)
        self.legal_hold.put(LegalHold(ctx.time_ms, "in force"), document, ctx.member, reference)
        ctx.emit(HoldImposed(document, found.owner, ctx.member, reference))

    @method
    def lift_hold(self, ctx: Context, document: Hash, reference: HoldReference) -> None:
        """End a hold of one's own."""
        found = self.require_document(document)
        hold = self.legal_hold.get(document, ctx.member, reference)
        if hold is None:
            raise Rejected(self.HOLD_UNKNOWN)
        if hold.status != "in force":
            raise Rejected(self.HOLD_LIFTED)
        self.legal_hold.put(replace(hold, status="lifted"), document, ctx.member, reference)
        ctx.emit(HoldLifted(document, found.owner, ctx.member, reference))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_document(self, ctx: Context, document: Hash) -> Document:
        """What the ledger knows of a document."""
        return self.require_document(document)

    @query
    def list_documents(self, ctx: Context, member: MemberId, after: After) -> tuple[NamedDocument, ...]:
        """Up to 100 documents of an owner, but for destroyed ones, ascending by id, from behind ``after``
        on.
        """
        page = self.owned.scan(member, start=(member, after.ljust(32, b"\0")))
        ids = (parts[1] for parts, _ in page if parts[1] != after)
        return tuple([NamedDocument(id_, self.require_document(id_)) for id_ in islice(ids, PAGE_MAX)])

    @query
    def list_readable(self, ctx: Context, member: MemberId, after: After) -> tuple[NamedDocument, ...]:
        """Up to 100 documents that a member may read, ascending by id, from behind ``after`` on."""
        page = self.readable.scan(member, start=(member, after.ljust(32, b"\0")))
        ids = (parts[1] for parts, _ in page if parts[1] != after)
        return tuple([NamedDocument(id_, self.require_document(id_)) for id_ in islice(ids, PAGE_MAX)])

    @query
    def get_grant(self, ctx: Context, member: MemberId, document: Hash) -> Grant:
        """A reader's key to a document."""
        self.require_document(document)
        found = self.access.get(document, member)
        if found is None:
            raise Rejected(self.NOT_GRANTED, reader=member)
        return found

    @query
    def list_readers(
        self, ctx: Context, member: MemberId, document: Hash
    ) -> Annotated[tuple[NamedGrant, ...], Meta(max_length=READERS_MAX)]:
        """All readers of a document of an owner's, by their names."""
        if self.require_document(document).owner != member:
            raise Rejected(self.NOT_OWNER)
        return tuple([NamedGrant(document, parts[1], grant) for parts, grant in self.access.scan(document)])

    @query
    def list_holds(
        self, ctx: Context, document: Hash
    ) -> Annotated[tuple[NamedHold, ...], Meta(max_length=HOLDS_MAX)]:
        """All legal holds on a document, lifted ones too."""
        return tuple([NamedHold(parts[1], parts[2], hold) for parts, hold in self.legal_hold.scan(document)])

    # --- what registration builds on ------------------------------------------------------------------------

    def keep_terms(self, ctx: Context, document: bytes, asset: str) -> None:
        """Keep a document of the signing member's as the terms of an asset. Raises DOCUMENT_UNKNOWN,
        NOT_OWNER, NOT_IN_THIS_STATE, TERMS_IN_FORCE.
        """
        self._require_own(ctx, document, "kept")
        if self.terms_of.get(document):
            raise Rejected(self.TERMS_IN_FORCE)
        self.terms_of.put(TermsOf(asset), document)

    def let_terms_go(self, document: bytes) -> None:
        """The asset is retired, or never came to be: its document is an ordinary one."""
        self.terms_of.delete(document)

    # --- guards and effects ---------------------------------------------------------------------------------

    def require_document(self, document: bytes) -> Document:
        """What the ledger knows of a document. Raises DOCUMENT_UNKNOWN."""
        found = self.document.get(document)
        if found is None:
            raise Rejected(self.DOCUMENT_UNKNOWN)
        return found

    def _require_own(self, ctx: Context, document: bytes, status: Status) -> Document:
        found = self.require_document(document)
        if found.owner != ctx.member:
            raise Rejected(self.NOT_OWNER)
        self._check_status(found, status)
        return found

    def _check_status(self, found: Document, status: Status) -> None:
        if found.status != status:
            raise Rejected(self.NOT_IN_THIS_STATE, status=found.status)

    def _check_retention(self, ctx: Context, retain_until_ms: int) -> None:
        if not ctx.time_ms < retain_until_ms <= ctx.time_ms + RETENTION_MAX_MS:
            raise Rejected(self.RETENTION_OUT_OF_RANGE)

    def _grant(self, ctx: Context, document: bytes, key: ReaderKey) -> None:
        self.members.check_active(key.reader)
        current = self.encryption.current.get(key.reader)
        if current is None or current.key_id != key.key_id:
            raise Rejected(self.KEY_NOT_IN_USE, reader=key.reader)
        known = self.access.get(document, key.reader)
        if known and known.key_id == key.key_id:
            raise Rejected(self.READER_GRANTED, reader=key.reader)
        if known is None and sum(1 for _ in self.access.scan(document)) >= READERS_MAX:
            raise Rejected(self.TOO_MANY_READERS)
        self.access.put(Grant(key.key_id, key.wrapped, ctx.time_ms), document, key.reader)
        self.readable.put(Shelved(1), key.reader, document)
        ctx.emit(Granted(document, ctx.member, key.reader, key.key_id))

    def _take_away(self, document: bytes, reader: str) -> None:
        self.access.delete(document, reader)
        self.readable.delete(reader, document)

    def _move_on(self, ctx: Context, document: bytes, found: Document, status: Status) -> None:
        """A document takes one of its transitions."""
        if status not in TRANSITIONS[found.status]:
            raise Rejected(self.NOT_IN_THIS_STATE, status=found.status)
        self.document.put(replace(found, status=status, ended_ms=ctx.time_ms), document)
