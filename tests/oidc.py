"""A certified OpenID Connect provider on loopback (`oidc-provider`), and a person at a browser."""

import html
import json
import re
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests
from flask.testing import FlaskClient

from control_plane.core.root import project_root
from tests.stack import free_port, until

FOLDER = project_root() / "tests" / "oidc_provider"
CLIENT_ID, CLIENT_SECRET = "yumen", "not-a-real-secret-of-yumen"
PUBLIC_URL = "http://127.0.0.1:8081"
"""Where the control plane under test thinks that it is."""

REDIRECTS = range(300, 400)


class OidcProvider:
    """A provider with the accounts that tests give it."""

    def __init__(self, *, email_in_userinfo_only: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ym"))
        self._accounts = self._folder / "accounts.json"
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        config = {
            "issuer": self.issuer,
            "port": self.port,
            "accounts": str(self._accounts),
            "redirects": f"{PUBLIC_URL}/api/auth/providers/",
            "emailInUserinfoOnly": email_in_userinfo_only,
            "clients": [
                {
                    "client_id": CLIENT_ID,
                    "client_secret": CLIENT_SECRET,
                    "redirect_uris": [f"{PUBLIC_URL}/api/auth/providers/"],
                }
            ],
        }
        self._config = self._folder / "config.json"
        self._config.write_text(json.dumps(config))
        self.set_accounts({})

    def __enter__(self) -> Self:
        assert (FOLDER / "node_modules").is_dir(), "run make test once, or npm ci in " + str(FOLDER)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["node", "server.mjs", self._config], cwd=FOLDER, stdout=log, stderr=log
            )
        until(self._answers, "the provider answers", 20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._folder)

    def set_accounts(self, accounts: dict[str, dict[str, Any]]) -> None:
        """Know these people, by their login: what is told of each."""
        self._accounts.write_text(json.dumps(accounts))

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.issuer}/jwks", timeout=1).ok
        except requests.RequestException:
            return False


class Browser:
    """A person's browser: its cookies at Yumen, and those at the provider."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self._elsewhere = requests.Session()

    def depart(self, provider_id: uuid.UUID | str, **query: str) -> str:
        """Begin a sign-in; return where the browser is sent."""
        url = f"/api/auth/providers/{provider_id}/login"
        answer = self.client.get(url, query_string=query)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])

    def sign_in_there(self, address: str, login: str) -> str:
        """Sign in on the provider's pages; return the address that leads back."""
        while not address.startswith(PUBLIC_URL):
            answer = self._elsewhere.get(address, allow_redirects=False, timeout=5)
            if answer.status_code not in REDIRECTS:
                assert answer.status_code == 200, answer.text
                answer = self._submit(answer, login)
            address = urljoin(address, answer.headers["Location"])
        return address

    def come_back(self, address: str) -> dict[str, str]:
        """Follow the address that leads back; return what stands behind the `#` of the next."""
        parts = urlsplit(address)
        answer = self.client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code == 302, answer.text
        there = urlsplit(answer.headers["Location"])
        assert f"{there.scheme}://{there.netloc}" == PUBLIC_URL
        return dict(parse_qsl(there.fragment))

    def sign_in(self, provider_id: uuid.UUID | str, login: str, **query: str) -> dict[str, str]:
        """Go there and come back."""
        return self.come_back(self.sign_in_there(self.depart(provider_id, **query), login))

    def exchange(self, told: dict[str, str]) -> Any:
        """Ask for the tokens."""
        return self.client.post("/api/auth/providers/exchange", json=told)

    def _submit(self, page: requests.Response, login: str) -> requests.Response:
        """Fill in the form of a page: its login, or its consent."""
        found = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert found, page.text
        hidden = dict(re.findall(r'name="([a-z]+)" value="([^"]*)"', page.text))
        form = {**hidden, "login": login, "password": "any"}
        action = urljoin(page.url, html.unescape(found[1]))
        return self._elsewhere.post(action, data=form, allow_redirects=False, timeout=5)
