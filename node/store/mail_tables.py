"""Tables of mail: what leaves until a peer has it, what came, and where each exchange stands.

In the clear are ids, countries, kinds, times and sizes; contents are sealed, each under a key of its own.
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, SmallInteger, String, Table

from node.store.bound import unbound
from node.store.tables import COUNTRY, metadata

mail_exchanges = Table(
    "mail_exchanges",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("next_out", BigInteger, nullable=False),  # number of the next mail to the peer
    Column("next_in", BigInteger, nullable=False),  # of the next mail of the peer that is in order
    info=unbound("numbers are in the statements of lines; one that was altered shows as a gap, or as mail sent twice"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),  # field of Mail
    Column("overtakes", Boolean, nullable=False),
    Column("state", SmallInteger, nullable=False),  # MailState
    Column("queued_us", BigInteger, nullable=False),  # when it was written; what waits longest leaves first
    Column("sent_us", BigInteger, nullable=False),  # time of its statement
    Column("changed_us", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),  # not sent before
    Column("reason", String(100), nullable=False),
    Column("size", BigInteger, nullable=False),  # of the body
    Column("sealed", LargeBinary, nullable=False),  # Envelope, see `node.store.mail`
    Column("withdrawn", LargeBinary),  # the Envelope that `sealed` took the place of, sealed likewise
    Column("receipt_sha256", LargeBinary),  # of the statement of the last receipt
    Index("ix_outbox_state", "state", "peer", "overtakes", "queued_us"),
    Index("ix_outbox_sent", "peer", "sent_us"),  # by which ledgers are reconciled
    info=unbound("each mail and each receipt is a line; what was deleted here shows when ledgers are reconciled"),
)
"""Mail sent is kept when it was received: a peer that was restored from a backup asks for it again."""

inbox = Table(
    "inbox",
    metadata,
    Column("peer", COUNTRY, primary_key=True),
    Column("exchange_id", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),  # empty: not known here
    Column("state", SmallInteger, nullable=False),  # MailState
    Column("sent_us", BigInteger, nullable=False),  # time of its statement
    Column("changed_us", BigInteger, nullable=False),
    Column("reason", String(100), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("sealed", LargeBinary),  # Mail; NULL once erased, or where it was refused
    Column("receipt", LargeBinary),  # Envelope, as it was answered with
    Index("ix_inbox_sent", "peer", "sent_us"),
    info=unbound("the line of each receipt has the statement of the mail; contents are sealed for their place"),
)
