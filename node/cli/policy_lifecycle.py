"""`enlace policy propose … history`: a rulebook's way from a file into force.

What focal points sign lies in the node, with proofs and rehearsal. This command checks for itself that what it shows is
what is signed: the key never leaves the focal point's machine, and signs no digest that was not computed here.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from node.cli.client import desk
from node.cli.directory_files import parse_time, private_key, read
from node.cli.home import home_of
from node.cli.output import (
    HomeOption,
    JsonOption,
    KeyPassphraseFile,
    OfficerOption,
    console,
    printable,
    show,
    show_rows,
    time_text,
)
from node.cli.words import word
from node.config import load_config
from node.errors import UsageError
from node.identity.rulebook_approvals import parse_signed_approval, parse_signed_removal, sign_approval, sign_removal
from node.policy.rulebook import parse_rulebook
from node.policy.rules import EFFECTS, Rulebook
from node.policy.vocabulary import vocabulary_digest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.rulebook_pb2 import (
    GetRulebookRequest,
    GetRulebookResponse,
    ListRulebooksRequest,
    ProposeRulebookRequest,
    RevokeRulebookRequest,
    RulebookStage,
    RulebookState,
    ScheduleRulebookRequest,
    SignRulebookRequest,
)

_LEAST_DIGITS: Final = 4

Sha = Annotated[str, typer.Argument(metavar="SHA256", help="Of the rulebook's text, or its first digits.")]
Layer = Annotated[str, typer.Option("--layer", help="Of this layer alone: release or outbound.")]


def propose(
    file: Annotated[Path, typer.Argument(help="The rulebook.")],
    *,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a rulebook to the node, which reads, proves and rehearses it; two others than you approve it then."""
    with desk(home_of(home), officer) as stub:
        proposed = stub.ProposeRulebook(ProposeRulebookRequest(text=read(file)))
    facts = _facts(proposed.rulebook)
    if as_json:
        show({**facts, "proof": proposed.proof, "rehearsal": proposed.rehearsal}, as_json)
        return
    _reports(proposed.proof, proposed.rehearsal)
    show({**facts, "next": "two focal points, neither of them you: `enlace policy approve`"}, as_json)


def approve(
    sha: Sha,
    *,
    key: Annotated[Path, typer.Option("--key", help="Your own focal point's key.")],
    officer: OfficerOption,
    remove_red_lines: Annotated[
        bool,
        typer.Option("--remove-red-lines", help="Also sign that the red lines named go, where the rulebook drops any."),
    ] = False,
    passphrase_file: KeyPassphraseFile = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read what a rulebook says, what was proved and what would newly leave, and sign exactly that."""
    node = home_of(home)
    private = private_key(key, passphrase_file)
    with desk(node, officer) as stub:
        held = _held(stub, sha)
        book = _verified(held, load_config(node.config).country)
        removal = _removal(held, remove_red_lines=remove_red_lines)
        if not as_json:
            _reports(held.proof, held.rehearsal)
            show(_signed_over(held, book), as_json)
        approval, _ = parse_signed_approval(held.signed_approval)
        request = SignRulebookRequest(signed_approval=sign_approval(approval, private).SerializeToString())
        if removal:
            signed, _ = parse_signed_removal(held.signed_removal)
            request.signed_removal = sign_removal(signed, private).SerializeToString()
        state = stub.SignRulebook(request).rulebook
    done = state.stage == RulebookStage.RULEBOOK_STAGE_APPROVED
    after = "`enlace policy schedule` or `activate`" if done else "another focal point approves it"
    show({**_facts(state), "next": after}, as_json)


def schedule(
    sha: Sha,
    *,
    at: Annotated[str, typer.Option("--at", help="When, as 2026-03-01T00:00:00Z; a date is midnight UTC.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an approved rulebook come into force at an instant, in all processes of the node at once."""
    _schedule(sha, parse_time(at), officer, home, as_json=as_json)


def activate(sha: Sha, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Let an approved rulebook come into force in a few seconds, when every process of the node has learnt of it."""
    _schedule(sha, 0, officer, home, as_json=as_json)


def revoke(
    sha: Sha,
    *,
    reason: Annotated[str, typer.Option("--reason", help="At most 40 bytes, never about a person; it is logged.")],
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a rulebook out of force at once, or let it never come; in its place nothing is released, or asked."""
    with desk(home_of(home), officer) as stub:
        held = _held(stub, sha)
        stub.RevokeRulebook(RevokeRulebookRequest(sha256=held.rulebook.sha256, reason=reason))
        held = _held(stub, held.rulebook.sha256.hex())
    show(_facts(held.rulebook), as_json)


def history(*, officer: OfficerOption, layer: Layer = "", home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show every rulebook that was proposed, who signed it, and when it came into force."""
    with desk(home_of(home), officer) as stub:
        states = stub.ListRulebooks(ListRulebooksRequest(layer=layer)).rulebooks
    rows = [_facts(state) for state in states]
    only_json = {"proposed", "valid_from", "valid_until", "ended", "removal_signed_by", "removes_red_lines"}
    if not any(state.fault for state in states):
        only_json.add("fault")
    if not any(state.reason for state in states):
        only_json.add("reason")
    show_rows(rows, as_json, empty="No rulebook was proposed yet: `enlace policy propose FILE`.", only_json=only_json)


def show_rulebook(sha: Sha, *, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a rulebook whole: its text, what was proved and rehearsed, and how it stands."""
    with desk(home_of(home), officer) as stub:
        held = _held(stub, sha)
    facts = _facts(held.rulebook)
    if as_json:
        text = held.text.decode(errors="replace")
        show({**facts, "text": text, "proof": held.proof, "rehearsal": held.rehearsal}, as_json)
        return
    _heading("Rules")
    _print(held.text.decode(errors="replace"))
    _reports(held.proof, held.rehearsal)
    show(facts, as_json)


def _schedule(sha: str, at_us: int, officer: str, home: Path | None, *, as_json: bool) -> None:
    with desk(home_of(home), officer) as stub:
        held = _held(stub, sha)
        request = ScheduleRulebookRequest(sha256=held.rulebook.sha256, activates_at_us=at_us)
        stub.ScheduleRulebook(request)
        held = _held(stub, held.rulebook.sha256.hex())
    show(_facts(held.rulebook), as_json)


def _held(stub: DeskStub, sha: str) -> GetRulebookResponse:
    """Return the rulebook whose SHA-256 begins so."""
    digits = sha.strip().lower().removeprefix("sha256:")
    states = stub.ListRulebooks(ListRulebooksRequest()).rulebooks
    found = [state.sha256 for state in states if state.sha256.hex().startswith(digits)]
    if len(digits) < _LEAST_DIGITS or len(found) != 1:
        many = "several rulebooks begin" if len(found) > 1 else "no rulebook begins"
        raise UsageError(f"{many} with {sha!r}: see `enlace policy history`; give {_LEAST_DIGITS} digits or more")
    return stub.GetRulebook(GetRulebookRequest(sha256=found[0]))


def _verified(held: GetRulebookResponse, country: str) -> Rulebook:
    """Return the rulebook that is to be signed, after checking that the approval is of what is shown here."""
    _, approval = parse_signed_approval(held.signed_approval)
    shown = {
        "rules": (approval.rules_sha256, held.text),
        "proofs": (approval.proof_sha256, held.proof.encode()),
        "rehearsal": (approval.rehearsal_sha256, held.rehearsal.encode()),
    }
    for what, (digest, data) in shown.items():
        if hashlib.sha256(data).digest() != digest:
            raise UsageError(f"the node would have other {what} signed than it shows: sign nothing, tell an auditor")
    # Whether illustrations may be used, the node sees to.
    book = parse_rulebook(held.text, demonstration=True)
    said = (approval.country, approval.layer, approval.name, approval.version, approval.vocabulary)
    if said != (country, book.layer, book.name, book.version, vocabulary_digest()):
        raise UsageError("the approval is not of this rulebook, country and words: sign nothing, and tell an auditor")
    return book


def _removal(held: GetRulebookResponse, *, remove_red_lines: bool) -> bool:
    if held.signed_removal and not remove_red_lines:
        _, removal = parse_signed_removal(held.signed_removal)
        gone = ", ".join(removal.red_lines)
        raise UsageError(f"it removes or changes red lines {gone}: if that is meant, add --remove-red-lines")
    if remove_red_lines and not held.signed_removal:
        raise UsageError("it removes no red line")
    return remove_red_lines


def _signed_over(held: GetRulebookResponse, book: Rulebook) -> dict[str, object]:
    """Return what a signature is given for."""
    _, approval = parse_signed_approval(held.signed_approval)
    counts = {effect: sum(rule.effect == effect for rule in book.rules) for effect in EFFECTS}
    facts: dict[str, object] = {
        "rulebook": f"{book.name} {book.version}, layer {book.layer}",
        "valid": f"{time_text(book.valid_from_us)} until {time_text(book.valid_until_us)}",
        "rules": f"{len(book.rules)}: {', '.join(f'{count} {effect}' for effect, count in counts.items() if count)}",
        "red_lines": ", ".join(line.id for line in book.red_lines) or "none of its own",
        "author": approval.author,
        "proposed": time_text(approval.time_us),
        "illustration": book.illustration,
        "rules_sha256": approval.rules_sha256.hex(),
        "vocabulary": approval.vocabulary,
        "floor_sha256": approval.floor_sha256.hex() or "none",
        "red_lines_sha256": approval.red_lines_sha256.hex(),
        "proof_sha256": approval.proof_sha256.hex(),
        "rehearsal_sha256": approval.rehearsal_sha256.hex(),
    }
    if held.signed_removal:
        _, removal = parse_signed_removal(held.signed_removal)
        facts["removes_red_lines"] = f"{', '.join(removal.red_lines)} of {removal.replaces_sha256.hex()}"
    return facts


def _facts(state: RulebookState) -> dict[str, object]:
    return {
        "layer": state.layer,
        "rulebook": state.name,
        "version": state.version,
        "sha256": state.sha256,
        "stage": word(RulebookStage.DESCRIPTOR, state.stage),
        "author": state.author,
        "proposed": time_text(state.proposed_us),
        "signed_by": list(state.signed_by),
        "removes_red_lines": state.removes_red_lines,
        "removal_signed_by": list(state.removal_signed_by),
        "valid_from": time_text(state.valid_from_us),
        "valid_until": time_text(state.valid_until_us),
        "in_force_from": time_text(state.activates_us),
        "ended": time_text(state.ended_us),
        "reason": state.reason,
        "fault": state.fault,
    }


def _reports(proof: str, rehearsal: str) -> None:
    _heading("Proved")
    _print(proof)
    _heading("Rehearsed")
    _print(rehearsal)


def _heading(title: str) -> None:
    console().print(Text(title, style="bold"))


def _print(text: str) -> None:
    """Print a report or rulebook, line by line, without what could rewrite the screen."""
    out = console()
    for line in text.splitlines():
        out.print(printable(line), soft_wrap=True)
    out.print()
