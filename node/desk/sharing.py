"""Telling peers unasked: what each would get, letting it leave, and flagging what they told."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.desk.releases import Shown, would_leave
from node.errors import DeniedError, UsageError
from node.federation.flagging import send_flag, verify_flag
from node.federation.freezing import Freezing
from node.federation.lines import local_line
from node.federation.mail_kinds import Post
from node.federation.mailroom import Mailroom
from node.federation.releasing import Releasing
from node.federation.sharing import Sharer, composed_share, kept_share, log_share, new_share, send_share
from node.identity.releases import answer_bytes, answer_sha256
from node.policy.follow_up import MAX_HANDLES, handles_of, verify_request
from node.policy.received_use import Use, is_listed
from node.store import requests, shares
from node.store.database import Database
from node.store.ids import ID_BYTES
from node.store.officers import Officer
from node.store.received import ReceivedEntries
from node.wire import sharing_pb2 as wire
from node.wire.ledger_pb2 import DIRECTION_SENT, LeafKind, LeafPrivate
from node.wire.share_pb2 import Flag
from node.wire.sharing_pb2 import FlagItem, ShareDraft, ShareItem, SharePreview
from node.workflow.shares import SHARING, Actor, Event

MOST_LISTED = 1_000
_UNSENT = (bytes(ID_BYTES), bytes(ID_BYTES))  # ids of what is only previewed


@dataclass(slots=True)
class Sharing:
    """Serves units that share and flag, and whoever looks at shares."""

    mailroom: Mailroom
    database: Database
    releasing: Releasing
    freezing: Freezing
    received: ReceivedEntries
    clock: Callable[[], int]

    # --- shares ------------------------------------------------------------------------------------------------------

    async def preview(self, request: wire.PreviewShareRequest, officer: Officer) -> list[SharePreview]:
        """Return what each peer would get, exactly, or why it would get nothing.

        Raises:
            UsageError, MalformedError: the draft is not complete; the text names the field.
        """
        draft = request.draft
        peers = self._peers(draft)
        self._verify(draft, officer, peers)
        await self.freezing.catch_up()
        await self._read_entries(draft.entry_ids, officer, "SHARE_PREVIEW")
        shown = Shown(self.releasing, request.language or "en", self.clock())
        return [await self.database.read(self._preview, draft, peer, officer, shown) for peer in peers]

    def _preview(
        self, connection: Connection, draft: ShareDraft, peer: str, officer: Officer, shown: Shown
    ) -> SharePreview:
        sharer = Sharer(officer.name, officer.unit)
        kept = kept_share(self.mailroom.vault, draft, peer, ids=_UNSENT, sharer=sharer, at_us=shown.now_us)
        composed, held = composed_share(self.releasing, connection, kept, draft.words, shown.now_us)
        preview = SharePreview(peer=peer, held=held, nothing=composed.nothing)
        preview.entries.extend(would_leave(shown, peer, each) for each in composed.considered)
        if composed.answer is not None:
            preview.answer, preview.answer_sha256 = answer_bytes(composed.answer), answer_sha256(composed.answer)
            preview.approvals = composed.approvals if held else 0
        return preview

    async def send(self, request: wire.SendShareRequest, officer: Officer) -> list[ShareItem]:
        """Share with each peer what was previewed; where a rule holds it, focal points decide on it first.

        Raises:
            UsageError, MalformedError: the draft is not complete, or a preview is missing.
            DeniedError: a peer would get something else by now, or nothing; no peer was sent anything then.
        """
        draft = request.draft
        if not draft.peers or len(draft.peers) != len(request.answer_sha256):
            raise UsageError("peers: name each, with the digest of what its preview showed")
        peers = self._peers(draft)
        self._verify(draft, officer, peers)
        await self.freezing.catch_up()
        seen = dict(zip(draft.peers, request.answer_sha256, strict=True))
        shown = Shown(self.releasing, "en", self.clock())
        for peer in peers:  # before anything leaves to anybody
            preview = await self.database.read(self._preview, draft, peer, officer, shown)
            if not preview.answer:
                await self._deny(officer, "SHARE")
                raise DeniedError(f"{peer} would get nothing: {preview.nothing}")
            if preview.answer_sha256 != seen[peer]:
                raise DeniedError(f"{peer} would get something else by now: look again")
        return [
            await self.mailroom.post(partial(self._send, draft=draft, peer=peer, officer=officer)) for peer in peers
        ]

    def _send(self, post: Post, *, draft: ShareDraft, peer: str, officer: Officer) -> ShareItem:
        ids = secrets.token_bytes(ID_BYTES), secrets.token_bytes(ID_BYTES)
        sharer = Sharer(officer.name, officer.unit)
        kept = kept_share(post.vault, draft, peer, ids=ids, sharer=sharer, at_us=post.now_us)
        composed, held = composed_share(self.releasing, post.connection, kept, draft.words, post.now_us)
        if composed.answer is None:
            raise DeniedError(f"{peer} would get nothing: {composed.nothing}")
        event, actor = (Event.HOLD, Actor.NODE) if held else (Event.SEND, Actor.UNIT)
        state = SHARING.after(SHARING.start, event, actor)
        digest = b"" if held else answer_sha256(composed.answer)
        detail = new_share(kept, draft, state, handles_of(composed.answer), digest)
        shares.put(post.connection, post.vault, detail)
        if held:
            requests.put(post.connection, post.vault, kept.detail)
            log_share(post, kept.item.exchange_id, f"HELD {peer}", private_of_officer(officer))
        else:
            send_share(post, kept, composed, private_of_officer(officer))
        return detail.item

    def _peers(self, draft: ShareDraft) -> list[str]:
        paired = sorted(self.mailroom.standing.trust.pairings)
        peers = list(dict.fromkeys(draft.peers)) or paired
        unknown = [peer for peer in peers if peer not in paired]
        if unknown or len(peers) < len(draft.peers):
            raise UsageError(f"peers: {', '.join(unknown) or 'one is named twice'}: name paired countries, each once")
        return peers

    def _verify(self, draft: ShareDraft, officer: Officer, peers: Iterable[str]) -> None:
        if not 1 <= len(set(draft.entry_ids)) <= MAX_HANDLES or any(len(each) != ID_BYTES for each in draft.entry_ids):
            raise UsageError(f"entries: 1 to {MAX_HANDLES}, by their ids")
        sharer = Sharer(officer.name, officer.unit)
        for peer in peers:
            kept = kept_share(self.mailroom.vault, draft, peer, ids=_UNSENT, sharer=sharer, at_us=self.clock())
            verify_request(kept.detail.request)

    async def list_shares(self, request: wire.ListSharesRequest, officer: Officer) -> list[ShareItem]:
        """Return shares of both directions without what they say, the newest first."""
        await self._read(officer, b"", "SHARES")
        limit = min(request.limit or 100, MOST_LISTED)
        return await self.database.read(shares.list_items, request.direction or None, limit)

    # --- flags -------------------------------------------------------------------------------------------------------

    async def flag(self, request: wire.SendFlagRequest, officer: Officer) -> FlagItem:
        """Tell a peer that what it told is wrong, about the same person as an own entry, or not for the own law.

        Raises:
            MalformedError: the flag is not complete.
            NotFoundError: there is no such received entry in use.
            DeniedError: its terms keep it from the officer's unit, or the rules keep the own entry from the peer.
        """
        flag = Flag(flag_id=secrets.token_bytes(ID_BYTES), kind=request.kind, categories=request.categories)
        verify_flag(flag, rests=bool(request.entry_id))
        copy = await self.database.read(self.received.in_use, request.received_id, self.clock())
        if not is_listed(copy, Use(request.purpose, officer.unit_type, officer.unit)):
            await self._deny(officer, "TERMS")
            raise DeniedError("its terms keep this entry from your unit")
        flag.handle = copy.entry.handle
        item = FlagItem(
            direction=DIRECTION_SENT,
            peer=copy.peer,
            exchange_id=copy.exchange_id,
            flag=flag,
            at_us=self.clock(),
            officer=officer.name,
        )
        if request.entry_id:
            item.draft.CopyFrom(
                ShareDraft(
                    entry_ids=[request.entry_id],
                    purpose=request.purpose,
                    crimes=request.crimes,
                    instrument=request.instrument,
                    unit_type=request.unit_type,
                    case_reference=request.case_reference,
                )
            )
            self._verify(item.draft, officer, [copy.peer])
            await self._read_entries([request.entry_id], officer, "FLAG")
        private = private_of_officer(officer, subject=copy.received_id)
        try:
            return await self.mailroom.post(partial(self._flag, item=item, private=private))
        except DeniedError:
            await self._deny(officer, "FLAG")
            raise

    def _flag(self, post: Post, *, item: FlagItem, private: LeafPrivate) -> FlagItem:
        return send_flag(post, self.releasing, item, private)

    async def list_flags(self, request: wire.ListFlagsRequest, officer: Officer) -> list[FlagItem]:
        """Return flags of both directions, the newest first."""
        await self._read(officer, b"", "FLAGS")
        limit = min(request.limit or 100, MOST_LISTED)
        return await self.database.read(shares.list_flags, self.mailroom.vault, request.direction or None, limit)

    # --- lines -------------------------------------------------------------------------------------------------------

    async def _read_entries(self, entry_ids: Iterable[bytes], officer: Officer, reason: str) -> None:
        for entry_id in entry_ids:
            await self._read(officer, entry_id, reason)

    async def _read(self, officer: Officer, subject: bytes, reason: str) -> None:
        """Return when the look is durably logged: only then may anything be shown."""
        await self._line(LeafKind.LEAF_KIND_READ, officer, subject, reason)

    async def _deny(self, officer: Officer, reason: str) -> None:
        await self._line(LeafKind.LEAF_KIND_DENIED, officer, b"", reason)

    async def _line(self, kind: LeafKind.ValueType, officer: Officer, subject: bytes, reason: str) -> None:
        private = private_of_officer(officer, subject=subject, reason=reason)
        await self.mailroom.writer.append(local_line(kind, private, self.mailroom.standing.signer, self.clock()))
