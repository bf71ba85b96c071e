"""`enlace demo`: makes three countries, takes the tour, and lets them run."""

import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from node.cli.demo import following, proving, sharing, tour
from node.cli.demo.federation import COUNTRIES, enact, enrol, make_countries, pair
from node.cli.demo.processes import running
from node.cli.demo.records import import_into, read_incidents, read_invented
from node.cli.demo.telling import Teller
from node.cli.demo.tour import Tour

FIRST_ACT = (
    tour.ask,
    tour.read_answers,
    tour.reveal,
    proving.verify_ledgers,
    proving.flip_a_byte,
    tour.name_without_basis,
    proving.refuse_the_thief,
)
SECOND_ACT = (
    following.ask_for_more,
    following.decide,
    following.receive,
    sharing.tell_unasked,
    sharing.take_back,
    following.let_pass,
    proving.verify_what_followed,
    proving.consult_the_doctor,
)

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(
    *, once: Annotated[bool, typer.Option("--once", help="End by itself, with 0 only if every step held.")] = False
) -> None:
    """Make three countries on this machine, walk through one question, then let them run until Ctrl-C."""
    # Ended from outside, it stops its nodes and removes its folder too.
    for number in ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, _end)
    teller = Teller()
    with tempfile.TemporaryDirectory(prefix="enlace-demo-") as folder:
        try:
            _tour(teller, Path(folder), once=once)
        except KeyboardInterrupt:
            teller.say("")
    teller.say("[dim]The nodes are stopped, and their folder is removed.[/dim]")


def _end(number: int, _: object) -> NoReturn:
    # A terminal that closes says so more than once, and who waits presses Ctrl-C again: stopping is not to be stopped.
    for each in ENDS:
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _tour(teller: Teller, folder: Path, *, once: bool) -> None:
    started = time.monotonic()
    teller.say("[bold]Enlace[/bold]: a tour in two acts. Everybody and every number in it is invented.\n")
    invented = read_invented()
    with teller.waiting("Making Guatemala, Mexico and the United States …"):
        countries = make_countries(folder, {code: invented.unit(code) for code in COUNTRIES})
    with running(countries) as nodes:
        with teller.waiting("Starting their nodes …"):
            for node in nodes:
                node.wait_until_up()
            for country in countries:
                enrol(country)
                import_into(country, invented.cases[country.code])
        with teller.waiting("Proving and rehearsing their rulebooks …"), ThreadPoolExecutor(len(countries)) as threads:
            in_force_us = max(threads.map(enact, countries))
        with teller.waiting("Importing what they know …"):
            incidents, file = read_incidents(COUNTRIES)
            with ThreadPoolExecutor(len(countries)) as threads:  # the nodes write at the same time
                list(threads.map(lambda each: import_into(each, incidents[each.code]), countries))
        with teller.waiting("Waiting for the instant from which their rulebooks are in force …"):
            time.sleep(max(0.0, in_force_us / 1e6 - time.time()))
            for country in countries:
                pair(country)
        teller.done(
            "Guatemala, Mexico and the United States run here: each has its own authority, keys, database and process. "
            "Two of three stewards signed the directory. In each country two focal points, neither of them the author, "
            "approved its rulebooks, every red line proved; and they signed every pairing, after rehearsing what would "
            "leave."
        )
        own = sum(len(entries) for cases in invented.cases.values() for _, entries in cases)
        count = sum(map(len, incidents.values()))
        teller.done(
            f"They know {own} invented entries, and {count:,} public incidents from {file} "
            f"(IOM Missing Migrants Project, CC BY 4.0), each where it happened. "
            f"All of this took {time.monotonic() - started:.0f} s."
        )
        taken = Tour(teller, {country.code: country for country in countries}, invented, nodes)
        for title, act in (("First act: a question", FIRST_ACT), ("Second act: what follows", SECOND_ACT)):
            teller.act(title)
            for step in act:
                taken.verify_alive()
                step(taken)
        if once:
            teller.say("\n[green]✓[/green] [bold]Every step did what it says.[/bold]")
        else:
            _stay(taken)


def _stay(taken: Tour) -> None:
    """Print what to try, and let the nodes run until Ctrl-C."""
    path = f"{Path(sys.executable).parent}:$PATH"
    homes = {code: country.home.path for code, country in taken.countries.items()}
    number = taken.invented.telephone
    short, waiting = (taken.asked[peer].request_id.hex()[: following.SHORT] for peer in ("MX", "US"))
    us, mx = f"--home {homes['US']} --as {following.FOCAL}", f"--home {homes['MX']} --as analyst"
    asked = f"--purpose investigate --crime trafficking --case {tour.CASE} --instrument {tour.INSTRUMENT}"
    taken.teller.end("Try it yourself, in another terminal")
    taken.teller.commands(
        [
            ("Be Guatemala's analyst:", f"export PATH={path} ENLACE_HOME={homes['GT']} ENLACE_OFFICER=analyst"),
            ("Ask again, and see the whole answer:", f"enlace search {number} {asked}"),
            ("See what Mexico's focal point sees of it:", f"enlace holds --home {homes['MX']} --as focal-1"),
            ("Read what Mexico has logged, as its auditor:", f"enlace ledger list --home {homes['MX']} --as auditor"),
            ("Verify a ledger yourself:", f"enlace ledger verify --home {homes['US']}"),
            ("See what became of what you asked for, and all that was granted:", f"enlace request show {short}"),
            ("See what waits for the focal points of the United States:", f"enlace queue {us}"),
            ("See what they would let leave, and what the floor forbids:", f"enlace queue show {waiting} {us}"),
            ("See what other countries told you, with terms and dates:", "enlace received list"),
            ("See what Mexico shared, and what it took back:", f"enlace share list {mx}; enlace recall list {mx}"),
            ("Count what was asked, answered, refused and late:", "enlace request numbers --as auditor"),
            ("See your own cases:", "enlace case list"),
            ("Ask how the node is:", "enlace doctor"),
        ]
    )
    taken.teller.say("\n[bold]The nodes run until you press Ctrl-C.[/bold]")
    while True:
        taken.verify_alive()
        time.sleep(0.5)
