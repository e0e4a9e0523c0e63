"""Settings: three sources, and one clear sentence for each mistake."""

from pathlib import Path

import pytest

from control_plane.core.settings import SettingsError, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "yumen.yaml"
    path.write_text(text)
    return path


def test_later_sources_win(tmp_path: Path) -> None:
    config = write(tmp_path, "gateway: {workers: 3, port: 9000}\nsecurity:\n")
    settings = load_settings(config, tmp_path, {"YUMEN_GATEWAY_PORT": "9001"})
    assert (settings.gateway.workers, settings.gateway.port) == (3, 9001)
    assert settings.gateway.body_limit_mb == 32


def test_the_environment_gives_lists_and_nothing(tmp_path: Path) -> None:
    environ = {
        "YUMEN_SECURITY_UPSTREAM_ALLOW": "127.0.0.0/8, ::1/128",
        "YUMEN_DATABASE_URL": "",
        "YUMEN_DEMO_UPSTREAM_KEY": "sk-1",
        "YUMEN_STATE": "/elsewhere",
        "PATH": "/bin",
    }
    settings = load_settings(None, tmp_path, environ)
    assert settings.security.upstream_allow == ("127.0.0.0/8", "::1/128")
    assert settings.database_url == f"sqlite:///{tmp_path}/yumen.db"
    assert settings.redis_url == f"unix://{tmp_path}/redis/redis.sock?db=0"
    assert settings.demo.upstream_key == "sk-1"
    assert "sk-1" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        ("gateway: {wokers: 2}", {}, "Unknown setting gateway.wokers in .* mean gateway.workers?"),
        ("gatway: {}", {}, "Unknown setting gatway in .* did you mean gateway?"),
        ("", {"YUMEN_GATEWAY_WORKER": "2"}, "gateway.worker in the environment; .*workers?"),
        ("", {"YUMEN_GATEWEY_PORT": "2"}, "Unknown setting gatewey"),
        (
            "gateway: {workers: two}",
            {},
            "workers must be a whole number from 1 up, not 'two'",
        ),
        ("gateway: {workers: true}", {}, "gateway.workers must be a whole number"),
        ("gateway: {drain_seconds: -1}", {}, "drain_seconds must be a whole number from 0 up"),
        ("gateway: {workers: -1}", {}, "gateway.workers must be a whole number"),
        ("gateway: {workers: null}", {}, "gateway.workers must not be empty"),
        ("", {"YUMEN_GATEWAY_PORT": "８０"}, "gateway.port must be a whole number"),
        ("", {"YUMEN_GATEWAY_PORT": "9" * 10}, "gateway.port must be a whole number"),
        ("admin: {workers: 0}", {}, "admin.workers must be a whole number from 1 up, not 0"),
        ("admin: {port: 65536}", {}, "admin.port must be at most 65535"),
        ("logging: {level: loud}", {}, "logging.level must be one of debug, info, warning, error"),
        ("security: {upstream_allow: [localhost]}", {}, "security.upstream_allow: 'localhost'"),
        ("admin: {host: 1}", {}, "admin.host must be text"),
        ("security: {upstream_allow: 1}", {}, "must be a list of texts"),
        ("gateway: 3", {}, "section gateway must hold settings"),
        ("- a", {}, "must hold sections"),
        ("gateway: {", {}, "is not valid YAML"),
        ("gateway: {node: UPPER}", {}, "gateway.node must be"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, text: str, environ: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        load_settings(write(tmp_path, text), tmp_path, environ)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Cannot read .*: No such file"):
        load_settings(tmp_path / "none.yaml", tmp_path, {})


@pytest.mark.parametrize(("host", "node"), [("Web_1.example", "web-1-example"), ("___", "node")])
def test_the_node_is_named_after_the_host(
    monkeypatch: pytest.MonkeyPatch, host: str, node: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert load_settings(environ={}).node == node
