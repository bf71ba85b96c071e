"""A client that the project did not write drives the desk over mutual TLS: `buf curl`, with JSON in and out."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_health.v1 import health_pb2

from node.cli.serving import running
from node.errors import CertificateInvalidError, ForbiddenError
from tests.federation.support import SEEN, VICTIMS, case_record, telephone
from tests.pki import Holder, country, desk_certificate, node_certificate
from tests.world import Place, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).parent / "buf"
DESK = "enlace.v1.Desk"
# In TLS 1.3 a client is told after its own handshake that its certificate is not accepted: it may be writing already.
NOT_LET_IN = {grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.CANCELLED.value[0]}


@dataclass(frozen=True)
class Said:
    """How a call ended; `code` is gRPC's, or None where buf itself gave up."""

    status: int
    out: str
    error: str

    @property
    def code(self) -> int | None:
        # "an exit code that is the gRPC code, shifted three bits to the left"
        return self.status >> 3 if self.status == 0 or self.status >= 8 else None

    @property
    def messages(self) -> list[dict[str, Any]]:
        assert self.status == 0, self.error
        found, rest, decoder = list[dict[str, Any]](), self.out.strip(), json.JSONDecoder()
        while rest:
            message, end = decoder.raw_decode(rest)
            found.append(message)
            rest = rest[end:].strip()
        return found

    @property
    def message(self) -> dict[str, Any]:
        (only,) = self.messages
        return only


@dataclass(frozen=True)
class Curl:
    """`buf curl` as somebody who has these files."""

    place: Place
    folder: Path
    schema: str = ""  # empty: by reflection

    async def __call__(
        self, method: str, data: object = None, *, holder: Holder | None, address: str = "", flags: tuple[str, ...] = ()
    ) -> Said:
        roots = self.folder / "roots.pem"
        roots.write_bytes(self.place.ca.roots_pem)
        arguments = ["curl", "--protocol", "grpc", "--cacert", str(roots), "--servername", self.place.server_name]
        if holder:
            chain, key = self.folder / "chain.pem", self.folder / "key.pem"
            chain.write_bytes(holder.chain_pem)
            key.write_bytes(holder.key_pem)
            arguments += ["--cert", str(chain), "--key", str(key)]
        if self.schema:
            arguments += ["--schema", self.schema]
        if data is not None:
            arguments += ["--data", "@-"]
        url = f"https://{address or self.place.desk}" + (f"/{method}" if method else "")
        process = await asyncio.create_subprocess_exec(
            str(BUF), *arguments, *flags, url, cwd=ROOT, stdin=-1, stdout=-1, stderr=-1
        )
        out, error = await asyncio.wait_for(
            process.communicate(json.dumps(data).encode() if data is not None else b""), 30
        )
        return Said(process.returncode or 0, out.decode(), error.decode())

    async def desk(self, method: str, data: object = None, officer: str = "analyst") -> Said:
        return await self(f"{DESK}/{method}", {} if data is None else data, holder=self.place.officer(officer))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """GT, whose desk is called, MX, which answers it, and US, which is down."""
    made = World.make(tmp_path_factory.mktemp("foreign"))
    made["MX"].write((case_record(), [telephone(), telephone(VICTIMS, victim=True)]))
    async with running(made["MX"].config), running(made["GT"].config):
        yield made


@pytest.fixture(params=["", "proto"], ids=["reflection", "schema"])
def curl(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Curl:
    return Curl(world["GT"], tmp_path, request.param)


@pytest.fixture
def reflecting(world: World, tmp_path: Path) -> Curl:
    return Curl(world["GT"], tmp_path)


QUERY: Mapping[str, Any] = {
    "selectors": [{"kind": "LOOKUP_KIND_TELEPHONE", "value": SEEN}],
    "purpose": "PURPOSE_INVESTIGATE",
    "crimes": ["CRIME_TRAFFICKING"],
    "urgency": "URGENCY_ROUTINE",
    "caseReference": "CASE-1",
    "instrument": "UNTOC",
}


async def test_status(curl: Curl) -> None:
    status = (await curl.desk("GetStatus", {"probePeers": True})).message
    assert (status["country"], status["node"], status["database"]) == ("GT", "gt-1", "sqlite")
    assert {peer["peer"]: peer.get("reachable", False) for peer in status["peers"]} == {"MX": True, "US": False}
    assert [book["inForce"] for book in status["rulebooks"]] == [True, True, True]


async def test_a_search_streams_a_response_for_each_peer(curl: Curl) -> None:
    responses = (await curl.desk("Search", {"query": QUERY, "deadlineMs": 3_000})).messages
    by_peer = {response["peer"]: response for response in responses}
    assert len(responses) == len(by_peer) == 2
    assert by_peer["US"]["outcome"] == "PEER_OUTCOME_UNREACHABLE"
    assert by_peer["MX"]["outcome"] == "PEER_OUTCOME_ANSWERED"
    (hit,) = by_peer["MX"]["answer"]["hits"]
    assert hit["entry"]["telecom"]["telephone"] == SEEN
    assert "OBLIGATION_NO_ONWARD" in hit["entry"]["terms"]["obligations"]
    assert {grant["category"] for grant in hit["entry"]["grants"]} >= {"DATA_CATEGORY_TELECOM"}


async def test_what_is_withheld_looks_as_what_is_not_there(curl: Curl) -> None:
    answers = []
    for value in (VICTIMS, "+12025550199"):
        query = {**QUERY, "selectors": [{"kind": "LOOKUP_KIND_TELEPHONE", "value": value}]}
        response = (await curl.desk("Search", {"query": query, "peers": ["MX"]})).message
        answers.append(
            {key: response[key] for key in response if key not in {"exchangeId", "elapsedUs", "ledgerIndex"}}
        )
    assert answers[0] == answers[1] == {"peer": "MX", "outcome": "PEER_OUTCOME_ANSWERED", "answer": {}}


async def test_a_case_and_its_entry_go_in_and_come_out(curl: Curl) -> None:
    case = {"reference": "CASE-9", "title": "Invented case", "crimes": ["CRIME_TRAFFICKING"], "open": True}
    stored = (await curl.desk("PutCase", {"case": case})).message["case"]
    assert case.items() <= stored.items()
    assert stored["unit"] == "UNIT-1"
    assert len(base64.b64decode(stored["caseId"])) == 16

    entry = {
        "caseId": stored["caseId"],
        "roles": ["ROLE_SUSPECT"],
        "crimes": ["CRIME_TRAFFICKING"],
        "source": "Invented informant",
        "handling": "HANDLING_CODE_H0",
        "sourceGrade": "SOURCE_GRADE_B",
        "informationGrade": "INFORMATION_GRADE_3",
        "invented": True,
        "telecom": {"telephone": "+12025550155", "holderName": "Invented Holder"},
    }
    put = (await curl.desk("PutEntry", {"entry": entry})).message
    assert entry.items() <= put["entry"].items()
    assert "pendingChange" not in put

    got = (await curl.desk("GetCase", {"caseId": stored["caseId"]})).message
    assert got == {"case": stored, "entries": [put["entry"]]}


async def test_a_client_stream_goes_in_too(reflecting: Curl) -> None:
    case = {"reference": "CASE-I", "title": "Invented case", "crimes": ["CRIME_TRAFFICKING"]}
    assert (await reflecting.desk("Import", {"case": case})).message == {"cases": "1"}


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_another_role_is_refused(curl: Curl) -> None:
    said = await curl.desk("GetCase", {"caseId": ""}, "administrator")
    assert said.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    assert ForbiddenError.public in said.error


async def test_a_mistake_is_told_in_words_and_without_its_value(curl: Curl) -> None:
    said = await curl.desk("PutEntry", {"entry": {"caseId": "", "telecom": {"telephone": "no number"}}})
    assert said.code in {grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]}
    assert "no number" not in said.error


@pytest.mark.parametrize(
    "holder",
    [
        None,
        desk_certificate(country("MX"), "analyst"),
        node_certificate(country("MX")),
        desk_certificate(country("GT", "another.example"), "analyst"),
    ],
    ids=["none", "an officer of MX", "a node of MX", "another federation's GT"],
)
async def test_who_shows_no_certificate_of_this_country_does_not_get_in(
    world: World, tmp_path: Path, holder: Holder | None
) -> None:
    said = await Curl(world["GT"], tmp_path, "proto")(f"{DESK}/GetStatus", {}, holder=holder)
    assert (said.code in NOT_LET_IN, said.out) == (True, ""), said.error


async def test_a_nodes_certificate_is_no_officers(curl: Curl) -> None:
    said = await curl(f"{DESK}/GetStatus", {}, holder=node_certificate(country("GT")))
    assert said.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert CertificateInvalidError.public in said.error


async def test_nobody_speaks_without_tls(reflecting: Curl) -> None:
    process = await asyncio.create_subprocess_exec(
        str(BUF), "curl", "--protocol", "grpc", "--schema", "proto", "--data", "{}",
        f"http://{reflecting.place.desk}/{DESK}/GetStatus", cwd=ROOT, stdout=-1, stderr=-1,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode or 0) >> 3 in NOT_LET_IN
    assert out == b""


# --- what a port tells of itself -------------------------------------------------------------------------------------


async def test_the_desk_tells_its_services(reflecting: Curl) -> None:
    said = await reflecting("", holder=reflecting.place.officer("analyst"), flags=("--list-services",))
    own = [f"enlace.v1.{name}" for name in ("Correspondence", "Desk", "Duty", "Institution", "Subjects")]
    assert said.out.split() == [*own, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]


async def test_the_peer_port_tells_nothing(reflecting: Curl, world: World) -> None:
    place = world["GT"]
    said = await reflecting("", holder=world["MX"].node, address=place.peer, flags=("--list-services",))
    assert (said.code, said.out) == (None, "")
    assert "unimplemented" in said.error


@pytest.mark.parametrize(("port", "service"), [("desk", DESK), ("peer", "enlace.v1.Exchange")])
async def test_both_ports_tell_their_health(world: World, tmp_path: Path, port: str, service: str) -> None:
    place, schema = world["GT"], tmp_path / "health.binpb"
    described = FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(described)
    schema.write_bytes(FileDescriptorSet(file=[described]).SerializeToString())
    holder = place.officer("administrator") if port == "desk" else world["MX"].node
    check = Curl(place, tmp_path, str(schema))
    for name, code, message in (
        ("", 0, {"status": "SERVING"}),
        (service, 0, {"status": "SERVING"}),
        ("enlace.v1.Nothing", grpc.StatusCode.NOT_FOUND.value[0], None),
    ):
        said = await check(
            "grpc.health.v1.Health/Check", {"service": name}, holder=holder, address=getattr(place, port)
        )
        assert said.code == code, said.error
        assert message is None or said.message == message
    nobody = await check("grpc.health.v1.Health/Check", {}, holder=None, address=getattr(place, port))
    assert nobody.code in NOT_LET_IN, nobody.error
