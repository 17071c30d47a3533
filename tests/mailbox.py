"""A real mail server on loopback, which can be stopped and started again."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from people import SMTP_PASSWORD
from servers import until

from workbench.launch import free_port

LINK = re.compile(r"https?://\S+")


class Mailbox:
    """Keeps every mail that came in."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self._lock = threading.Lock()
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        """What WORKBENCH_SMTP_URL is set to."""
        return f"smtp://workbench:{SMTP_PASSWORD}@127.0.0.1:{self.port}"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a mail."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        with self._lock:
            self.mails.append(mail)
        return "250 OK"

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (b"workbench", SMTP_PASSWORD.encode()))

    def start(self) -> None:
        """Begin to take mails."""
        options = {"auth_required": True, "auth_require_tls": False, "authenticator": self._authenticate}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        """Go away."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def link_for(self, recipient: str, timeout: float = 30) -> str:
        """Wait for a mail to an address, take it out, and return its link."""

        def found() -> str | None:
            with self._lock:
                mine = [mail for mail in self.mails if mail["To"] == recipient]
                if not mine:
                    return None
                self.mails.remove(mine[0])
            link = LINK.search(mine[0].get_content())
            assert link is not None
            return link[0]

        return until(found, timeout, f"a mail to {recipient}")


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    """Run a mail server for the length of a block."""
    mailbox = Mailbox()
    mailbox.start()
    try:
        yield mailbox
    finally:
        mailbox.stop()
