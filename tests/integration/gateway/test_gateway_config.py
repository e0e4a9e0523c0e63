"""How the configuration reaches every worker, and what never happens to it."""

import json
import os
import signal
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

from control_plane.contract import keys
from control_plane.shipper.last_good_file import Base, Entry, LastGoodFile
from tests.gateway import NginxServer, new_key
from tests.integration.gateway.conftest import HOST, Node
from tests.servers import RedisServer
from tests.stack import until


def write_last_good(node: Node) -> Path:
    """Write the file as the shipper does; return its path."""
    publisher = node.gateway.publisher
    path = node.gateway.prefix / "last_good"
    revision = publisher.epoch, publisher.revision
    base = Base(path, revision)
    for section, documents in publisher.documents.items():
        for doc_id, document in documents.items():
            base.add(entry(section, doc_id, revision, document))
    LastGoodFile(path).replace(base, revision, [], [])
    return path


def entry(section: str, doc_id: str, revision: tuple[int, int], document: Any) -> Entry:
    """Return a document as the file has it; None is gone."""
    text = "" if document is None else json.dumps(document)
    return Entry(f"{section}/{doc_id}".encode(), f"{revision[0]}:{revision[1]}:{text}".encode())


def restart_alone(node: Node) -> None:
    """Start the gateway anew, without Redis."""
    node.gateway.stop()
    node.redis.kill()
    node.gateway.start()


def held(node: Node) -> tuple[int, int]:
    status = node.gateway.status()
    return status["epoch"], status["revision"]


def test_change_reaches_all_workers_at_once_without_a_reload(node: Node) -> None:
    workers = node.gateway.workers()
    seconds = []
    for number in range(100):
        status = "active" if number % 2 else "suspended"
        started = time.perf_counter()
        revision = node.gateway.publisher.publish(
            {"tenants": {node.tenant: node.tenant_document(status)}}
        )
        target = keys.parse_revision(revision)
        while held(node) < target:
            assert time.perf_counter() - started < 5, revision
        seconds.append(time.perf_counter() - started)
    # A poll would take seconds; the slowest of a hundred tells of the machine, not of the gateway.
    assert statistics.median(seconds) < 0.1
    assert node.gateway.workers() == workers


def test_change_is_seen_by_the_next_request_of_every_worker(node: Node) -> None:
    for status, expected in (("suspended", 403), ("active", 200)) * 5:
        node.gateway.publish({"tenants": {node.tenant: node.tenant_document(status)}})
        assert {node.call().status_code for _ in range(8)} == {expected}


def test_document_that_breaks_the_contract_is_refused_and_the_last_good_one_stays(
    node: Node,
) -> None:
    revision = node.gateway.publisher.publish({"tenants": {node.tenant: {"status": "odd"}}})
    node.gateway.wait_for(revision)
    refusals = until(lambda: node.gateway.status()["refusals"], "a refusal is reported")
    assert [(r["section"], r["id"], r["revision"]) for r in refusals] == [
        ("tenants", node.tenant, 2)
    ]
    assert "status" in refusals[0]["reason"] or "models" in refusals[0]["reason"]
    assert node.call().status_code == 200

    node.gateway.publish({"tenants": {node.tenant: node.tenant_document("suspended")}})
    until(lambda: not node.gateway.status()["refusals"], "the refusal is withdrawn")
    assert node.call().status_code == 403


def test_document_that_is_not_json_is_refused(node: Node) -> None:
    revision = node.gateway.publisher.publish({"hosts": {HOST: "{nonsense"}})
    node.gateway.wait_for(revision)
    until(lambda: node.gateway.status()["refusals"], "a refusal is reported")
    assert node.call().status_code == 200


def test_unknown_sections_and_fields_are_ignored(node: Node) -> None:
    document = {**node.tenant_document(), "newer": {"field": []}}
    node.gateway.publish({"gadgets": {"x": {}}, "tenants": {node.tenant: document}})
    assert not node.gateway.status()["refusals"]
    assert node.call().status_code == 200


def test_gap_in_the_log_loads_everything(node: Node) -> None:
    new_host = "late.test"
    publisher = node.gateway.publisher
    # Two publishes whose log entries were trimmed before the node read them.
    with node.gateway.client.pipeline(transaction=True) as batch:
        document = f'{{"epoch":1,"rev":2,"doc":{json.dumps({"tenant": node.tenant})}}}'
        batch.hset(keys.config_section("hosts"), new_host, document)
        batch.hdel(keys.config_section("hosts"), HOST)
        batch.set(keys.CONFIG_REVISION, "1-3")
        batch.execute()
    publisher.revision = 3
    node.gateway.publish({"credentials": {new_key()[0]: node.gateway.credential(node.tenant, "x")}})
    assert node.call(host=new_host).status_code == 200
    assert node.call().status_code == 404


def test_lost_log_is_noticed_by_the_slow_poll(node: Node) -> None:
    with node.gateway.client.pipeline(transaction=True) as batch:
        batch.delete(keys.CONFIG_LOG)
        document = json.dumps(node.tenant_document("suspended"))
        envelope = f'{{"epoch":1,"rev":2,"doc":{document}}}'
        batch.hset(keys.config_section("tenants"), node.tenant, envelope)
        batch.set(keys.CONFIG_REVISION, "1-2")
        batch.execute()
    node.gateway.wait_for("1-2")
    assert node.call().status_code == 403


def test_wiped_redis_changes_nothing_until_a_new_epoch(node: Node) -> None:
    node.gateway.client.flushall()
    deadline = time.monotonic() + 2.5  # longer than one slow poll
    while time.monotonic() < deadline:
        assert node.call().status_code == 200
    status = until(node.gateway.status, "the node reports again")
    assert (status["epoch"], status["revision"]) == (1, 1)

    del node.gateway.publisher.documents["hosts"]["other.test"]
    node.gateway.wait_for(node.gateway.publisher.republish(), 10)
    assert node.call().status_code == 200
    assert node.call(host="other.test", key=node.other_key).status_code == 404


def test_restored_older_state_is_not_applied(node: Node) -> None:
    publisher = node.gateway.publisher
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document("suspended")}})
    node.gateway.client.flushall()
    publisher.revision = 0
    publisher.publish({"tenants": {node.tenant: node.tenant_document()}})
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert node.call().status_code == 403
    publisher.revision = 2
    node.gateway.wait_for(publisher.republish(), 10)
    assert node.call().status_code == 200


def test_empty_state_of_a_new_epoch_is_not_applied(node: Node) -> None:
    publisher = node.gateway.publisher
    node.gateway.client.flushall()
    full, publisher.documents = publisher.documents, {}
    publisher.republish()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert node.call().status_code == 200
    publisher.documents = full
    node.gateway.wait_for(publisher.republish(), 20)
    assert node.call().status_code == 200


def test_killed_redis_is_not_missed_and_found_again(node: Node) -> None:
    node.redis.kill()
    for _ in range(20):
        assert node.call().status_code == 200
    node.redis.start()
    node.gateway.wait_for(node.gateway.publisher.republish(), 10)
    assert node.call().status_code == 200


def test_killed_worker_comes_back_with_the_configuration(node: Node) -> None:
    before = node.gateway.workers()
    os.kill(before[0], signal.SIGKILL)
    until(
        lambda: len(node.gateway.workers()) == 2 and before[0] not in node.gateway.workers(),
        "a new worker",
    )
    assert {node.call().status_code for _ in range(16)} == {200}
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document("suspended")}})
    assert {node.call().status_code for _ in range(16)} == {403}
    until(lambda: set(node.gateway.status()["workers"]) == set(node.gateway.workers()), "pids")


def test_node_starts_from_its_last_good_configuration_without_redis(node: Node) -> None:
    write_last_good(node)
    restart_alone(node)
    until(lambda: node.gateway.call("GET", "/readyz", "x").ok, "every worker has begun", 5)
    assert {node.call().status_code for _ in range(8)} == {200}
    node.redis.start()
    node.gateway.wait_for(node.gateway.publisher.republish(), 10)
    assert node.call().status_code == 200


def test_what_changed_behind_the_base_is_taken_in_and_judged(node: Node) -> None:
    file = LastGoodFile(write_last_good(node))
    other = str(node.gateway.publisher.documents["hosts"]["other.test"]["tenant"])
    first, second = (1, 2), (1, 5)
    file.append(first, [entry("tenants", node.tenant, first, node.tenant_document("suspended"))])
    file.append(second, [entry("hosts", "other.test", second, None)])
    restart_alone(node)
    assert node.call().status_code == 403
    assert node.call(host="other.test", key=node.other_key).status_code == 404

    third = (1, 6)
    odd = entry("tenants", node.tenant, third, {"status": "odd"})
    file.append(third, [odd, entry("tenants", other, third, {"status": "active"})])
    restart_alone(node)
    assert node.call().status_code == 403
    node.redis.start()
    refusals = until(lambda: node.gateway.status().get("refusals"), "refusals are reported")
    assert {each["id"] for each in refusals} == {node.tenant, other}
    assert held(node) == third


def test_document_of_the_base_is_judged_when_it_is_first_asked_for(node: Node) -> None:
    publisher = node.gateway.publisher
    publisher.documents["tenants"][node.tenant] = {"status": "odd"}
    write_last_good(node)
    restart_alone(node)
    assert node.call().status_code == 404
    node.redis.start()
    refusals = until(lambda: node.gateway.status().get("refusals"), "the refusal is reported")
    assert [each["id"] for each in refusals] == [node.tenant]
    publisher.documents["tenants"][node.tenant] = node.tenant_document()
    node.gateway.wait_for(publisher.republish(), 10)
    assert node.call().status_code == 200


def test_torn_end_is_cut_and_reported(node: Node) -> None:
    path = write_last_good(node)
    file = LastGoodFile(path)
    sound = path.stat().st_size
    later = (1, 2)
    file.append(later, [entry("tenants", node.tenant, later, node.tenant_document("suspended"))])
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for damaged in (whole[:-3], whole[: sound + 100], bytes(flipped), whole[:sound] + b"\0" * 4096):
        path.write_bytes(damaged)
        restart_alone(node)
        assert node.call().status_code == 200
        assert f"is used without its last {len(damaged) - sound} bytes" in node.gateway.error_log()
    path.write_bytes(whole)
    restart_alone(node)
    assert node.call().status_code == 403


def test_block_that_does_not_follow_is_not_taken_in(node: Node) -> None:
    path = write_last_good(node)
    sound = path.read_bytes()
    file = LastGoodFile(path)
    for revision, status in (((1, 2), "active"), ((1, 3), "suspended")):
        document = node.tenant_document(status)
        file.append(revision, [entry("tenants", node.tenant, revision, document)])
    blocks = path.read_bytes()[len(sound) :]
    path.write_bytes(sound + blocks[blocks.index(b'{"follows"', 1) :])
    restart_alone(node)
    assert node.call().status_code == 200
    assert "a block does not follow" in node.gateway.error_log()


def test_damaged_base_is_refused_and_the_node_waits_for_redis(node: Node) -> None:
    path = write_last_good(node)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    restart_alone(node)
    assert node.gateway.call("GET", "/readyz", "x").status_code == 503
    assert node.call().status_code == 503
    assert "is not used: a checksum does not fit" in node.gateway.error_log()
    node.redis.start()
    node.gateway.wait_for(node.gateway.publisher.republish(), 10)
    assert node.call().status_code == 200


def test_reload_keeps_what_is_newer_than_the_file(node: Node) -> None:
    write_last_good(node)
    node.gateway.publish({"tenants": {node.tenant: node.tenant_document("suspended")}})
    before = node.gateway.workers()
    assert node.gateway.process is not None
    node.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: not set(before) & set(node.gateway.workers()), "new workers")
    assert {node.call().status_code for _ in range(8)} == {403}


def test_reload_with_another_size_of_memory_reads_the_file(node: Node) -> None:
    write_last_good(node)
    conf = node.gateway.prefix / "nginx.conf"
    conf.write_text(conf.read_text().replace("yumen_config 64m", "yumen_config 65m"))
    before = node.gateway.workers()
    node.redis.kill()
    assert node.gateway.process is not None
    node.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: not set(before) & set(node.gateway.workers()), "new workers")
    assert {node.call().status_code for _ in range(8)} == {200}
    node.redis.start()


def test_change_of_many_documents_is_taken_in_whole(node: Node) -> None:
    names = [f"h{number}.test" for number in range(12_000)]
    node.gateway.publish({"hosts": {name: {"tenant": node.tenant} for name in names}})
    assert node.call(host=names[-1]).status_code == 200
    node.gateway.publish({"hosts": dict.fromkeys(names)})
    assert {node.call(host=name).status_code for name in (names[0], names[-1])} == {404}


def test_refusals_push_nothing_out_however_many_there_are(node: Node) -> None:
    odd = {str(uuid.uuid4()): {"status": "odd"} for _ in range(5000)}
    node.gateway.publish({"tenants": odd})
    status = node.gateway.status()
    assert (len(status["refusals"]), status["moreRefusals"]) == (100, True)
    assert len(status["workers"]) == 2
    assert node.call().status_code == 200
    node.gateway.client.flushall()
    for document_id in odd:
        del node.gateway.publisher.documents["tenants"][document_id]
    node.gateway.wait_for(node.gateway.publisher.republish(), 10)
    status = node.gateway.status()
    assert (status["refusals"], status["moreRefusals"]) == ([], False)


def test_without_any_configuration_it_is_503_and_not_ready() -> None:
    with RedisServer() as server:
        gateway = NginxServer(server.url)
        with gateway:
            gateway.start()
            assert gateway.call("GET", "/readyz", "x").status_code == 503
            answer = gateway.call("GET", "/v1/models", HOST)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_config")
            gateway.publish({"hosts": {HOST: {"tenant": str(uuid.uuid4())}}})
            assert gateway.call("GET", "/readyz", "x").status_code == 200
            assert gateway.call("GET", "/v1/models", HOST).status_code == 404


def test_full_memory_is_a_refusal_and_never_an_eviction() -> None:
    tenant = str(uuid.uuid4())

    def big(number: int) -> dict[str, Any]:
        entry = {"model": tenant, "parameters": {"p": "x" * 60_000}, "costMultiplier": "1"}
        return {"status": "active", "models": {f"m{number}": entry}}

    with RedisServer() as server:
        small = {"YUMEN_GATEWAY_CONFIG_MEMORY_MB": "1"}
        documents = {"hosts": {HOST: {"tenant": tenant}}, "tenants": {tenant: big(0)}}
        with NginxServer(server.url, documents, environment=small) as gateway:
            others = {str(uuid.uuid4()): big(number) for number in range(40)}
            gateway.publish({"tenants": others})
            refusals = until(lambda: gateway.status()["refusals"], "memory is refused")
            full = "the memory for the configuration is full (gateway.config_memory_mb)"
            assert {r["reason"] for r in refusals} == {full}
            assert 5 < len(refusals) < 40
            status = gateway.status()
            assert status["memoryBytes"] == 1024 * 1024
            assert status["memoryFreeBytes"] < 70_000
            # What was there is there, and a longer version that has no room leaves the old one.
            assert gateway.call("GET", "/v1/models", HOST).status_code == 401
            longer = big(0)
            longer["models"]["m0"]["parameters"]["q"] = "y" * 200_000
            gateway.publish({"tenants": {tenant: longer}})
            assert gateway.call("GET", "/v1/models", HOST).status_code == 401
            assert gateway.call("GET", "/v1/models", "b.test").status_code == 404
