"""`enlace policy`: rulebooks, from the text to what they decided."""

import typer

from node.cli import policy_lifecycle
from node.cli.policy_explain import explain
from node.cli.policy_files import check, diff, prove
from node.cli.policy_rehearse import rehearse

app = typer.Typer(help="Read, prove, rehearse and approve rulebooks, and see why they decided.", no_args_is_help=True)

app.command("check")(check)
app.command("prove")(prove)
app.command("diff")(diff)
app.command("rehearse")(rehearse)
app.command("propose")(policy_lifecycle.propose)
app.command("approve")(policy_lifecycle.approve)
app.command("schedule")(policy_lifecycle.schedule)
app.command("activate")(policy_lifecycle.activate)
app.command("revoke")(policy_lifecycle.revoke)
app.command("history")(policy_lifecycle.history)
app.command("show")(policy_lifecycle.show_rulebook)
app.command("explain")(explain)
