"""`enlace ledger subject`: a person's request about their own data, from its coming in until nothing is left to do."""

import time
from typing import Annotated, Final, Literal

import typer

from node.cli.client import desk_channel
from node.cli.guessing import guess_kind
from node.cli.home import home_of
from node.cli.ledger_subject_report import report
from node.cli.output import HomeOption, JsonOption, OfficerOption, UnmaskOption, show, show_rows, time_text
from node.cli.words import id_text, parse_country, parse_id, parse_interval, parse_word, word
from node.config import load_config
from node.errors import UsageError
from node.wire.codes_pb2 import LOOKUP_KIND_NAME, LookupKind
from node.wire.exchange_pb2 import Selector
from node.wire.subject_pb2 import (
    PETITION_STATE_IDENTITY_CHECKED,
    PETITION_STATE_RECEIVED,
    PETITION_STATE_UNDER_REVIEW,
    DecideEntryErasureRequest,
    DecideOriginRequest,
    EntryErasure,
    EntryErasureState,
    EraseEntryRequest,
    GetPetitionRequest,
    ListEntryErasuresRequest,
    ListPetitionsRequest,
    MarkItemRequest,
    NoticeKind,
    Petition,
    PetitionEvent,
    PetitionGround,
    PetitionKind,
    PetitionState,
    PlannedNotice,
    PlanNoticesRequest,
    RegisterPetitionRequest,
    StepPetitionRequest,
    Telling,
)
from node.wire.subject_pb2_grpc import SubjectsStub

app = typer.Typer(
    help="A person's request about their own data (habeas data, ARCO rights): access, correction or erasure.",
    no_args_is_help=True,
)
app.command("report")(report)

_DAY_US: Final = 86_400_000_000
_WAITING: Final = (PETITION_STATE_RECEIVED, PETITION_STATE_IDENTITY_CHECKED, PETITION_STATE_UNDER_REVIEW)
_EVENTS: Final = ", ".join(
    word(PetitionEvent.DESCRIPTOR, each).replace(" ", "-") for each in PetitionEvent.values() if each
)
_TELLINGS: Final = ", ".join(word(Telling.DESCRIPTOR, each).replace(" ", "-") for each in Telling.values() if each)

PetitionId = Annotated[
    str, typer.Argument(metavar="PETITION", help="Its id, as `enlace ledger subject list` shows it.")
]


@app.command("register")
def register(
    *,
    number: Annotated[str, typer.Option("--number", help="Your own file number.")],
    kind: Annotated[str, typer.Option("--kind", help="access, correction or erasure.")],
    due: Annotated[str, typer.Option("--due", help="Day by which your law wants an answer, 2026-12-20.")],
    received: Annotated[str | None, typer.Option("--received", help="Day on which it came; else now.")] = None,
    names: Annotated[list[str] | None, typer.Option("--name", help="A name of the person; may be repeated.")] = None,
    birth_year: Annotated[int, typer.Option("--birth-year", help="Of the names.")] = 0,
    values: Annotated[
        list[str] | None,
        typer.Option("--find", help="A number, document or account of theirs: its kind is told by its form, or KIND=…"),
    ] = None,
    entries: Annotated[list[str] | None, typer.Option("--entry", help="Id of an own entry about them.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a request. You handle it until a colleague takes it; the law of your country sets its date."""
    node = home_of(home)
    country = load_config(node.config).country
    selectors = [Selector(kind=LOOKUP_KIND_NAME, value=name, birth_year=birth_year) for name in names or ()]
    selectors += [_selector(value, country) for value in values or ()]
    request = RegisterPetitionRequest(
        number=number,
        kind=PetitionKind.ValueType(parse_word(PetitionKind.DESCRIPTOR, kind)),
        received_us=_first_us(received) if received else 0,
        due_us=_last_us(due),
        selectors=selectors,
        entry_ids=[parse_id(each) for each in entries or ()],
    )
    with desk_channel(node, officer) as channel:
        show(_whole(SubjectsStub(channel).RegisterPetition(request).petition), as_json)


@app.command("list")
def list_petitions(
    *,
    officer: OfficerOption,
    closed: Annotated[bool, typer.Option("--closed", help="Those too that nothing is left to do about.")] = False,
    unmask: UnmaskOption = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests, the earliest due first; nothing is said of the persons."""
    request = ListPetitionsRequest(closed=closed, unmask=unmask)
    with desk_channel(home_of(home), officer) as channel:
        found = SubjectsStub(channel).ListPetitions(request).petitions
    now_us = time.time_ns() // 1_000
    rows = [{"petition": id_text(each.petition_id), **_row(each, now_us)} for each in found]
    show_rows(rows, as_json, empty="Nobody has asked.", styles={"overdue": "bold red"})


@app.command("show")
def show_petition(
    petition: PetitionId, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Show a request whole, with each step that was taken."""
    with desk_channel(home_of(home), officer) as channel:
        found = SubjectsStub(channel).GetPetition(GetPetitionRequest(petition_id=parse_id(petition))).petition
    show(_whole(found), as_json)


@app.command("step")
def step(
    petition: PetitionId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help=f"One of {_EVENTS}.")],
    *,
    words: Annotated[str, typer.Option("--words", help="Why; for the file, no peer ever reads it.")] = "",
    ground: Annotated[str | None, typer.Option("--ground", help="Of a refusal.")] = None,
    law: Annotated[str, typer.Option("--law", help="Of a refusal or an extension.")] = "",
    due: Annotated[str | None, typer.Option("--due", help="Of an extension: the new day.")] = None,
    entries: Annotated[
        list[str] | None, typer.Option("--entry", help="Of a review: an own entry that is about the person.")
    ] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a step: check-identity, review, then answer, correct, erase or refuse, and at last close."""
    request = StepPetitionRequest(
        petition_id=parse_id(petition),
        event=PetitionEvent.ValueType(parse_word(PetitionEvent.DESCRIPTOR, event)),
        ground=PetitionGround.ValueType(parse_word(PetitionGround.DESCRIPTOR, ground) if ground else 0),
        law=law,
        words=words,
        due_us=_last_us(due) if due else 0,
        entry_ids=[parse_id(each) for each in entries or ()],
    )
    with desk_channel(home_of(home), officer) as channel:
        show(_whole(SubjectsStub(channel).StepPetition(request).petition), as_json)


@app.command("mark")
def mark(
    petition: PetitionId,
    reference: Annotated[str, typer.Argument(metavar="ITEM", help="As the report names it: 'entry …', 'line 17'.")],
    telling: Annotated[str, typer.Argument(metavar="TELLING", help=f"One of {_TELLINGS}.")],
    *,
    words: Annotated[str, typer.Option("--words", help="Why; for the file.")] = "",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide whether the person is told of an item of the report; what nobody has decided is not told."""
    request = MarkItemRequest(
        petition_id=parse_id(petition),
        reference=reference,
        telling=Telling.ValueType(parse_word(Telling.DESCRIPTOR, telling)),
        words=words,
    )
    with desk_channel(home_of(home), officer) as channel:
        show(_whole(SubjectsStub(channel).MarkItem(request).petition), as_json)


# --- what follows ----------------------------------------------------------------------------------------------------


@app.command("origin")
def origin(
    petition: PetitionId,
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="One that the request names.")],
    peer: Annotated[str, typer.Argument(metavar="PEER", help="That may be a state of origin.")],
    decision: Annotated[
        Literal["notify", "keep-from"], typer.Argument(metavar="notify|keep-from", help="Whether it hears of it.")
    ],
    *,
    words: Annotated[str, typer.Option("--words", help="Why; for the file.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep counsel's decision whether a state that may be one of origin hears of a correction or an erasure."""
    request = DecideOriginRequest(
        petition_id=parse_id(petition),
        entry_id=parse_id(entry),
        peer=parse_country(peer),
        notify=decision == "notify",
        words=words,
    )
    with desk_channel(home_of(home), officer) as channel:
        show(_whole(SubjectsStub(channel).DecideOrigin(request).petition), as_json)


@app.command("notices")
def notices(
    petition: PetitionId, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List whom a correction or erasure goes to, as an update or a recall like any other, and whom it is kept from."""
    with desk_channel(home_of(home), officer) as channel:
        plan = SubjectsStub(channel).PlanNotices(PlanNoticesRequest(petition_id=parse_id(petition)))
    rows = [_notice(each, "leaves") for each in plan.notices] + [
        _notice(each, "kept from it") for each in plan.withheld
    ]
    show_rows(rows, as_json, empty="No peer got anything of these entries.", only_json=("handle",))


@app.command("erase")
def erase(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of an own entry.")],
    *,
    ground: Annotated[str, typer.Option("--ground", help="At most 40 bytes, never about a person; it is logged.")],
    petition: Annotated[str | None, typer.Option("--petition", help="The request it follows from.")] = None,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase an own entry for good; where a fact protects somebody, another focal point confirms it first."""
    request = EraseEntryRequest(
        entry_id=parse_id(entry), petition_id=parse_id(petition) if petition else b"", ground=ground
    )
    with desk_channel(home_of(home), officer) as channel:
        show(_erasure(SubjectsStub(channel).EraseEntry(request).erasure), as_json)


@app.command("erasures")
def erasures(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List erasures of own entries, those first that wait for a second focal point."""
    with desk_channel(home_of(home), officer) as channel:
        found = SubjectsStub(channel).ListEntryErasures(ListEntryErasuresRequest()).erasures
    show_rows([_erasure(each) for each in found], as_json, empty="Nothing was erased.")


@app.command("confirm")
def confirm(
    erasure: Annotated[str, typer.Argument(metavar="ERASURE", help="As `enlace ledger subject erasures` shows it.")],
    *,
    decline: Annotated[bool, typer.Option("--decline", help="The entry stays.")] = False,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm an erasure that another focal point proposed, or decline it."""
    request = DecideEntryErasureRequest(erasure_id=parse_id(erasure), confirm=not decline)
    with desk_channel(home_of(home), officer) as channel:
        show(_erasure(SubjectsStub(channel).DecideEntryErasure(request).erasure), as_json)


# --- inside ----------------------------------------------------------------------------------------------------------


def _selector(value: str, country: str) -> Selector:
    name, equals, rest = value.partition("=")
    if equals:
        return Selector(kind=LookupKind.ValueType(parse_word(LookupKind.DESCRIPTOR, name)), value=rest)
    kind = guess_kind(value, country)
    if not kind:
        raise UsageError(
            f"the form of {value!r} does not tell what it is: write its kind before it, as in plate={value}"
        )
    return Selector(kind=kind, value=value)


def _first_us(day: str) -> int:
    return parse_interval(day).first_day * _DAY_US


def _last_us(day: str) -> int:
    return (parse_interval(day).last_day + 1) * _DAY_US - 1


def _row(petition: Petition, now_us: int) -> dict[str, object]:
    late = petition.state in _WAITING and petition.due_us <= now_us
    return {
        "number": petition.number,
        "kind": word(PetitionKind.DESCRIPTOR, petition.kind),
        "state": word(PetitionState.DESCRIPTOR, petition.state),
        "due": time_text(petition.due_us),
        "late": "overdue" if late else "",
        "handler": petition.handler,
    }


def _whole(petition: Petition) -> dict[str, object]:
    return {
        "petition": id_text(petition.petition_id),
        **_row(petition, time.time_ns() // 1_000),
        "received": time_text(petition.received_us),
        "selectors": [f"{word(LookupKind.DESCRIPTOR, each.kind)} {each.value}" for each in petition.selectors],
        "entries": [id_text(each) for each in petition.entry_ids],
        "steps": [
            f"{time_text(each.at_us)} {word(PetitionEvent.DESCRIPTOR, each.event)} by {each.officer}"
            + (f", {word(PetitionGround.DESCRIPTOR, each.ground)}" if each.ground else "")
            + (f" ({each.law})" if each.law else "")
            + (f": {each.words}" if each.words else "")
            for each in petition.steps
        ],
        "origins": [
            f"{id_text(each.entry_id)} {each.peer} {'hears of it' if each.notify else 'does not hear of it'}, by "
            f"{each.officer}: {each.words}"
            for each in petition.origins
        ],
    }


def _notice(notice: PlannedNotice, says: str) -> dict[str, object]:
    return {
        "peer": notice.peer,
        "entry": id_text(notice.entry_id),
        "as": word(NoticeKind.DESCRIPTOR, notice.kind),
        "": says,
        "may_be_origin": notice.may_be_origin,
        "line": notice.line,
        "exchange": id_text(notice.exchange_id),
        "handle": notice.handle,
    }


def _erasure(erasure: EntryErasure) -> dict[str, object]:
    return {
        "erasure": id_text(erasure.erasure_id),
        "entry": id_text(erasure.entry_id),
        "state": word(EntryErasureState.DESCRIPTOR, erasure.state),
        "ground": erasure.ground,
        "proposed_by": erasure.proposed_by,
        "decided_by": erasure.decided_by,
        "protected": list(erasure.protected),
    }
