"""Mail through an outbox: written in the transaction that it tells of, sent when the mail server takes it."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Iterable
from datetime import timedelta
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from workbench.accounts.tables import Mail
from workbench.core.clock import utcnow
from workbench.core.database import Database
from workbench.core.ids import new_id
from workbench.core.settings import Settings

TIMEOUT = 20.0  # seconds for each step of a talk with the mail server
LEASE = timedelta(minutes=2)  # in which no other server tries the same mail
LONGEST_WAIT = timedelta(hours=1)  # between two tries
GIVE_UP = timedelta(days=3)  # after which a mail is not tried any more
BATCH = 20

logger = logging.getLogger(__name__)


def enqueue(session: Session, recipient: str, subject: str, body: str) -> None:
    """Write a mail that goes out once the transaction is committed."""
    session.add(Mail(id=new_id("mail"), recipient=recipient, subject=subject, body=body))
    session.flush()


def deliver(database: Database, settings: Settings) -> int:
    """Send what is due and return how many mails went out; one that is not taken is tried again later."""
    return sum(_deliver(database, settings, mail) for mail in _due(database))


def _due(database: Database) -> Iterable[Mail]:
    """Yield mails that no other server tries now."""
    due = Mail.sent_at.is_(None) & (Mail.next_try_at <= utcnow()) & (Mail.created_at > utcnow() - GIVE_UP)
    with database.read() as session:
        found = session.scalars(select(Mail).where(due).order_by(Mail.id).limit(BATCH)).all()
    for mail in found:
        with database.write() as session:
            mine = update(Mail).where(Mail.id == mail.id, Mail.sent_at.is_(None), Mail.next_try_at == mail.next_try_at)
            got = session.scalar(mine.values(next_try_at=utcnow() + LEASE, tries=Mail.tries + 1).returning(Mail.id))
        if got is not None:
            yield mail


def _deliver(database: Database, settings: Settings, mail: Mail) -> bool:
    try:
        send(settings, mail.recipient, mail.subject, mail.body)
        values = {"sent_at": utcnow(), "body": "", "error": None}
    except (OSError, smtplib.SMTPException) as error:
        logger.warning("A mail was not taken by the mail server (%s); it is tried again.", type(error).__name__)
        wait = min(timedelta(seconds=5) * 2**mail.tries, LONGEST_WAIT)
        values = {"next_try_at": utcnow() + wait, "error": f"{type(error).__name__}: {error}"[:500]}
    with database.write() as session:
        session.execute(update(Mail).where(Mail.id == mail.id).values(values))
    return "sent_at" in values


def send(settings: Settings, recipient: str, subject: str, body: str) -> None:
    """Hand one mail to the mail server, or print it when none is set."""
    if settings.smtp_url is None:
        print(f"\nMail to {recipient} (no mail server is set: WORKBENCH_SMTP_URL)\n{subject}\n\n{body}\n", flush=True)  # noqa: T201
        return
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, recipient, subject
    message.set_content(body)
    where = urlsplit(settings.smtp_url.get_secret_value())
    with _connected(where.scheme, where.hostname or "localhost", where.port or 0) as server:
        if where.username:
            server.login(unquote(where.username), unquote(where.password or ""))
        server.send_message(message)


def _connected(scheme: str, host: str, port: int) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
    server = smtplib.SMTP(host, port, timeout=TIMEOUT)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=context)
        server.ehlo()
    return server
