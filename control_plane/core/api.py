"""The API's frame: blueprints with guards, schemas in camelCase, one transaction a request."""

import contextlib
import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import flask
import flask_smorest
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from marshmallow import RAISE, ValidationError, fields, pre_load, validate
from marshmallow import Schema as MarshmallowSchema
from sqlalchemy.orm import Session

from control_plane.contract import camel_case
from control_plane.core import auth, plugins, tenancy
from control_plane.core.body import StrictParser
from control_plane.core.database import Database
from control_plane.core.errors import Forbidden, NotFound, Unauthorized
from control_plane.core.pagination import Page, PaginationSchema, pagination_header
from control_plane.core.problems import ProblemHandler
from control_plane.core.settings import Settings

View = TypeVar("View", bound=Callable[..., Any])

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_PAGE = 1_000_000
_MAX_PAGE_SIZE = 100


class Schema(MarshmallowSchema):
    """Base of what JSON bodies look like: camelCase outside, snake_case inside, strict types."""

    class Meta:
        """An unknown field is an error that names it."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the field on the wire."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)

    @pre_load
    def _refuse_other_types(self, data: Any, **_: Any) -> Any:
        """Refuse what marshmallow would convert: "1" or true for a number, 1 for a boolean."""
        if not isinstance(data, Mapping):
            return data
        errors = {
            field.data_key: ["Not of the right type."]
            for field in self.load_fields.values()
            if not _is_of_type(field, data.get(cast("str", field.data_key)))
        }
        if errors:
            raise ValidationError(cast("Any", errors))
        return data


class QuerySchema(MarshmallowSchema):
    """Base of what query strings look like; use with `location="query"`."""

    class Meta:
        """An unknown parameter is an error that names it."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the parameter on the wire."""
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


class PageQuerySchema(QuerySchema):
    """Which page of a list; a list with filters adds its own fields."""

    page = fields.Integer(load_default=1, validate=validate.Range(1, _MAX_PAGE))
    page_size = fields.Integer(load_default=10, validate=validate.Range(1, _MAX_PAGE_SIZE))


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc] # flask-smorest is untyped
    """A room's routes. Each method is guarded: by `require(permission)`, or marked `public`.

    The guard is the outermost decorator. It opens the scope of the actor's tenant, and commits the
    request's session when the view has returned.
    """

    ARGUMENTS_PARSER = StrictParser()

    def require(self, permission: auth.Permission) -> Callable[[View], View]:
        """Let only actors pass that have *permission*.

        In a path with `<uuid:tenant_id>` another tenant's id is answered as an unknown one.
        """

        def decorator(view: View) -> View:
            @functools.wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
                actor = _authenticate()
                with auth.acting_as(actor), _scope_of(actor, kwargs.get("tenant_id")):
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
        super().add_url_rule(rule, endpoint, view_func, **options)

    def route(self, rule: str, **options: Any) -> Callable[[type[MethodView]], type[MethodView]]:
        """Serve a class of views at *rule*."""
        decorator: Callable[[type[MethodView]], type[MethodView]] = super().route(rule, **options)
        return decorator

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        """Pass what the request carries, loaded by *schema*, as the view's next argument."""
        decorator: Callable[[View], View] = super().arguments(schema, **options)
        return decorator

    def response(self, status: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Answer with what the view returns, dumped by *schema*."""
        decorator: Callable[[View], View] = super().response(status, schema, **options)
        return decorator

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


class Api(ProblemHandler, flask_smorest.Api):  # type: ignore[misc] # flask-smorest is untyped
    """Mounts blueprints under `/api` and documents them as OpenAPI 3.1."""

    def mount(self, blueprint: Blueprint) -> None:
        """Serve *blueprint* below `/api`."""
        self.register_blueprint(blueprint, url_prefix=f"/api{blueprint.url_prefix or ''}")

    def _register_pagination_header(self) -> None:
        header = {"description": "Where this page stands.", "schema": PaginationSchema}
        self.spec.components.header("PAGINATION", header, lazy=True)


def _is_of_type(field: fields.Field[Any], value: Any) -> bool:
    """Tell whether a JSON value is of the field's own type, before any conversion."""
    if value is None:
        return True
    if isinstance(field, fields.Boolean | fields.Integer):
        return type(value) is (bool if isinstance(field, fields.Boolean) else int)
    if isinstance(field, fields.List) and isinstance(value, list):
        return all(_is_of_type(field.inner, item) for item in value)
    if isinstance(field, fields.Mapping) and isinstance(value, Mapping) and field.value_field:
        return all(_is_of_type(field.value_field, item) for item in value.values())
    return True


def session() -> Session:
    """Return the request's session: committed once after the view, rolled back on an error."""
    if "session" not in flask.g:
        write = flask.request.method not in _READING
        flask.g.session = database().session(write=write)
    return cast("Session", flask.g.session)


def database() -> Database:
    """Return the application's database, for a view that needs transactions of its own."""
    return cast("Database", flask.current_app.extensions["yumen_database"])


def settings() -> Settings:
    """Return the application's settings."""
    return cast("Settings", flask.current_app.extensions["yumen_settings"])


def close_session(_error: BaseException | None = None) -> None:
    """Roll back what was not committed; the application calls this after each request."""
    opened: Session | None = flask.g.pop("session", None)
    if opened is not None:
        opened.close()


def _mark(view: Any, guard: str) -> Any:
    """Note on *view* how it is guarded, for `add_url_rule` and for the documentation."""
    view.guard = guard
    view.guarded_view = view
    documented: dict[str, Any] = (
        {"security": []} if guard == "public" else {"description": f"Needs `{guard}`."}
    )
    apidoc = getattr(view, "_apidoc", {})
    view._apidoc = {  # noqa: SLF001 - where flask-smorest keeps a view's documentation
        **apidoc,
        "manual_doc": {**apidoc.get("manual_doc", {}), **documented},
    }
    return view


def _committed(response: ResponseReturnValue) -> ResponseReturnValue:
    if "session" in flask.g:
        flask.g.session.commit()
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
