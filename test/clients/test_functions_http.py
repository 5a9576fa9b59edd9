"""Functions over HTTP: made, replaced, listed and read through /v1/functions, the same as by SQL."""
import hashlib
import json
import pathlib
import subprocess

from functions_http import ask, claim_body_of, put
from node import ROOT

STEPS = pathlib.Path(__file__).with_name("steps.wat").read_bytes()


def test_a_function_is_made_replaced_and_read(node, sql):
    subprocess.run([ROOT / "tools" / "guests.sh", "cpp"], check=True, capture_output=True)
    redact, tour = ((ROOT / "build" / "guests" / "cpp" / f"{name}.wasm").read_bytes() for name in ("redact", "tour"))
    assert ask(node, "")[:2] == (200, b"[]\n")
    made = put(node, "hide", redact)
    assert made == {"name": "hide", "hash": hashlib.sha256(redact).hexdigest(), "bytes": len(redact), "version": 1, "owner": "test",
                    "exports": [{"name": "redact", "kind": "map"}]}
    assert put(node, "hide", redact) == made  # the same again is no new version
    status, body, headers = ask(node, "/hide/module")
    assert (status, body, headers["ETag"], headers["Content-Type"]) == (200, redact, f'"{made["hash"]}"', "application/wasm")
    assert ask(node, "/hide/module", If_None_Match=headers["ETag"])[:2] == (304, b"")
    second = put(node, "hide", tour)
    assert (second["version"], second["hash"]) == (2, hashlib.sha256(tour).hexdigest())
    assert {"name": "unseen", "kind": "filter"} in second["exports"]
    assert ask(node, "/hide/module", If_None_Match=headers["ETag"])[:2] == (200, tour)
    assert ask(node, f"/hide/module?hash={made['hash']}")[1] == redact
    # SQL and HTTP tell of the same functions.
    sql("CREATE FUNCTION other LANGUAGE wasm FROM 'sha256:%s'" % second["hash"])
    assert [each["name"] for each in json.loads(ask(node, "")[1])] == ["hide", "other"]
    assert json.loads(ask(node, "/hide")[1]) == second
    assert sql("SELECT hash, version, owner FROM millrace.functions WHERE name = 'hide'") == [(second["hash"], 2, "test")]


def test_who_asks_for_a_replaced_module_is_told_which_there_is(own_node):
    first, second = (put(own_node, "steps", text)["hash"] for text in (STEPS, STEPS.replace(b"bad record", b"BAD RECORD")))
    put(own_node, "other", STEPS)
    for kept, status in (True, 200), (False, 404):
        if not kept:
            put(own_node, "other", STEPS.replace(b"bad record", b"sad record"))
            assert ask(own_node, f"/steps/module?hash={first}")[0] == 200
        own_node.stop()
        own_node.start()
        found, body, _ = ask(own_node, f"/steps/module?hash={first}")
        assert found == status
        assert ask(own_node, f"/steps/module?hash={second}")[0] == 200
    assert first in body.decode() and f"has the module {second} now" in body.decode(), body


def test_what_cannot_be_is_refused_with_the_reason(node, sql):
    def refused(status, *words, **request):
        got, body, headers = ask(node, **request)
        assert got == status, body
        assert all(word in body.decode() for word in words), body
        return headers
    put(node, "steps", STEPS)  # its text form
    sql("CREATE TOPIC used")
    sql("ALTER TOPIC used ADD TRANSFORM steps.keep ON PRODUCE")
    sql("CREATE TABLE taken (id BIGINT PRIMARY KEY)")
    refused(400, "no body", path="/empty", body=b"")
    refused(400, "22023", path="/nonsense", body=b"no module")
    refused(400, "42601", path="/nonsense", body=b"(module (func")
    refused(400, "42602", path="/%ff", body=STEPS)
    refused(404, "no such path", path="/", body=STEPS)
    refused(409, "42P07", "taken", path="/taken", body=STEPS, user="test")
    refused(403, "42501", "steps", "eve", path="/steps", body=STEPS, user="eve")
    refused(403, "42501", "you are millrace", path="/steps", body=STEPS)
    refused(409, "2BP01", "used", path="/steps", user="test", body=STEPS.replace(b"millrace__filter__keep", b"millrace__filter__kept"))
    refused(403, "42501", "origin", path="/pages", body=STEPS, Origin="https://example.com")
    refused(404, "42P01", "nothing", path="/nothing")
    refused(404, "42P01", "nothing", path="/nothing/module")
    refused(404, "58P01", "steps", path="/steps/module?hash=" + "0" * 64)
    refused(404, "58P01", path="/steps/module?hash=../../node.json")
    assert refused(405, path="/steps", method="DELETE")["Allow"] == "GET, HEAD, POST"
    assert refused(405, path="", body=b"x")["Allow"] == "GET, HEAD"
    assert claim_body_of(node, (16 << 20) + 1) == 413
    assert [row[0] for row in sql("SHOW FUNCTIONS") if row[0] in ("empty", "nonsense", "large")] == []
