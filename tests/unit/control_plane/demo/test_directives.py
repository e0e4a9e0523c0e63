"""What a prompt may ask the demo upstream for."""

import pytest

from control_plane.demo.directives import Directives, parse_directives


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hello", Directives()),
        ("Please [demo status=429]", Directives(status=429)),
        ("[demo chunks=20 delay_ms=50] go", Directives(chunks=20, delay_ms=50)),
        ("[demo status=500] no, [demo status=503]", Directives(status=503)),
        ("[demo cut_after=0]", Directives(cut_after=0)),
        ("[demo unheard_of=1 usage=0]", Directives(usage=0)),
        ("[demo status=abc]", Directives()),
        ("[demo]", Directives()),
        ("demo status=429", Directives()),
    ],
)
def test_a_prompt_asks_for_what_stands_in_its_last_brackets(
    prompt: str, expected: Directives
) -> None:
    assert parse_directives(prompt) == expected
