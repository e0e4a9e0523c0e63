"""Mail: queued with its cause, sent until a server takes it, given up aloud."""

import dataclasses
import datetime
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.core import clock, mail
from control_plane.core.database import Database
from control_plane.core.mail import Mail, QueuedMail
from control_plane.core.settings import Settings, SettingsError, load_settings
from tests.mail_server import PASSWORD, USERNAME, MailServer
from tests.stack import until


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as started:
        yield started


@pytest.fixture
def mailing(settings: Settings, server: MailServer) -> Settings:
    """The settings with the server of the test."""
    return with_mail(settings, server.environ)


def with_mail(settings: Settings, environ: dict[str, str]) -> Settings:
    loaded = load_settings(state=settings.state, environ=environ).mail
    return dataclasses.replace(settings, mail=loaded)


def queue(database: Database, to: str = "li@example.com", **options: Any) -> None:
    with database.transaction() as session:
        mail.queue(session, Mail(to, "Hello 您好", "A secret: 您好\n.\n"), **options)


def rows(database: Database) -> list[QueuedMail]:
    with database.session(write=False) as session:
        return list(session.scalars(select(QueuedMail).order_by(QueuedMail.id)))


def turn_clock(monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta) -> None:
    then = clock.now() + by
    monkeypatch.setattr(clock, "now", lambda: then)


def test_a_mail_is_sent_once(database: Database, mailing: Settings, server: MailServer) -> None:
    queue(database)
    (row,) = rows(database)
    assert "secret" not in str(row.content.ciphertext)
    assert "li@example.com" not in str(row.content.ciphertext)
    assert mail.send_due(mailing, database) == 1
    assert mail.send_due(mailing, database) == 0
    (message,) = server.mails
    assert message["From"] == "Yumen <yumen@example.com>"
    assert message["To"] == "li@example.com"
    assert message["Subject"] == "Hello 您好"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == f"<{row.id}@example.com>"
    assert message["Date"].datetime.tzinfo is not None
    assert message.get_content().replace("\r\n", "\n") == "A secret: 您好\n.\n"
    assert server.recipients == [["li@example.com"]]


def test_what_is_rolled_back_is_not_sent(
    database: Database, mailing: Settings, server: MailServer
) -> None:
    def fail(session: Session) -> None:
        mail.queue(session, Mail("li@example.com", "Hello", "text"))
        session.flush()
        raise RuntimeError

    with pytest.raises(RuntimeError), database.transaction() as session:
        fail(session)
    assert mail.send_due(mailing, database) == 0


def test_a_refused_mail_is_tried_again_after_growing_pauses(
    database: Database, mailing: Settings, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(database)
    server.refusals = ["451 Later", "450 Later still"]
    assert mail.send_due(mailing, database) == 0
    (row,) = rows(database)
    assert (row.attempts, row.error) == (1, "(451, b'Later')")
    assert mail.send_due(mailing, database) == 0
    assert len(server.refusals) == 1
    for pause in mail.PAUSES[:2]:
        turn_clock(monkeypatch, pause)
        mail.send_due(mailing, database)
    assert len(server.mails) == 1
    assert rows(database) == []


def test_a_mail_that_nobody_takes_is_given_up_aloud(
    database: Database, mailing: Settings, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(database)
    server.refusals = ["451 Later"] * 100
    with structlog.testing.capture_logs() as logs:
        for pause in (*mail.PAUSES, *mail.PAUSES):
            mail.send_due(mailing, database)
            turn_clock(monkeypatch, pause)
    (row,) = rows(database)
    assert (row.due_at, row.attempts) == (None, len(mail.PAUSES) + 1)
    (given_up,) = [each for each in logs if each["log_level"] == "error"]
    assert given_up["event"] == "mail_given_up"
    assert "li@example.com" not in str(logs)
    turn_clock(monkeypatch, mail.KEPT)
    mail.send_due(mailing, database)
    assert rows(database) == []


@pytest.mark.parametrize("refusal", ["550 No such user", "554 Spam"])
def test_a_final_refusal_is_final(
    database: Database, mailing: Settings, server: MailServer, refusal: str
) -> None:
    queue(database)
    queue(database, "wu@example.com")
    server.refusals = [refusal]
    assert mail.send_due(mailing, database) == 1
    (row,) = rows(database)
    assert (row.due_at, row.attempts) == (None, 1)


def test_what_became_worthless_is_not_sent(
    database: Database, mailing: Settings, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(database, worthless_after=clock.now() + datetime.timedelta(minutes=5))
    turn_clock(monkeypatch, datetime.timedelta(minutes=6))
    assert mail.send_due(mailing, database) == 0
    assert server.mails == []
    assert rows(database)[0].due_at is None


def test_a_server_that_is_away_is_waited_for(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = MailServer()
    mailing = with_mail(settings, server.environ)
    queue(database)
    assert mail.send_due(mailing, database) == 0
    with server:
        turn_clock(monkeypatch, mail.PAUSES[0])
        assert mail.send_due(mailing, database) == 1


def test_the_worker_sends(database: Database, mailing: Settings, server: MailServer) -> None:
    stop = threading.Event()
    sender = threading.Thread(target=mail.run_sender, args=(mailing, stop))
    sender.start()
    try:
        queue(database)
        until(lambda: server.mails, "the mail is there", 10)
    finally:
        stop.set()
        sender.join(10)
    assert not sender.is_alive()


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("database_url", [None], ids=["sqlite"])
def test_connections_are_encrypted_and_verified(
    database: Database, settings: Settings, tmp_path: Path, security: str
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    with MailServer(tmp_path, security=security) as server:
        environ = server.environ | {
            "YUMEN_MAIL_SECURITY": security,
            "YUMEN_MAIL_USERNAME": USERNAME,
            "YUMEN_MAIL_PASSWORD_FILE": str(tmp_path / "password"),
        }
        queue(database)
        assert mail.send_due(with_mail(settings, environ), database) == 0
        assert "CERTIFICATE_VERIFY_FAILED" in str(rows(database)[0].error)
        assert server.logins == []
        environ["YUMEN_MAIL_CA_FILE"] = str(tmp_path / "ca.pem")
        queue(database, "wu@example.com")
        assert mail.send_due(with_mail(settings, environ), database) == 1
        assert server.recipients == [["wu@example.com"]]
        assert server.logins
        (tmp_path / "password").write_text("wrong")
        queue(database, "zhao@example.com")
        assert mail.send_due(with_mail(settings, environ), database) == 0
        last = rows(database)[-1]
        assert last.due_at is not None
        assert "wrong" not in str(last.error)


@pytest.mark.parametrize(
    ("name", "value"),
    [("security", "ssl"), ("sender", "nobody"), ("port", "65536"), ("sender", "a@b\nBcc: c@d")],
)
def test_settings_that_cannot_work_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"mail.{name}"):
        load_settings(environ={f"YUMEN_MAIL_{name.upper()}": value})


def test_a_password_is_not_sent_in_clear() -> None:
    environ = {"YUMEN_MAIL_USERNAME": "x", "YUMEN_MAIL_SECURITY": "none"}
    with pytest.raises(SettingsError, match="in clear"):
        load_settings(environ=environ)


@given(to=st.text(max_size=80), subject=st.text(max_size=80))
def test_no_text_adds_a_header(to: str, subject: str) -> None:
    """What gets through is one line, so it cannot hold another header or recipient."""
    for address, about in ((to, "Hello"), (f"li{to}@example.com", subject)):
        try:
            made = Mail(address, about, "text")
        except ValueError:
            continue
        settings = load_settings(environ={}).mail
        message = mail._message(settings, mail.new_id(), made)
        parsed = message.as_bytes().split(b"\r\n\r\n", 1)[0]
        names = [
            line.partition(b":")[0].lower()
            for line in parsed.split(b"\r\n")
            if not line.startswith((b" ", b"\t"))
        ]
        assert sorted(names) == sorted(name.lower().encode() for name in message)
        assert len(message["To"].addresses) == 1


@pytest.mark.parametrize(
    "to",
    ["a@b\r\nBcc: c@d", "a@b, c@d", "a b@c", "a", "@b", "a@", "<a@b>", "a;c@b", "李@b.com", ""],
)
def test_what_is_no_address_is_refused(to: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Mail(to, "Hello", "text")
