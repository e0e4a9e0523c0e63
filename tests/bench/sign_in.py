"""Whether others can sign in while one password is guessed, and how often that is looked at.

Wrong passwords come in steadily, from many networks, through a proxy that the control plane trusts.
Meanwhile other users sign in one after the other, as they did before, when it was quiet.
"""

import itertools
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from control_plane import identity
from control_plane.core.tenancy import platform_context
from tests.bench.installation import DATABASES, Installation, running
from tests.bench.report import Figure, console, percentile, table

GUESSES = 10_000
RATE = 100
NETWORKS = 200
SENDERS = 4
SIGN_INS = 100
PAUSE_SECONDS = 0.2
PASSWORD = "correct horse battery"
VICTIM, OTHERS = "victim", [f"other-{number}" for number in range(5)]


def bench(size: float) -> list[Figure]:
    """Guess one password very often, and sign others in, on both databases."""
    figures: list[Figure] = []
    shown = table("Signing in", "<database", "<load", "sign-ins", "p50 ms", "p95 ms")
    for name in DATABASES:
        with running(name, {"YUMEN_ADMIN_TRUSTED_PROXIES": "127.0.0.0/8"}) as installation:
            _make_users(installation)
            url = f"{installation.stack.ready['admin']}/api/auth/login"
            quiet = [_sign_in(url, number) for number in range(max(20, round(SIGN_INS * size)))]
            answers, during = _attack(url, max(500, round(GUESSES * size)))
        evaluated = answers.pop(401, 0)
        for load, times in (("quiet", quiet), (f"{RATE} guesses/s", during)):
            ms = [1000 * percentile(times, share) for share in (0.5, 0.95)]
            shown.add_row(name, load, str(len(times)), *(f"{value:.0f}" for value in ms))
        slower = percentile(during, 0.95) / percentile(quiet, 0.95)
        figures += [
            Figure(f"{name}: sign-in of others (p95) during an attack", slower, "x quiet", most=2),
            Figure(f"{name}: guesses evaluated of one account", evaluated, "", most=30),
            Figure(
                f"{name}: guesses answered otherwise than 401 or 429",
                sum(answers.values()) - answers[429],
                "",
                most=0,
            ),
        ]
    console.print(shown)
    return figures


def _make_users(installation: Installation) -> None:
    password_hash = identity.hash_password(PASSWORD)
    with platform_context(), installation.database.transaction() as session:
        for username in (VICTIM, *OTHERS):
            identity.create_user(
                session, username=username, role="viewer", password_hash=password_hash
            )


def _sign_in(url: str, number: int) -> float:
    """Sign one of the others in, from where he always does; return the seconds it took."""
    time.sleep(PAUSE_SECONDS)
    body = {"username": OTHERS[number % len(OTHERS)], "password": PASSWORD}
    started = time.monotonic()
    answer = requests.post(url, json=body, timeout=60)
    took = time.monotonic() - started
    if answer.status_code != 200:
        raise RuntimeError(f"{body['username']} was answered {answer.status_code}: {answer.text}")
    return took


def _attack(url: str, guesses: int) -> tuple[Counter[int], list[float]]:
    """Send *guesses*, and meanwhile sign others in; return how both went."""
    numbers, over = itertools.count(), threading.Event()
    answers: Counter[int] = Counter()
    lock, started = threading.Lock(), time.monotonic()

    def send() -> None:
        with requests.Session() as http:
            while (number := next(numbers)) < guesses:
                time.sleep(max(0.0, started + number / RATE - time.monotonic()))
                status = _guess(http, url, number)
                with lock:
                    answers[status] += 1

    with ThreadPoolExecutor(SENDERS + 1) as pool:
        senders = [pool.submit(send) for _ in range(SENDERS)]
        others = pool.submit(_sign_in_until, url, over)
        for sender in senders:
            sender.result()
        over.set()
        return answers, others.result()


def _sign_in_until(url: str, over: threading.Event) -> list[float]:
    times: list[float] = []
    while not over.is_set():
        times.append(_sign_in(url, len(times)))
    return times


def _guess(http: requests.Session, url: str, number: int) -> int:
    network = number % NETWORKS
    address = {"X-Forwarded-For": f"198.18.{network}.1"}
    body = {"username": VICTIM, "password": f"guess {number}"}
    return http.post(url, json=body, headers=address, timeout=60).status_code
