"""One running Yumen for the journeys, and clients that we did not write."""

from collections.abc import Iterator

import openai
import pytest

from tests.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack() as running:
        yield running


def openai_client(stack: Stack, key: str = "", host: str = "") -> openai.OpenAI:
    """Return the official client; it reaches the tenant by its host name on the gateway's port."""
    return openai.OpenAI(
        base_url=f"{stack.ready['gateway']}/v1",
        api_key=key or stack.ready["demo"]["apiKey"],
        default_headers={"Host": host or stack.ready["demo"]["domain"]},
        max_retries=0,
        timeout=20,
    )


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai_client(stack) as made:
        yield made
