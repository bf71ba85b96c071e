"""What `deploy/` says is tried, as far as it can be without a container engine or a running systemd."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from node.cli.init import init
from node.config import Config, load_config
from node.store.engines import parse_url

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COUNTRIES = ("gt", "mx", "us")
STATE = "${ENLACE_STATE:-./state}/"
SYSTEMD = shutil.which("systemd-analyze") is not None
# A version down to the patch, never "latest" nor a tag that moves.
PINNED = re.compile(r"^[a-z0-9./-]+:\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?(@sha256:[0-9a-f]{64})?$")


def steps(stage: str) -> list[tuple[str, str]]:
    """Instructions of one stage of the container file, each as (verb, rest), continued lines joined."""
    text = re.sub(r"\\\n", " ", DEPLOY.joinpath("Containerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        verb, rest = line.split(" ", 1)
        if verb == "FROM":
            current = found.setdefault(rest.split(" AS ")[1], [])
        current.append((verb, rest))
    return found[stage]


def copy(rest: str, into: Path) -> None:
    *sources, target = rest.split()
    for source in sources:
        path = ROOT / source
        goal = into / target if target.startswith("./") and path.is_dir() else into / target / path.name
        if path.is_dir():
            shutil.copytree(path, goal, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, goal)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The build stage's own steps, run in an empty folder: (its work directory, what it would hand over)."""
    folder = tmp_path_factory.mktemp("container")
    work, prefix = folder / "src", folder / "prefix"
    # Nothing of this checkout may help: only the interpreter, the network and pip's cache.
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    python = Path(sys.base_prefix, "bin")
    env = kept | {"PATH": f"{python}:/usr/local/bin:/usr/bin:/bin", "PREFIX": str(prefix)}
    for verb, rest in steps("build"):
        if verb == "WORKDIR":
            work.mkdir()
        elif verb == "COPY":
            copy(rest, work)
        elif verb == "RUN":
            command = rest.replace("python -m venv", "python3 -m venv")
            ran = subprocess.run(["sh", "-ec", command], cwd=work, env=env, check=False, capture_output=True, text=True)
            assert ran.returncode == 0, f"{rest}\n{ran.stdout}\n{ran.stderr}"
    return work, prefix


def test_the_container_file_builds_a_node_from_nothing(built: tuple[Path, Path]) -> None:
    _, prefix = built
    ran = subprocess.run(
        [prefix / "bin/enlace", "serve", "--home", "missing"], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 2, ran.stderr  # wrong use, said in a sentence
    assert "no node in missing" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_wheel_holds_the_whole_node(built: tuple[Path, Path]) -> None:
    work, _ = built
    (wheel,) = work.joinpath("dist").glob("*.whl")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "node"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    wanted = {name for name in listed.split("\0") if name and ROOT.joinpath(name).is_file()}
    assert wanted - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_what_runs_holds_no_installer(built: tuple[Path, Path]) -> None:
    _, prefix = built
    (site,) = prefix.glob("lib/python3*/site-packages")
    assert not [path.name for path in site.iterdir() if re.match(r"(pip|flit_core|setuptools)\b", path.name)]


def test_the_image_runs_as_nobody_and_from_pinned_bases() -> None:
    node = steps("node")
    assert [rest for verb, rest in node if verb == "USER"] == ["10001:10001"]
    for stage in ("build", "node"):
        assert PINNED.match(steps(stage)[0][1].split(" AS ")[0])
    for _, rest in [*steps("build"), *node]:
        assert not re.search(r"(?i)password|secret|token|\.key\b|\.pem\b", rest)


def test_the_build_context_leaves_out_everything_but_the_node() -> None:
    rules = DEPLOY.joinpath("Containerfile.dockerignore").read_text("utf-8").splitlines()
    assert rules[0] == "*"
    copied = {source for verb, rest in steps("build") if verb == "COPY" for source in rest.split()[:-1]}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def compose() -> dict[str, Any]:
    document = YAML(typ="safe").load(DEPLOY.joinpath("compose.yaml").read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def test_each_country_has_a_node_a_database_and_a_key_store_of_its_own() -> None:
    wanted = {f"{country}-{part}" for country in COUNTRIES for part in ("init", "node", "database", "keystore")}
    assert set(compose()["services"]) == wanted


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_a_service_is_pinned_confined_and_published_nowhere(name: str) -> None:
    service = compose()["services"][name]
    assert PINNED.match(service["image"])
    assert "ports" not in service
    assert "privileged" not in service
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    # Countries meet on one network that leads nowhere; databases have none.
    assert (service.get("networks"), service.get("network_mode")) in [(["peers"], None), (None, "none")]
    # A password is a file, never a variable that `inspect` shows.
    assert not [key for key in service.get("environment", {}) if "PASSWORD" in key and not key.endswith("_FILE")]


def test_the_network_between_countries_leads_nowhere_else() -> None:
    assert compose()["networks"] == {"peers": {"internal": True}}


def test_nothing_of_one_country_is_mounted_in_another() -> None:
    document = compose()
    for name, service in document["services"].items():
        sources = [volume.split(":/")[0] for volume in service["volumes"]]
        sources += [item["source"] for item in service["secrets"]]
        owners = {source.removeprefix(STATE)[:2] for source in sources if source != f"{STATE}federation"}
        assert owners == {name[:2]}
    for name, item in document["secrets"].items():
        assert item["file"].startswith(f"{STATE}{name[:2]}/secret/")


def test_every_mount_is_declared() -> None:
    document = compose()
    services = document["services"].values()
    named = {volume.split(":")[0] for service in services for volume in service["volumes"] if volume[0] not in ".$"}
    assert named == set(document["volumes"])
    assert {item["source"] for service in services for item in service["secrets"]} == set(document["secrets"])


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_country_is_made_so_that_only_its_peer_port_meets_the_others(country: str) -> None:
    words = compose()["services"][f"{country}-init"]["command"]
    options = dict(word.removeprefix("--").split("=", 1) for word in words[1:])
    assert options["country"] == country.upper()
    assert options["peer"].startswith("0.0.0.0:")
    assert {options[name].split(":")[0] for name in ("desk", "metrics")} == {"127.0.0.1"}
    for name in ("database", "keystore"):
        url = parse_url(options[name])
        assert url.password is None
        assert url.query["host"] == f"/run/{name}"
    alone = typer.Typer()
    alone.command()(init)
    known = {option for parameter in typer.main.get_command(alone).params for option in parameter.opts}
    assert {word.split("=")[0] for word in words[1:]} <= known


def sample(name: str) -> Config:
    return load_config(DEPLOY / name)


def test_the_sample_names_every_key_of_the_configuration() -> None:
    text = DEPLOY.joinpath("enlace.toml").read_text("utf-8")
    sample("enlace.toml")
    groups = [sample("enlace.toml"), *(getattr(sample("enlace.toml"), field) for field in ("limits", "store", "tls"))]
    missing = [field for group in groups for field in group.__struct_fields__ if not re.search(rf"\b{field}\b", text)]
    assert missing == []


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists here in place of one that is installed in production."""
    text = DEPLOY.joinpath("enlace.service").read_text("utf-8")
    assert text.count("\nExecStart=/opt/enlace/bin/enlace serve ") == 1
    path = tmp_path / "enlace.service"
    path.write_text(text.replace("ExecStart=/opt/enlace/bin/enlace", f"ExecStart={sys.executable}"), "utf-8")
    return path


def test_the_unit_is_confined(unit: Path) -> None:
    lines = set(unit.read_text("utf-8").splitlines())
    assert lines >= {
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
        "LimitCORE=0",
        "KillSignal=SIGTERM",
    }
    keys = [line for line in lines if line.startswith("LoadCredential=")]
    assert len(keys) == 2
    assert all(line.split(":")[1].startswith("/etc/enlace/secret/") for line in keys)


def test_the_unit_reads_its_keys_where_the_sample_says() -> None:
    store, trust = sample("enlace.toml").store, sample("enlace.toml").trust
    text = DEPLOY.joinpath("enlace.service").read_text("utf-8")
    for path in (store.key_encryption_key, trust.signing_key):
        assert path.parent == Path("/run/credentials/enlace.service")
        assert f"\nLoadCredential={path.name}:" in text


if SYSTEMD:  # absent on machines that don't start with systemd; the two tests above hold everywhere

    def test_systemd_accepts_the_unit(unit: Path) -> None:
        ran = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], check=False, capture_output=True, text=True
        )
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_systemd_finds_the_unit_well_confined(unit: Path) -> None:
        # 0 is confined, 10 (here: 100) is open. What remains is what a server on a network can't do without.
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


def test_stopping_takes_no_longer_than_systemd_waits(unit: Path) -> None:
    wait = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text("utf-8"), re.MULTILINE)
    assert wait is not None
    assert sample("enlace.toml").limits.drain_s < int(wait[1])
