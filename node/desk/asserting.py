"""Who asserts a protective fact: the officer at the desk, whatever the record that they hand in says."""

from typing import Final

from google.protobuf.message import Message

from node.wire.entry_pb2 import Assertion, Entry

# What each assertion of `Protection` is about.
_ASSERTED: Final = {
    "victim_by": ("victim",),
    "age_by": ("age",),
    "asylum_by": ("asylum",),
    "witness_by": ("witness_protection",),
    "exposure_by": ("exposure",),
    "origins_by": ("origins", "origins_complete"),
    "torture_derived_by": ("torture_derived",),
}


def assert_by(new: Entry, old: Entry | None, officer: str, now_us: int) -> None:
    """Put officer and time (UTC microseconds) on each protective fact that is new, and leave the others as they were.

    So nobody establishes in another's name that there is nothing to protect. An import keeps what it is given: there
    the facts were established elsewhere, and the ledger names who brought them.
    """
    if not new.HasField("protection"):
        return
    before = (old or Entry()).protection
    for by, facts in _ASSERTED.items():
        assertion: Assertion = getattr(new.protection, by)
        was: Assertion = getattr(before, by)
        same = all(getattr(new.protection, fact) == getattr(before, fact) for fact in facts)
        if same and assertion.basis == was.basis:
            _put(new.protection, by, was if before.HasField(by) else None)  # type: ignore[arg-type]
        else:
            _put(new.protection, by, Assertion(officer=officer, at_us=now_us, basis=assertion.basis))
    for consent in new.protection.consents:
        if consent not in before.consents:
            consent.by.officer, consent.by.at_us = officer, now_us
    for assurance in new.protection.assurances:
        if assurance not in before.assurances:
            assurance.by.officer, assurance.by.at_us = officer, now_us


def _put(message: Message, field: str, value: Message | None) -> None:
    message.ClearField(field)
    if value is not None:
        getattr(message, field).CopyFrom(value)
