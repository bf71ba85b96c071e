"""Recalls that the node proposes to people: what left, and may not have; nothing is taken back by itself."""

from collections.abc import Iterable

from node.federation.lines import local_line
from node.federation.mail_kinds import Post
from node.store import recalls
from node.store.recalls import RecallId
from node.wire.ledger_pb2 import LeafKind, LeafPrivate
from node.wire.sharing_pb2 import RecallItem
from node.workflow.recalls import RECALLING, Actor, Event


def propose_recalls(post: Post, peer: str, exchange_id: bytes, handles: Iterable[bytes], reason: str) -> None:
    """List what a peer was told for recall, each with a line, but what is under way or listed already."""
    for handle in handles:
        key = RecallId(peer, exchange_id, handle)
        item = recalls.find(post.connection, post.vault, key)
        state = RECALLING.start
        if item is not None:
            if Event.PROPOSE not in RECALLING.allowed(item.state, Actor.NODE):
                continue
            state = RECALLING.after(item.state, Event.PROPOSE, Actor.NODE)
        entry_id = post.vault.resolve_handle(peer, handle)
        new = RecallItem(
            peer=peer,
            exchange_id=exchange_id,
            handle=handle,
            entry_id=entry_id,
            state=state,
            at_us=post.now_us,
            changed_us=post.now_us,
            reason=reason,
        )
        recalls.put(post.connection, post.vault, new)
        log_recall(post, entry_id, f"PROPOSED {peer}")


def log_recall(post: Post, entry_id: bytes, reason: str, private: LeafPrivate | None = None) -> None:
    """Log a step of a recall that the peer does not see; the line names entry and peer in its private part alone."""
    made = private or LeafPrivate()
    made.subject, made.reason = entry_id, reason[:64]
    post.log(local_line(LeafKind.LEAF_KIND_SHARE, made, post.standing.signer, post.now_us))
