"""`enlace policy`: rulebooks, from the text to what they decided."""

import typer

from node.cli.policy_explain import explain
from node.cli.policy_files import check, prove
from node.cli.policy_rehearse import rehearse

app = typer.Typer(help="Read, prove, rehearse and approve rulebooks, and see why they decided.", no_args_is_help=True)

app.command("check")(check)
app.command("prove")(prove)
app.command("explain")(explain)
app.command("rehearse")(rehearse)
