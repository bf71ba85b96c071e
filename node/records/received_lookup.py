"""Tokens under which entries of other countries are found at home: of what was released, and of nothing else."""

from collections.abc import Iterator, Sequence

from node.errors import RecordError
from node.records.lookup import SEARCHABLE, LookupKey, entry_tokens
from node.schema import ENTITY_ONEOF, KIND_BY_HOLDER, category_of
from node.wire.codes_pb2 import OUTCOME_RELEASE
from node.wire.entry_pb2 import Entry
from node.wire.exchange_pb2 import ReleasedEntry


def released_tokens(released: ReleasedEntry, originator: str, keys: Sequence[LookupKey]) -> set[bytes]:
    """Return the tokens of an entry as it came, of every key.

    What was generalised or pseudonymised is no selector, and a value that can't be normalised finds nothing: a peer
    sent it, and it is kept all the same. National telephone numbers are read as those of the originator's country.
    """
    found: set[bytes] = set()
    for single in _single_values(released, originator):
        try:
            found |= entry_tokens(single, keys)
        except RecordError:
            continue
    return found


def _single_values(released: ReleasedEntry, originator: str) -> Iterator[Entry]:
    """Yield entries of one searchable value each, with what narrows it beside."""
    holder = released.WhichOneof(ENTITY_ONEOF)
    if holder is None:
        return
    whole = Entry(originator=originator)
    getattr(whole, holder).CopyFrom(getattr(released, holder))
    outcomes: dict[int, set[int]] = {}
    for grant in released.grants:
        outcomes.setdefault(grant.category, set()).add(grant.outcome)
    searchable = [field for field, _ in SEARCHABLE[KIND_BY_HOLDER[holder]]]
    for field in searchable:
        if outcomes.get(category_of(field), {OUTCOME_RELEASE}) != {OUTCOME_RELEASE}:
            continue
        count = len(getattr(getattr(whole, holder), field.name)) if field.is_repeated else 1
        for index in range(count):
            single = Entry()
            single.CopyFrom(whole)
            entity = getattr(single, holder)
            for other in searchable:
                if other is not field:
                    entity.ClearField(other.name)
            if field.is_repeated:
                del getattr(entity, field.name)[index + 1 :]
                del getattr(entity, field.name)[:index]
            yield single
