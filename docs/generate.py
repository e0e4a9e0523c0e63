"""Makes the parts of the documentation that the code already knows: `docs/generate.py [--check]`.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`. What stands between
them is replaced by what the function NAME in `BLOCKS` returns; with `--check` nothing is written
and pages that differ are named.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from control_plane import cli, worker
from control_plane import routes as served
from control_plane.contract import journal, keys
from control_plane.core import plugins
from control_plane.core.metrics import http, work

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Split the reference of settings into (section, its lines)."""
    parts = re.split(r"^([a-z_]+):\n", text, flags=re.MULTILINE)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        yield name, body.splitlines()


def _default(value: object) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _settings_rows(section: str, lines: list[str], values: dict[str, Any]) -> Iterator[list[str]]:
    comment: list[str] = []
    finished = False
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            comment = [*([] if finished else comment), text.removeprefix("# ")]
            finished = False
        elif text:
            name = text.partition(":")[0]
            variable = f"`YUMEN_{section}_{name}`".upper()
            yield [f"`{name}`", _default(values[name]), " ".join(comment), variable]
            finished = True


def settings() -> str:
    """Every setting of `config/defaults.yaml` with its default, meaning and variable."""
    text = (ROOT / "config" / "defaults.yaml").read_text()
    values = yaml.safe_load(text)
    parts = []
    for name, lines in _sections(text):
        rows = _settings_rows(name, lines, values[name])
        parts.append(f"## {name}\n\n" + _table(["setting", "default", "meaning", "variable"], rows))
    return "\n".join(parts)


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object")
    kinds = kind if isinstance(kind, list) else [kind]
    if "enum" in schema:
        kinds = [f"`{value}`" for value in schema["enum"]]
    return " or ".join(kinds)


def _fields(schema: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    for name, field in schema["properties"].items():
        yield [f"`{prefix}{name}`", _type(field), field.get("description", "")]
        if "properties" in field:
            yield from _fields(field, f"{prefix}{name}.")
        if "properties" in field.get("items", {}):
            yield from _fields(field["items"], f"{prefix}{name}[].")
        inner = field.get("additionalProperties")
        if isinstance(inner, dict) and "properties" in inner:
            yield from _fields(inner, f"{prefix}{name}.<name>.")


def documents() -> str:
    """The documents of the contract, field by field."""
    path = ROOT / "openresty" / "contract" / "documents.v1.json"
    sections = json.loads(path.read_text())["sections"]
    return "\n".join(
        f"### {name}\n\n" + _table(["field", "type", "meaning"], _fields(schema))
        for name, schema in sections.items()
    )


def _described_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, the string literal under it) of a module's constants and functions."""
    body = ast.parse(path.read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and isinstance(after, ast.Expr):
            target, text = node.targets[0], after.value
            if isinstance(target, ast.Name) and isinstance(text, ast.Constant):
                yield target.id, str(text.value)


def redis_keys() -> str:
    """Every Redis key with what it holds."""
    samples = {"config_section": "<section>", "node": "<node>", "throttle": "<digest>"}
    rows = []
    for name, text in _described_names(Path(keys.__file__)):
        if name in samples:
            key = getattr(keys, name)(samples[name])
        elif name.isupper() and str(getattr(keys, name)).startswith(keys.PREFIX):
            key = getattr(keys, name)
        else:
            continue
        said = " ".join(text.removeprefix("Return the ").split())
        rows.append([f"`{key}`", said[0].upper() + said[1:]])
    return _table(["key", "what"], rows)


def journal_layout() -> str:
    """The layout of the journal: header, record and enumerations."""
    parts = []
    for title, layout, struct in (
        ("Header", journal.HEADER_FIELDS, journal.HEADER),
        ("Record", journal.RECORD_FIELDS, journal.RECORD),
    ):
        offset = 0
        rows = []
        for name, ctype, _, length in layout:
            size = length or {"64": 8, "32": 4, "16": 2}.get(re.sub(r"\D", "", ctype), 1)
            rows.append([str(offset), f"`{name}`", f"{ctype}[{length}]" if length else ctype])
            offset += size
        if offset != struct.size:
            raise AssertionError(f"{title}: counted {offset} bytes, packed {struct.size}")
        parts.append(f"### {title}\n\n" + _table(["offset", "field", "type"], rows))
    strings = ", ".join(f"`{name}`" for name in journal.RECORD_STRINGS)
    parts.append(f"After the fixed part, each as one length byte and UTF-8: {strings}.\n")
    for enum in (journal.Kind, journal.Outcome, journal.UsageSource):
        values = ", ".join(f"{member.value} {member.name.lower()}" for member in enum)
        parts.append(f"`{enum.__name__}`: {values}.\n")
    return "\n".join(parts)


def _lua_face(path: Path) -> dict[str, str]:
    text = path.read_text()
    face = dict(
        re.findall(r"^    (name|priority|section|on_error)\s*=\s*\"?(\w+)\"?", text, re.MULTILINE)
    )
    face["phases"] = ", ".join(
        f"`{name}`" for name in re.findall(r"^function _M\.(?!explain)(\w+)\(", text, re.MULTILINE)
    )
    return face


def policies() -> str:
    """The gateway's policies in the order in which they run."""
    files = (ROOT / "openresty/lua/yumen/policies").glob("*.lua")
    faces = [_lua_face(path) for path in files if path.stem != "example"]
    faces.sort(key=lambda face: -int(face["priority"]))
    rows = [
        [
            face["priority"],
            f"[{face['name']}](policies/{face['name']}.md)",
            f"`{face['section']}`" if "section" in face else "",
            face["on_error"],
            face["phases"],
        ]
        for face in faces
    ]
    return _table(["priority", "policy", "reads", "if it breaks", "phases"], rows)


def gateway_codes() -> str:
    """Every code that the gateway answers with."""
    text = (ROOT / "openresty" / "lua" / "yumen" / "dialect.lua").read_text()
    types = dict(re.findall(r"^local ([A-Z_]+) = \"(\w+)\"$", text, re.MULTILINE))
    codes = re.findall(r"^    (\w+) = \{ (\d{3}), (\w+), (\"[^{}]*\") \},", text, re.MULTILINE)
    rows = [
        [status, f"`{code}`", f"`{types[kind]}`", re.sub(r"\"\s*\.\.\s*\"", "", message)[1:-1]]
        for code, status, kind, message in codes
    ]
    return _table(["status", "code", "type", "message"], sorted(rows))


def gateway_metrics() -> str:
    """Every metric of a gateway node, in the order in which its source names them."""
    text = (ROOT / "openresty" / "lua" / "yumen" / "metrics" / "families.lua").read_text()
    line = r"^    (yumen_\w+) = \{ (\w+), \"([\w,]*)\",\s+\"(.*)\" \},$"
    return _metrics_table(
        (name, kind.lower(), labels.split(",") if labels else [], said)
        for name, kind, labels, said in re.findall(line, text, re.MULTILINE)
    )


def control_plane_metrics() -> str:
    """Every metric of the control plane."""
    return _metrics_table(http.FAMILIES)


def worker_metrics() -> str:
    """Every metric of the worker."""
    read = [family for group in worker.figures() for family in group.families]
    return _metrics_table([*work.FAMILIES, *read])


def _metrics_table(rows: Iterable[tuple[str, str, Sequence[str], str]]) -> str:
    return _table(
        ["metric", "type", "labels", "meaning"],
        (
            [f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), said]
            for name, kind, labels, said in rows
        ),
    )


def commands() -> str:
    """Every command of `yumen`."""
    context = click.Context(cli.main)
    rows = []
    for name in cli.main.list_commands(context):
        command = cli.main.get_command(context, name)
        if command is not None:
            rows.append([f"`yumen {name}`", command.get_short_help_str(limit=200)])
    return _table(["command", "does"], rows)


def make_targets() -> str:
    """Every target of the Makefile that is for people."""
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*?## (.*)$", text, re.MULTILINE)
    return _table(["target", "does"], [[f"`make {name}`", said] for name, said in targets])


def permissions() -> str:
    """Every permission with the least role that has it."""
    rows = [
        [
            f"`{permission.name}`",
            permission.least_role.value,
            "platform only" if permission.platform else "",
            permission.description,
        ]
        for permission in plugins.permissions()
    ]
    return _table(["permission", "from role", "", "allows"], sorted(rows))


def routes() -> str:
    """Every route of the administration API with the permission it needs."""
    rows = [
        [
            route.method,
            f"`{route.path}`",
            route.room,
            route.permission if route.permission == "public" else f"`{route.permission}`",
        ]
        for route in served.routes()
    ]
    return _table(["method", "path", "room", "permission"], rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "control-plane-metrics": control_plane_metrics,
    "documents": documents,
    "gateway-codes": gateway_codes,
    "gateway-metrics": gateway_metrics,
    "journal-layout": journal_layout,
    "make-targets": make_targets,
    "permissions": permissions,
    "policies": policies,
    "redis-keys": redis_keys,
    "routes": routes,
    "settings": settings,
    "worker-metrics": worker_metrics,
}


def render(text: str) -> str:
    """Return a page with each generated part made anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}{match[3]}", text)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name those that differ and return 1."""
    stale = 0
    for page in sorted((ROOT / "docs").rglob("*.md")):
        before = page.read_text()
        after = render(before)
        if after == before:
            continue
        stale = 1
        if "--check" in arguments:
            sys.stderr.write(f"{page.relative_to(ROOT)} is stale: run `make docs`\n")
        else:
            page.write_text(after)
    return stale if "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
