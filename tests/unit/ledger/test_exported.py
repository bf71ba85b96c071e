"""An export held to its checkpoint: whatever is done to a file of it is named."""

from collections.abc import Callable

import pytest
from nacl.signing import SigningKey

from node.errors import LedgerBrokenError, NoteError
from node.federation.envelope import STATEMENT_TYPE
from node.identity.keys import key_id, public_key, verify_signature
from node.ledger.bundle import Keys
from node.ledger.checkpoint import Checkpoint, format_checkpoint
from node.ledger.exported import ExportCheck, open_exported_checkpoint
from node.ledger.leaf import build_leaf, parse_leaf
from node.ledger.note import ED25519, VerifierKey, note_signer, sign_note
from node.ledger.rfc6962 import leaf_hash, root_of
from node.ledger.tiles import Tile, Tiler, format_bundle, parse_bundle, tiles_at
from node.wire.ledger_pb2 import LeafShared
from tests.ledger_lines import OWN_KEY, PEER_KEY, new_line

ORIGIN = "enlace.example/GT/gt-1"
SIZE = 600
LEAVES = [new_line().leaf for _ in range(SIZE)]
Files = dict[str, bytes]
FIRST, SECOND, LAST = (tile for tile in tiles_at(0, 0, SIZE))


def checkpoint(root: bytes) -> bytes:
    key = SigningKey(OWN_KEY)
    signer = note_signer(ORIGIN, key.verify_key.encode(), lambda text: key.sign(text).signature)
    return sign_note(format_checkpoint(Checkpoint(ORIGIN, SIZE, root)), signer)


def exported(leaves: list[bytes]) -> Files:
    hashes, tiler = [leaf_hash(leaf) for leaf in leaves], Tiler()
    files = {tile.path: data for tile, data in [*tiler.add(hashes), *tiler.end()]}
    for tile in tiles_at(0, 0, len(leaves)):
        files[tile.entries_path] = format_bundle(leaves[tile.start : tile.start + tile.width])
    return files


WHOLE = exported(LEAVES)
SIGNED = checkpoint(root_of([leaf_hash(leaf) for leaf in LEAVES]))


def verify_statement(statement: bytes, key: bytes, signature: bytes) -> None:
    assert key == key_id(public_key(PEER_KEY))
    verify_signature(public_key(PEER_KEY), STATEMENT_TYPE, statement, signature)


KEYS = Keys(
    logs=lambda node: (VerifierKey(ORIGIN, ED25519, public_key(OWN_KEY)),) if node == "GT/gt-1" else (),
    witnesses={},
    verify_statement=verify_statement,
)


def checked(files: Files, signed: bytes = SIGNED) -> ExportCheck:
    check = ExportCheck(files.get, KEYS, open_exported_checkpoint(signed, KEYS))
    check.run()
    return check


def test_a_whole_export_is_verified_with_its_signatures() -> None:
    told: list[tuple[int, int]] = []
    check = ExportCheck(WHOLE.get, KEYS, open_exported_checkpoint(SIGNED, KEYS))
    check.run(lambda done, total: told.append((done, total)))
    check.require_whole()
    assert (check.signatures, told) == (SIZE, [(256, 600), (512, 600), (600, 600)])


def bundled(alter: Callable[[list[bytes]], None], tile: Tile = SECOND) -> Files:
    leaves = parse_bundle(WHOLE[tile.entries_path])
    alter(leaves)
    return {**WHOLE, tile.entries_path: format_bundle(leaves)}


def replace(leaves: list[bytes]) -> None:
    leaves[4] = new_line().leaf


def damage(leaves: list[bytes]) -> None:
    leaves[4] = leaves[4][:-1]


def swap(leaves: list[bytes]) -> None:
    leaves[4], leaves[9] = leaves[9], leaves[4]


def drop(leaves: list[bytes]) -> None:
    del leaves[4]


def insert(leaves: list[bytes]) -> None:
    leaves.insert(4, new_line().leaf)


@pytest.mark.parametrize(
    ("alter", "findings"),
    [
        (replace, ["line 260 is damaged"]),
        (swap, ["line 260 stands in another's place", "line 265 stands in another's place"]),
        (drop, ["line 260 is missing"]),
        (insert, ["1 lines were inserted before line 260"]),
    ],
)
def test_altered_lines_are_named(alter: Callable[[list[bytes]], None], findings: list[str]) -> None:
    check = checked(bundled(alter))
    assert list(check.found.values()) == findings
    assert check.whole == []
    with pytest.raises(LedgerBrokenError, match="line 260"):
        check.require_whole()


def test_a_leaf_that_is_none_is_named_once() -> None:
    assert list(checked(bundled(damage)).found) == [260]


def test_files_that_are_missing_or_cut_are_named() -> None:
    for path, cut in ((SECOND.entries_path, b"\0"), (LAST.entries_path, None)):
        files = dict(WHOLE)
        files.pop(path)
        if cut:
            files[path] = cut
        check = checked(files)
        assert len(check.found) == 1
        assert path in next(iter(check.found.values()))
        assert check.whole == []
    for path in (FIRST.path, Tile(1, 0, 2).path):
        files = {name: data for name, data in WHOLE.items() if name != path}
        assert checked(files).whole == [f"{path} is missing"]
        assert "bytes instead of" in checked({**files, path: b"cut"}).whole[0]
    both = {name: data for name, data in WHOLE.items() if name not in {FIRST.path, FIRST.entries_path}}
    assert len(checked(both).whole) == 1


def test_lines_rewritten_with_their_hashes_contradict_tiles_or_checkpoint() -> None:
    leaves = list(LEAVES)
    replace(leaves)
    forged = exported(leaves)
    check = checked({**forged, Tile(1, 0, 2).path: WHOLE[Tile(1, 0, 2).path]})
    assert check.found == {}
    assert "of the lines 0 to 255, one or more were rewritten" in check.whole[0]
    assert checked(forged).whole == ["the tree over the lines is not the one that the checkpoint signs"]


def test_lines_of_another_ledger_or_with_a_forged_signature_are_named() -> None:
    leaf = parse_leaf(LEAVES[3])
    for field, value, words in (
        ("node", "MX/mx-1", "it is of MX/mx-1"),
        ("counterpart_signature", bytes(64), "signature"),
    ):
        shared = LeafShared.FromString(leaf.shared)
        setattr(shared, field, value)
        leaves = list(LEAVES)
        leaves[3] = build_leaf(shared.SerializeToString(), leaf.logged_us, leaf.private_sha256)
        check = checked(exported(leaves), checkpoint(root_of([leaf_hash(each) for each in leaves])))
        assert list(check.found) == [3]
        assert words in check.found[3]


def test_only_the_ledgers_own_checkpoint_counts() -> None:
    for data in (SIGNED.replace(b"GT/gt-1", b"GT/gt-2"), SIGNED.replace(b"\n600\n", b"\n599\n"), b"nothing"):
        with pytest.raises(NoteError):
            open_exported_checkpoint(data, KEYS)
