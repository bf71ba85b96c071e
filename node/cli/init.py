"""`enlace init`: make a node."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from node.cli.directory_files import read
from node.cli.founding import Plan, make_node
from node.cli.home import Home
from node.cli.issuing import CaPassphraseFile, ca_passphrase, domain_of
from node.cli.output import JsonOption, say, show
from node.identity.stewards import parse_root


def init(
    *,
    home: Annotated[Path, typer.Option("--home", help="The node's folder, new or empty.")],
    country: Annotated[str, typer.Option("--country", help="ISO 3166-1 alpha-2.")],
    federation: Annotated[str, typer.Option("--federation", help="As in spiffe://gt.FEDERATION.")],
    name: Annotated[str, typer.Option("--name", help="The node's name, unique in the federation, such as gt-1.")],
    root: Annotated[Path, typer.Option("--root", help="The stewards' root; compare its digest by voice.")],
    peer: Annotated[str, typer.Option("--peer", help="Address that peers reach.")] = "0.0.0.0:7443",
    desk: Annotated[str, typer.Option("--desk", help="Address for this country's officers.")] = "127.0.0.1:7444",
    metrics: Annotated[str, typer.Option("--metrics", help="Address for monitoring.")] = "127.0.0.1:7445",
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="What the directory says; else the certificate's name.")
    ] = None,
    database: Annotated[str, typer.Option("--database", help="SQLAlchemy URL; else SQLite in the home.")] = "",
    keystore: Annotated[str, typer.Option("--keystore", help="Apart from the database; likewise.")] = "",
    authority: Annotated[
        Path | None, typer.Option("--authority", help="Folder of the country's authority; else one is made.")
    ] = None,
    focal: Annotated[list[str] | None, typer.Option("--focal", help="A focal point's pseudonym; give two.")] = None,
    administrator: Annotated[str, typer.Option("--administrator", help="A pseudonym.")] = "administrator",
    telephone: Annotated[str, typer.Option("--duty-telephone", help="Answered at any hour.")] = "",
    passphrase_file: CaPassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make a node: authority, certificates, keys, configuration, databases, two focal points and an administrator."""
    domain = domain_of(country, federation)
    port = peer.rpartition(":")[2]
    plan = Plan(
        home=Home(home.resolve()),
        domain=domain,
        name=name,
        root=read(root),
        passphrase=ca_passphrase(passphrase_file, new=authority is None),
        authority=authority.resolve() if authority else None,
        peer=peer,
        desk=desk,
        metrics=metrics,
        endpoint=endpoint or f"{name}.{domain.host}:{port}",
        database=database,
        keystore=keystore,
        focal=tuple(focal or ("focal-1", "focal-2")),
        administrator=administrator,
        telephone=telephone,
    )
    make_node(plan)
    show(_facts(plan), as_json)
    if not as_json:
        say(_next(plan))


def _facts(plan: Plan) -> dict[str, object]:
    root = parse_root(plan.root)
    return {
        "home": str(plan.home.path),
        "node": f"spiffe://{plan.domain.host}/node/{plan.name}",
        "root_sha256": hashlib.sha256(plan.root).hexdigest(),
        "stewards": [f"{key.steward}" for key in root.keys],
        "threshold": root.threshold,
        "focal_points": list(plan.focal),
        "administrator": plan.administrator,
    }


def _next(plan: Plan) -> list[str]:
    home = plan.home.path
    return [
        "",
        "Next:",
        "1. Compare the root's digest above by voice with a steward you know: all trust hangs on it.",
        f"2. Hand {plan.home.officer(plan.administrator)} and each key in {plan.home.focal} to its owner, in person.",
        f"3. Take {plan.home.authority} and {plan.home.keys / 'member-root.pem'} to a machine that is never connected.",
        f"4. Complete {home / 'member.yaml'}; sign it with `enlace directory member-record`; bring it to the stewards.",
        f"5. `enlace serve --home {home}`; then `enlace directory import`, `officer enrol`, `pairing sign`.",
        f"6. Have national counsel review {plan.home.rulebooks}: what lies there is an illustration. No rulebook is in",
        "   force yet, so nothing is released or asked: `policy propose`, `policy approve` by two, `policy activate`.",
        f"`enlace doctor --home {home}` says what is missing.",
    ]
