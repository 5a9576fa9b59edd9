"""`millrace module`: from an empty folder to a function of a node."""
import json
import os
import pathlib
import subprocess

import pytest

from node import BINARY, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPS = ROOT / "build" / "deps"
GUESTS = ROOT / "build" / "guests"
EXAMPLES = ["redact", "to_columns", "by_field", "sessionise", "convert", "tour"]


def module(*arguments, **more):
    return subprocess.run([BINARY, "module", *map(str, arguments)], capture_output=True, text=True, timeout=300, **more)


def done(*arguments, **more):
    ran = module(*arguments, **more)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def guests():
    subprocess.run([ROOT / "tools" / "guests.sh"], check=True, capture_output=True)
    return GUESTS


@pytest.mark.parametrize("language", ["cpp", "rust", "assemblyscript"])
def test_a_project_is_begun_built_and_tested(language, tmp_path):
    done("init", "--language", language, "errors", cwd=tmp_path)
    folder = tmp_path / "errors"
    if language == "assemblyscript":  # what `npm install` would bring
        (folder / "node_modules").symlink_to(DEPS / "assemblyscript" / "node_modules")
    path = f"{DEPS / 'rust' / 'bin'}:{os.environ['PATH']}"
    assert "filter errors" in done("build", cwd=folder, env=os.environ | {"PATH": path, "CARGO_HOME": str(tmp_path / "cargo")})
    assert done("test", "errors.wasm", "--cases", "cases.jsonl", cwd=folder) == "2 passed, 0 failed\n"
    kept = done("test", "errors.wasm", "-p", "text=fine", "--records", "records.jsonl", "-o", "json", cwd=folder)
    assert json.loads(kept) == [{"result": "record", "input": 1, "key": "2", "value": "fine", "headers": {"source": "here"},
                                 "timestamp": 0, "error": None}]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_node_runs_the_examples_as_the_cases_say(guests, example):
    for language in ("cpp", "rust", "assemblyscript"):
        told = done("test", guests / language / f"{example}.wasm", "--cases", ROOT / "sdk" / "cases.jsonl", "--only", example)
        assert " 0 failed" in told, language


def test_records_errors_and_states_are_shown(guests, tmp_path):
    records = tmp_path / "records.jsonl"
    records.write_text('{"key":"a","value":"x"}\n\n{"key":"a","value":"fail"}\n{"value":{"as":"it stands"}}\n')
    table = done("test", guests / "cpp" / "tour.wasm", "--transform", "count", "--records", records)
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["record", "0", "a", "1", "{}", "0", "NULL"],
        ["record", "2", "NULL", "1", "{}", "0", "NULL"],
        ["error", "1", "NULL", "NULL", "NULL", "NULL", "as", "asked"],
        ["state", "NULL", "1", "NULL", "NULL", "NULL"],
        ["state", "NULL", "a", "1", "NULL", "NULL", "NULL"],
        ["(5", "rows)"],
    ]


def test_a_case_that_does_not_hold_is_told(guests, tmp_path):
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"transform":"has_error","case":"wrong","records":[{"value":"fine"}],"expect":{"records":[{"value":"fine"}]}}\n')
    ran = module("test", guests / "rust" / "tour.wasm", "--cases", cases)
    assert ran.returncode == 1
    assert "has_error: wrong" in ran.stderr and "0 passed, 1 failed" in ran.stdout


def test_what_is_wrong_is_told_with_what_to_do(guests, tmp_path):
    tour = guests / "cpp" / "tour.wasm"
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, code, words in [
        (("init", "-l", "cpp", "Bad-Name"), 1, "is no name for a module"),
        (("init", "-l", "cpp", "empty"), 1, "exists already"),
        (("init", "-l", "cobol", "x"), 2, "cobol"),
        (("build", empty), 1, "millrace module init"),
        (("test", tour), 2, "--records or --cases"),
        (("test", tour, "--records", "absent"), 1, "--transform"),
        (("test", tour, "-t", "trim", "--records", "absent"), 1, "cannot open absent"),
        (("test", tour, "-t", "trim", "-p", "a", "--records", "/dev/null"), 1, "not name=value"),
        (("test", tour, "-t", "trim", "-p", "a=b", "--records", "/dev/null"), 1, "takes no parameters"),
        (("test", tour, "-t", "absent", "--records", "/dev/null"), 1, "absent"),
        (("deploy", empty), 1, "Is a directory"),
        (("test", __file__, "--records", "/dev/null"), 1, "test_module_command.py"),
    ]:
        ran = module(*arguments, cwd=tmp_path)
        assert ran.returncode == code and words in ran.stderr + ran.stdout, (arguments, ran)
    for language, program in [("cpp", "clang++-19"), ("rust", "cargo"), ("assemblyscript", "node")]:
        done("init", "-l", language, f"in_{language}", cwd=tmp_path)
        ran = module("build", f"in_{language}", cwd=tmp_path, env={"PATH": str(empty)})
        assert ran.returncode == 1 and f"there is no {program}" in ran.stderr and "apt-get install" in ran.stderr


def test_a_module_is_deployed_replaced_listed_and_its_logs_are_read(node, sql, guests, tmp_path):
    sql("CREATE TOPIC people (id BIGINT, email VARCHAR)")
    assert "deployed redact" in node.cli("module", "deploy", guests / "rust" / "redact.wasm").stdout
    sql("ALTER TOPIC people ADD TRANSFORM redact(fields => 'email') ON PRODUCE")
    sql("INSERT INTO people VALUES (1, 'ada@x.org')")
    node.cli("module", "deploy", guests / "cpp" / "redact.wasm", "--name", "redact")
    sql("INSERT INTO people VALUES (2, 'grace@x.org')")
    assert sql("SELECT id, email FROM people ORDER BY id") == [(1, "***"), (2, "***")]
    (function,) = json.loads(node.cli("module", "list", "-o", "json").stdout)
    assert function["name"] == "redact" and "redact" in function["exports"]
    assert function["bytes"] == (guests / "cpp" / "redact.wasm").stat().st_size
    assert json.loads(node.cli("module", "logs", "redact", "-o", "json").stdout) == []
    done("init", "-l", "cpp", "talker", cwd=tmp_path)
    (tmp_path / "talker" / "module.cc").write_text("""#include <millrace/module.h>
        MILLRACE_FILTER(talker, [](const millrace::Record&) { millrace::log_warning("as it's asked"); return true; });""")
    done("build", "talker", cwd=tmp_path)
    node.cli("module", "deploy", tmp_path / "talker" / "talker.wasm")
    sql("ALTER TOPIC people ADD TRANSFORM talker ON PRODUCE")
    sql("INSERT INTO people VALUES (3, 'ada@x.org')")
    wait_until(lambda: node.cli("module", "logs", "talker", "-o", "json").stdout != "[]\n")
    line = json.loads(node.cli("module", "logs", "talker", "-o", "json").stdout)[0]
    assert (line["function"], line["transform"], line["level"], line["text"]) == ("talker", "talker", "warning", "as it's asked")
    junk = tmp_path / "junk.wasm"
    junk.write_text("no module")
    assert "junk.wasm" in node.cli("module", "deploy", junk, check=False).stderr
