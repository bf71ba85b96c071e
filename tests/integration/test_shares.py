"""Shares, recalls and flags as they are kept, in both databases: states in the clear, what they say sealed."""

import pytest
from sqlalchemy import update

from node.errors import DecryptionError, NotFoundError
from node.store import recalls, shares
from node.store.database import Database
from node.store.recalls import CHASE_US, Examined, RecallId, due_us
from node.store.share_tables import recalls as recalls_table
from node.store.vault import Vault
from node.store.withdrawals import WITHIN_US
from node.wire.ledger_pb2 import DIRECTION_RECEIVED, DIRECTION_SENT
from node.wire.share_pb2 import FLAG_KIND_WRONG, DeletionReceipt, Flag
from node.wire.sharing_pb2 import FlagItem, RecallItem, ShareDetail, ShareDraft, ShareItem
from node.workflow.recalls import State
from tests.conftest import START_US

KEY = RecallId("GT", b"x" * 16, b"h" * 16)


def share(number: int, **changes: object) -> ShareDetail:
    values: dict[str, object] = {
        "direction": DIRECTION_SENT,
        "peer": "GT",
        "exchange_id": bytes([number]) * 16,
        "share_id": bytes([number]) * 16,
        "state": "sent",
        "at_us": START_US + number,
        "changed_us": START_US + number,
        "officer": "analyst",
        "unit": "UNIT-1",
        "entries": 1,
    }
    item = ShareItem(**{**values, **changes})  # type: ignore[arg-type]
    return ShareDetail(item=item, draft=ShareDraft(words="Invented."), handles=[b"h" * 16])


def recall(state: str = State.SENT, **changes: object) -> RecallItem:
    values: dict[str, object] = {"entry_id": b"e" * 16, "at_us": START_US, "changed_us": START_US, "reason": "invented"}
    item = RecallItem(**KEY._asdict(), state=state, due_us=due_us(START_US))
    item.MergeFrom(RecallItem(**{**values, **changes}))  # type: ignore[arg-type]
    return item


def test_a_share_is_found_by_its_id_and_by_its_exchange(database: Database, vault: Vault) -> None:
    with database.engine.begin() as connection:
        for number in (1, 2):
            shares.put(connection, vault, share(number))
        shares.put(connection, vault, share(3, direction=DIRECTION_RECEIVED, state="received"))
        found = shares.get(connection, vault, DIRECTION_SENT, "GT", b"\1" * 16)
        assert (found, found.draft.words) == (share(1), "Invented.")
        assert shares.find(connection, vault, DIRECTION_SENT, "MX", b"\1" * 16) is None
        with pytest.raises(NotFoundError):
            shares.get(connection, vault, DIRECTION_RECEIVED, "GT", b"\1" * 16)
        assert shares.of_exchange(connection, vault, DIRECTION_SENT, "GT", b"\2" * 16) == [share(2)]
        shares.change(connection, found, "delivered", START_US + 9)
        listed = shares.list_items(connection)
        assert [(each.share_id[0], each.state) for each in listed] == [(3, "received"), (2, "sent"), (1, "delivered")]
        assert len(shares.list_items(connection, DIRECTION_RECEIVED)) == 1


def test_a_recall_is_late_without_a_receipt_and_chased_once_it_was_delivered(database: Database, vault: Vault) -> None:
    with database.engine.begin() as connection:
        recalls.put(connection, vault, recall())
        recalls.note_sent(connection, KEY, START_US)
        assert recalls.late(connection, vault, START_US + WITHIN_US - 1) == []
        (late,) = recalls.late(connection, vault, START_US + WITHIN_US)
        assert (late.reason, late.due_us) == ("invented", START_US + WITHIN_US)
        late.state = State.OVERDUE
        recalls.put(connection, vault, late)
        after = START_US + CHASE_US
        assert recalls.to_chase(connection, vault, after) == []  # the outbox still delivers it
        recalls.note_delivered(connection, KEY)
        assert recalls.to_chase(connection, vault, after - 1) == []
        assert [each.handle for each in recalls.to_chase(connection, vault, after)] == [KEY.handle]
        late.state = State.DELETED
        late.receipt.CopyFrom(DeletionReceipt(handle=KEY.handle, copies=1, deleted_us=after))
        recalls.put(connection, vault, late)
        assert recalls.get(connection, vault, KEY).receipt.copies == 1
        assert recalls.to_chase(connection, vault, after) == recalls.late(connection, vault, 2 * after) == []
        assert recalls.count(connection) == dict.fromkeys((State.SENT, State.DELIVERED, State.OVERDUE, "proposed"), 0)


def test_a_row_that_sql_moved_to_another_peer_does_not_open(database: Database, vault: Vault) -> None:
    with database.engine.begin() as connection:
        recalls.put(connection, vault, recall(State.PROPOSED))
        assert [each.state for each in recalls.list_items(connection, vault, [State.PROPOSED])] == ["proposed"]
        connection.execute(update(recalls_table).values(peer="BR"))
        with pytest.raises(DecryptionError):
            recalls.get(connection, vault, KEY._replace(peer="BR"))
        with pytest.raises(NotFoundError):
            recalls.get(connection, vault, KEY)


def test_a_flag_is_kept_once(database: Database, vault: Vault) -> None:
    flag = Flag(flag_id=b"f" * 16, handle=b"h" * 16, kind=FLAG_KIND_WRONG)
    item = FlagItem(direction=DIRECTION_RECEIVED, peer="GT", exchange_id=b"x" * 16, flag=flag, at_us=START_US)
    with database.engine.begin() as connection:
        assert shares.put_flag(connection, vault, item)
        assert not shares.put_flag(connection, vault, item)
        assert shares.list_flags(connection, vault, DIRECTION_RECEIVED) == [item]
        assert shares.list_flags(connection, vault, DIRECTION_SENT) == []
        assert shares.find_flag(connection, vault, DIRECTION_RECEIVED, "GT", b"f" * 16) == item
        with pytest.raises(NotFoundError):
            shares.find_flag(connection, vault, DIRECTION_SENT, "GT", b"f" * 16)


def test_how_far_disclosures_were_examined_is_kept_by_peer(database: Database) -> None:
    with database.engine.begin() as connection:
        assert recalls.examined_of(connection, "GT") is None
        for reached in (Examined(b"r" * 32, b"", done=False), Examined(b"r" * 32, b"e" * 16, done=True)):
            recalls.note_examined(connection, "GT", reached)
            assert recalls.examined_of(connection, "GT") == reached
