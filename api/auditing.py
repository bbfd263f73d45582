"""Puts what is read of protected data on record before the answer leaves; without a record there is no answer.

A door opens an entry as soon as it knows which dataset is asked (`open_entry`; `api.context.contract_of` does it for
all of them); it may add what it learns (records, area). `ViewRoute` closes it: granted, refused or failed.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.memento import add_memento
from layers.contract import Contract
from twin.access import PUBLIC, Caller
from twin.audit import Box, Entry, Result, append, kept_head
from twin.database import Database
from twin.errors import AuditUnavailable, NotAllowed, NotFound, TwinError
from twin.keys import write_private
from twin.view import View

__all__ = ["PROTECTED", "AuditLog", "ViewRoute", "add_to_entry", "is_on_record", "open_entry"]

_log = logging.getLogger("twin.audit")

PROTECTED = frozenset({"personal", "security"})
"""Classes of data whose every read is put on record."""


class AuditLog:
    """Appends the entries of all requests that wait at the same moment in one transaction.

    `head_file` keeps the number and hash of the last entry outside the database, so that a cut end shows.
    """

    def __init__(self, database: Database, head_file: Path | None) -> None:
        self._database = database
        self._head_file = head_file
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def append(self, entry: Entry) -> None:
        """Put an entry on record; returns when it is durable. Raises AuditUnavailable when it cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await done

    def kept_head(self) -> tuple[int, bytes] | None:
        """The head that was kept outside the database; None where none was yet."""
        return kept_head(self._head_file) if self._head_file is not None else None

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, [entry for entry, _ in batch])
            except Exception:  # noqa: BLE001  (whatever it is, nobody gets an answer without a record)
                _log.exception("the audit log cannot be written")
                failure = AuditUnavailable("what you ask for cannot be put on record now.", remedy="Try again later.")
                for _, done in batch:
                    if not done.done():
                        done.set_exception(failure)
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def _write(self, batch: list[Entry]) -> None:
        with self._database.writing() as connection:
            seq = append(connection, batch)
            head = connection.exec_driver_sql("SELECT hash FROM twin.audit_head").scalar_one()
        if self._head_file is not None:
            write_private(self._head_file, orjson.dumps([seq, head.hex()]).decode())


def open_entry(request: Request, contract: Contract, caller: Caller) -> None:
    """Begin the record of a read of protected data: of which dataset, by whom, which record where the path names one.

    Nothing is recorded of what the public asks: it is shown nothing of these, and its questions are without number.
    """
    if contract.data_class in PROTECTED and caller.audience.name != PUBLIC.name:
        detail = {"route": request.scope["route"].path, "query": str(request.url.query)[:2_000]}
        fid = request.path_params.get("fid")
        ids = (fid,) if fid is not None else None
        purpose = contract.purpose or ""
        request.state.audit = Entry("read", caller, contract.id, ids, None, "granted", purpose, detail)


def add_to_entry(request: Request, *, ids: tuple[str, ...] | None = None, box: Box | None = None) -> None:
    """Add to the record which records are shown, or which area."""
    entry: Entry | None = getattr(request.state, "audit", None)
    if entry is not None:
        request.state.audit = replace(entry, ids=ids if ids is not None else entry.ids, box=box or entry.box)


def is_on_record(request: Request) -> bool:
    """Whether what the request reads is put on record."""
    return getattr(request.state, "audit", None) is not None


class ViewRoute(APIRoute):
    """A route that looks at the city through a View.

    Its reads of protected data stand in the audit log before the answer leaves, and it travels in time by Memento's
    headers.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the record closed behind it."""
        handle = super().get_route_handler()

        async def audited(request: Request) -> Response:
            try:
                answer = await handle(request)
            except TwinError as error:
                if is_on_record(request):
                    refused = isinstance(error, NotAllowed | NotFound)
                    await _close(request, "refused" if refused else "failed")
                raise
            if is_on_record(request):
                await _close(request, "granted")
            view: View | None = getattr(request.state, "view", None)
            if view is not None and request.method == "GET":
                add_memento(request, answer, view)
            return answer

        return audited


async def _close(request: Request, result: Result) -> None:
    log: AuditLog = request.app.state.context.audit
    await log.append(replace(request.state.audit, result=result))
