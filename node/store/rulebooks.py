"""Rulebooks, as bytes: which is in force in each layer, and every one that ever was, for replay."""

from hashlib import sha256
from typing import Literal

from sqlalchemy import Connection, insert, select, update

from node.errors import NotFoundError, RulebookError
from node.store.tables import active_rulebooks, rulebooks

Layer = Literal["floor", "release", "outbound"]


def activate(
    connection: Connection,
    layer: Layer,
    content: bytes,
    *,
    name: str,
    version: int,
    valid_from_us: int,
    valid_until_us: int,
    now_us: int,
) -> bytes:
    """Put a rulebook in force in its layer, and return its SHA-256.

    Raises:
        RulebookError: a rulebook of this name and a higher version, or of the same one with other rules, was in force.
    """
    digest, held = sha256(content).digest(), rulebooks.c
    same = select(held.sha256).where(held.layer == layer, held.name == name)
    if connection.execute(same.where(held.version >= version, held.sha256 != digest)).first() is not None:
        raise RulebookError(f"{name} {version} is not newer than the one that was in force: give it a new version")
    if connection.execute(same.where(held.sha256 == digest)).first() is None:
        connection.execute(
            insert(rulebooks).values(
                layer=layer,
                sha256=digest,
                name=name,
                version=version,
                valid_from_us=valid_from_us,
                valid_until_us=valid_until_us,
                content=content,
                activated_us=now_us,
            )
        )
    pointed = update(active_rulebooks).where(active_rulebooks.c.layer == layer).values(sha256=digest)
    if connection.execute(pointed).rowcount == 0:
        connection.execute(insert(active_rulebooks).values(layer=layer, sha256=digest))
    return digest


def active(connection: Connection, layer: Layer) -> bytes | None:
    """Return the rulebook in force in a layer, as it was put there; its reader sees whether it is valid now."""
    joined = active_rulebooks.join(rulebooks)
    query = select(rulebooks.c.content).select_from(joined).where(active_rulebooks.c.layer == layer)
    return connection.execute(query).scalar_one_or_none()


def by_digest(connection: Connection, layer: Layer, digest: bytes) -> bytes:
    """Return a rulebook that was once in force, by the SHA-256 that ledger lines name.

    Raises:
        NotFoundError: none of this digest was.
    """
    query = select(rulebooks.c.content).where(rulebooks.c.layer == layer, rulebooks.c.sha256 == digest)
    content: bytes | None = connection.execute(query).scalar_one_or_none()
    if content is None:
        raise NotFoundError("no rulebook of this digest was ever in force here")
    return content
