"""No log line and no metric bears a selector, a name or a value of a record, however it fails."""

import json
import sqlite3
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from node.errors import EnlaceError
from node.wire.codes_pb2 import LookupKind
from node.wire.desk_pb2 import GetEntryRequest, ListCasesRequest, PutEntryRequest, SearchRequest
from node.wire.desk_pb2_grpc import DeskStub
from node.wire.entry_pb2 import Case, DateInterval, Entry
from node.wire.exchange_pb2 import PersonBasis, Query, Selector
from tests.federation.node_process import NodeProcess, node_process
from tests.federation.support import Book, altered, case_record, person, telephone, told
from tests.peer_simulator import Refusal, channel_to, hostile_server, request, sealed_query, send, telephone_query
from tests.world import Place, World

NUMBER, NAME = "+12025550161", "Quetzalina Inventada Tecolote"
WORDS = "Zanahoria azul en Tapachula"
BASIS = PersonBasis(
    offence=1,  # type: ignore[arg-type]
    when=DateInterval(first_day=20_000, last_day=20_001),
    place_country="MX",
    place="Huehuetenango Sur",
    factual_basis="Testimonio inventado de Murcielago",
)


def records() -> tuple[Case, list[Entry]]:
    case = altered(case_record(), title="Operacion Colibri", reference="FGR-INVENTADO-77")
    suspect = person(NAME)
    suspect.person.birth_place = "Chichicastenango"
    suspect.person.address = "Calle Inventada 99"
    suspect.person.document_numbers.append("INV7788990")
    suspect.source = "Informante Zopilote"
    return case, [telephone(NUMBER, communications=WORDS), suspect]


def queries() -> list[Query]:
    by_name = Selector(kind=LookupKind.LOOKUP_KIND_NAME, value=NAME)
    by_document = Selector(kind=LookupKind.LOOKUP_KIND_DOCUMENT_NUMBER, value="INV7788990")
    base = altered(telephone_query(NUMBER), case_reference="GT-EXPEDIENTE-55")
    return [
        base,
        altered(base, selectors=[by_document]),
        altered(base, selectors=[by_name], person_basis=BASIS),
        altered(base, selectors=[by_name]),
        altered(base, selectors=[by_name] * 30, person_basis=BASIS),
        altered(base, purpose=99),
        altered(base, urgency=1),
        altered(base, urgency=1, urgency_reason="Amenaza inventada contra Guacamaya"),
        altered(base, selectors=[Selector(kind=LookupKind.LOOKUP_KIND_TELEPHONE, value="Armadillo 12")]),
        altered(base, instrument="Tratado Inventado"),
        altered(base, case_reference="GT-EXPEDIENTE-55" * 9),
    ]


def texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        for each in values:
            if isinstance(each, Message):
                # Who asks is known by pseudonym, and is no secret of the node's own log.
                yield from () if field.name == "asker" else texts(each)
            elif isinstance(each, str) and len(each) > 3:
                yield each


def needles() -> set[str]:
    case, entries = records()
    found = {text for message in (case, *entries, *queries()) for text in texts(message)} - {"UNTOC", "UNIT-1"}
    found |= {text.removeprefix("+") for text in found}
    found |= {
        word for text in (NAME, WORDS, BASIS.place, BASIS.factual_basis) for word in text.split() if len(word) > 5
    }
    assert len(found) > 25
    return found


def assert_silent(text: str) -> None:
    lowered = text.lower()
    assert [needle for needle in needles() if needle.lower() in lowered] == []


def events(node: NodeProcess) -> list[dict[str, object]]:
    """All that it said is lines of JSON: no traceback of Python's own."""
    return [json.loads(line) for line in node.log.splitlines() if line.startswith("{")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World.make(tmp_path, ("GT", "MX"))
    for code in ("GT", "MX"):
        made[code].write(records())
        made[code].configure(log_level="debug")
    return made


async def failed(channel: grpc.aio.Channel, data: bytes) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(channel, data)
    assert_silent(f"{caught.value.code()} {caught.value.details()} {caught.value.debug_error_string()}")
    return caught.value


def metrics(place: Place, pem: Path) -> str:
    officer = place.officer("administrator")
    pem.write_bytes(officer.key_pem + officer.chain_pem)
    context = ssl.create_default_context(cadata=place.ca.roots_pem.decode())
    context.load_cert_chain(pem)
    context.check_hostname = False  # the certificate is for the node's name, and this asks at its address
    with urllib.request.urlopen(f"https://{place.metrics}/metrics", context=context, timeout=5) as response:
        return str(response.read().decode())


async def test_no_value_is_logged_by_who_answers(world: World, tmp_path: Path) -> None:
    mx, gt = world["MX"], world["GT"]
    with node_process(mx) as node:
        async with channel_to(mx, gt.node) as channel:
            answered = 0
            for query in queries():
                sealed = sealed_query(gt, "MX", query)
                try:
                    await send(channel, request(sealed))
                except grpc.aio.AioRpcError as error:
                    assert_silent(f"{error.details()} {error.debug_error_string()}")
                else:
                    answered += 1
                    await failed(channel, request(sealed))  # a replay
                sealed.envelope.body = sealed.envelope.body[:-1]
                await failed(channel, request(sealed))
                await failed(channel, request(sealed)[:-40])
            assert 4 <= answered < len(queries())
            assert_silent(metrics(mx, tmp_path / "administrator.pem"))
            # A database without records, whose driver quotes statements.
            with closing(sqlite3.connect(mx.home.data / "enlace.db")) as connection, connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                assert "entries" in tables
                connection.execute("ALTER TABLE entries RENAME TO elsewhere")
            for query in queries()[:3]:
                broken = await failed(channel, request(sealed_query(gt, "MX", query)))
                assert broken.code() is grpc.StatusCode.UNAVAILABLE
            assert told(Book(mx, world).lines()[-1]) == ("REJECTED", "GT", "StoreError")
    assert {"serving", "call_refused"} <= {event["event"] for event in events(node)}
    assert "Traceback" not in node.log
    assert_silent(node.log)


async def test_an_error_that_quotes_all_it_saw_is_logged_by_its_kind_and_places_alone(world: World) -> None:
    mx, gt = world["MX"], world["GT"]
    with node_process(mx, ("-m", "tests.federation.faulty_node", str(mx.home.path))) as node:
        async with channel_to(mx, gt.node) as channel:
            for query in queries()[:3]:
                error = await failed(channel, request(sealed_query(gt, "MX", query)))
                assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, EnlaceError.public)
    unforeseen = [event for event in events(node) if event["event"] == "call_failed"]
    assert len(unforeseen) == 3
    for event in unforeseen:
        assert event["error"] == ["SurpriseError", "KeyError"]
        assert isinstance(event["places"], list)
        assert any("faulty_node.py" in place for place in event["places"])
    assert "Traceback" not in node.log
    assert_silent(node.log)


async def test_no_value_is_logged_by_who_asks_and_records(world: World, tmp_path: Path) -> None:
    gt = world["GT"]

    async def quoting(data: bytes) -> bytes:
        if len(data) % 2:
            return data
        raise Refusal(grpc.StatusCode.INTERNAL, f"{NAME} {NUMBER} {WORDS}")

    async with hostile_server(world, "MX", quoting):
        with node_process(gt) as node:
            async with gt.desk_channel() as channel:
                stub = DeskStub(channel)
                for query in queries():
                    try:
                        search = SearchRequest(query=query, peers=["MX"], deadline_ms=2_000)
                        responses = [each async for each in stub.Search(search)]
                    except grpc.aio.AioRpcError as error:
                        assert_silent(f"{error.details()} {error.debug_error_string()}")
                    else:
                        assert_silent(" ".join(each.detail for each in responses))
                (case,) = (await stub.ListCases(ListCasesRequest())).cases
                entry = records()[1][0]
                for spoilt in (
                    altered(entry, case_id=bytes(16)),
                    altered(entry, case_id=case.case_id, review_us=1),
                    altered(entry, case_id=case.case_id, handling=99),
                    altered(entry, case_id=case.case_id, originator=WORDS),
                    altered(entry, case_id=case.case_id, entry_id=bytes(16)),
                    altered(entry, case_id=case.case_id, telecom={"telephone": WORDS}),
                ):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await stub.PutEntry(PutEntryRequest(entry=spoilt))
                    assert caught.value.code() is not grpc.StatusCode.INTERNAL
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.GetEntry(GetEntryRequest(entry_id=bytes(16)))
            assert_silent(metrics(gt, tmp_path / "administrator.pem"))
    assert {"serving", "call_refused", "peer_did_not_answer"} <= {event["event"] for event in events(node)}
    assert "Traceback" not in node.log
    assert_silent(node.log)
