"""The contract's documents and its export for Lua."""

import json

import pytest

from control_plane import contract
from control_plane.contract import export, keys

TENANT = "0190b5a0-0000-7000-8000-000000000001"
MODEL = {
    "name": "gpt",
    "provider": "openai",
    "isActive": True,
    "costPerCall": "0.01",
    "endpoint": {"scheme": "https", "host": "api.example.com", "port": 443, "path": "/v1"},
    "apiKey": None,
    "parameters": {"stop": "[]"},
    "enforcedParameters": [],
}


def test_what_lua_reads_is_what_python_says() -> None:
    for name, text in export.generate().items():
        assert (export.TARGET / name).read_text() == text, f"{name}: run `make contract`"


def test_a_newer_control_planes_field_is_kept() -> None:
    assert contract.check("hosts", {"tenant": TENANT, "addedLater": [1]}) == {}
    assert contract.SECTIONS["hosts"]().load({"tenant": TENANT, "addedLater": [1]})["addedLater"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("provider", "unknown"),
        ("costPerCall", "-1"),
        ("costPerCall", "0.01\n"),
        ("costPerCall", 0.01),
        ("isActive", None),
        ("endpoint", {"scheme": "ftp", "host": "h", "port": 1, "path": ""}),
        ("parameters", {"stop": []}),
    ],
)
def test_an_unsound_model_is_refused_naming_the_field(field: str, value: object) -> None:
    assert contract.check("models", MODEL) == {}
    assert list(contract.check("models", MODEL | {field: value})) == [field]


def _degradation(**changes: object) -> dict[str, object]:
    rule = {
        "id": TENANT,
        "name": "slow gpt",
        "tenant": None,
        "action": "timeout-increase",
        "parameters": {"factor": 2.5},
    }
    return {"rules": [rule | changes]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "slow\r\nSet-Cookie: a=b"),
        ("name", ""),
        ("tenant", "acme"),
        ("action", "drop"),
        ("parameters", {"factor": 0.5}),
        ("parameters", {"factor": 101}),
        ("parameters", {"feature": "images"}),
        ("parameters", {"endpoint": "v1"}),
        ("parameters", {"model": "gpt"}),
        ("parameters", {"answer": {"status": 100, "contentType": "text/plain", "body": ""}}),
        ("parameters", {"answer": {"status": 503, "contentType": "a/b\nX: y", "body": ""}}),
    ],
)
def test_an_unsound_degradation_is_refused_naming_the_field(field: str, value: object) -> None:
    assert contract.check("degradations", _degradation()) == {}
    errors = contract.check("degradations", _degradation(**{field: value}))
    assert list(errors["rules"][0]) == [field]


def test_every_section_is_exported_with_its_required_fields() -> None:
    exported = json.loads(export.generate()["documents.v1.json"])
    assert exported["contract"] == contract.CONTRACT_VERSION
    assert set(exported["sections"]) == set(contract.SECTIONS)
    for name, schema in contract.SECTIONS.items():
        required = {f.data_key for f in schema().fields.values() if f.required}
        assert set(exported["sections"][name]["required"]) == required


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-1", "1-b", "1.0-2"])
def test_a_broken_revision_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a revision"):
        keys.parse_revision(text)


def test_revisions_compare_as_numbers() -> None:
    assert keys.parse_revision(keys.revision(2, 9)) < keys.parse_revision(keys.revision(2, 10))
