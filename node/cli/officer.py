"""`enlace officer`: who works at the desk."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.issuing import ca_passphrase, is_held, issue
from node.cli.output import HomeOption, JsonOption, OfficerOption, show
from node.cli.pki_folder import Folder
from node.cli.words import parse_word, words
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import EnrolOfficerRequest, OfficerRole

app = typer.Typer(help="Enrol officers.", no_args_is_help=True)

UNIT_TYPES = words(UnitType.DESCRIPTOR, filter(None, UnitType.values()))
ROLES = words(OfficerRole.DESCRIPTOR, filter(None, OfficerRole.values()))


@app.command("enrol")
def enrol(
    name: Annotated[str, typer.Argument(help="The officer's pseudonym; never a name.")],
    *,
    unit: Annotated[str, typer.Option("--unit", help="The unit, as peers will see it.")],
    unit_type: Annotated[str, typer.Option("--unit-type", help=f"One of {UNIT_TYPES}.")],
    roles: Annotated[list[str], typer.Option("--role", help=f"May be repeated: {ROLES}.")],
    administrator: OfficerOption,
    home: HomeOption = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="Of the CA key; else $ENLACE_CA_PASSPHRASE.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol an officer, or change unit and roles; issues the certificate where the authority's key is in the home."""
    node = home_of(home)
    request = EnrolOfficerRequest(
        officer=name,
        unit=unit,
        unit_type=UnitType.ValueType(parse_word(UnitType.DESCRIPTOR, unit_type)),
        roles=[OfficerRole.ValueType(parse_word(OfficerRole.DESCRIPTOR, role)) for role in roles],
    )
    folder, place = Folder(node.path), node.officer(name)
    issues = bool(folder.root.is_file() and folder.key_files()) and not is_held(folder, f"desk/{name}")
    passphrase = ca_passphrase(passphrase_file) if issues else b""
    with desk(node, administrator) as stub:
        # First, since a certificate without enrolment would be left over when the enrolment is refused.
        stub.EnrolOfficer(request)
    if issues:
        issue(folder, "desk", name, place, passphrase)
    there = (place / "certificate.pem").is_file()
    show(
        {
            "officer": name,
            "unit": unit,
            "roles": words(OfficerRole.DESCRIPTOR, request.roles),
            "certificate": str(place / "certificate.pem") if there else None,
            "issued": issues,
            "next": f"hand {place} over in person"
            if there
            else f"issue the certificate where the authority is: enlace pki issue-desk {name}",
        },
        as_json,
    )
