"""`enlace attachment`: pictures of own records, and those that other countries' entries list."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, console, show, show_rows
from node.cli.words import parse_id, parse_word, word
from node.errors import UsageError
from node.wire import attachment_pb2 as wire
from node.wire.attachment_pb2 import AttachmentItem, AttachmentState
from node.wire.codes_pb2 import Purpose
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.entry_pb2 import MediaType

app = typer.Typer(
    help="Attach pictures to own records, and fetch those that disclosed entries list.", no_args_is_help=True
)

_PIECE: Final = 1_048_576

Entry = Annotated[str, typer.Argument(metavar="ENTRY", help="Its id; with --received, that of a received entry.")]
Digest = Annotated[str, typer.Argument(metavar="SHA256", help="As `enlace attachment list` shows it.")]
Received = Annotated[bool, typer.Option("--received", help="The entry is another country's.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="Of a received entry: investigate, victim-id …")]
CaseOption = Annotated[str, typer.Option("--case", help="Of a received entry: your case's reference.")]


@app.command("add")
def add(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of an own person or document.")],
    file: Annotated[Path, typer.Argument(help="A JPEG or PNG of up to 50 MiB.", exists=True, dir_okay=False)],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attach a picture, without its metadata. What broke off goes on where it was: say the same again."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").digest()
    begin = wire.BeginAttachmentRequest(entry_id=parse_id(entry), file_sha256=digest, size=file.stat().st_size)
    with desk_channel(home_of(home), officer) as channel:
        stub = CorrespondenceStub(channel)
        begun = stub.BeginAttachment(begin)
        show(_facts(stub.PutAttachment(_messages(file, begun)).item), as_json)


def _messages(file: Path, begun: wire.BeginAttachmentResponse) -> Iterator[wire.PutAttachmentRequest]:
    yield wire.PutAttachmentRequest(upload_id=begun.upload_id, offset=begun.offset)
    with file.open("rb") as opened:
        opened.seek(begun.offset)
        while data := opened.read(_PIECE):
            yield wire.PutAttachmentRequest(data=data)


@app.command("list")
def list_attachments(
    entry: Entry,
    *,
    received: Received = False,
    purpose: PurposeOption = "investigate",
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what an entry has, and whether it is here."""
    request = wire.ListAttachmentsRequest(purpose=_purpose(purpose), **_owner(entry, received=received))
    with desk_channel(home_of(home), officer) as channel:
        items = CorrespondenceStub(channel).ListAttachments(request).items
    show_rows([_facts(each) for each in items], as_json, empty="The entry has no attachments.")


@app.command("fetch")
def fetch(
    entry: Annotated[str, typer.Argument(metavar="RECEIVED", help="Id of the received entry.")],
    sha256: Digest,
    *,
    purpose: PurposeOption = "investigate",
    case: CaseOption = "",
    officer: OfficerOption,
    home: HomeOption = None,
) -> None:
    """Fetch from its originator what a received entry lists. What broke off goes on where it was."""
    request = wire.FetchAttachmentRequest(
        received_id=parse_id(entry), sha256=_digest(sha256), purpose=_purpose(purpose), case_reference=case
    )
    with desk_channel(home_of(home), officer) as channel:
        for each in CorrespondenceStub(channel).FetchAttachment(request):
            console().print(f"{each.stored} of {each.size} bytes are here")


@app.command("get")
def get(
    entry: Entry,
    sha256: Digest,
    *,
    to: Annotated[Path, typer.Option("--to", help="A file that does not exist yet.")],
    received: Received = False,
    purpose: PurposeOption = "investigate",
    case: CaseOption = "",
    officer: OfficerOption,
    home: HomeOption = None,
) -> None:
    """Write what is here to a file that only you can read; that you did is logged."""
    request = wire.GetContentsRequest(
        sha256=_digest(sha256), purpose=_purpose(purpose), case_reference=case, **_owner(entry, received=received)
    )
    with desk_channel(home_of(home), officer) as channel:
        try:
            descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise UsageError(f"{to}: {error.strerror}") from error
        with os.fdopen(descriptor, "wb") as file:
            for each in CorrespondenceStub(channel).GetContents(request):
                file.write(each.data)
    console().print(f"{to} is written.")


def _owner(entry: str, *, received: bool) -> dict[str, bytes]:
    return {"received_id" if received else "entry_id": parse_id(entry)}


def _purpose(text: str) -> Purpose.ValueType:
    return parse_word(Purpose.DESCRIPTOR, text)  # type: ignore[return-value]


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UsageError("sha256: is written in hexadecimal, as `enlace attachment list` shows it") from error


def _facts(item: AttachmentItem) -> dict[str, object]:
    return {
        "sha256": item.sha256.hex(),
        "kind": word(MediaType.DESCRIPTOR, item.media_type),
        "bytes": item.size,
        "state": word(AttachmentState.DESCRIPTOR, item.state),
    }
