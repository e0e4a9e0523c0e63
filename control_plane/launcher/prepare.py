"""What an installation needs before it serves, made once and kept."""

from control_plane import identity
from control_plane.core.crypto import ensure_secrets
from control_plane.core.database import Database
from control_plane.core.migrations import upgrade
from control_plane.core.settings import Settings
from control_plane.demo import AdminClient, DemoRecord, SignInError, Upstream, make_demo
from control_plane.gateway import RenderError, render
from control_plane.launcher.errors import LaunchError
from control_plane.launcher.readiness import admin_url


def prepare(settings: Settings) -> str | None:
    """Make secrets, database, operator and gateway files; return the password of a new operator."""
    password = prepare_control_plane(settings)
    prepare_gateway(settings)
    return password


def prepare_control_plane(settings: Settings) -> str | None:
    """Make secrets, database and operator; return the password of a new operator."""
    ensure_secrets(settings)
    database = Database(settings)
    try:
        upgrade(database)
        database.refuse_unsafe_start()
        with database.transaction() as session:
            return identity.create_first_operator(session)
    finally:
        database.engine.dispose()


def prepare_gateway(settings: Settings) -> None:
    """Make the gateway's files."""
    try:
        render(settings)
    except RenderError as error:
        raise LaunchError(str(error)) from error


def prepare_demo(settings: Settings, record: DemoRecord, operator: str) -> str | None:
    """Make what is missing of the demo through the running control plane.

    Returns:
        Why nothing could be done although a demo is there, in a sentence.

    Raises:
        LaunchError: there is no demo, and none can be made.
    """
    demo = settings.demo
    endpoint = demo.upstream or f"http://127.0.0.1:{record.upstream_port}/v1"
    upstream = Upstream(endpoint, demo.upstream_key, demo.upstream_model)
    try:
        client = AdminClient(admin_url(settings), operator, record.operator_password or "")
    except SignInError as error:
        if record.api_key is not None:
            return "the demo stays as it was: the operator's password is not the one in demo.json."
        raise LaunchError(
            "--demo needs the operator's password, which the first start showed: put "
            f'{{"operator_password": "…"}} into {settings.state / "demo.json"}.'
        ) from error
    make_demo(client, record, upstream)
    return None
