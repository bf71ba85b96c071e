"""What people see of mail at the command line, and `enlace doctor` of a node that is down."""

import asyncio
import secrets
from pathlib import Path

import pytest
from sqlalchemy import update

from node.cli.examining_safeguards import MAIL_RED_US, MAIL_YELLOW_US, examine_safeguards
from node.cli.serving import running
from node.errors import ForbiddenError, NotFoundError, UsageError
from node.store.database import Database
from node.store.mail_tables import outbox
from node.wire.correspondence_pb2 import MAIL_STATE_DEAD
from tests.command_line import Desk
from tests.federation.mail_support import Noted, delivered, install, sent, written
from tests.world import Place, World, now_us


def with_certificates(place: Place, *officers: str) -> None:
    for name in officers:
        folder, holder = place.home.officer(name), place.officer(name)
        folder.mkdir(parents=True)
        (folder / "certificate.pem").write_bytes(holder.chain_pem)
        (folder / "key.pem").write_bytes(holder.key_pem)


async def test_mail_is_listed_shown_and_sent_again(tmp_path: Path) -> None:
    world, there, exchange_id = World.make(tmp_path, ("GT", "MX")), Noted(), secrets.token_bytes(16)
    gt, there.refuse = world["GT"], {"no": NotFoundError("not yet")}
    with_certificates(gt, "administrator", "focal", "analyst")
    async with running(gt.config) as node, running(world["MX"].config) as other:
        for parts in (node, other):
            parts.distribution.enacting.tell()  # or it would be logged among what a command says
        install(node, Noted())
        install(other, there)
        await sent(node, *(written("MX", words, exchange_id=exchange_id) for words in ("yes", "no")))
        await delivered(node)
        await asyncio.to_thread(commands, gt, exchange_id.hex())
        there.refuse.clear()
        again = await asyncio.to_thread(Desk(gt, "administrator").json, "mail", "retry", "MX")
        await delivered(node)
        assert again == {"queued again": 1}
        assert [words for _, words in there.applied] == ["yes", "no"]


def commands(place: Place, exchange: str) -> None:
    administrator, focal = Desk(place, "administrator"), Desk(place, "focal")
    listed = administrator.json("mail", "list", "--peer", "mx")
    assert [(row["number"], row["state"], row["kind"]) for row in listed] == [
        (2, "dead", "REQUEST_REPLY"),
        (1, "delivered", "REQUEST_REPLY"),
    ]
    assert administrator.json("mail", "list", "--state", "not-understood") == []
    text = administrator.run("mail", "list", "--state", "dead", wide=True)
    assert "MX: 1 are dead: `enlace mail retry MX`" in text
    assert "refused: not found" in text
    shown = focal.json("mail", "show", "MX", exchange, "1")
    assert (shown["state"], "yes" in shown["says"]) == ("delivered", True)
    assert administrator.json("mail", "show", "MX", exchange, "1")["says"] == ""
    with pytest.raises(UsageError):
        administrator.run("mail", "show", "MX", exchange, "9")
    with pytest.raises(ForbiddenError):
        Desk(place, "analyst").run("mail", "list")
    assert administrator.run("mail", "list", "--state", "lost") == ""
    assert administrator.status == 2


async def test_the_doctor_sees_what_waits_and_what_is_dead(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    config = world["GT"].config

    def mail(at_us: int) -> list[tuple[str, str]]:
        found = [each for each in examine_safeguards(config, at_us) if each.what.startswith("mail")]
        return [(each.state, each.what) for each in found]

    assert mail(now_us()) == [("green", "mail")]
    async with running(config) as node:
        install(node, Noted())
        await sent(node, written("MX", "words"))
    at_us = now_us()
    assert mail(at_us) == [("green", "mail MX")]
    assert mail(at_us + MAIL_YELLOW_US) == [("yellow", "mail MX")]
    assert mail(at_us + MAIL_RED_US) == [("red", "mail MX")]
    with Database.open(config.store.database) as database, database.engine.begin() as connection:
        connection.execute(update(outbox).values(state=MAIL_STATE_DEAD))
    assert mail(at_us) == [("red", "mail MX")]
