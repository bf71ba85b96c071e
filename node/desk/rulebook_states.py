"""How far a rulebook has come: told from signatures, steps and the time, never from a column that says so."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection

from node.errors import ApprovalError
from node.federation.standing import OWN_LAYERS
from node.identity.approvals import SIGNERS
from node.policy.rules import Layer
from node.store import focal_points, rulebook_steps, rulebooks
from node.store.rulebook_steps import REVOKED, Activation, History
from node.store.rulebooks import Proposal
from node.store.vault import Vault
from node.wire.rulebook_pb2 import RulebookStage, RulebookState

_COUNTS: Final = (RulebookStage.RULEBOOK_STAGE_SCHEDULED, RulebookStage.RULEBOOK_STAGE_ACTIVE)


class Told(NamedTuple):
    """Everything that states are told from, of one snapshot."""

    proposals: list[Proposal]
    focal: Mapping[str, bytes]
    histories: Mapping[Layer, History | str]  # or what is wrong with it
    faults: Mapping[bytes, str]  # why a rulebook that two have signed does not count


def read_told(connection: Connection, vault: Vault, country: str) -> Told:
    """Read everything that states are told from."""
    focal = focal_points.by_name(connection, vault)
    proposals = rulebooks.listed(connection)
    histories: dict[Layer, History | str] = {}
    for layer in OWN_LAYERS:
        try:
            histories[layer] = rulebook_steps.history(connection, vault, layer)
        except ApprovalError as error:
            histories[layer] = str(error)
    return Told(
        proposals, focal, histories, {each.sha256: _fault(connection, each, focal, country) for each in proposals}
    )


def _fault(connection: Connection, proposal: Proposal, focal: Mapping[str, bytes], country: str) -> str:
    try:
        rulebooks.verified(connection, proposal.sha256, focal, country)
    except ApprovalError as error:
        return str(error)
    return ""


def state_of(proposal: Proposal, told: Told, now_us: int) -> RulebookState:
    """Return how it stands with a rulebook at a time (UTC microseconds)."""
    signed, gone = rulebooks.signers(proposal, told.focal)
    state = RulebookState(
        layer=proposal.layer,
        name=proposal.name,
        version=proposal.version,
        sha256=proposal.sha256,
        author=proposal.author,
        proposed_us=proposal.proposed_us,
        signed_by=signed,
        removes_red_lines=bool(proposal.signed_removal),
        removal_signed_by=gone,
        valid_from_us=proposal.valid_from_us,
        valid_until_us=proposal.valid_until_us,
    )
    fault = told.faults[proposal.sha256]
    state.stage = RulebookStage.RULEBOOK_STAGE_REHEARSED if fault else RulebookStage.RULEBOOK_STAGE_APPROVED
    past = told.histories[proposal.layer]
    if isinstance(past, str):
        state.fault = past
        return state
    _take_history(state, past, now_us)
    if len(signed) >= SIGNERS or state.stage in _COUNTS:
        state.fault = fault
    return state


def _take_history(state: RulebookState, past: History, now_us: int) -> None:
    revoked = past.of(state.sha256, REVOKED)
    order = rulebook_steps.activations(past)
    place = next((at for at, each in enumerate(order) if each.sha256 == state.sha256), None)
    if place is not None:
        state.activates_us = order[place].activates_us
        _take_time(state, order, place, max(now_us, past.reached_us))
    if revoked is not None:
        state.stage, state.reason = RulebookStage.RULEBOOK_STAGE_REVOKED, revoked.reason
        state.ended_us = revoked.time_us


def _take_time(state: RulebookState, order: list[Activation], place: int, now_us: int) -> None:
    begins_us = order[place].activates_us
    ends_us = order[place + 1].activates_us if place + 1 < len(order) else 0
    if now_us < begins_us:
        state.stage = RulebookStage.RULEBOOK_STAGE_SCHEDULED
    elif not ends_us or now_us < ends_us:
        state.stage = RulebookStage.RULEBOOK_STAGE_ACTIVE
    else:
        state.stage, state.ended_us = RulebookStage.RULEBOOK_STAGE_SUPERSEDED, ends_us
