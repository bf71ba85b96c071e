"""`enlace quota`: how much may be asked, and raising it for a time."""

from typing import Annotated, Final

import typer

from node.cli.client import desk_channel
from node.cli.home import home_of
from node.cli.output import HomeOption, JsonOption, OfficerOption, show, show_rows, time_text
from node.cli.received import ReasonOption, parse_until
from node.cli.words import parse_country, parse_word, word
from node.policy.quotas import MAIL
from node.wire.correspondence_pb2_grpc import CorrespondenceStub
from node.wire.quota_pb2 import (
    QUOTA_SCOPE_PEER,
    ListQuotasRequest,
    QuotaScope,
    QuotaState,
    RaiseQuotaRequest,
)

app = typer.Typer(help="How much peers, units and officers may ask in an hour and a day.", no_args_is_help=True)

_ALL: Final = "all others"


@app.command("show")
def show_quotas(*, officer: OfficerOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what holds for all, what was used today, and what is raised."""
    with desk_channel(home_of(home), officer) as channel:
        quotas = CorrespondenceStub(channel).ListQuotas(ListQuotasRequest()).quotas
    show_rows([_row(each) for each in quotas], as_json, empty="")


@app.command("raise")
def raise_quota(
    scope: Annotated[str, typer.Argument(help="peer, unit or officer.")],
    who: Annotated[str, typer.Argument(help="The country, unit or officer.")],
    what: Annotated[str, typer.Argument(help="investigate, life …; or a kind of mail: share, alert …")],
    *,
    per_hour: Annotated[int, typer.Option("--per-hour", min=1, help="From now on, in an hour.")],
    per_day: Annotated[int, typer.Option("--per-day", min=1, help="And in a day.")],
    until: Annotated[str, typer.Option("--until", help="The day on which it ends, at most 31 ahead: 2027-03-14.")],
    reason: ReasonOption,
    officer: OfficerOption,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise a quota for a time, as a focal point; why is a ledger line."""
    of = parse_word(QuotaScope.DESCRIPTOR, scope)
    mail = what.lower().replace("-", "_")
    request = RaiseQuotaRequest(
        scope=of,  # type: ignore[arg-type]
        who=parse_country(who) if of == QUOTA_SCOPE_PEER else who,
        what=mail if mail in MAIL else mail.upper(),
        per_hour=per_hour,
        per_day=per_day,
        until_us=parse_until(until),
        reason=reason,
    )
    with desk_channel(home_of(home), officer) as channel:
        show(_row(CorrespondenceStub(channel).RaiseQuota(request).quota), as_json)


def _row(state: QuotaState) -> dict[str, object]:
    return {
        "of": word(QuotaScope.DESCRIPTOR, state.scope),
        "who": state.who or _ALL,
        "what": state.what,
        "hour": f"{state.in_hour} of {state.per_hour}" if state.who else f"{state.per_hour}",
        "day": f"{state.in_day} of {state.per_day}" if state.who else f"{state.per_day}",
        "raised_until": time_text(state.raised_until_us) if state.raised_until_us else "",
        "by": state.raised_by,
        "reason": state.reason,
    }
