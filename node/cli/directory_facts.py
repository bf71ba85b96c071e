"""What directories, roots and records say, as people and programs read it."""

import hashlib
from typing import Any

from node.cli.output import time_text
from node.errors import DirectoryError
from node.identity.directory import DIRECTORY_TYPE
from node.identity.stewards import decoded, followed, parse_root, signed_by
from node.wire.codes_pb2 import InstrumentKind, Obligation
from node.wire.directory_pb2 import Directory, Instrument, MemberRecord, SignedDirectory


def root_facts(data: bytes) -> dict[str, Any]:
    """Return what a root (Root) says."""
    root = parse_root(data)
    return {
        "federation": root.federation,
        "root_version": root.version,
        "threshold": root.threshold,
        "stewards": {key.steward: key.public_key.hex() for key in root.keys},
        "root_sha256": hashlib.sha256(data).hexdigest(),
    }


def member_facts(record: MemberRecord, root_key: bytes) -> dict[str, Any]:
    """Return what a member's record says."""
    audit = record.audit
    facts: dict[str, Any] = {
        "country": record.country,
        "number": record.number,
        "root_key": root_key.hex(),
        "duty_telephone": record.duty_telephone,
        "nodes": [f"{node.name} {node.endpoint}" for node in record.nodes],
        "ca_sha256": [hashlib.sha256(der).hexdigest() for der in record.ca_certificates],
        "treaties": list(record.treaties),
        "accepted": [_code(Obligation, number, "OBLIGATION_") for number in record.accepted],
    }
    if record.HasField("audit"):
        facts["audited_by"] = audit.institution
        facts["institution_key"] = audit.root_key.hex()
        facts["audit_period_days"] = audit.period_days
        facts["openings_kept_days"] = audit.retention_days or "no law says"
    return facts


def _instrument_facts(instrument: Instrument) -> dict[str, Any]:
    return {
        "id": instrument.id,
        "kind": _code(InstrumentKind, instrument.kind, "INSTRUMENT_KIND_"),
        "title": instrument.title,
        "parties": list(instrument.parties),
        "valid_from": time_text(instrument.valid_from_us),
        "valid_until": time_text(instrument.valid_until_us),
    }


# Any: the generator gives enumerations no common type.
def _code(enum: Any, number: int, prefix: str) -> str:  # noqa: ANN401
    name: str = enum.Name(number) if number in enum.values() else f"{prefix}{number}"
    return name.removeprefix(prefix)


def directory_facts(signed: SignedDirectory, pinned: bytes) -> dict[str, Any]:
    """Return what a directory says and which stewards of its newest root signed it; `pinned` is the first root."""
    directory = decoded(Directory, signed.directory, "the directory")
    root = parse_root(followed(pinned, signed.roots)[-1])
    try:
        names = signed_by(root, DIRECTORY_TYPE, signed.directory, signed.signatures, "the directory")
        finding = None
    except DirectoryError as error:
        names, finding = frozenset(), str(error)
    facts: dict[str, Any] = {
        "federation": directory.federation,
        "version": directory.version,
        "sha256": hashlib.sha256(signed.directory).hexdigest(),
        "issued": time_text(directory.issued_us),
        "expires": time_text(directory.expires_us),
        "root_version": directory.root_version,
        "demonstration": directory.demonstration,
        "witness_quorum": directory.witness_quorum,
        "floor_sha256": hashlib.sha256(directory.floor_rulebook).hexdigest(),
        "signed_by": sorted(names),
        "missing_signatures": max(0, root.threshold - len(names)),
    }
    if finding:
        facts["finding"] = finding
    facts["members"] = [
        member_facts(decoded(MemberRecord, member.record, "a member's record"), member.root_key)
        for member in directory.members
    ]
    facts["instruments"] = [_instrument_facts(instrument) for instrument in directory.instruments]
    return facts
