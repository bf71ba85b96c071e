"""The tables of attachments: what is here of each, and its contents in sealed chunks."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, Table

from node.store.bound import unbound
from node.store.tables import metadata

attachments = Table(
    "attachments",
    metadata,
    Column("attachment_id", LargeBinary, primary_key=True),  # also of its key
    Column("owner", LargeBinary, nullable=False, index=True),  # id of the entry, own or received
    Column("place", SmallInteger, nullable=False),  # `node.store.attachments.Place`
    Column("chunks", Integer, nullable=False),  # that are here
    Column("made_us", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # AttachmentItem
    info=unbound("the entry says by its digest what belongs here; what is missing or altered is not shown"),
)

attachment_chunks = Table(
    "attachment_chunks",
    metadata,
    Column("attachment_id", LargeBinary, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    info=unbound("each is sealed for its place, and the whole has the digest that the entry says"),
)
"""No foreign key: a chunk whose attachment is gone opens no more, and is deleted when there is time."""
