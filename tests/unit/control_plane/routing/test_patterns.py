"""Which regular expressions a gateway may run, tried with the PCRE that it runs them with."""

import ctypes
import ctypes.util
import time

import pytest

from control_plane.routing import patterns

HARMLESS = [
    "/users/[^/]+",
    r"/users/\d+/orders/[a-z0-9_-]{1,20}",
    r"/files/.*\.pdf",
    "/(api|web)/[^/]+/(get|put)",
    "/v[1-9](/[^/]+)?/end",
    "/(?:[a-c]|d)x*",
    r"/a\.b\+c",
    "/[^/]+/[^/]+/[^/]+/[^/]+",
    "/x(ab){2,5}",
    "/x{1,64}x{1,64}x{1,64}y",
]
HOSTILE = [
    "/(a+)+",
    "/(a*)*b",
    "/(a|a)*b",
    "/(a|aa)+$",
    "/([a-z]+)*!",
    "/.*.*.*=",
    "/.*a.*b.*c",
    "/" + "a?" * 20 + "a" * 20,
    "/" + "(a|ab)" * 20,
    "/" + "(a{0,9})" * 8,
    "/((a{0,60}){0,60}){0,60}",
    "/(.*)/(.*)/(.*)/(.*)x",
    "/(a|b|ab)*c",
    "/x{1,64}x{1,64}x{1,64}x{1,64}y",
    "/(|a)+",
    "/(a?){50}",
]


@pytest.mark.parametrize("pattern", HARMLESS)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    assert patterns.problem(pattern) is None


@pytest.mark.parametrize("pattern", HOSTILE)
def test_what_matches_in_many_ways_is_refused(pattern: str) -> None:
    assert patterns.problem(pattern) is not None


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"/(a)\1", "only \\d, \\w and escaped signs"),
        ("/(?=a)", "no look-around"),
        ("/(?i)a", "no options"),
        ("/(?<n>a)", "no look-around"),
        ("/a++", "two quantifiers in a row"),
        ("/a*?", "two quantifiers in a row"),
        ("/a{2}{3}", "two quantifiers in a row"),
        ("/a{65}", "up to 64 times"),
        ("/a{3,2}", "the lesser number first"),
        ("/(a", "( without its )"),
        ("/a)", ") too many"),
        ("/[a", "ends too early"),
        ("/[]", "empty class"),
        ("/[z-a]", "that is none"),
        ("/[[:alpha:]]", "write \\["),
        ("/a$", "where it means nothing"),
        ("/*a{", "where it means nothing"),
        ("/a\\", "ends too early"),
        ("/问", "ASCII"),
        ("/\x07", "control characters"),
        ("/" + "a" * 256, "at most 256"),
    ],
)
def test_what_else_is_refused_is_said(pattern: str, told: str) -> None:
    assert told in str(patterns.problem(pattern))


@pytest.fixture(scope="module")
def pcre() -> ctypes.CDLL:
    name = ctypes.util.find_library("pcre")
    assert name is not None, "the gateway's Lua module needs libpcre.so.3"
    library = ctypes.CDLL(name)
    library.pcre_compile.restype = ctypes.c_void_p
    library.pcre_exec.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_int] * 3,
        ctypes.c_void_p, ctypes.c_int,
    ]  # fmt: skip
    return library


def steps_seconds(pcre: ctypes.CDLL, pattern: str, subject: str) -> float:
    """Return how long PCRE (without its compiler, at its slowest) takes for a whole match."""
    error, offset = ctypes.c_char_p(), ctypes.c_int()
    code = pcre.pcre_compile(
        rf"\A(?:{pattern})\z".encode(), 0, ctypes.byref(error), ctypes.byref(offset), None
    )
    assert code, f"{pattern}: {error.value!r} at {offset.value}"
    text = subject.encode()
    began = time.process_time()
    pcre.pcre_exec(code, None, text, len(text), 0, 0, None, 0)
    return time.process_time() - began


@pytest.mark.parametrize("pattern", [*HARMLESS, "/.*[ab][ab]c", "/.*a?b?x", "/(a|ab)(b|c)z"])
def test_pcre_takes_what_is_taken_and_is_done_soon(pcre: ctypes.CDLL, pattern: str) -> None:
    assert patterns.problem(pattern) is None
    for part in ("a", "ab", "/a", "x", "a.pdf"):
        assert steps_seconds(pcre, pattern, ("/" + part * 1024)[:1023] + "\x01") < 1


def test_pcre_would_not_be_done_soon_with_what_is_refused(pcre: ctypes.CDLL) -> None:
    """What the rules keep away: PCRE goes on until its own limit of ten million steps."""
    subject = "/" + "a" * 60 + "c"
    slow = steps_seconds(pcre, "/(a|a)*[bc]d|/x", subject + "d\x01")
    assert slow > 20 * steps_seconds(pcre, "/a*[bc]d|/x", subject + "d\x01")


def test_a_pattern_that_is_looked_for_anywhere_must_be_plainer() -> None:
    anywhere = patterns.MOST_WAYS_ANYWHERE
    assert patterns.problem("/old/([^/]+)", anywhere) is None
    assert patterns.problem(r"/files/.*\.pdf", anywhere) is not None
    assert patterns.groups("/(a)/(?:b)/(c)") == 2
