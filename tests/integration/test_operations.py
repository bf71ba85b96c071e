"""Running a node: metrics, logs, stopping, and every way in which it must not start."""

import asyncio
import json
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from node.wire.desk_pb2 import PEER_OUTCOME_ANSWERED, GetCaseRequest, PutEntryRequest, SearchRequest, SearchResponse
from node.wire.desk_pb2_grpc import DeskStub
from tests.federation.node_process import NodeProcess, node_process
from tests.federation.support import NOBODYS, SEEN, VICTIMS, case_record, telephone
from tests.peer_simulator import channel_to, request, sealed_query, send, telephone_query
from tests.pki import Holder, country, desk_certificate
from tests.world import Place, World

ROOT = Path(__file__).resolve().parents[2]
PERSONAL = (SEEN, SEEN[1:], VICTIMS, NOBODYS, "Invented Holder", "Invented case", "CASE-1", "analyst")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.make(tmp_path_factory.mktemp("operations"), ("GT", "MX"))
    made["MX"].write((case_record(), [telephone(), telephone(VICTIMS, victim=True)]))
    for place in made.places.values():
        place.configure(log_level="debug")
    return made


@pytest.fixture(scope="module")
def nodes(world: World) -> Iterator[dict[str, NodeProcess]]:
    # GT asks, so it starts last: a channel that did not connect at once waits before it tries again.
    with node_process(world["MX"]) as mx, node_process(world["GT"]) as gt:
        yield {"GT": gt, "MX": mx}


def asked(place: Place, value: str = SEEN) -> SearchResponse:
    async def ask() -> SearchResponse:
        async with place.desk_channel() as channel:
            (response,) = [each async for each in DeskStub(channel).Search(SearchRequest(query=telephone_query(value)))]
            return response

    return asyncio.run(ask())


# --- metrics ---------------------------------------------------------------------------------------------------------


def scraped(place: Place, folder: Path, holder: Holder | None) -> str:
    context = ssl.create_default_context(cadata=place.ca.roots_pem.decode())
    context.check_hostname = False  # the address is a number; the chain is checked
    if holder:
        pem = folder / "scraper.pem"
        pem.write_bytes(holder.chain_pem + holder.key_pem)
        context.load_cert_chain(pem)
    with urllib.request.urlopen(f"https://{place.metrics}/metrics", context=context, timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()


def value_of(text: str, name: str, **labels: str) -> float:
    wanted = "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}" if labels else ""
    found = re.search(rf"^{re.escape(name + wanted)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.usefixtures("nodes")
def test_counters_move_and_tell_nothing_about_anybody(world: World, tmp_path: Path) -> None:
    gt, mx = world["GT"], world["MX"]

    def both() -> tuple[str, str]:
        return scraped(gt, tmp_path, gt.officer("scraper")), scraped(mx, tmp_path, mx.officer("scraper"))

    before = both()
    for value in (SEEN, VICTIMS, NOBODYS):
        assert asked(gt, value).outcome == PEER_OUTCOME_ANSWERED

    async def replay() -> None:
        async with channel_to(mx, gt.node) as channel:
            sealed = request(sealed_query(gt, "MX", telephone_query()))
            await send(channel, sealed)
            with pytest.raises(grpc.aio.AioRpcError):
                await send(channel, sealed)

    asyncio.run(replay())
    time.sleep(1.2)  # gauges are set once a second
    after = both()

    def moved(side: int, name: str, **labels: str) -> float:
        return value_of(after[side], name, **labels) - value_of(before[side], name, **labels)

    assert moved(1, "enlace_answers_total", peer="GT") == 4
    assert moved(1, "enlace_answer_seconds_count") >= 3
    assert moved(1, "enlace_rejected_total", peer="GT", reason="ReplayError") == 1
    assert moved(0, "enlace_asked_total", outcome="PEER_OUTCOME_ANSWERED", peer="MX") == 3
    assert moved(0, "enlace_ledger_size") >= 6
    assert moved(1, "enlace_ledger_size") >= 5
    for text in after:
        assert value_of(text, "enlace_directory_expires_seconds") > 1.7e9
        assert value_of(text, "enlace_certificate_expires_seconds") > 1.7e9
        for layer in ("floor", "release", "outbound"):
            assert value_of(text, "enlace_rulebook_in_force", layer=layer) == 1.0
            assert value_of(text, "enlace_rulebook_expires_seconds", layer=layer) > 1.7e9
        assert [value for value in PERSONAL if value in text] == []


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("holder", [None, country("MX")], ids=["no certificate", "another country's"])
def test_metrics_are_for_this_country_alone(world: World, tmp_path: Path, holder: object) -> None:
    shown = desk_certificate(country("MX"), "scraper") if holder else None
    with pytest.raises((urllib.error.URLError, ssl.SSLError, OSError)):
        scraped(world["GT"], tmp_path, shown)
    assert "enlace_" in scraped(world["GT"], tmp_path, world["GT"].officer("scraper"))


# --- logs ------------------------------------------------------------------------------------------------------------


def test_logs_are_json_lines_without_any_value_of_a_record(world: World, nodes: dict[str, NodeProcess]) -> None:
    gt, mx = world["GT"], world["MX"]

    async def wrong_use() -> None:
        async with mx.desk_channel() as channel:
            for call in (
                DeskStub(channel).GetCase(GetCaseRequest(case_id=bytes(16))),
                DeskStub(channel).PutEntry(PutEntryRequest(entry=telephone("no number"))),
            ):
                with pytest.raises(grpc.aio.AioRpcError):
                    await call
        async with channel_to(mx, None) as channel:  # a handshake that fails
            with pytest.raises(grpc.aio.AioRpcError):
                await send(channel, b"")
        async with channel_to(mx, gt.node) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await send(channel, b"\xff" * 9)

    asyncio.run(wrong_use())
    asked(gt)
    for node in nodes.values():
        lines = [json.loads(line) for line in node.log.splitlines()]
        assert {"event", "level", "timestamp"} <= set.intersection(*(set(line) for line in lines))
        assert "serving" in {line["event"] for line in lines}
        assert [value for value in (*PERSONAL, "no number") if value in node.log] == []
    refusals = [json.loads(line) for line in nodes["MX"].log.splitlines() if '"call_refused"' in line]
    assert {line["kind"] for line in refusals} >= {"MalformedError", "NotFoundError"}


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    world = World.make(tmp_path / "world", ("GT", "MX"))
    with node_process(world["GT"]) as node:
        node.process.send_signal(number)
        assert node.wait() == 0
    events = [json.loads(line)["event"] for line in node.log.splitlines()]
    assert [event for event in events if event in {"serving", "draining", "stopped"}] == [
        "serving",
        "draining",
        "stopped",
    ]


# --- not starting ----------------------------------------------------------------------------------------------------


def fails(place: Place, status: int) -> str:
    """The one line that a node says which does not start."""
    command = [sys.executable, "-m", "node", "serve", "--home", str(place.home.path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]  # before it, the log may say who was not reached
    return line.removeprefix("✗ ")


def test_a_second_process_on_the_same_data_is_refused(world: World, nodes: dict[str, NodeProcess]) -> None:
    database = world["GT"].home.data / "enlace.db"
    assert fails(world["GT"], 1) == f"another process serves {database}; stop it first, or use PostgreSQL"
    assert nodes["GT"].process.poll() is None
    assert asked(world["GT"]).answer.hits


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A node that does not run, and is as it should be before and after each test."""
    return World.make(tmp_path_factory.mktemp("stopped"), ("GT", "MX"))["GT"]


@pytest.fixture
def place(stopped: Place) -> Iterator[Place]:
    kept = {path: (path.stat().st_mode, path.read_bytes()) for path in stopped.home.path.rglob("*") if path.is_file()}
    yield stopped
    for path, (mode, data) in kept.items():
        path.write_bytes(data)
        path.chmod(mode)


def test_a_newer_database_is_refused_and_left_alone(place: Place) -> None:
    path = place.home.data / "enlace.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert fails(place, 1).startswith("the database has revision 9999, and this node knows none after ")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def rewritten(old: str, new: str) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        text = place.home.config.read_text()
        assert old in text
        place.home.config.write_text(text.replace(old, new))

    return spoil


def without(path: str) -> Callable[[Place], None]:
    return lambda place: (place.home.path / path).unlink()


def garbled(path: str) -> Callable[[Place], None]:
    def spoil(place: Place) -> None:
        (place.home.path / path).write_bytes(b"garbage " * 999)

    return spoil


def with_anothers_key(place: Place) -> None:
    (place.home.tls / "node.key").write_bytes(place.officer("another").key_pem)


SPOILT: dict[str, tuple[Callable[[Place], None], int, str]] = {
    "unknown key": (
        rewritten("[limits]", "[limits]\nno_ledger = true"),
        2,
        r"enlace\.toml: .*unknown field `no_ledger`.*limits",
    ),
    "unknown section": (rewritten("[tls]", "[insecure]\n[tls]"), 2, r"enlace\.toml: .*unknown field `insecure`"),
    "key missing": (rewritten('key = "tls/node.key"', ""), 2, r"enlace\.toml: .*missing required field `key`.*tls"),
    "not TOML": (rewritten("[tls]", "[tls"), 2, r"enlace\.toml: "),
    "no port": (rewritten('peer = "127.0.0.1:', 'peer = "127.0.0.1:x'), 2, r"peer is not of the form host:port"),
    "no such port": (
        rewritten('desk = "127.0.0.1:', 'desk = "127.0.0.1:9999'),
        2,
        r"desk is not of the form host:port",
    ),
    "no configuration": (without("enlace.toml"), 2, r"there is no node in .*enlace init"),
    "no certificate": (without("tls/node.pem"), 2, r"node\.pem: No such file"),
    "another's key": (with_anothers_key, 2, r"node\.key is not the key of .*node\.pem"),
    "garbled certificate": (garbled("tls/node.pem"), 2, r"node\.pem .*not valid PEM"),
    "garbled roots": (garbled("tls/roots.pem"), 2, r"roots\.pem is not a PEM bundle"),
    "garbled signing key": (garbled("keys/signing.pem"), 2, r"signing\.pem: .*not PKCS #8 PEM"),
    "garbled root": (garbled("trust/root.bin"), 2, r"root\.bin: .*not a message of the contract"),
    "rulebooks by file": (
        rewritten("[tls]", '[rulebooks]\nrelease = "release.yaml"\n[tls]'),
        2,
        r"enlace\.toml: .*unknown field `rulebooks`",
    ),
    "no database": (without("data/enlace.db"), 1, r"enlace\.db does not exist: .*enlace init"),
    "garbled database": (garbled("data/enlace.db"), 1, r"enlace\.db can't be opened: file is not a database"),
    "no key store": (without("data/keys.db"), 1, r"keys\.db does not exist: restore"),
    "no key-encryption key": (without("keys/key-encryption.key"), 1, r"key-encryption\.key: No such file"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_wrong_is_one_line_that_names_it(place: Place, what: str) -> None:
    spoil, status, words = SPOILT[what]
    spoil(place)
    line = fails(place, status)
    assert re.search(words, line), line


@pytest.mark.parametrize("port", ["peer", "desk", "metrics"])
def test_a_port_that_is_taken_is_named(place: Place, port: str) -> None:
    address: str = getattr(place, port)
    host, _, number = address.rpartition(":")
    with socket.create_server((host, int(number))):
        assert fails(place, 2).startswith(f"{address} can't be listened on")


def test_two_nodes_do_not_share_a_desk(world: World, nodes: dict[str, NodeProcess], place: Place) -> None:
    del nodes
    rewritten(place.desk, world["GT"].desk)(place)
    assert fails(place, 2).startswith(f"{world['GT'].desk} can't be listened on")
