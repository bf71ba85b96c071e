"""Proof bundles: a whole one opens, and each way of making one up is refused with its sentence."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from nacl.signing import SigningKey

from node.errors import LedgerBrokenError, LedgerError, NoteError, ProofError, SignatureError, UnknownMemberError
from node.federation.envelope import STATEMENT_TYPE
from node.identity.keys import key_id, public_key, sign, verify_signature
from node.ledger.bundle import FORMAT, LONGEST, Keys, Windows, open_bundle, open_checkpoint_of, parse_bundle
from node.ledger.checkpoint import Checkpoint, cosigner, format_checkpoint
from node.ledger.leaf import parse_leaf, parse_opening
from node.ledger.note import COSIGNATURE_V1, ED25519, VerifierKey, note_signer, sign_note, signature_line
from node.ledger.rfc6962 import inclusion_proof, leaf_hash, root_of
from node.wire.bundle_pb2 import ProofBundle
from node.wire.envelope_pb2 import Statement
from node.wire.ledger_pb2 import DIRECTION_LOCAL, Leaf, LeafShared
from tests.ledger_lines import OWN_KEY, PEER_KEY, new_line

INDEX, SIZE = 2, 5
ORIGIN, OTHER = "enlace.example/GT/gt-1", "enlace.example/MX/mx-1"
TIME_US = 1_790_000_000_000_000
WITNESS = bytes(range(2, 34))
LINES = [new_line() for _ in range(SIZE)]
HASHES = [leaf_hash(line.leaf) for line in LINES]


def public(key: bytes) -> bytes:
    return SigningKey(key).verify_key.encode()


def note(origin: str = ORIGIN, key: bytes = OWN_KEY, root: bytes = root_of(HASHES)) -> bytes:
    signer = note_signer(origin, public(key), lambda text: SigningKey(key).sign(text).signature)
    return sign_note(format_checkpoint(Checkpoint(origin, SIZE, root)), signer)


def cosignature(data: bytes, key: bytes = WITNESS, signing: bytes = WITNESS) -> bytes:
    text = data.rpartition(b"\n\n")[0] + b"\n"
    by = cosigner(
        "enlace.example/MX/mx-1", public(key), lambda m: SigningKey(signing).sign(m).signature, now_us=TIME_US
    )
    return signature_line(text, by)


KNOWN = {key_id(public_key(key)): public_key(key) for key in (OWN_KEY, PEER_KEY)}


def verify_statement(statement: bytes, key: bytes, signature: bytes) -> None:
    if key not in KNOWN:
        raise UnknownMemberError("no directory names this key for that node and time")
    verify_signature(KNOWN[key], STATEMENT_TYPE, statement, signature)


def keys(windows: Windows = ((0, TIME_US + 1),)) -> Keys:
    logs = {
        "GT/gt-1": (VerifierKey(ORIGIN, ED25519, public(PEER_KEY)), VerifierKey(ORIGIN, ED25519, public(OWN_KEY))),
        "MX/mx-1": (VerifierKey(OTHER, ED25519, public(PEER_KEY)),),
    }
    witnesses = {VerifierKey(OTHER, COSIGNATURE_V1, public(WITNESS)): windows}
    return Keys(logs=lambda node: logs.get(node, ()), witnesses=witnesses, verify_statement=verify_statement)


def bundle(*, opened: bool = False) -> ProofBundle:
    line = LINES[INDEX]
    statement = Statement(
        sender="GT", node="gt-1", recipient="MX", leaf_sha256=sha256(parse_leaf(line.leaf).shared).digest()
    ).SerializeToString()
    made = ProofBundle(
        format=FORMAT,
        node="GT/gt-1",
        index=INDEX,
        leaf=line.leaf,
        proof=inclusion_proof(INDEX, HASHES),
        checkpoint=note() + cosignature(note()),
        statement=statement,
        key_id=line.key_id,
        signature=sign(OWN_KEY, STATEMENT_TYPE, statement),
    )
    if opened:
        opening = parse_opening(line.opening)
        made.salt, made.private = opening.salt, opening.private
    return made


def test_a_whole_bundle_tells_what_it_proves() -> None:
    opened = open_bundle(bundle().SerializeToString(), keys())
    assert (opened.index, opened.checkpoint.checkpoint.size, opened.private) == (INDEX, SIZE, None)
    assert [each.key.name for each in opened.checkpoint.cosignatures] == [OTHER]
    assert opened.shared.peer == "MX"
    private = open_bundle(bundle(opened=True).SerializeToString(), keys()).private
    assert private is not None
    assert private.officer == "a41f"


def altered_leaf(made: ProofBundle) -> None:
    leaf = Leaf.FromString(made.leaf)
    leaf.logged_us += 1
    made.leaf = leaf.SerializeToString()


def another_line(made: ProofBundle) -> None:
    made.leaf = LINES[0].leaf


def another_proof(made: ProofBundle) -> None:
    made.proof[:] = inclusion_proof(0, HASHES)


def another_place(made: ProofBundle) -> None:
    made.index = 3


def another_root(made: ProofBundle) -> None:
    made.checkpoint = note(root=root_of(HASHES[::-1]))


def another_ledger(made: ProofBundle) -> None:
    made.checkpoint = note(OTHER, PEER_KEY)


def unknown_key_of_the_ledger(made: ProofBundle) -> None:
    made.checkpoint = note(key=WITNESS)


def another_ledger_under_this_name(made: ProofBundle) -> None:
    made.node = "MX/mx-1"


def unknown_ledger(made: ProofBundle) -> None:
    leaf = Leaf.FromString(made.leaf)
    leaf.shared = LeafShared(exchange_id=bytes(16), node="US/us-1", direction=DIRECTION_LOCAL).SerializeToString()
    made.leaf, made.node = leaf.SerializeToString(), "US/us-1"


def forged_cosignature(made: ProofBundle) -> None:
    made.checkpoint = note() + cosignature(note(), signing=PEER_KEY)


def no_statement(made: ProofBundle) -> None:
    made.statement = b""


def statement_for_another_line(made: ProofBundle) -> None:
    made.statement = Statement(sender="GT", node="gt-1", leaf_sha256=bytes(32)).SerializeToString()


def statement_by_another_node(made: ProofBundle) -> None:
    statement = Statement.FromString(made.statement)
    statement.node = "gt-2"
    made.statement = statement.SerializeToString()


def forged_statement(made: ProofBundle) -> None:
    made.signature = sign(PEER_KEY, STATEMENT_TYPE, made.statement)


def unknown_key(made: ProofBundle) -> None:
    made.key_id = bytes(8)


def no_statement_of_that_form(made: ProofBundle) -> None:
    made.statement = b"\xff"


def another_private_part(made: ProofBundle) -> None:
    opening = parse_opening(LINES[0].opening)
    made.salt, made.private = opening.salt, opening.private


def unknown_format(made: ProofBundle) -> None:
    made.format = 2


@pytest.mark.parametrize(
    ("alter", "error", "words"),
    [
        (altered_leaf, ProofError, "gives another root"),
        (another_line, ProofError, "gives another root"),
        (another_proof, ProofError, "gives another root"),
        (another_place, ProofError, "gives another root"),
        (another_root, ProofError, "gives another root"),
        (another_ledger, NoteError, "no signature by a known key"),
        (unknown_key_of_the_ledger, NoteError, "no signature by a known key"),
        (another_ledger_under_this_name, LedgerBrokenError, "its line of GT/gt-1"),
        (unknown_ledger, NoteError, "no directory names a key"),
        (forged_cosignature, NoteError, "by enlace.example/MX/mx-1 does not verify"),
        (no_statement, LedgerBrokenError, "is missing"),
        (statement_for_another_line, LedgerBrokenError, "for another line"),
        (statement_by_another_node, LedgerBrokenError, "not by GT/gt-1"),
        (forged_statement, SignatureError, "signature"),
        (unknown_key, UnknownMemberError, "no directory names"),
        (no_statement_of_that_form, LedgerBrokenError, "is not one"),
        (another_private_part, ProofError, "not what the line commits to"),
        (unknown_format, LedgerBrokenError, "format 1"),
    ],
)
def test_what_is_made_up_is_refused(alter: Callable[[ProofBundle], None], error: type[Exception], words: str) -> None:
    made = bundle()
    alter(made)
    with pytest.raises(error, match=words):
        open_bundle(made.SerializeToString(), keys())


def test_a_checkpoint_that_only_a_witness_signed_is_not_the_ledgers() -> None:
    text, lines = note().rpartition(b"\n\n")[0] + b"\n", cosignature(note())
    with pytest.raises(NoteError, match="is not signed by"):
        open_checkpoint_of(text + b"\n" + lines, keys().logs("GT/gt-1"), keys().witnesses)


@pytest.mark.parametrize(
    ("windows", "good"),
    [
        (((0, TIME_US),), False),  # half-open
        (((TIME_US + 1_000_000, TIME_US + 2_000_000),), False),
        (((TIME_US + 999_999, TIME_US + 2_000_000),), True),  # a cosignature tells whole seconds
        (((0, 1), (TIME_US, TIME_US + 1)), True),
    ],
)
def test_a_cosignature_counts_while_its_key_is_valid(windows: Windows, good: bool) -> None:  # noqa: FBT001
    if good:
        assert open_bundle(bundle().SerializeToString(), keys(windows)).checkpoint.cosignatures
        return
    with pytest.raises(NoteError, match="not valid then"):
        open_bundle(bundle().SerializeToString(), keys(windows))


def test_the_counterparts_statement_belongs_to_the_line() -> None:
    made = bundle()
    leaf = parse_leaf(made.leaf)
    for alter in ({"peer": "US"}, {"exchange_id": bytes(16)}):
        shared = LeafShared.FromString(leaf.shared)
        shared.MergeFrom(LeafShared(**alter))
        changed = Leaf(
            format=1, logged_us=leaf.logged_us, shared=shared.SerializeToString(), private_sha256=leaf.private_sha256
        ).SerializeToString()
        hashes = [*HASHES]
        hashes[INDEX] = leaf_hash(changed)
        statement = Statement(sender="GT", node="gt-1", leaf_sha256=sha256(shared.SerializeToString()).digest())
        made.leaf, made.checkpoint = changed, note(root=root_of(hashes))
        made.proof[:] = inclusion_proof(INDEX, hashes)
        made.statement = statement.SerializeToString()
        made.signature = sign(OWN_KEY, STATEMENT_TYPE, made.statement)
        with pytest.raises(LedgerBrokenError, match="by another country, or of another exchange"):
            open_bundle(made.SerializeToString(), keys())


@pytest.mark.parametrize(
    "data", [b"", b"\xff", bundle().SerializeToString() + b"\x7a\x01x", bytes(LONGEST + 1)], ids=lambda _: ""
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(LedgerError):
        parse_bundle(data)


def test_a_signature_without_a_statement_is_refused() -> None:
    line = new_line()
    leaf = parse_leaf(line.leaf)
    shared = LeafShared(exchange_id=bytes(16), node="GT/gt-1", direction=DIRECTION_LOCAL).SerializeToString()
    data = Leaf(format=1, logged_us=1, shared=shared, private_sha256=leaf.private_sha256).SerializeToString()
    hashes = [leaf_hash(data)] * SIZE
    made = ProofBundle(
        format=FORMAT,
        node="GT/gt-1",
        index=INDEX,
        leaf=data,
        proof=inclusion_proof(INDEX, hashes),
        checkpoint=note(root=root_of(hashes)),
    )
    assert open_bundle(made.SerializeToString(), keys()).shared.peer == ""
    made.signature = bytes(64)
    with pytest.raises(LedgerBrokenError, match="no statement"):
        open_bundle(made.SerializeToString(), keys())
