"""What ends each act of the tour: what can be proved, what is refused at once, and what the doctor says."""

import time
from typing import Any, Final

import grpc
from cryptography import x509
from rich.text import Text

from node.cli.demo import ledgers
from node.cli.demo.federation import ADMINISTRATOR, Country
from node.cli.demo.processes import enlace
from node.cli.demo.telling import quoted
from node.cli.demo.tour import Tour, TourError, require
from node.cli.doctor import examine
from node.cli.output import STYLES
from node.cli.words import word
from node.config import load_config
from node.errors import LedgerBrokenError
from node.federation.channels import GET_DIRECTORY
from node.wire.codes_pb2 import LookupKind
from node.wire.desk_pb2 import PeerOutcome
from node.wire.exchange_pb2 import GetDirectoryRequest
from node.wire.ledger_pb2 import Direction, LeafKind

CALL_S: Final = 5.0
RELOAD_S: Final = 10.0  # within which a node has taken up a new certificate


def verify_ledgers(tour: Tour) -> None:
    """Each side's ledger, whole."""
    tour.teller.heading("Both sides can prove it")
    tour.teller.say("Every question and answer is a line in two ledgers, signed by the other side. Each is read whole:")
    _verify_all(tour)


def verify_what_followed(tour: Tour) -> None:
    """One exchange as both sides have it, and the ledgers once more."""
    tour.teller.heading("Both sides can prove what followed")
    exchange = tour.answers["MX"].exchange_id
    tour.teller.say(
        f"All that followed the question goes by its exchange, [bold]{exchange.hex()[:16]}…[/bold], on both sides. "
        "What `enlace ledger list` shows of it:"
    )
    rows = []
    for code, peer in (("GT", "MX"), ("MX", "GT")):
        lines = [line for line in tour.ledger(code, peer) if line.exchange_id == exchange]
        said = " ".join(line.private.reason for line in lines)
        require("FOLLOW_UP_REQUEST" in said and "REQUEST_ANSWER" in said, f"{code} has both letters in its ledger")
        rows += [
            (
                tour.countries[code].name,
                f"{line.index}",
                word(LeafKind.DESCRIPTOR, line.kind),
                word(Direction.DESCRIPTOR, line.direction),
                line.private.reason,
            )
            for line in lines
        ]
    tour.teller.table(("ledger of", "line", "what", "direction", "about"), rows)
    tour.teller.say("And all three ledgers are read whole again:")
    _verify_all(tour)


def _verify_all(tour: Tour) -> None:
    rows = []
    for country in tour.countries.values():
        config = load_config(country.home.config)
        report = ledgers.verify(config, config.store.database)
        require(report.size and report.openings == report.size, f"every line of {country.name} opens")
        require(report.signatures and not report.unknown_keys, f"the signatures in {country.name}'s ledger hold")
        rows.append((country.name, f"{report.size}", f"{report.signatures}", f"{report.root.hex()[:32]}…"))
    tour.teller.table(("ledger of", "lines", "signatures", "root of the tree"), rows)
    tour.teller.done("All three verify.")


def flip_a_byte(tour: Tour) -> None:
    """One byte of a copy."""
    tour.teller.heading("One byte is changed")
    country, answer = tour.countries["GT"], tour.answers["MX"]
    config, place = load_config(country.home.config), country.home.path / "copy.db"
    url = ledgers.copy(config, place)
    ledgers.verify(config, url)
    flip = ledgers.flip_byte(place, answer.ledger_index)
    tour.teller.say(
        f"In a copy of Guatemala's ledger, byte {flip.place} of the line that holds Mexico's answer is changed "
        f"from {flip.before:02x} to {flip.after:02x}. The verifier says:"
    )
    try:
        ledgers.verify(config, url)
    except LedgerBrokenError as error:
        tour.teller.refused(quoted(str(error)))
        require(f"line {flip.line} " in str(error), f"the verifier names line {flip.line}")
    else:
        raise TourError("the tour stops: a flipped byte was not found")
    place.unlink()
    tour.teller.done(f"It names line {flip.line}, and no other.")


def refuse_the_thief(tour: Tour) -> None:
    """A stolen key, taken back while its thief is connected."""
    tour.teller.heading("A stolen key is taken back")
    guatemala, mexico = tour.countries["GT"], tour.countries["MX"]
    stolen = [(guatemala.home.tls / name).read_bytes() for name in ("key.pem", "certificate.pem")]
    serial = x509.load_pem_x509_certificates(stolen[1])[0].serial_number
    with _connected(mexico, *stolen) as channel:
        call: Any = channel.unary_unary(GET_DIRECTORY)
        call(GetDirectoryRequest().SerializeToString(), timeout=CALL_S)
        tour.teller.say(
            "Somebody has copied the key of Guatemala's node, and is connected to Mexico's. Guatemala acts:"
        )
        _renew(tour, guatemala)
        for words in (
            ("pki", "revoke", f"{serial:x}", "--dir", str(guatemala.home.path)),
            ("pki", "push", "--home", str(guatemala.home.path), "--as", ADMINISTRATOR),
        ):
            _enlace(guatemala, *words)
        tour.teller.command("enlace pki renew node/gt-1; enlace pki revoke SERIAL; enlace pki push")
        try:
            call(GetDirectoryRequest().SerializeToString(), timeout=CALL_S)
        except grpc.RpcError as error:
            code = error.code()
            require(code is grpc.StatusCode.UNAUTHENTICATED, f"the thief is refused as unknown, not with {code}")
            details = quoted(error.details() or code.name)
            tour.teller.refused(f"the thief's next call, on the same connection: {details}")
        else:
            raise TourError("the tour stops: a revoked certificate was still served")
    rejected = [line for line in tour.ledger("MX", "GT") if line.kind == LeafKind.LEAF_KIND_REJECTED]
    require(rejected, "Mexico has logged the refusal")
    answers = list(tour.search(LookupKind.LOOKUP_KIND_TELEPHONE, tour.invented.telephone))
    require(
        all(each.outcome == PeerOutcome.PEER_OUTCOME_ANSWERED for each in answers),
        "Guatemala is served with its new key",
    )
    tour.teller.done(
        f"Mexico has logged the attempt (line {rejected[-1].index}). Guatemala's node took up its new key without a "
        "restart, and is answered as before."
    )


def _connected(peer: Country, key: bytes, certificate: bytes) -> grpc.Channel:
    config = load_config(peer.home.config)
    credentials = grpc.ssl_channel_credentials(config.tls.country_roots.read_bytes(), key, certificate)
    name = f"{config.name}.{config.country.lower()}.{config.federation}"
    options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(config.listen.peer, credentials, options=options)


def _renew(tour: Tour, country: Country) -> None:
    """Give the node a new key, and wait until it shows it."""
    home = country.home
    words = ("pki", "renew", f"node/{country.code.lower()}-1", "--days", "89", "--out", str(home.tls))
    _enlace(country, *words, "--dir", str(home.path))
    ends = x509.load_pem_x509_certificates((home.tls / "certificate.pem").read_bytes())[0].not_valid_after_utc
    deadline = time.monotonic() + RELOAD_S
    while tour.status(country.code).certificate_expires_us != int(ends.timestamp() * 1_000_000):
        require(time.monotonic() < deadline, "the node takes up its new certificate")
        tour.verify_alive()
        time.sleep(0.1)


def _enlace(country: Country, *words: str) -> None:
    if words[:2] != ("pki", "push"):
        words = (*words, "--passphrase-file", str(country.passphrase_file))
    enlace(*words)


def consult_the_doctor(tour: Tour) -> None:
    """What `enlace doctor` says of Guatemala's node."""
    tour.teller.heading("What the doctor says")
    home = tour.countries["GT"].home
    findings = list(examine(home, ADMINISTRATOR, None))
    well = [each.what for each in findings if each.state == "green"]
    rows = [(Text("green", style="green"), ", ".join(well))]
    rows += [
        (Text(each.state, style=STYLES.get(each.state, "dim")), f"{each.what}: {each.says}")
        for each in findings
        if each.state != "green"
    ]
    tour.teller.say(f"Guatemala's node, on {len(findings)} counts, with `enlace doctor`:")
    tour.teller.table(("", ""), rows)
    require(not [each for each in findings if each.state == "red"], "nothing is red")
    tour.teller.done("Nothing is red. The yellow ones lie here for the tour alone: in earnest each has its own owner.")
