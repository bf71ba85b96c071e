"""Sending what tells somebody that they are called: by mail and by webhook, at least once, and without case data.

A notification says a ticket, how urgent it is and by when, and nothing else: not of whom, not of which peer. It leaves
the country's own walls, so whoever reads it on its way learns that a node has work.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import http.client
import json
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Connection

from node.config import Smtp, Webhook
from node.errors import ConfigError, EnlaceError, UnansweredError
from node.store import duty, pages
from node.store.database import Database
from node.store.pages import WEBHOOK, Due
from node.store.vault import Vault
from node.store.writer import Priority, Writer
from node.wire.codes_pb2 import Urgency

log = structlog.get_logger()

SEND_S: Final = 20.0  # one attempt
FIRST_AGAIN_US: Final = 10_000_000
LAST_AGAIN_US: Final = 300_000_000
"""Pauses between attempts double from the first to the last of these."""

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = range(24, 65)  # standardwebhooks.com


@dataclass(slots=True)
class Notifying:
    """Sends what `node.federation.paging` has written down."""

    database: Database
    vault: Vault
    writer: Writer
    clock: Callable[[], int]
    node: str  # "gt-1"
    smtp: Smtp | None
    webhook: Webhook | None

    async def deliver(self) -> None:
        """Send all that is due, side by side; what fails is tried again later. To be called again and again."""
        due = await self.database.read(pages.due, self.clock())
        if due:
            await asyncio.gather(*(self._deliver(each) for each in due))

    async def _deliver(self, each: Due) -> None:
        # First who sends it, and when it is tried again: a node that is killed meanwhile tries again by itself.
        again_us = self.clock() + min(FIRST_AGAIN_US << min(each.attempts, 10), LAST_AGAIN_US)
        if not await self._write(partial(pages.claim, each=each, next_us=again_us)):
            return
        try:
            await self._send(each)
        except (EnlaceError, OSError, http.client.HTTPException) as error:
            # An exception's text may quote an address; its kind is enough to look for the cause.
            why = str(error) if isinstance(error, EnlaceError) else _kind(error)
            log.error("notification_failed", ticket=each.ticket, attempts=each.attempts + 1, reason=why)  # noqa: TRY400
            await self._write(partial(pages.failed, each=each, reason=why))
        else:
            await self._write(partial(pages.sent, each=each))

    async def _send(self, each: Due) -> None:
        if each.recipient == WEBHOOK:
            if self.webhook is None:
                raise ConfigError("no webhook is configured any more")
            body = webhook_body(each, self.clock())
            await asyncio.to_thread(post_webhook, self.webhook, _id(each), body, self.clock() // 1_000_000)
            return
        if self.smtp is None:
            raise ConfigError("no mail server is configured any more")
        found = await self.database.read(duty.get_contacts, self.vault, [each.recipient])
        if each.recipient not in found or not found[each.recipient].email:
            raise ConfigError("the officer has no e-mail address any more")
        message = mail_of(each, self.node, self.smtp.sender, found[each.recipient].email, self.clock())
        await asyncio.to_thread(send_mail, self.smtp, message)

    async def _write(self, change: Callable[[Connection], bool | None]) -> bool | None:
        return await asyncio.wrap_future(self.writer.submit(change, (), Priority.DESK))


# --- what is said ----------------------------------------------------------------------------------------------------


def mail_of(each: Due, node: str, sender: str, recipient: str, now_us: int) -> EmailMessage:
    """Write the mail: ticket, urgency, due time, and what to type to see what it is about."""
    urgency, due = _urgency(each), f"{_time(each.due_us):%Y-%m-%d %H:%M} UTC"
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = f"{urgency}: Enlace {node}, ticket {each.ticket}, due {due}"
    message["Date"] = format_datetime(_time(now_us))
    # The same each time, so that a mail which is sent again can be told as the one that came.
    message["Message-ID"] = f"<{_id(each)}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"Ticket {each.ticket} waits for somebody to take it. Urgency: {urgency}. Due: {due}.\n"
        f"You are told as: {pages.rung_text(each.rung)}. At your desk, type: enlace duty pages\n"
        "\n"
        f"El caso número {each.ticket} espera a que alguien lo tome. Urgencia: {urgency}. Vence: {due}.\n"
        "En su puesto, escriba: enlace duty pages\n"
        "\n"
        "This message says no more on purpose. / Este mensaje no dice más a propósito.\n"
    )
    return message


def webhook_body(each: Due, now_us: int) -> bytes:
    """Write the JSON that is posted: ticket, urgency, due time, and who is to be told, as a role."""
    data = {
        "ticket": each.ticket,
        "urgency": _urgency(each),
        "due": f"{_time(each.due_us):%Y-%m-%dT%H:%M:%SZ}",
        "step": each.step,
        "to": pages.rung_text(each.rung),
    }
    said = {"type": "enlace.duty.called", "timestamp": f"{_time(now_us):%Y-%m-%dT%H:%M:%SZ}", "data": data}
    return json.dumps(said, separators=(",", ":")).encode()


def _id(each: Due) -> str:
    """Name a notification by what names nobody."""
    return f"{each.ticket}.{each.step}.{hashlib.sha256(f'{each.ticket} {each.recipient}'.encode()).hexdigest()[:8]}"


def _urgency(each: Due) -> str:
    return Urgency.Name(each.urgency).removeprefix("URGENCY_")


def _time(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC)


# --- how it leaves ---------------------------------------------------------------------------------------------------


def send_mail(smtp: Smtp, message: EmailMessage) -> None:
    """Hand a mail to the server, over TLS whose certificate is verified; blocks for `SEND_S` at each step.

    Raises:
        OSError: it did not take it (`smtplib.SMTPException` is one), or its certificate is not good.
        ConfigError: a file is missing.
    """
    context, own_name = tls_context(smtp.roots), smtp.sender.rpartition("@")[2]
    password = _first_line(smtp.password) if smtp.password is not None else ""
    if smtp.security == "tls":
        made: smtplib.SMTP = smtplib.SMTP_SSL(smtp.host, smtp.port, own_name, timeout=SEND_S, context=context)
    else:
        made = smtplib.SMTP(smtp.host, smtp.port, own_name, timeout=SEND_S)
    with made as server:
        if smtp.security == "starttls":
            server.starttls(context=context)  # a server that does not offer it gets no mail
        if smtp.user:
            server.login(smtp.user, password)
        server.send_message(message)


def post_webhook(webhook: Webhook, webhook_id: str, body: bytes, now_s: int) -> None:
    """Post a body, signed by the scheme of standardwebhooks.com; blocks for `SEND_S` at each step.

    Raises:
        UnansweredError: it was answered with anything but success; redirections are not followed.
        OSError, http.client.HTTPException: it was not reached, or its certificate is not good.
        ConfigError: a file is missing, or the secret is none.
    """
    url = urlsplit(webhook.url)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": webhook_signature(read_secret(webhook.secret), webhook_id, now_s, body),
    }
    connection = http.client.HTTPSConnection(
        url.hostname or "", url.port, timeout=SEND_S, context=tls_context(webhook.roots)
    )
    try:
        connection.request("POST", url.path + (f"?{url.query}" if url.query else "") or "/", body, headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
        raise UnansweredError(f"the webhook answered {status}")


def webhook_signature(secret: bytes, webhook_id: str, now_s: int, body: bytes) -> str:
    """Return HMAC-SHA-256 over id, time (seconds since 1970) and body, as standardwebhooks.com writes it."""
    signed = f"{webhook_id}.{now_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def read_secret(path: Path) -> bytes:
    """Read the secret of a webhook.

    Raises:
        ConfigError: the file is missing, or holds no secret.
    """
    text = _first_line(path)
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(PREFIX) or len(secret) not in _SECRET_BYTES:
        raise ConfigError(f"{path}: is no webhook secret, which is whsec_ and Base64 of 24 to 64 bytes")
    return secret


def tls_context(roots: Path | None) -> ssl.SSLContext:
    """Return what verifies a server's certificate and name: by these roots, or by the system's.

    Raises:
        ConfigError: the file holds no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=roots)
    except OSError as error:
        raise ConfigError(f"{roots}: is no PEM bundle of certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read") from error


def _kind(error: BaseException) -> str:
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__}{f' {code}' if code else ''}"
