"""What a focal point is shown before signing: the message itself, why it is so, and what the peer had before."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, select

from node.desk.tracing import Books, traced_line
from node.federation.releasing import Composed, Considered, Releasing
from node.identity.releases import answer_bytes, answer_sha256
from node.policy.decide import INVISIBLE
from node.policy.explain import explain
from node.policy.narrowing import leaving
from node.store import disclosures
from node.store.requests import Kept
from node.store.tables import entries as entries_table
from node.store.traces import trace
from node.wire.codes_pb2 import LinkKind
from node.wire.deciding_pb2 import PrepareReleaseResponse, ReleasedBefore, WouldLeave
from node.wire.entry_pb2 import Entry

MOST_BEFORE = 500  # lines that are shown of what was released before


class Shown(NamedTuple):
    """By what, in which language and when it is shown."""

    releasing: Releasing
    language: str
    now_us: int


def shown_release(connection: Connection, shown: Shown, kept: Kept, composed: Composed) -> PrepareReleaseResponse:
    """Return what would leave, exactly, and what to know before it does."""
    response = PrepareReleaseResponse(detail=kept.detail, approvals=composed.approvals, nothing=composed.nothing)
    if composed.answer is not None:
        response.answer = answer_bytes(composed.answer)
        response.answer_sha256 = answer_sha256(composed.answer)
    response.entries.extend(would_leave(shown, kept.id.peer, each) for each in composed.considered)
    links = _linked(connection, shown.releasing, [each.entry for each in composed.considered])
    response.before.extend(_before(connection, shown, kept.id.peer, links))
    return response


def would_leave(shown: Shown, peer: str, each: Considered) -> WouldLeave:
    """Return what would leave of one entry, and why."""
    policy = shown.releasing.standing.policy_for(peer, shown.now_us)
    told = explain(
        policy.floor, policy.release, each.facts, policy.accepted, shown.now_us, language=shown.language, approved=True
    )
    return WouldLeave(
        entry_id=each.entry.entry_id,
        handle=each.handle,
        revision=each.entry.revision,
        frozen=each.frozen,
        outcome=each.chosen.outcome if each.chosen else INVISIBLE,
        categories=sorted(leaving(each.chosen)) if each.chosen else (),
        forbidden=each.forbidden,
        explanation=told,
    )


def _linked(connection: Connection, releasing: Releasing, entries: Iterable[Entry]) -> dict[bytes, str]:
    """Return the entries and those linked with them: by a link of either end, or by lying in the same case."""
    asked = list(entries)
    of_cases = select(entries_table.c.entry_id).where(entries_table.c.case_id.in_({each.case_id for each in asked}))
    found = dict.fromkeys(connection.execute(of_cases).scalars(), "same case")
    present = releasing.entries.get_many(connection, found)
    ids = {each.entry_id for each in asked}
    for entry in present.values():
        for link in entry.links:
            if link.to_entry_id in ids:
                found[entry.entry_id] = LinkKind.Name(link.kind).removeprefix("LINK_KIND_").lower()
    for entry in asked:
        for link in entry.links:
            found[link.to_entry_id] = LinkKind.Name(link.kind).removeprefix("LINK_KIND_").lower()
    return found | dict.fromkeys(ids, "the same")


def _before(connection: Connection, shown: Shown, peer: str, links: dict[bytes, str]) -> Iterable[ReleasedBefore]:
    books = Books()
    for index in disclosures.lines_to(connection, peer, links)[-MOST_BEFORE:]:
        for given in trace(connection, shown.releasing.vault, links, index, index + 1).given:
            line = traced_line(given, books.of(connection, given.private), str)
            yield ReleasedBefore(entry_id=given.decided.entry_id, link=links[given.decided.entry_id], line=line)
