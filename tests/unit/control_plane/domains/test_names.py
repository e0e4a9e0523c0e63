"""Domain names: one form each, or a clear refusal."""

import pytest

from control_plane.domains.names import normalise


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        (" api.example.com ", "api.example.com"),
        ("demo.localhost", "demo.localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("玉门.中国", "xn--oby464e.xn--fiqs8s"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("api。example。com", "api.example.com"),
        ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
    ],
)
def test_each_name_has_one_form(typed: str, name: str) -> None:
    assert normalise(typed) == name
    assert normalise(name) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        ".",
        "com",
        "localhost",
        "api.example.com:8080",
        "https://api.example.com",
        "user@example.com",
        "example.com/path",
        "*",
        "*.com",
        "a.*.com",
        "*.*.example.com",
        "*a.example.com",
        "*.127.0.0.1",
        "127.0.0.1",
        "１２７。0。0。1",
        "1.2.3",
        "api.0x7f",
        "[::1]",
        "::1",
        "a..example.com",
        ".example.com",
        "-a.example.com",
        "a-.example.com",
        "a_b.example.com",
        "a b.example.com",
        "a\n.example.com",
        "a\x00.example.com",
        "xn--zzzzzz.example\u200b$",
        "a" * 64 + ".example.com",
        ".".join(["a" * 60] * 5),
        "api.example.com..",
        "\U0001f512.example.com",
    ],
)
def test_what_is_not_a_domain_name_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not"):
        normalise(typed)
