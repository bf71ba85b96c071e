"""Importing many cases: small changes one after another, so that an import never starves an answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from node.desk.officers import private_of_officer
from node.errors import EnlaceError, RecordError
from node.federation.lines import local_line
from node.federation.standing import Standing
from node.store.officers import Officer
from node.store.records import Records
from node.store.writer import Priority, Writer
from node.wire.desk_pb2 import ImportProblem, ImportRequest, ImportResponse
from node.wire.ledger_pb2 import LeafKind

BATCH_CASES = 16
