"""The API's frame: blueprints with guards, conditions and patches, one transaction a request."""

import contextlib
import functools
import uuid
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

import flask
import flask_smorest
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from marshmallow import INCLUDE
from marshmallow import Schema as MarshmallowSchema
from sqlalchemy.orm import Session

from control_plane.core import (
    auth,
    conditions,
    idempotency,
    outgoing,
    plugins,
    quotas,
    recording,
    tenancy,
)
from control_plane.core.body import StrictParser
from control_plane.core.database import Database
from control_plane.core.errors import Forbidden, NotFound, Unauthorized
from control_plane.core.merge_patch import MEDIA_TYPE as MERGE_PATCH
from control_plane.core.pagination import Page, pagination_header
from control_plane.core.schemas import (
    PageQuerySchema,
    QuerySchema,
    Schema,
    SearchField,
    SortField,
    as_answer,
)
from control_plane.core.settings import Settings

__all__ = [
    "Blueprint",
    "PageQuerySchema",
    "QuerySchema",
    "Schema",
    "SearchField",
    "SortField",
    "close_session",
    "database",
    "refuse_private",
    "session",
    "settings",
]

View = TypeVar("View", bound=Callable[..., Any])

_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The `ETag` of what is changed; `*` is any.",
    "schema": {"type": "string", "example": '"1"'},
}
_IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "description": "Chosen by the client; a second request with it does nothing again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc] # flask-smorest is untyped
    """A room's routes. Each method is guarded: by `require(permission)`, or marked `public`.

    The guard is the outermost decorator. It opens the scope of the actor's tenant, and commits the
    request's session when the view has returned.
    """

    ARGUMENTS_PARSER = StrictParser()

    def require(
        self, permission: auth.Permission, *, reveals: bool = False
    ) -> Callable[[View], View]:
        """Let only actors pass that have *permission*.

        In a path with `<uuid:tenant_id>` another tenant's id is answered as an unknown one. What
        *reveals* a secret is recorded each time, also where it only reads.
        """

        def decorator(view: View) -> View:
            @functools.wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
                flask.g.reveals = reveals
                actor = _authenticate()
                with auth.acting_as(actor), _scope_of(actor, kwargs.get("tenant_id")):
                    quotas.count_request()
                    with recording.request_recorded():
                        if not actor.may(permission):
                            raise Forbidden(f"This needs the permission {permission.name}.")
                        return _committed(view(*args, **kwargs))

            marked: View = _mark(guarded, permission.name)
            return marked

        return decorator

    def public(self, view: View) -> View:
        """Let everybody pass. The view runs in the platform's scope."""

        @functools.wraps(view)
        def unguarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
            with tenancy.platform_context():
                quotas.count_request()
                with recording.request_recorded():
                    return _committed(view(*args, **kwargs))

        marked: View = _mark(unguarded, "public")
        return marked

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        """Refuse a view that says neither `require` nor `public`, or says it too far inside."""
        for method in view_func.methods:
            view = getattr(view_func, method.lower())
            if getattr(view, "guarded_view", None) is not view:
                raise TypeError(
                    f"{view_func.__name__}.{method.lower()} needs require(…) or public outermost."
                )
            if method in conditions.CHANGING:
                _document(view, parameters=[_IF_MATCH])
        super().add_url_rule(rule, endpoint, view_func, **options)

    def route(self, rule: str, **options: Any) -> Callable[[type[MethodView]], type[MethodView]]:
        """Serve a class of views at *rule*."""
        decorator: Callable[[type[MethodView]], type[MethodView]] = super().route(rule, **options)
        return decorator

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        """Pass what the request carries, loaded by *schema*, as the view's next argument."""
        decorator: Callable[[View], View] = super().arguments(schema, **options)
        return decorator

    def merge_patch(self, schema: type[Schema]) -> Callable[[View], View]:
        """Pass the body, a JSON merge patch of what *schema* describes, as the next argument.

        The view applies it by `merge_patch.merged`, which also judges the result.
        """
        documented = {
            "in": "json",
            "required": True,
            "schema": schema(partial=True),
            "content_type": MERGE_PATCH,
        }

        def decorator(view: View) -> View:
            parsed: View = super(Blueprint, self).arguments(_PatchSchema)(view)
            apidoc = cast("Any", parsed)._apidoc  # noqa: SLF001 - where flask-smorest keeps it
            apidoc["arguments"]["parameters"][-1] = documented
            return parsed

        return decorator

    def idempotent(self, *, secrets: Collection[str] = ()) -> Callable[[View], View]:
        """Let a POST happen once for each `Idempotency-Key`; a replay leaves *secrets* out.

        The decorator stands directly below `require`.
        """

        def decorator(view: View) -> View:
            @functools.wraps(view)
            def once(*args: Any, **kwargs: Any) -> ResponseReturnValue:
                return idempotency.once(session(), lambda: view(*args, **kwargs), secrets)

            _document(once, parameters=[_IDEMPOTENCY_KEY])
            return cast("View", once)

        return decorator

    def response(self, status: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Answer with what the view returns, dumped by *schema*, with its `ETag` and `Location`."""
        decorator: Callable[[View], View] = super().response(status, as_answer(schema), **options)

        def describe(view: View) -> View:
            @functools.wraps(view)
            def described(*args: Any, **kwargs: Any) -> Any:
                found = view(*args, **kwargs)
                headers = conditions.headers_of(found, status)
                return (found, headers) if headers else found

            return decorator(cast("View", described))

        return describe

    def paged(self, schema: type[PageQuerySchema]) -> Callable[[View], View]:
        """Pass the query, `page` and `page_size` among it, as keywords; answer the view's `Page`.

        The decorator stands directly above the view, below `response` with a schema of many.
        """

        def decorator(view: View) -> View:
            @functools.wraps(view)
            def paged_view(*args: Any, **query: Any) -> Any:
                page: Page[Any] = view(*args, **query)
                position = pagination_header(page.total, query["page"], query["page_size"])
                return page.items, {"X-Pagination": position}

            documented = getattr(view, "_apidoc", {})
            parameters = {"in": "query", "schema": schema}
            paged_view._apidoc = {  # type: ignore[attr-defined] # noqa: SLF001
                **documented,
                "pagination": {"parameters": parameters, "response": {422: "UNPROCESSABLE_ENTITY"}},
            }
            parser = self.ARGUMENTS_PARSER
            parsed: View = cast("Any", parser.use_kwargs(schema, location="query")(paged_view))
            return parsed

        return decorator


class _PatchSchema(MarshmallowSchema):
    """Any JSON object."""

    class Meta:
        """What it may hold is judged once it is applied."""

        unknown = INCLUDE


def session() -> Session:
    """Return the request's session: committed once after the view, rolled back on an error."""
    if "session" not in flask.g:
        write = flask.request.method not in recording.READING or flask.g.get("reveals", False)
        flask.g.session = database().session(write=write)
    return cast("Session", flask.g.session)


def database() -> Database:
    """Return the application's database, for a view that needs transactions of its own."""
    return cast("Database", flask.current_app.extensions["yumen_database"])


def settings() -> Settings:
    """Return the application's settings."""
    return cast("Settings", flask.current_app.extensions["yumen_settings"])


def refuse_private(field: str, url: str) -> None:
    """Judge a base URL that the request wants to save in *field*: see `outgoing.refuse_private`.

    What the view has read before may have changed after that: on SQLite a request that may write
    holds the database's only lock, and not while the DNS is asked.

    Raises:
        Invalid: it must not be called.
    """
    session().rollback()
    outgoing.refuse_private(field, url, settings())


def close_session(_error: BaseException | None = None) -> None:
    """Roll back what was not committed; the application calls this after each request."""
    opened: Session | None = flask.g.pop("session", None)
    if opened is not None:
        opened.close()


def _mark(view: Any, guard: str) -> Any:
    """Note on *view* how it is guarded, for `add_url_rule` and for the documentation."""
    view.guard = guard
    view.guarded_view = view
    if guard == "public":
        _document(view, security=[])
    else:
        _document(view, description=f"Needs `{guard}`.")
    return view


def _document(view: Any, **told: Any) -> None:
    """Add to what flask-smorest documents of *view*."""
    apidoc = getattr(view, "_apidoc", {})
    manual = {**apidoc.get("manual_doc", {}), **told}
    view._apidoc = {**apidoc, "manual_doc": manual}  # noqa: SLF001 - where flask-smorest keeps it


def _committed(response: ResponseReturnValue) -> ResponseReturnValue:
    if "session" in flask.g:
        recording.note_call(flask.g.session, response, reveals=flask.g.get("reveals", False))
        flask.g.session.commit()
    recording.note_refusal(response)
    return response


def _authenticate() -> auth.Actor:
    """Return who sent the request.

    Raises:
        Unauthorized: no room knows who that is.
    """
    authorization = flask.request.headers.get("Authorization")
    if not authorization:
        raise Unauthorized("authentication_required", "Sign in to use this.")
    with tenancy.platform_context():
        actor = plugins.manager().hook.yumen_authenticate(
            session=session(), authorization=authorization
        )
    if actor is None:
        raise Unauthorized("authentication_required", "This kind of authorization is not known.")
    return cast("auth.Actor", actor)


def _scope_of(
    actor: auth.Actor, path_tenant_id: uuid.UUID | None
) -> contextlib.AbstractContextManager[None]:
    """Return the scope of a request: the tenant in its path, else the actor's, else the platform.

    Raises:
        NotFound: the path names another tenant than the actor's.
    """
    if actor.tenant_id is not None and path_tenant_id not in (None, actor.tenant_id):
        raise NotFound("tenant")
    tenant_id = path_tenant_id or actor.tenant_id
    return tenancy.platform_context() if tenant_id is None else tenancy.tenant_context(tenant_id)
