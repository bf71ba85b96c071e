"""`enlace queue`, `enlace grant`, `enlace refuse`: what waits for a focal point, and deciding on it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from node.cli.answers import hit_lines
from node.cli.client import desk_channel
from node.cli.directory_files import private_key
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    KeyPassphraseFile,
    LanguageOption,
    OfficerOption,
    printable,
    say,
    show,
    time_text,
)
from node.cli.request import RequestArgument, answer_lines, asked_facts, left_text, named, show_items
from node.cli.words import id_text, parse_id, parse_word, word, words
from node.config import load_config
from node.errors import UsageError
from node.identity.releases import sign_release
from node.policy.explain_text import sentences
from node.records.labels import Language
from node.wire.codes_pb2 import DataCategory, Refusal, Urgency
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.deciding_pb2 import (
    ApproveReleaseRequest,
    EscalateRequestRequest,
    ListQueueRequest,
    PrepareReleaseRequest,
    PrepareReleaseResponse,
    RefuseRequestRequest,
    ReleaseApproval,
    RequestItem,
    ReviewReleaseRequest,
    SignedRelease,
    TakeRequestRequest,
)
from node.wire.ledger_pb2 import EntryOutcome
from node.wire.request_pb2 import RequestAnswer, RequestOutcome

app = typer.Typer(
    help="What waits for a decision of a focal point, the earliest due first.", invoke_without_command=True
)

DIGITS_READ = 16
"""Of a message's digest, that a focal point repeats to say which one they have read."""

DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Let only this category leave; once for each. Else all that was asked."),
]
EntryOption = Annotated[
    list[str] | None, typer.Option("--entry", help="Let only this entry leave; once for each. Else all.")
]
WordsOption = Annotated[str, typer.Option("--words", help="To the peer; it is part of what you sign.")]
EmergencyOption = Annotated[
    bool,
    typer.Option("--emergency", help="For a life in danger: alone, within the rules marked for emergencies."),
]


@app.callback()
def queue(
    context: typer.Context,
    officer: Annotated[str, typer.Option("--as", envvar="ENLACE_OFFICER", help="Which officer you are.")] = "",
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what waits, the earliest due first; `enlace queue show REQUEST` shows what would leave."""
    if context.invoked_subcommand is not None:
        return
    if not officer:
        raise UsageError("say which officer you are: --as NAME, or $ENLACE_OFFICER")
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListQueue(ListQueueRequest()).items
    show_items(items, as_json, empty="Nothing waits for a focal point.")


@app.command("show")
def show_waiting(
    request: RequestArgument,
    *,
    data: DataOption = None,
    entry: EntryOption = None,
    words_to_peer: WordsOption = "",
    emergency: EmergencyOption = False,
    officer: OfficerOption,
    language: LanguageOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would leave, exactly, by which rules, what the floor forbids, and what this peer had before."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        shown = stub.PrepareRelease(
            _choice(named(stub, request), data, entry, words=words_to_peer, emergency=emergency, language=language)
        )
    show(_facts(shown), as_json)
    if not as_json:
        say(_lines(shown, language))


@app.command("take")
def take(
    request: RequestArgument, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Take a request upon yourself, also from a colleague."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        item = named(stub, request)
        taken = stub.TakeRequest(TakeRequestRequest(request_id=item.request_id, peer=item.peer)).item
    _show_state(taken, as_json)


@app.command("escalate")
def escalate(
    request: RequestArgument, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Tell all focal points that a request has to be decided."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        item = named(stub, request)
        escalated = stub.EscalateRequest(EscalateRequestRequest(request_id=item.request_id, peer=item.peer)).item
    _show_state(escalated, as_json)


@app.command("review")
def review(
    request: RequestArgument,
    *,
    uphold: Annotated[bool, typer.Option("--uphold/--reject", help="Whether it was right.")],
    reason: Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of what another focal point released in an emergency whether it was right."""
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        item = named(stub, request)
        said = ReviewReleaseRequest(request_id=item.request_id, peer=item.peer, upheld=uphold, reason=reason)
        _show_state(stub.ReviewRelease(said).item, as_json)


def grant(
    request: RequestArgument,
    *,
    key: Annotated[Path, typer.Option("--key", help="Your key as a focal point.")],
    read: Annotated[
        str,
        typer.Option("--message", metavar="DIGEST", help="Of the message you have read, as `enlace queue show` says."),
    ],
    data: DataOption = None,
    entry: EntryOption = None,
    words_to_peer: WordsOption = "",
    emergency: EmergencyOption = False,
    officer: OfficerOption,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign the very message that you have read, and let it leave; whole, or the data and entries that you name."""
    node, private = home_of(home), private_key(key, passphrase_file)
    with desk_channel(node, officer) as channel:
        stub = CorrespondenceStub(channel)
        choice = _choice(named(stub, request), data, entry, words=words_to_peer, emergency=emergency, language="en")
        shown = stub.PrepareRelease(choice)
        item, digest = shown.detail.item, shown.answer_sha256
        if not digest:
            raise UsageError(f"nothing may leave: {shown.nothing}")
        if len(read) < DIGITS_READ or not digest.hex().startswith(read.lower()):
            raise UsageError("that is not the message that would leave now: read it again with `enlace queue show`")
        held = SignedRelease.FromString(shown.detail.signed_release)
        same = ReleaseApproval.FromString(held.release).answer_sha256 == digest
        release = ReleaseApproval(
            country=load_config(node.config).country,
            peer=item.peer,
            exchange_id=item.exchange_id,
            request_id=item.request_id,
            entry_ids=choice.entry_ids,
            categories=choice.categories,
            words=choice.words,
            answer_sha256=digest,
            emergency=emergency,
            time_us=time.time_ns() // 1_000,
        )
        # Where another focal point has signed this very message, it is the same approval that is signed once more.
        payload = held.release if same else release.SerializeToString()
        signed = sign_release(SignedRelease(release=payload), private).SerializeToString()
        approved = stub.ApproveRelease(ApproveReleaseRequest(signed_release=signed)).item
    _show_state(approved, as_json, note="another focal point signs it too" if approved.state == "signed" else "")


def refuse(
    request: RequestArgument,
    *,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help=f"Stays here: {words(Refusal.DESCRIPTOR, [each for each in Refusal.values() if each])}."
        ),
    ],
    words_to_peer: Annotated[str, typer.Option("--words", help="To the peer, if you want to say anything.")] = "",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse; the peer learns that it is refused, and nothing of why. Of a silent hold it learns nothing."""
    refusal = parse_word(Refusal.DESCRIPTOR, reason)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        item = named(stub, request)
        refused = RefuseRequestRequest(
            request_id=item.request_id,
            peer=item.peer,
            refusal=refusal,  # type: ignore[arg-type]
            words=words_to_peer,
        )
        _show_state(stub.RefuseRequest(refused).item, as_json)


# --- inside ----------------------------------------------------------------------------------------------------------


def _choice(
    item: RequestItem,
    data: list[str] | None,
    entry: list[str] | None,
    *,
    words: str,
    emergency: bool,
    language: str,
) -> PrepareReleaseRequest:
    return PrepareReleaseRequest(
        request_id=item.request_id,
        peer=item.peer,
        entry_ids=sorted(parse_id(each) for each in entry or ()),
        categories=sorted(parse_word(DataCategory.DESCRIPTOR, each) for each in data or ()),  # type: ignore[misc]
        words=words,
        emergency=emergency,
        language=language,
    )


def _facts(shown: PrepareReleaseResponse) -> dict[str, object]:
    item, answer = shown.detail.item, RequestAnswer.FromString(shown.answer)
    return {
        "request": item.request_id,
        "peer": item.peer,
        "state": item.state,
        "urgency": word(Urgency.DESCRIPTOR, item.urgency),
        "due": left_text(item.due_us, time.time_ns() // 1_000),
        "asked by": f"{printable(item.officer)}, {printable(item.unit)}",
        **asked_facts(shown.detail),
        "answer": word(RequestOutcome.DESCRIPTOR, answer.outcome) if shown.answer else f"none: {shown.nothing}",
        "focal points": f"{shown.approvals} must sign",
        "signed by": list(shown.signed_by),
        "message": shown.answer_sha256.hex(),
        "entries": [
            {
                "entry": id_text(each.entry_id),
                "leaves": [word(DataCategory.DESCRIPTOR, category) for category in each.categories],
                "floor_forbids": [word(DataCategory.DESCRIPTOR, category) for category in each.forbidden],
            }
            for each in shown.entries
        ],
    }


def _lines(shown: PrepareReleaseResponse, language: Language) -> Iterator[str]:
    yield ""
    yield "What would leave:" if shown.answer else f"Nothing may leave: {shown.nothing}"
    for hit in RequestAnswer.FromString(shown.answer).hits:
        yield from hit_lines("you", hit, language)
    yield from answer_lines(shown.detail, language) if shown.detail.HasField("answer") else ()
    for each in shown.entries:
        yield ""
        frozen = ", as which the peer goes on seeing it" if each.frozen else ""
        yield f"Entry {id_text(each.entry_id)}, revision {each.revision}{frozen}"
        yield f"The floor forbids, whoever approves: {words(DataCategory.DESCRIPTOR, each.forbidden) or 'nothing'}."
        yield from sentences(each.explanation)
    yield ""
    yield f"Released to {shown.detail.item.peer} before, of this and of what is linked with it:"
    for before in shown.before:
        line = before.line
        told = [*line.released, *line.generalised, *line.pseudonymised, *line.masked]
        yield (
            f"  {time_text(line.time_us)} line {line.index}: {before.link}, entry {id_text(before.entry_id)}: "
            f"{word(EntryOutcome.DESCRIPTOR, line.outcome)}, {words(DataCategory.DESCRIPTOR, told)}"
        )
    if not shown.before:
        yield "  nothing"
    if shown.answer:
        yield ""
        yield f"To let it leave: `enlace grant` with --message {shown.answer_sha256.hex()[:DIGITS_READ]}"


def _show_state(item: RequestItem, as_json: bool, *, note: str = "") -> None:
    facts: dict[str, object] = {
        "request": item.request_id,
        "peer": item.peer,
        "state": item.state,
        "due": time_text(item.due_us),
        "taken by": item.taken_by,
    }
    show(facts | ({"next": note} if note else {}), as_json)
