"""What SQLite does to its files, seen from inside the process, and what a crash can leave of it.

SQLite reaches files through a table of functions, its VFS. `watch` puts functions of ours before those that change a
file, in the library that Python's `sqlite3` has loaded; they note each call, or kill the process at one of them. From
what was noted, `states` makes files as a power cut could leave them: what was synced is there, and of what was written
since, all, nothing, any part, or a write that was torn. SQLite's own crash tests work like this.
"""

import ctypes
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

_Word = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _Word, _Word, _Word, ctypes.c_int, _Word)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _Word, _Word, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _Word, _Word, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _Word, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _Word, ctypes.c_int)


class Event(NamedTuple):
    """A file was made, written, cut, synced or deleted; or somebody was told of a line."""

    what: str  # make, write, cut, sync, delete, told
    path: str  # of a line that was told of: its exchange id
    at: int = 0  # where it was written, or cut off; the index of a line
    data: bytes = b""


class _Methods(ctypes.Structure):
    """sqlite3_io_methods (sqlite.org/c3ref/io_methods.html)."""

    _fields_: ClassVar = [
        ("version", ctypes.c_int),
        *((name, _Word) for name in ("close", "read", "write", "truncate", "sync")),
        *((f"other_{number}", _Word) for number in range(13)),
    ]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs (sqlite.org/c3ref/vfs.html)."""

    _fields_: ClassVar = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        *((name, _Word) for name in ("next", "name", "data", "open", "delete")),
        *((f"other_{number}", _Word) for number in range(14)),
    ]


@dataclass
class Watch:
    """What was noted; with `kill_at`, the process ends at that event, `how`: before it, at the half, or after it."""

    events: list[Event] = field(default_factory=list)
    kill_at: int = -1
    how: str = ""
    _kept: list[object] = field(default_factory=list)  # what SQLite has pointers to
    _paths: dict[int, str] = field(default_factory=dict)
    _tables: dict[int, _Methods] = field(default_factory=dict)
    _count: int = 0

    def told(self, index: int, exchange_id: str) -> None:
        self.events.append(Event("told", exchange_id, index))

    def install(self) -> None:
        """Watch all files that SQLite opens in this process from now on."""
        import _sqlite3

        library = ctypes.CDLL(_sqlite3.__file__)  # which finds what the module is linked with, too
        library.sqlite3_vfs_find.restype = _Word
        before = _Vfs.from_address(library.sqlite3_vfs_find(None))
        vfs = _Vfs.from_buffer_copy(before)
        name = ctypes.create_string_buffer(b"watched")
        opened, deleted = _OPEN(self._opening(before)), _DELETE(self._deleting(before))
        vfs.name = ctypes.addressof(name)
        vfs.open, vfs.delete = _address(opened), _address(deleted)
        self._kept += [vfs, name, opened, deleted]
        assert library.sqlite3_vfs_register(ctypes.byref(vfs), 1) == 0

    def _opening(self, vfs: _Vfs) -> Callable[..., int]:
        usual = _OPEN(vfs.open)

        def opening(_: int, path: int | None, file: int, flags: int, flags_out: int | None) -> int:
            known = path is not None and Path(_text(path)).exists()
            status = usual(ctypes.addressof(vfs), path, file, flags, flags_out)
            table = _Word.from_address(file)
            if status == 0 and path is not None and table.value:
                self._paths[file] = _text(path)
                if not known:
                    self._note(Event("make", _text(path)), lambda: 0)
                if table.value not in self._tables:
                    self._tables[table.value] = self._watched(_Methods.from_address(table.value))
                table.value = ctypes.addressof(self._tables[table.value])
            return int(status)

        return opening

    def _deleting(self, vfs: _Vfs) -> Callable[..., int]:
        usual = _DELETE(vfs.delete)

        def deleting(_: int, path: int, sync: int) -> int:
            return self._note(Event("delete", _text(path)), lambda: usual(ctypes.addressof(vfs), path, sync))

        return deleting

    def _watched(self, methods: _Methods) -> _Methods:
        write, truncate, sync = _WRITE(methods.write), _TRUNCATE(methods.truncate), _SYNC(methods.sync)

        def writing(file: int, data: int, size: int, at: int) -> int:
            event = Event("write", self._paths[file], at, ctypes.string_at(data, size))
            return self._note(event, lambda: write(file, data, size, at), lambda: write(file, data, size // 2, at))

        def cutting(file: int, size: int) -> int:
            return self._note(Event("cut", self._paths[file], size), lambda: truncate(file, size))

        def syncing(file: int, flags: int) -> int:
            return self._note(Event("sync", self._paths[file]), lambda: sync(file, flags))

        ours = _WRITE(writing), _TRUNCATE(cutting), _SYNC(syncing)
        table = _Methods.from_buffer_copy(methods)
        table.write, table.truncate, table.sync = map(_address, ours)
        self._kept += [ours, table]
        return table

    def _note(self, event: Event, do: Callable[[], int], do_half: Callable[[], object] = lambda: None) -> int:
        if self._count == self.kill_at:
            {"before": lambda: None, "half": do_half, "after": do}[self.how]()
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
        status = int(do())
        if status == 0:
            self.events.append(event)
        return status


def _address(function: Any) -> int | None:  # noqa: ANN401 a ctypes function has no type of its own
    return ctypes.cast(function, _Word).value


def _text(address: int) -> str:
    return os.fsdecode(ctypes.string_at(address))


# --- what a crash leaves ---------------------------------------------------------------------------------------------


@dataclass
class _File:
    synced: bytes
    since: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class State:
    """Files after a crash behind so many events, what was told before it, and how it was made."""

    after: int
    how: str
    files: dict[str, bytes]
    told: dict[str, int]


def states(files: dict[str, bytes], events: Sequence[Event], chance: random.Random) -> Iterator[State]:
    """Yield what a crash behind each event can leave, starting from these files; each different state once."""
    disk = {path: _File(data) for path, data in files.items()}
    told: dict[str, int] = {}
    seen: set[int] = set()
    for after, event in enumerate(events, start=1):
        if event.what == "told":
            told[event.path] = event.at
        elif event.what == "make":
            disk[event.path] = _File(b"")
        elif event.what == "delete":
            gone = disk.pop(event.path)
            left = {path: _whole(file) for path, file in disk.items()}
            yield State(after, "not deleted yet", {**left, event.path: _whole(gone)}, dict(told))
        elif event.what == "sync":
            file = disk[event.path]
            disk[event.path] = _File(_whole(file))
        else:
            disk[event.path].since.append(event)
        for how, keep in _KEEPS.items():
            left = {path: _written(file.synced, keep(file.since, chance)) for path, file in disk.items()}
            mark = hash((len(told), *left.items()))
            if mark not in seen:
                seen.add(mark)
                yield State(after, how, left, dict(told))


def _whole(file: _File) -> bytes:
    return _written(file.synced, file.since)


def _some(since: list[Event], chance: random.Random) -> list[Event]:
    return [event for event in since if chance.random() < 0.5]


def _torn(since: list[Event], chance: random.Random) -> list[Event]:
    """Keep all; of the last write, only some of its sectors."""
    if not since or since[-1].what != "write":
        return since
    last = since[-1]
    sectors = range(0, len(last.data), SECTOR)
    kept = [last._replace(at=last.at + at, data=last.data[at : at + SECTOR]) for at in sectors if chance.random() < 0.5]
    return [*since[:-1], *kept]


_KEEPS: dict[str, Callable[[list[Event], random.Random], list[Event]]] = {
    "all kept": lambda since, _: since,
    "nothing kept": lambda _since, _: [],
    "some kept": _some,
    "the last one torn": _torn,
}


def _written(data: bytes, events: Sequence[Event]) -> bytes:
    if not events:
        return data
    content = bytearray(data)
    for event in events:
        if event.what == "cut":
            del content[event.at :]
            continue
        if len(content) < event.at:
            content.extend(bytes(event.at - len(content)))
        content[event.at : event.at + len(event.data)] = event.data
    return bytes(content)
