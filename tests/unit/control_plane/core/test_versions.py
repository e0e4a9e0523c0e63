"""The API's versions."""

import datetime

from flask.testing import FlaskClient

from control_plane.core.versions import Version, VersionedPaths

NOON = datetime.datetime(2027, 3, 1, 12, tzinfo=datetime.UTC)


def test_both_names_of_the_api_are_one(client: FlaskClient, operator: dict[str, str]) -> None:
    for path in ("/api/v1/tenants", "/api/tenants"):
        answer = client.get(path, headers=operator)
        assert (answer.status_code, answer.json) == (200, [])
        assert not {"Deprecation", "Sunset", "Link"} & set(answer.headers.keys())
    assert client.get("/api/v1/openapi.json").json == client.get("/api/openapi.json").json


def test_another_version_is_not_there(client: FlaskClient, operator: dict[str, str]) -> None:
    for path in ("/api/v2/tenants", "/api/v1tenants", "/api/v1/v1/tenants", "/v1/tenants"):
        answer = client.get(path, headers=operator)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "path_not_found"), path


def test_an_old_version_says_when_it_ends(client: FlaskClient, operator: dict[str, str]) -> None:
    app = client.application
    old = Version(deprecated=NOON, sunset=NOON + datetime.timedelta(days=180), successor="v1")
    app.wsgi_app = VersionedPaths(app.wsgi_app, {"v0": old})  # type: ignore[method-assign]
    for path in ("/api/v0/tenants", "/api/v0/unknown"):
        headers = client.get(path, headers=operator).headers
        assert headers["Deprecation"] == "@1803902400"
        assert headers["Sunset"] == "Sat, 28 Aug 2027 12:00:00 GMT"
        assert headers["Link"] == '</api/v1>; rel="successor-version"'
    assert "Deprecation" not in client.get("/api/v1/tenants", headers=operator).headers
