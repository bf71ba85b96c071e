"""Every deliberate error of the node.

`str(error)` is for the operator of this node and may name files, peers and rules, but never a selector, a name or any
value of a record. `error.public` is all that a peer is told; an officer also reads the text of what they can mend.
"""

from collections.abc import Iterable


class EnlaceError(Exception):
    """Base of every deliberate error."""

    public = "the request could not be served"


# --- use -------------------------------------------------------------------------------------------------------------


class ConfigError(EnlaceError):
    """The configuration file is missing, malformed, or has an unknown key."""


class UsageError(EnlaceError):
    """A person asked for something in a way that can't be served; the text says what to do instead."""

    public = "the request is not well formed"


class NotFoundError(EnlaceError):
    """The case, entry, peer or line named does not exist here."""

    public = "not found"


class ForbiddenError(EnlaceError):
    """The officer's role does not allow this action."""

    public = "your role does not allow this"


# --- identity --------------------------------------------------------------------------------------------------------


class IdentityError(EnlaceError):
    """A peer could not be identified."""

    public = "the certificate is not accepted"


class CertificateInvalidError(IdentityError):
    """A certificate does not chain to its country's roots, has expired, or has the wrong usage or name."""


class CertificateRevokedError(IdentityError):
    """A certificate is on its country's revocation list."""


class UnknownMemberError(IdentityError):
    """The country is not in the directory."""


class NotPairedError(IdentityError):
    """Two focal points have not yet signed the pairing with this country, or not for the root key that it has now."""

    public = "this country has no signed pairing with you"


class SuspendedError(NotPairedError):
    """This country's focal points have suspended exchange with the peer, which is told no more than of no pairing."""


# --- directory -------------------------------------------------------------------------------------------------------


class DirectoryError(EnlaceError):
    """A directory was not accepted, or none is in force."""

    public = "no directory is in force"


class DirectoryMalformedError(DirectoryError):
    """The bytes are no directory of the contract, are too large, or contradict themselves; the text names the place."""


class DirectoryExpiredError(DirectoryError):
    """The directory's time is over, or has not begun: nothing may be exchanged on it."""


class DirectoryRollbackError(DirectoryError):
    """A directory's version or a root's number is lower than, or equal with other bytes to, the one held."""


class DirectorySignatureError(DirectoryError):
    """Too few stewards signed, or a member's record lacks that member's own root signature."""


# --- envelope --------------------------------------------------------------------------------------------------------


class EnvelopeError(EnlaceError):
    """A message was refused before its contents were considered."""

    public = "the message is not accepted"


class MalformedError(EnvelopeError):
    """The bytes are not a message of the contract, or a field has a value that the contract does not allow."""

    public = "the message is malformed"


class SignatureError(EnvelopeError):
    """A signature or a digest does not fit the bytes received."""

    public = "the signature does not verify"


class MisdirectedError(EnvelopeError):
    """The message is addressed to another country, or sent by another than the one on the connection."""

    public = "the message is addressed elsewhere"


class ClockError(EnvelopeError):
    """The message's time lies outside the window around this node's clock."""

    public = "the message's time is outside the accepted window"


class ReplayError(EnvelopeError):
    """This exchange id was already used by this peer."""

    public = "the message was already received"


class TooLargeError(EnvelopeError):
    """The message, or a list in it, exceeds the contract's limit."""

    public = "the message is too large"


class UnansweredError(EnlaceError):
    """A peer was down, too slow, or broke off before its answer was complete."""

    public = "the peer did not answer"


class OverloadedError(EnlaceError):
    """A peer has more calls under way than the node serves at once."""

    public = "too many requests at once"


class QuotaError(EnlaceError):
    """A quota for an hour is used up; that follows from what the asker did alone."""

    public = "the quota for an hour is used up: it renews at the next full hour"


class DayQuotaError(QuotaError):
    """A quota for a day is used up."""

    public = "the quota for a day is used up: it renews at midnight, UTC"


# --- schema ----------------------------------------------------------------------------------------------------------


class SchemaError(EnlaceError):
    """The wire contract does not say enough of a record's fields; found when the project is built, never in service."""


# --- records ---------------------------------------------------------------------------------------------------------


class RecordError(EnlaceError):
    """A record or a selector has a value that can't be kept or searched."""

    public = "a value is not valid"


class ImportFileError(RecordError):
    """An import file is not of the format named."""


class SecondOfficerError(EnlaceError):
    """A change that weakens protection needs a second officer, who must not be the first."""

    public = "a second officer must confirm this change"


# --- policy ----------------------------------------------------------------------------------------------------------


class PolicyError(EnlaceError):
    """A rulebook was not accepted, or none is in force."""

    public = "no rule allows this"


class RulebookError(PolicyError):
    """A rulebook has mistakes; the text lists the first with line and column, `mistakes` all of them."""

    def __init__(self, text: str, mistakes: Iterable[tuple[int, int, str]] = ()) -> None:
        """Keep the mistakes as line, column and sentence, for programs."""
        super().__init__(text)
        self.mistakes = tuple(mistakes)


class ApprovalError(PolicyError):
    """A step of a rulebook's life was refused, and the one in force stays; the text says why."""

    public = "the rulebook is not approved"


class ProverError(PolicyError):
    """The prover gave up, or it and the evaluator disagree on a situation: a fault of this software, not of a rule."""

    public = "the rulebook can't be proved"


class DeniedError(PolicyError):
    """The rules deny a whole request."""


# --- workflows -------------------------------------------------------------------------------------------------------


class WorkflowError(EnlaceError):
    """What somebody wants to do can't be done in the state that a request, share, recall or alert is in."""

    public = "this can't be done now"


# --- ledger ----------------------------------------------------------------------------------------------------------


class LedgerError(EnlaceError):
    """The ledger could not be written or read; nothing may leave."""

    public = "the exchange could not be logged"


class ProofError(LedgerError):
    """An inclusion or consistency proof does not verify."""


class NoteError(LedgerError):
    """A signed note or checkpoint is malformed or not signed by a known key."""


class LedgerBrokenError(LedgerError):
    """A line of the ledger is damaged, missing, reordered or surplus; the text names the line."""


class FencedError(EnlaceError):
    """Witnesses have seen lines that this ledger has lost: until an epoch confesses it, nothing leaves."""

    public = "this node does not answer at the moment"


# --- store -----------------------------------------------------------------------------------------------------------


class StoreError(EnlaceError):
    """The store can't be opened or written."""


class StoreLockedError(StoreError):
    """Another process serves this data directory."""


class NewerDatabaseError(StoreError):
    """The database was written by a newer version of the node."""


class KeyErasedError(StoreError):
    """The data key of this record was erased, so the record can't be read again."""

    public = "not found"


class DecryptionError(StoreError):
    """A stored record does not decrypt under its key, id and version: it was altered or swapped."""
