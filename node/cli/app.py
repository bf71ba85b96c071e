"""The `enlace` command: what it is made of."""

import typer

from node.cli import (
    alarms,
    alert,
    attachment,
    case,
    directory,
    duty,
    emergency,
    entry,
    focal,
    freeze,
    ledger,
    life,
    mail,
    officer,
    pairing,
    pki,
    policy,
    queue,
    quota,
    recall,
    received,
    request,
    share,
    suspension,
)
from node.cli.demo.command import demo
from node.cli.distributing import import_directory, push
from node.cli.doctor import doctor
from node.cli.importing import import_file
from node.cli.init import init
from node.cli.institution import app as institution
from node.cli.ledger_audit import sample, stats, trace
from node.cli.ledger_fence import fence
from node.cli.ledger_prove import verify_bundle
from node.cli.ledger_reconcile import decide_finding, list_findings, reconcile
from node.cli.ledger_subject import app as subject
from node.cli.ledger_verifiers import verifier_keys
from node.cli.ledger_witness import witnesses
from node.cli.search import search
from node.cli.serve import serve

app = typer.Typer(
    name="enlace",
    help="A country's node for exchanging intelligence on crimes against migrants, under its own law.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

directory.app.command("import")(import_directory)
pki.app.command("push")(push)
ledger.app.command("reconcile")(reconcile)
ledger.app.command("witnesses")(witnesses)
ledger.app.command("fence")(fence)
ledger.app.command("keys")(verifier_keys)
ledger.app.command("findings")(list_findings)
ledger.app.command("finding")(decide_finding)
ledger.app.command("trace")(trace)
ledger.app.command("stats")(stats)
ledger.app.command("sample")(sample)
ledger.app.add_typer(subject, name="subject")

_START, _UNIT, _FOCAL, _TRUST = "Start", "Unit", "Focal point and auditor", "Administration"

app.command("demo", rich_help_panel=_START)(demo)
app.command("init", rich_help_panel=_START)(init)
app.command("serve", rich_help_panel=_START)(serve)
app.command("doctor", rich_help_panel=_START)(doctor)
app.command("search", rich_help_panel=_UNIT)(search)
app.add_typer(case.app, name="case", rich_help_panel=_UNIT)
app.add_typer(entry.app, name="entry", rich_help_panel=_UNIT)
app.add_typer(received.app, name="received", rich_help_panel=_UNIT)
app.add_typer(attachment.app, name="attachment", rich_help_panel=_UNIT)
app.command("import", rich_help_panel=_UNIT)(import_file)
app.add_typer(request.app, name="request", rich_help_panel=_UNIT)
app.command("inbox", rich_help_panel=_UNIT)(request.inbox)
app.add_typer(share.app, name="share", rich_help_panel=_UNIT)
app.add_typer(recall.app, name="recall", rich_help_panel=_UNIT)
app.command("update", rich_help_panel=_UNIT)(share.update)
app.add_typer(share.flags, name="flag", rich_help_panel=_UNIT)
app.add_typer(alert.app, name="alert", rich_help_panel=_UNIT)
app.add_typer(life.app, name="life", rich_help_panel=_FOCAL)
app.command("holds", rich_help_panel=_FOCAL)(life.holds)
app.add_typer(duty.app, name="duty", rich_help_panel=_FOCAL)
app.add_typer(queue.app, name="queue", rich_help_panel=_FOCAL)
app.command("grant", rich_help_panel=_FOCAL)(queue.grant)
app.command("refuse", rich_help_panel=_FOCAL)(queue.refuse)
app.add_typer(mail.app, name="mail", rich_help_panel=_FOCAL)
app.add_typer(freeze.app, name="freeze", rich_help_panel=_FOCAL)
app.add_typer(emergency.app, name="emergency", rich_help_panel=_FOCAL)
app.add_typer(pairing.app, name="pairing", rich_help_panel=_FOCAL)
app.add_typer(suspension.app, name="suspension", rich_help_panel=_FOCAL)
app.add_typer(quota.app, name="quota", rich_help_panel=_FOCAL)
app.add_typer(alarms.app, name="alarms", rich_help_panel=_FOCAL)
app.add_typer(alarms.decoy_app, name="decoy", rich_help_panel=_FOCAL)
app.add_typer(policy.app, name="policy", rich_help_panel=_FOCAL)
app.add_typer(focal.app, name="focal-point", rich_help_panel=_FOCAL)
app.add_typer(ledger.app, name="ledger", rich_help_panel=_FOCAL)
app.add_typer(institution, name="institution", rich_help_panel=_FOCAL)
app.command("verify-bundle", rich_help_panel=_FOCAL)(verify_bundle)
app.add_typer(officer.app, name="officer", rich_help_panel=_TRUST)
app.add_typer(directory.app, name="directory", rich_help_panel=_TRUST)
app.add_typer(pki.app, name="pki", rich_help_panel=_TRUST)
