"""Verifying a ledger: whatever was done to it is found, and named."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from node.errors import (
    DecryptionError,
    KeyErasedError,
    LedgerBrokenError,
    LedgerError,
    NotFoundError,
    UnknownMemberError,
)
from node.federation.envelope import STATEMENT_TYPE
from node.identity.keys import key_id, public_key, verify_signature
from node.ledger.chain import FIRST_LINK, link_of
from node.ledger.leaf import build_leaf, pad, parse_leaf
from node.ledger.rfc6962 import Frontier, leaf_hash
from node.store import ledger_rows
from node.store.database import Database
from node.store.ledger import verify_ledger
from node.store.lines import ledger_openings, pack_bodies, unpack_bodies
from node.store.listing import list_lines, read_bodies, read_head
from node.store.vault import Vault, key_id_of
from node.store.writer import Writer
from node.wire.ledger_pb2 import LEAF_KIND_ASKED, LEAF_KIND_DENIED
from tests.ledger_lines import OWN_KEY, PEER_KEY, new_line

SIZE = 21
KEYS = {key_id(public_key(key)): public_key(key) for key in (OWN_KEY, PEER_KEY)}


def verify_statement(statement: bytes, key: bytes, signature: bytes) -> None:
    if key not in KEYS:
        raise UnknownMemberError("no such key")
    verify_signature(KEYS[key], STATEMENT_TYPE, statement, signature)


def fill(database: Database, vault: Vault, size: int = SIZE) -> None:
    with Writer(database.engine, vault) as writer:
        for _ in range(size):
            writer.submit(lambda _: None, [new_line(bodies=(("answer", b"a" * 64),))]).result(20)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.store.ledger.PAGE", 4)
    monkeypatch.setattr(ledger_rows, "PAGE", 4)
    monkeypatch.setattr("node.store.listing._PAGE", 4)


@pytest.fixture
def filled(database: Database, vault: Vault) -> Database:
    fill(database, vault)
    return database


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path, vault: Vault) -> Path:
    """A ledger in a file that no node has open."""
    copy = tmp_path / "copy.db"
    shutil.copy(sqlite_template, copy)
    with Database.open(f"sqlite:///{copy}") as database:
        fill(database, vault)
    return copy


# --- whole -----------------------------------------------------------------------------------------------------------


def test_a_whole_ledger_is_reported_with_all_that_was_checked(filled: Database, vault: Vault) -> None:
    told: list[tuple[int, int]] = []
    with filled.reading() as connection:
        report = verify_ledger(
            connection,
            vault=vault,
            verify_statement=verify_statement,
            progress=lambda done, of: told.append((done, of)),
        )
        assert report.root == read_head(connection).root
    assert (report.size, report.openings, report.erased) == (SIZE, SIZE, 0)
    assert (report.signatures, report.unknown_keys) == (2 * SIZE, 0)
    assert told == [(4, 21), (8, 21), (12, 21), (16, 21), (20, 21), (21, 21)]


def test_an_empty_ledger_is_whole(database: Database, vault: Vault) -> None:
    Writer(database.engine, vault).close()
    with database.reading() as connection:
        assert verify_ledger(connection).size == 0


def test_a_database_without_a_ledger_is_not(database: Database) -> None:
    with database.reading() as connection, pytest.raises(LedgerBrokenError, match="head"):
        verify_ledger(connection)
    with database.reading() as connection, pytest.raises(LedgerBrokenError, match="head"):
        read_head(connection)


def test_erased_openings_leave_the_tree_whole_and_are_named_where_no_line_says_so(
    filled: Database, vault: Vault
) -> None:
    with filled.engine.begin() as connection:
        sealed = connection.execute(select(ledger_openings.c.sealed).where(ledger_openings.c.idx == 3)).scalar_one()
        vault.erase_keys([key_id_of(sealed)], 1)
        connection.execute(delete(ledger_openings).where(ledger_openings.c.idx == 7))
    with filled.reading() as connection:
        gone = "what opens it is gone, and no erasure says so"
        with pytest.raises(LedgerBrokenError) as caught:
            verify_ledger(connection, vault=vault)
        assert str(caught.value) == f"line 3 is damaged: {gone}; line 7 is damaged: {gone}"
        assert [line.opening is None for line in list_lines(connection, 2, 2, vault=vault)] == [False, True]
        assert read_bodies(connection, vault, 3) == {"answer": b"a" * 64}  # under a key of its own


def test_a_live_ledger_is_verified_while_it_grows(filled: Database, vault: Vault) -> None:
    with Writer(filled.engine, vault) as writer:

        def grow(_done: int, _of: int) -> None:
            writer.submit(lambda _: None, [new_line()]).result(20)

        with filled.reading() as connection:
            assert verify_ledger(connection, progress=grow).size == SIZE
        with filled.reading() as connection:  # what one reader sees may be one snapshot
            assert verify_ledger(connection).size == SIZE + 6


def test_signatures_of_unknown_keys_are_counted_apart(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(KEYS, key_id(public_key(PEER_KEY)))
    with filled.reading() as connection:
        report = verify_ledger(connection, verify_statement=verify_statement)
    assert (report.signatures, report.unknown_keys) == (SIZE, SIZE)


# --- altered rows ----------------------------------------------------------------------------------------------------


def altered(database: Database, *statements: str, **values: object) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement), {key: value for key, value in values.items() if f":{key}" in statement})


def finding(database: Database, vault: Vault | None = None) -> str:
    with database.reading() as connection, pytest.raises(LedgerBrokenError) as caught:
        verify_ledger(connection, vault=vault, verify_statement=verify_statement)
    return str(caught.value)


def test_a_statement_taken_away_is_found(filled: Database) -> None:
    altered(filled, "UPDATE ledger_lines SET statement = NULL, key_id = NULL, signature = NULL")
    assert "the statement that left with it is missing" in finding(filled)


def leaf_at(database: Database, index: int) -> bytes:
    with database.reading() as connection:
        found = connection.execute(text("SELECT leaf FROM ledger_lines WHERE idx = :at"), {"at": index}).scalar_one()
    return bytes(found)


@pytest.mark.parametrize("at", [0, 3, 4, SIZE - 1])
def test_a_flipped_byte_names_its_line(filled: Database, at: int) -> None:
    leaf = bytearray(leaf_at(filled, at))
    leaf[40] ^= 1
    altered(filled, "UPDATE ledger_lines SET leaf = :leaf WHERE idx = :at", leaf=bytes(leaf), at=at)
    assert finding(filled) == f"line {at} is damaged; the tree over the lines is not the one in the head"


@pytest.mark.parametrize("at", [0, 10, SIZE - 1])
def test_a_missing_line_is_named(filled: Database, at: int) -> None:
    altered(filled, "DELETE FROM ledger_lines WHERE idx = :at", at=at)
    assert finding(filled) == f"line {at} is missing"


def test_missing_lines_are_named_as_one(filled: Database) -> None:
    altered(filled, "DELETE FROM ledger_lines WHERE idx >= 5 AND idx < 8")
    assert finding(filled) == "line 5 is missing, with all to 7"


def test_a_ledger_cut_off_is_named(filled: Database) -> None:
    altered(filled, "DELETE FROM ledger_lines WHERE idx >= 15")
    assert finding(filled) == f"line 15 is missing, with all to {SIZE - 1}"


def test_surplus_lines_are_named(filled: Database) -> None:
    copy = "INSERT INTO ledger_lines (idx, leaf, leaf_hash, link, exchange_id) SELECT {}, leaf, leaf_hash, link, exchange_id FROM ledger_lines WHERE idx = 2"  # noqa: E501
    altered(filled, copy.format(SIZE), copy.format(-1))
    assert finding(filled) == f"line -1 is surplus; line {SIZE} is surplus"


@pytest.mark.parametrize(("one", "other"), [(4, 5), (2, 12)])
def test_exchanged_lines_are_named(filled: Database, one: int, other: int) -> None:
    move = "UPDATE ledger_lines SET idx = {} WHERE idx = {}"
    altered(filled, move.format(1000, one), move.format(one, other), move.format(other, 1000))
    found = finding(filled)
    assert f"line {one} is not the one that was written there" in found
    assert f"line {other} is not the one that was written there" in found


def test_a_line_taken_out_and_the_rest_moved_up_is_named(filled: Database) -> None:
    up = [f"UPDATE ledger_lines SET idx = {n - 1} WHERE idx = {n}" for n in range(9, SIZE)]
    altered(filled, "DELETE FROM ledger_lines WHERE idx = 8", *up)
    found = finding(filled)
    assert "line 8 is not the one that was written there" in found
    assert f"line {SIZE - 1} is missing" in found


@pytest.mark.parametrize("column", ["leaf_hash", "link"])
def test_a_damaged_hash_beside_a_line_is_told_from_a_damaged_line(filled: Database, column: str) -> None:
    altered(filled, f"UPDATE ledger_lines SET {column} = :zeros WHERE idx = 6", zeros=bytes(32))
    kind = "hash" if column == "leaf_hash" else "link"
    assert finding(filled) == f"the {kind} kept beside line 6 is damaged"


@pytest.mark.parametrize("column", ["root", "frontier", "link", "size"])
def test_a_damaged_head_is_found(filled: Database, column: str) -> None:
    value = SIZE - 1 if column == "size" else bytes(32)
    altered(filled, f"UPDATE ledger_head SET {column} = :value", value=value)
    assert finding(filled)


def test_a_head_with_an_absurd_size_is_found_at_once(filled: Database) -> None:
    altered(filled, "UPDATE ledger_head SET size = 4611686018427387904")
    assert f"line {SIZE} is missing" in finding(filled)


def rewrite(database: Database, at: int, change: Callable[[bytes], bytes]) -> None:
    """Forge a line, and everything after it that is kept here, but for the head's root and frontier."""
    with database.engine.begin() as connection:
        link = FIRST_LINK
        for index, leaf in connection.execute(text("SELECT idx, leaf FROM ledger_lines ORDER BY idx")).all():
            forged = change(bytes(leaf)) if index == at else bytes(leaf)
            link = link_of(link, leaf_hash(forged))
            connection.execute(
                text("UPDATE ledger_lines SET leaf = :leaf, leaf_hash = :hash, link = :link WHERE idx = :at"),
                {"leaf": forged, "hash": leaf_hash(forged), "link": link, "at": index},
            )
        connection.execute(text("UPDATE ledger_head SET link = :link"), {"link": link})


def later(leaf: bytes) -> bytes:
    parsed = parse_leaf(leaf)
    return build_leaf(parsed.shared, parsed.logged_us + 1, parsed.private_sha256)


def test_a_line_rewritten_with_its_hashes_is_narrowed_down_by_the_frontier(filled: Database) -> None:
    rewrite(filled, 17, later)  # 21 lines are complete subtrees of 16, 4 and 1
    found = finding(filled)
    assert found == (
        "the tree over the lines is not the one in the head: of the lines 16 to 19, one or more were rewritten"
    )


def test_a_ledger_rewritten_with_its_head_is_still_betrayed_by_signature_and_opening(
    filled: Database, vault: Vault
) -> None:
    def forge(leaf: bytes) -> bytes:
        parsed = parse_leaf(leaf)
        return build_leaf(parsed.shared.replace(b"MX", b"US"), parsed.logged_us, parsed.private_sha256)

    rewrite(filled, 17, forge)
    with filled.reading() as connection:
        leaves = connection.execute(text("SELECT leaf FROM ledger_lines ORDER BY idx")).scalars()
        frontier = Frontier().appended([leaf_hash(bytes(leaf)) for leaf in leaves])
    altered(filled, "UPDATE ledger_head SET root = :root, frontier = :all", root=frontier.root, all=frontier.to_bytes())
    assert finding(filled) == "line 17 is damaged: the statement beside it was signed for another line"
    assert finding(filled, vault).startswith("line 17 is damaged")


def test_a_statement_signed_by_nobody_is_named(filled: Database) -> None:
    altered(filled, "UPDATE ledger_lines SET signature = :forged WHERE idx = 9", forged=bytes(64))
    assert finding(filled).startswith("line 9 is damaged: the signature")


def test_a_statement_that_is_none_is_named(filled: Database) -> None:
    altered(filled, "UPDATE ledger_lines SET statement = :forged WHERE idx = 9", forged=b"\xff")
    assert finding(filled) == "line 9 is damaged: the statement beside it is not one"


def test_an_exchange_id_beside_a_line_must_be_the_leafs(filled: Database) -> None:
    altered(filled, "UPDATE ledger_lines SET exchange_id = :other WHERE idx = 9", other=os.urandom(16))
    assert finding(filled) == "line 9 is damaged: the exchange id beside it is another one"


def test_exchanged_openings_are_named(filled: Database, vault: Vault) -> None:
    move = "UPDATE ledger_openings SET idx = {} WHERE idx = {}"
    altered(filled, move.format(1000, 2), move.format(2, 12), move.format(12, 1000))
    found = finding(filled, vault)
    assert "line 2 is damaged" in found
    assert "line 12 is damaged" in found
    with filled.reading() as connection, pytest.raises(DecryptionError):
        list_lines(connection, 2, 1, vault=vault)


def test_no_more_than_twenty_findings_are_spelt_out(filled: Database, vault: Vault) -> None:
    altered(filled, "UPDATE ledger_lines SET leaf = :junk", junk=b"junk")
    assert finding(filled, vault).endswith("; and 2 more")


# --- damaged files ---------------------------------------------------------------------------------------------------


def test_a_copy_is_verified_where_nothing_can_be_written(path: Path, vault: Vault) -> None:
    before = sorted(path.parent.iterdir())
    with Database.open_read_only(f"sqlite:///{path}") as database, database.reading() as connection:
        assert verify_ledger(connection, vault=vault).size == SIZE
    assert sorted(path.parent.iterdir()) == before


def test_the_file_of_a_running_node_is_verified_with_what_lies_in_its_log(path: Path, vault: Vault) -> None:
    with Database.open(f"sqlite:///{path}") as serving, Writer(serving.engine, vault) as writer:
        writer.submit(lambda _: None, [new_line()]).result(20)
        with Database.open_read_only(f"sqlite:///{path}") as database, database.reading() as connection:
            assert verify_ledger(connection).size == SIZE + 1


def test_every_flipped_byte_of_a_leaf_in_the_file_names_its_line(path: Path) -> None:
    """As in the tour: one byte of a copied file, wherever the leaf lies in it."""
    with closing(sqlite3.connect(path)) as connection:
        leaf = bytes(connection.execute("SELECT leaf FROM ledger_lines WHERE idx = 11").fetchone()[0])
    content = path.read_bytes()
    start = content.index(leaf)
    for offset in range(0, len(leaf), 37):
        damaged = bytearray(content)
        damaged[start + offset] ^= 0x10
        path.write_bytes(damaged)
        assert "line 11 is damaged" in finding_in(path)


def finding_in(path: Path) -> str:
    with (
        Database.open_read_only(f"sqlite:///{path}") as database,
        database.reading() as connection,
        pytest.raises(LedgerBrokenError) as caught,
    ):
        verify_ledger(connection)
    return str(caught.value)


def test_a_leaf_whose_type_was_flipped_is_read_as_it_is(path: Path) -> None:
    """The lowest bit of a blob's type makes it text: its bytes are the same, and they are whole."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE ledger_lines SET leaf = CAST(leaf AS TEXT) WHERE idx = 11")
        connection.execute("UPDATE ledger_lines SET link = 7 WHERE idx = 13")
        connection.commit()
    assert "line 13 is damaged and can't be read" in finding_in(path)
    assert "line 11" not in finding_in(path)


def test_lines_on_an_unreadable_page_are_named_and_the_others_are_checked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        leaf = bytes(connection.execute("SELECT leaf FROM ledger_lines WHERE idx = 11").fetchone()[0])
    content = bytearray(path.read_bytes())
    page = content.index(leaf) // size * size
    content[page : page + 100] = bytes(100)
    path.write_bytes(content)
    found = finding_in(path)
    assert "line 11 is damaged and can't be read" in found
    assert "line 1 " not in found


def test_a_table_whose_root_is_lost_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'ledger_lines'"
        start = (connection.execute(query).fetchone()[0] - 1) * size
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    assert "the database file is damaged" in finding_in(path)


def test_a_ledger_that_can_not_be_read_is_not_called_broken(filled: Database) -> None:
    altered(filled, "ALTER TABLE ledger_lines RENAME TO elsewhere")
    with filled.reading() as connection, pytest.raises(LedgerError, match="can't be read") as caught:
        verify_ledger(connection)
    assert not isinstance(caught.value, LedgerBrokenError)


# --- listing ---------------------------------------------------------------------------------------------------------


def test_lines_are_listed_by_place_kind_peer_and_exchange(database: Database, vault: Vault) -> None:
    exchange_id = os.urandom(16)
    with Writer(database.engine, vault) as writer:
        for number in range(12):
            line = new_line(
                kind=LEAF_KIND_DENIED if number % 3 == 0 else LEAF_KIND_ASKED,
                peer="US" if number == 10 else "MX",
                officer=f"officer {number}",
                exchange_id=exchange_id if number in (1, 9) else None,
            )
            writer.submit(lambda _: None, [line]).result(20)
    with database.reading() as connection:

        def indexes(*place: int, **filters: object) -> list[int]:
            return [line.index for line in list_lines(connection, *place, **filters)]  # type: ignore[arg-type]

        assert indexes() == list(range(12))
        assert indexes(3, 2) == [3, 4]
        assert indexes(11, 5) == [11]
        assert indexes(12) == []
        assert indexes(kinds=[LEAF_KIND_DENIED]) == [0, 3, 6, 9]
        assert indexes(1, 2, kinds=[LEAF_KIND_DENIED]) == [3, 6]
        assert indexes(peer="US") == [10]
        assert indexes(peer="") == []
        assert indexes(exchange_id=exchange_id) == [1, 9]
        opened = list_lines(connection, 4, 1, vault=vault)[0].opening
        assert opened is not None
        assert b"officer 4" in opened.private
        assert list_lines(connection, 4, 1)[0].opening is None
        with pytest.raises(NotFoundError):
            read_bodies(connection, vault, 4)


def test_erased_bodies_can_not_be_read(filled: Database, vault: Vault) -> None:
    with filled.reading() as connection:
        sealed = connection.execute(text("SELECT sealed FROM ledger_bodies WHERE idx = 3")).scalar_one()
        vault.erase_keys([key_id_of(bytes(sealed))], 1)
        with pytest.raises(KeyErasedError):
            read_bodies(connection, vault, 3)
        assert verify_ledger(connection, vault=vault).openings == SIZE


@pytest.mark.parametrize("data", [b"", b"\0", b"q", b"q\0\0", bytes(1024), b"a" * 600 + bytes(3496)])
def test_messages_are_kept_without_the_zeros_they_end_in(data: bytes) -> None:
    packed = pack_bodies([("query", data), ("answer", b"x")])
    assert unpack_bodies(packed) == {"query": data, "answer": b"x"}
    assert len(packed) % 512 == 0
    assert len(packed) <= len(data.rstrip(b"\0")) + 512 + 32


@pytest.mark.parametrize("packed", [b"", b"x", pad(b""), pad(b"\x91\x01"), pad(b"\x81\xa1q\x92\x01\xc4\x01")])
def test_messages_that_were_not_packed_are_not_read(packed: bytes) -> None:
    with pytest.raises(LedgerBrokenError):
        unpack_bodies(packed)
