"""The tour as a newcomer takes it: in a process of its own, with real nodes, ended in each way there is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTED = ROOT / "node" / "cli" / "data" / "invented.json"


def environment(folder: Path, columns: int = 80) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "ENLACE_SHARED_DATA"}
    return {**kept, "TMPDIR": str(folder), "COLUMNS": str(columns)}


@contextmanager
def touring(folder: Path, columns: int = 80) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The tour without --once, at the point where it waits for Ctrl-C, and what it has told."""
    command = [sys.executable, "-u", "-m", "node", "demo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(folder, columns)
    ) as process:
        try:
            assert process.stdout is not None
            told = ""
            for line in process.stdout:
                told += line
                if "press Ctrl-C" in line:
                    break
            else:
                pytest.fail(told)
            yield process, told
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]", folder: Path) -> str:
    """What it said last; and that nothing of it is left, neither processes nor files."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    assert process.stdout is not None
    told = process.stdout.read()
    process.wait(20)
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert list(folder.iterdir()) == []
    return told


def test_the_tour_ends_by_itself_with_0_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "node", "demo", "--once"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(tmp_path, 80), check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert "Every step did what it says" in result.stdout
    assert "Nothing releasable now" in result.stdout
    acts = result.stdout.split("Second act", 1)[1]
    for told in (
        "Granted in part.",
        "the floor forbids it",
        "would get",
        "A deletion receipt comes back",
        "silence is",
    ):
        assert told in acts
    # What a receipt is worth is said where one is shown.
    assert "It does not prove the erasure" in " ".join(acts.split())
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_it_runs_until_ctrl_c_and_no_log_has_any_value_of_a_record(tmp_path: Path) -> None:
    with touring(tmp_path, columns=120) as (process, _):
        logs = [path.read_text() for path in tmp_path.glob("*/*/node.log")]
        process.send_signal(signal.SIGINT)
        ended(process, tmp_path)
        assert process.returncode == 0
    assert len(logs) == 3
    values = personal()
    assert {"Rogelio Inventado Ficticio", "INV000002GT"} <= values
    for log in logs:
        assert all(json.loads(line)["event"] for line in log.splitlines())
        assert [value for value in values if value in log] == []


def test_what_it_prints_to_try_works_while_it_runs(tmp_path: Path) -> None:
    with touring(tmp_path) as (process, told):
        lines = [line.removeprefix("$ ").rstrip() for line in told.splitlines() if line.startswith("$ ")]
        (export,) = [line for line in lines if line.startswith("export ")]
        tried = list(lines[lines.index(export) + 1 :])
        assert len(tried) > 3
        for line in tried:
            result = subprocess.run(
                ["/bin/sh", "-c", f"{export} && {line}"], capture_output=True, text=True, check=False, timeout=60
            )
            assert result.returncode == 0, f"{line}: {result.stdout} {result.stderr}"
        process.send_signal(signal.SIGTERM)
        ended(process, tmp_path)
        assert process.returncode == 128 + signal.SIGTERM


def test_a_terminal_that_closes_leaves_nothing(tmp_path: Path) -> None:
    with touring(tmp_path) as (process, _):
        assert process.stdout is not None
        children = psutil.Process(process.pid).children(recursive=True)
        process.stdout.close()  # nobody reads any more
        for _ in range(3):  # from the kernel, from the shell, and from whoever is impatient
            process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        process.wait(20)
        assert process.returncode == 128 + signal.SIGHUP
    assert len(children) >= 2
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_dies_ends_it_with_one_clear_line(tmp_path: Path) -> None:
    with touring(tmp_path) as (process, _):
        nodes = psutil.Process(process.pid).children()
        next(node for node in nodes if node.cmdline()[-1].endswith("/mx")).kill()
        told = ended(process, tmp_path)
        assert process.returncode == 1
    assert "the node of Mexico ended with status -9: " in told


def personal() -> set[str]:
    """Every text of four letters or more in the invented records, but code words, ids and units."""
    document = json.loads(INVENTED.read_text())
    return set(texts(document["countries"])) | {document["telephone_of_the_tour"]}


def texts(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from texts(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, name)
    elif isinstance(value, str) and len(value) >= 4 and not name.endswith(("_us", "_id", "unit", "officer")):
        is_code = value.isupper() and "_" in value
        if not is_code:
            yield value
