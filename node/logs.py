"""Structured logs without personal data.

A line is an event name and facts that are not about persons: countries, counts, durations, ids of exchanges. A
traceback is reduced to where it went and which errors it was made of: the text of an error that is not ours may quote
what it choked on, and local variables hold records.
"""

import logging
import sys
import traceback
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from node.errors import EnlaceError

LONGEST_CHAIN = 8  # causes of an error that are named
DEEPEST = 20  # frames, counted from where it was raised


def configure_logs(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logs of this process, libraries' too, as JSON lines to the stream.

    `level` is one of "debug", "info", "warning", "error".
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        reduce_exception,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[name_library, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def reduce_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the kinds of errors and the places they passed."""
    info = event.pop("exc_info", None)
    error = _error_of(info)
    if error is not None:
        event["error"] = _chain(error)
        event["places"] = _places(error.__traceback__)
    return event


def name_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep of another library's line only which one spoke: its text may quote statements, parameters or messages."""
    record = event.get("_record")
    event["library"] = record.name if isinstance(record, logging.LogRecord) else "unknown"
    event["event"] = "library_message"
    if isinstance(record, logging.LogRecord):
        event["at"] = f"{record.module}:{record.lineno}"
        if record.exc_info:
            event["exc_info"] = record.exc_info
            record.exc_info = None
            record.exc_text = None
    return event


def _error_of(info: object) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _chain(error: BaseException) -> list[str]:
    kinds: list[str] = []
    link: BaseException | None = error
    while link is not None and len(kinds) < LONGEST_CHAIN:
        kinds.append(f"{type(link).__name__}: {link}" if isinstance(link, EnlaceError) else type(link).__name__)
        link = link.__cause__ or link.__context__
    return kinds


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-DEEPEST:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
