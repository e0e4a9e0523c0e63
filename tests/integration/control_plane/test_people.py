"""People in a whole Yumen: invited by mail, signed in at two processes, out of both at once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.mail_server import MailServer
from tests.stack import Stack, children, until

PASSWORD = "my own password"


@pytest.fixture(scope="module")
def server() -> Iterator[MailServer]:
    with MailServer() as started:
        yield started


@pytest.fixture(scope="module")
def stack(server: MailServer) -> Iterator[Stack]:
    with Stack({**server.environ, "YUMEN_ADMIN_WORKERS": "2"}) as running:
        yield running


def invite(stack: Stack, server: MailServer, username: str) -> tuple[str, str]:
    """Invite a user; return the link of his mail, and the token in it."""
    before = len(server.mails)
    body = {"username": username, "email": f"{username}@example.com", "role": "viewer"}
    assert stack.api("POST", "/api/users", json=body)["status"] == "inactive"
    until(lambda: len(server.mails) > before, "the invitation", 15)
    link, token = re.findall(r"(http://\S+?)#(\S+)", server.mails[-1].get_content())[0]
    return link, token


def api(stack: Stack, path: str) -> str:
    return f"{stack.ready['admin']}/api/auth/{path}"


def sign_in(stack: Stack, username: str) -> dict[str, str]:
    body = {"username": username, "password": PASSWORD}
    answer = requests.post(api(stack, "login"), json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['accessToken']}"}


def test_an_invited_user_gets_in_and_out(stack: Stack, server: MailServer) -> None:
    link, token = invite(stack, server, "li")
    page = requests.get(link, timeout=10)
    assert page.status_code == 200
    assert "设置密码" in page.text
    body = {"token": token, "newPassword": PASSWORD}
    answer = requests.post(api(stack, "invitation/accept"), json=body, timeout=30)
    assert answer.status_code == 204
    header = sign_in(stack, "li")
    assert requests.get(api(stack, "me"), headers=header, timeout=10).json()["username"] == "li"
    out = requests.post(api(stack, "logout-all"), headers=header, timeout=10)
    assert out.status_code == 204
    assert len(children(stack.ready["pids"]["controlPlane"])) == 2
    # Each is a connection of its own, so both processes answer some of them.
    codes = {
        requests.get(api(stack, "me"), headers=header, timeout=10).status_code for _ in range(20)
    }
    assert codes == {401}


def test_a_forgotten_password_is_replaced_by_mail(stack: Stack, server: MailServer) -> None:
    _, token = invite(stack, server, "wu")
    first = {"token": token, "newPassword": "the old password"}
    requests.post(api(stack, "invitation/accept"), json=first, timeout=30).raise_for_status()
    before = len(server.mails)
    asked = requests.post(api(stack, "password-reset"), json={"username": "wu"}, timeout=10)
    assert asked.status_code == 204
    until(lambda: len(server.mails) > before, "the mail", 15)
    text = server.mails[-1].get_content()
    body = {"token": re.findall(r"#(\S+)", text)[0], "newPassword": PASSWORD}
    done = requests.post(api(stack, "password-reset/confirm"), json=body, timeout=30)
    assert done.status_code == 204
    sign_in(stack, "wu")


def test_no_token_of_a_mail_is_written_down(stack: Stack, server: MailServer) -> None:
    _, token = invite(stack, server, "zhao")
    for path in Path(stack.state).rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
