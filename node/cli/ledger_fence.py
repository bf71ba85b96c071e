"""`enlace ledger fence`: after a restore, what was lost, and how the ledger goes on."""

from collections.abc import Iterable
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, time_text
from node.cli.words import parse_country
from node.errors import UsageError
from node.ledger.epoch import note_checkpoint
from node.wire.fence_pb2 import Fence, GetFenceRequest, LostHead, OpenEpochRequest, ProposeFenceRequest


def fence(
    *,
    officer: OfficerOption,
    propose: Annotated[
        str | None,
        typer.Option("--propose", metavar="REASON", help="As an administrator: what happened, in 40 bytes; logged."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="A country that need not be reached; if it has seen more, all begins again."),
    ] = None,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="SHA256", help="As a focal point or auditor: the proposal to be opened."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what witnesses saw that this ledger has lost; propose an epoch that confesses it, or confirm one.

    While lines are lost that no epoch confesses, nothing leaves the node. It takes two people to go on: an
    administrator proposes, and a focal point or an auditor confirms. What was signed before stays signed.
    """
    if propose is not None and confirm is not None:
        raise UsageError("say one of --propose and --confirm: they are for different people")
    with desk(home_of(home), officer) as stub:
        if propose is not None:
            request = ProposeFenceRequest(reason=propose, without=[parse_country(each) for each in without or []])
            proposed = stub.ProposeFence(request)
            show({**_facts(proposed.fence), "confirm": proposed.sha256.hex()}, as_json)
        elif confirm is not None:
            opened = stub.OpenEpoch(OpenEpochRequest(sha256=_digest(confirm)))
            cosigned = ", ".join(opened.cosigned)
            show({"epoch": opened.epoch, "line": opened.line, "cosigned_by": cosigned}, as_json)
        else:
            state = stub.GetFence(GetFenceRequest())
            facts: dict[str, object] = {"fenced": state.fenced, "epoch": state.epoch, "lost": _heads(state.heads)}
            if state.HasField("proposed"):
                by = f"{state.proposer}, {time_text(state.proposed_us)}: {state.reason}"
                facts |= {"proposed_by": by, **_facts(state.proposed), "confirm": state.proposed_sha256.hex()}
            show(facts, as_json)


def _facts(proposed: Fence) -> dict[str, object]:
    return {
        "opens_epoch": proposed.epoch,
        "lines_kept_at_most": proposed.kept,
        "confesses": _heads(proposed.heads),
        "not_asked": ", ".join(proposed.unasked),
    }


def _heads(heads: Iterable[LostHead]) -> str:
    return "; ".join(f"{', '.join(each.witnesses)} saw {note_checkpoint(each.checkpoint).size} lines" for each in heads)


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError("--confirm takes the 64 digits that the proposal shows") from None
