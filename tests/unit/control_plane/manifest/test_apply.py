"""What `yumen apply` changes, and what it refuses."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from control_plane.core import tenancy
from control_plane.core.database import Database
from control_plane.core.outbox import OutboxEvent
from control_plane.manifest import files
from control_plane.manifest.applying import apply
from control_plane.tenants import Tenant
from control_plane.tenants.service import tenants
from tests.unit.control_plane.manifest.conftest import Installation

MODEL = """
  - {name: gpt, provider: openai, endpoint: "https://93.184.216.34/v1", costPerCall: "0.002",
     apiKey: {env: GPT_KEY}}
"""
START = f"""
manifest: 1
models: {MODEL}
tenants:
  - name: Clinic
    contactPerson: Li
    domains: [{{domainName: a.example.com, isVerified: true}}, {{domainName: b.example.com}}]
    models: [{{model: gpt}}]
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "manifest.yaml"
        path.write_text(text)
        return path

    return to_file


@pytest.fixture
def started(here: Installation, write: Write) -> Installation:
    """An installation in which `START` was applied."""
    assert here.apply(write(START), GPT_KEY="sk-one")[-1].startswith("5 created")
    return here


def events(database: Database) -> int:
    with tenancy.platform_context(), database.session(write=False) as session:
        return session.scalar(select(func.count()).select_from(OutboxEvent)) or 0


def test_a_dry_run_tells_the_difference_and_changes_nothing(
    started: Installation, write: Write, database: Database
) -> None:
    before, told = started.run("export"), events(database)
    changed = START.replace("Li", "Wang").replace("0.002", "0.003").replace("b.exam", "c.exam")
    expected = [
        '~ models/gpt: costPerCall "0.002" → "0.003", apiKey "(secret)" → "(secret)"',
        '~ tenants/Clinic: contactPerson "Li" → "Wang"',
        "+ tenants/Clinic/domains/c.example.com",
        "- tenants/Clinic/domains/b.example.com",
    ]
    environ = {"GPT_KEY": "sk-two"}
    lines = started.apply(write(changed), "--dry-run", "--prune", **environ)
    assert lines == [
        *expected,
        "1 would be created, 2 would be changed, 1 would be deleted, 2 unchanged.",
    ]
    assert started.run("export") == before
    assert events(database) == told
    lines = started.apply(write(changed), "--prune", **environ)
    assert lines == [*expected, "1 created, 2 changed, 1 deleted, 2 unchanged."]
    lines = started.apply(write(changed), "--prune", **environ)
    assert lines == ["0 created, 0 changed, 0 deleted, 5 unchanged."]


def test_what_is_applied_is_published(started: Installation, database: Database) -> None:
    assert events(database) >= 4


def test_a_section_that_is_absent_is_left_alone_even_when_pruning(
    started: Installation, write: Write
) -> None:
    text = "manifest: 1\ntenants: [{name: Clinic, contactPerson: Li, models: [{model: gpt}]}]"
    lines = started.apply(write(text), "--prune")
    assert lines == ["0 created, 0 changed, 0 deleted, 2 unchanged."]
    lines = started.apply(write(text.replace("[{model: gpt}]", "[]")), "--prune")
    assert lines == ["- tenants/Clinic/models/gpt", "0 created, 0 changed, 1 deleted, 1 unchanged."]


def test_what_refers_to_others_is_pruned_first(started: Installation, write: Write) -> None:
    lines = started.apply(
        write("manifest: 1\nmodels: []\ntenants: [{name: Clinic, contactPerson: Li, models: []}]"),
        "--prune",
    )
    assert lines[:2] == ["- tenants/Clinic/models/gpt", "- models/gpt"]


def test_without_pruning_nothing_is_deleted(started: Installation, write: Write) -> None:
    lines = started.apply(write("manifest: 1\nmodels: []\nroles: []\ntenants: []"))
    assert lines == ["0 created, 0 changed, 0 deleted, 0 unchanged."]


def test_a_pruned_tenant_waits_for_its_purge(
    started: Installation, write: Write, client: FlaskClient, operator: dict[str, str]
) -> None:
    assert started.apply(write("manifest: 1\ntenants: []"), "--prune")[0] == "- tenants/Clinic"
    (tenant,) = client.get("/api/tenants", headers=operator).json
    assert (tenant["status"], tenant["purgeDate"] is None) == ("inactive", False)
    assert yaml.safe_load(started.run("export"))["tenants"] == []
    again = f"manifest: 1\ntenants: [{{name: Clinic, id: {tenant['id']}}}]"
    assert "tenant is deleted" in started.apply(write(again), fails=True)[0]


def test_a_secret_that_is_not_there_stays_and_is_never_invented(
    started: Installation, write: Write, tmp_path: Path
) -> None:
    lines = started.apply(write(START))
    assert lines == [
        "  models/gpt/apiKey stays: what the manifest names for it is not there.",
        "0 created, 0 changed, 0 deleted, 5 unchanged.",
    ]
    (tmp_path / "key").write_text("sk-file\n")
    lines = started.apply(write(START.replace("{env: GPT_KEY}", "{file: key}")))
    assert lines[0] == '~ models/gpt: apiKey "(secret)" → "(secret)"'
    lines = started.apply(write(START.replace("{env: GPT_KEY}", "null")))
    assert lines[0] == '~ models/gpt: apiKey "(secret)" → null'
    (refused, *_) = started.apply(write(START), fails=True)
    assert refused.endswith("models/gpt: apiKey: there is nothing in {'env': 'GPT_KEY'}.")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: []", "is no manifest: it must say `manifest: 1`."),
        ("manifest: 2", "is no manifest: it must say `manifest: 1`."),
        ("manifest: 1\nmodels: {}", "models: must be a list of objects."),
        ("manifest: 1\nmodels: [gpt]", "models: must be a list of objects."),
        ("manifest: 1\nmodel: []", "model: there is no such section, but"),
        ("manifest: 1\nmodels: []\nmodels: []", "models stands here twice"),
        ("manifest: 1\ntenants: [{name: X, name: Y}]", "name stands here twice"),
        ("manifest: 1\n1: []", "the key 1 is no text"),
        ("manifest: 1\nmodels: [", "is not valid YAML"),
        ("manifest: 1\ntenants: [{name: !!python/object:os.system x}]", "is not valid YAML"),
        ("manifest: 1\nmodels: [{provider: openai}]", "models/?: name: is missing."),
        ("manifest: 1\ntenants: [{name: X, domains: {}}]", "domains: must be a list of objects."),
        ("manifest: 1\ntenants: [{name: X, users: []}]", "tenants/X/users: Unknown field."),
        ("manifest: 1\ntenants: [{name: X, maxUsers: many}]", "tenants/X/maxUsers: Not of the"),
        (
            "manifest: 1\ntenants: [{name: X, configurations: {featureFlags: {a: 1}}}]",
            "tenants/X/configurations/featureFlags: Not of the right type.",
        ),
        (
            "manifest: 1\ntenants: [{name: X, configurations: {aiModelAccess: [nobody]}}]",
            "tenants/X/configurations/aiModelAccess/0: Must be the id of an AI model",
        ),
        (
            "manifest: 1\ntenants: [{name: X, models: [{model: nobody}]}]",
            "models/nobody/model: Not",
        ),
        (
            "manifest: 1\ntenants: [{name: X}, {name: X}]",
            "tenants/X: stands in the manifest twice.",
        ),
        ("manifest: 1\nroles: [{name: admin, permissions: []}]", "roles/admin/name: This is the"),
        ("manifest: 1\nroles: [{name: R, permissions: [fly]}]", "roles/R/permissions: A role of"),
        (
            f"manifest: 1\nmodels: {MODEL.replace('{env: GPT_KEY}', 'sk-clear')}",
            "models/gpt: apiKey: must be {env: NAME} or {file: PATH}",
        ),
        (
            f"manifest: 1\nmodels: {MODEL.replace('93.184.216.34', '10.0.0.1')}",
            "models/gpt/endpoint: The endpoint leads to 10.0.0.1",
        ),
        (
            "manifest: 1\nmodels: " + MODEL.replace('"0.002"', "0.002"),
            "models/gpt/costPerCall: ",
        ),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_changed(
    here: Installation, write: Write, text: str, problem: str
) -> None:
    before = here.run("export")
    lines = here.apply(write(text), fails=True, GPT_KEY="sk-one")
    assert problem in "\n".join(lines)
    assert lines[-1] == "Nothing was changed."
    assert "sk-" not in "\n".join(lines)
    assert here.run("export") == before


def test_all_problems_are_told_at_once_and_the_good_part_is_not_applied(
    here: Installation, write: Write
) -> None:
    text = "manifest: 1\nroles: [{name: A, permissions: [usage:read]}, {name: B}, {name: C}]"
    lines = here.apply(write(text), fails=True)
    assert ["roles/B/permissions" in lines[0], "roles/C/permissions" in lines[1]] == [True, True]
    assert yaml.safe_load(here.run("export"))["roles"] == []


def test_a_refusal_half_way_takes_everything_back(
    started: Installation, write: Write, database: Database
) -> None:
    before, told = started.run("export"), events(database)
    text = (
        START.replace("Li", "Wang")
        + "  - {name: Other, domains: [{domainName: a.example.com, isVerified: true}]}"
    )
    lines = started.apply(write(text), fails=True, GPT_KEY="sk-two")
    assert "tenants/Other/domains/a.example.com: Another tenant has verified" in lines[0]
    assert (started.run("export"), events(database)) == (before, told)


def test_an_ambiguous_name_needs_an_id(
    here: Installation, write: Write, client: FlaskClient, operator: dict[str, str]
) -> None:
    ids = [
        client.post("/api/tenants", json={"name": "Twin"}, headers=operator).json["id"]
        for _ in range(2)
    ]
    twin = "manifest: 1\ntenants: [{name: Twin, maxUsers: 1}]"
    assert "several have this name: say which by its id." in here.apply(write(twin), fails=True)[0]
    one = f"manifest: 1\ntenants: [{{id: {ids[1]}, name: Only, maxUsers: 1}}]"
    assert here.apply(write(one))[0] == ('~ tenants/Only: name "Twin" → "Only", maxUsers null → 1')
    assert here.apply(write(twin))[0] == "~ tenants/Twin: maxUsers null → 1"


def test_only_what_differs_inside_is_told(started: Installation, write: Write) -> None:
    configured = "Person: Li\n    configurations: {aiModelAccess: [gpt]}"
    assert started.apply(write(START.replace("Person: Li", configured)))[0] == (
        '~ tenants/Clinic: configurations.aiModelAccess ["*"] → ["gpt"]'
    )


def test_two_at_once_make_everything_once(
    here: Installation, write: Write, database: Database
) -> None:
    sections = files.read(write("manifest: 1\ntenants: [{name: A}, {name: B}]"))
    together = threading.Barrier(2)

    def run(_: int) -> tuple[int, int]:
        with database.session() as session:
            together.wait(10)
            outcome = apply(session, sections)
            session.commit()
            return len(outcome.changes), outcome.unchanged

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(run, range(2))) == [(0, 2), (2, 0)]


# On SQLite nobody else can write meanwhile.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_change_meanwhile_is_not_overwritten(
    started: Installation, write: Write, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = tenants.update_tenant

    def somebody_is_faster(session: Session, tenant: Tenant, values: Any) -> Any:
        with database.transaction() as other:
            update(other, tenants.get_tenant(other, tenant.id), {"contact_person": "Zhao"})
        return update(session, tenant, values)

    monkeypatch.setattr(tenants, "update_tenant", somebody_is_faster)
    lines = started.apply(write(START.replace("Li", "Wang")), fails=True)
    assert lines == [
        "Error: Somebody changed the configuration meanwhile: try again. Nothing was changed."
    ]
    assert "contactPerson: Zhao" in started.run("export")


def test_suspension_follows_the_manifest(started: Installation, write: Write) -> None:
    suspended = START.replace(
        "Person: Li", "Person: Li\n    isSuspended: true\n    suspensionReason: unpaid"
    )
    assert started.apply(write(suspended))[0] == (
        '~ tenants/Clinic: isSuspended false → true, suspensionReason null → "unpaid"'
    )
    assert started.apply(write(START))[0].startswith("~ tenants/Clinic: isSuspended true → false")
    reason = START.replace("Person: Li", "Person: Li\n    suspensionReason: unpaid")
    assert "suspensionReason: Is for a tenant with" in started.apply(write(reason), fails=True)[0]


def test_the_primary_domain_moves(started: Installation, write: Write) -> None:
    other = START.replace("b.example.com", "b.example.com, isPrimary: true")
    lines = started.apply(write(other))
    assert lines[0] == "~ tenants/Clinic/domains/b.example.com: isPrimary false → true"
    (tenant,) = yaml.safe_load(started.run("export"))["tenants"]
    assert [each["isPrimary"] for each in tenant["domains"]] == [False, True]
    assert (
        "stays verified"
        in started.apply(write(START.replace("isVerified: true", "isVerified: false")), fails=True)[
            0
        ]
    )
