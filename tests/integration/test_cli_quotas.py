"""Quotas, silent alarms and decoys at the command line."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from node.cli.serving import running
from node.errors import ForbiddenError
from tests.command_line import Desk
from tests.federation.support import telephone
from tests.integration.test_cli_mail import with_certificates
from tests.world import Place, World


async def test_quotas_alarms_and_decoys(tmp_path: Path) -> None:
    world = World.make(tmp_path, ("GT", "MX"))
    mx = world["MX"]
    with_certificates(mx, "focal", "auditor", "analyst")
    async with running(mx.config), running(world["GT"].config):  # which else is logged as down, among what is printed
        await asyncio.to_thread(commands, mx, tmp_path / "decoy.json")


def commands(place: Place, file: Path) -> None:
    focal, auditor, analyst = Desk(place, "focal"), Desk(place, "auditor"), Desk(place, "analyst")
    shown = analyst.json("quota", "show")
    assert {"of": "peer", "who": "all others", "what": "LIFE", "hour": "2000"}.items() <= shown[0].items()
    file.write_text(json.dumps(MessageToDict(telephone("+12025556177"), preserving_proto_field_name=True)))
    planted = focal.json("decoy", "plant", str(file), "--case", "C-77", "--title", "Invented")
    assert [row["entry"] for row in focal.json("decoy", "list")] == [planted["entry"]]
    assert auditor.json("alarms", "list") == []
    assert "No alarm is open." in focal.run("alarms", "list")
    for officer, command in ((analyst, ("alarms", "list")), (auditor, ("decoy", "list"))):
        with pytest.raises(ForbiddenError):
            officer.run(*command)
    tomorrow = time.gmtime(time.time() + 2 * 86_400)
    limits = ("--per-hour", "5000", "--per-day", "50000", "--until", time.strftime("%Y-%m-%d", tomorrow))
    raised = focal.json(
        "quota", "raise", "peer", "gt", "investigate", *limits, "--reason", "Invented: a joint operation"
    )
    assert (raised["who"], raised["what"], raised["hour"]) == ("GT", "INVESTIGATE", "0 of 5000")
    assert any(row["by"] == "focal" for row in auditor.json("quota", "show"))
