"""The `enlace` command: what it is made of."""

import typer

from node.cli import directory, life, officer, pairing, pki
from node.cli.demo.command import demo
from node.cli.distributing import import_directory, push
from node.cli.doctor import doctor
from node.cli.init import init
from node.cli.serve import serve

app = typer.Typer(
    name="enlace",
    help="A country's node for exchanging intelligence on crimes against migrants, under its own law.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

directory.app.command("import")(import_directory)
pki.app.command("push")(push)

app.command("demo")(demo)
app.command("init")(init)
app.command("serve")(serve)
app.command("doctor")(doctor)
app.add_typer(officer.app, name="officer")
app.add_typer(pairing.app, name="pairing")
app.add_typer(directory.app, name="directory")
app.add_typer(pki.app, name="pki")
app.add_typer(life.app, name="life")
app.command("holds")(life.holds)
