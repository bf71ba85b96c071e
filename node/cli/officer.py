"""`enlace officer`: who works at the desk."""

from typing import Annotated

import typer

from node.cli.client import desk
from node.cli.home import home_of
from node.cli.issuing import CaPassphraseFile, ca_passphrase, is_held, issue
from node.cli.output import HomeOption, JsonOption, OfficerOption, UnmaskOption, show, show_rows
from node.cli.pki_folder import Folder
from node.cli.words import parse_word, word, words
from node.wire.codes_pb2 import UnitType
from node.wire.desk_pb2 import EnrolOfficerRequest, ListOfficersRequest, OfficerRole, SuspendOfficerRequest

app = typer.Typer(help="Enrol officers, and suspend them.", no_args_is_help=True)

UNIT_TYPES = words(UnitType.DESCRIPTOR, filter(None, UnitType.values()))
ROLES = words(OfficerRole.DESCRIPTOR, filter(None, OfficerRole.values()))

Pseudonym = Annotated[str, typer.Argument(help="The officer's pseudonym; never a name.")]


@app.command("enrol")
def enrol(
    name: Pseudonym,
    *,
    unit: Annotated[str, typer.Option("--unit", help="The unit, as peers will see it.")],
    unit_type: Annotated[str, typer.Option("--unit-type", help=f"One of {UNIT_TYPES}.")],
    roles: Annotated[list[str], typer.Option("--role", help=f"May be repeated: {ROLES}.")],
    administrator: OfficerOption,
    home: HomeOption = None,
    passphrase_file: CaPassphraseFile = None,
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
        with folder.locked():
            issue(folder, "desk", name, passphrase, out=place)
    there = (place / "certificate.pem").is_file()
    show(
        {
            "officer": name,
            "unit": unit,
            "roles": [word(OfficerRole.DESCRIPTOR, role) for role in request.roles],
            "certificate": str(place / "certificate.pem") if there else None,
            "issued": issues,
            "next": f"hand {place} over in person"
            if there
            else f"issue the certificate where the authority is: enlace pki issue-desk {name}",
        },
        as_json,
    )


@app.command("suspend")
def suspend(
    name: Pseudonym, *, administrator: OfficerOption, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Take an officer's access away at once; `enlace officer enrol` gives it back."""
    node = home_of(home)
    with desk(node, administrator) as stub:
        stub.SuspendOfficer(SuspendOfficerRequest(officer=name))
    next_ = f"revoke the certificate where the authority is, if it may be in other hands: enlace pki revoke desk/{name}"
    show({"officer": name, "suspended": True, "next": next_}, as_json)


@app.command("list")
def list_officers(
    *, administrator: OfficerOption, unmask: UnmaskOption = "", home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List who works at the desk, with units and roles; to auditors, masked unless they say why."""
    with desk(home_of(home), administrator) as stub:
        officers = stub.ListOfficers(ListOfficersRequest(unmask=unmask)).officers
    rows = [
        {
            "officer": each.officer,
            "unit": each.unit,
            "unit_type": word(UnitType.DESCRIPTOR, each.unit_type) if each.unit_type else "",
            "roles": [word(OfficerRole.DESCRIPTOR, role) for role in each.roles],
            "suspended": each.suspended,
        }
        for each in officers
    ]
    show_rows(rows, as_json, empty="Nobody is enrolled.")
