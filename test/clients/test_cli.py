"""The command line, as a person and as a script use it."""
import csv
import io
import json
import pathlib
import subprocess
import urllib.request

import pytest

from node import BINARY, wait_until


def run(*arguments, **more):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, **more)


def test_version_and_help_read_well():
    assert run("version").stdout.startswith("millrace ")
    text = run("--help").stdout
    for command in ("serve", "sql", "apply", "topic", "produce", "consume", "version", "completion"):
        assert command in text
    assert "Exit codes" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell):
    text = run("completion", shell).stdout
    assert "consume" in text and "apply" in text


def test_bash_completion_completes():
    script = 'eval "$(%s completion bash)"; COMP_WORDS=(millrace topic cr); COMP_CWORD=2; _millrace; echo "${COMPREPLY[@]}"' % BINARY
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True).stdout.split() == ["create"]


def test_wrong_usage_is_2_and_an_absent_node_is_3(tmp_path):
    assert run("serve", "--no-such-flag").returncode == 2
    assert run("serve", "--data", tmp_path / "d", "--kafka", "nonsense").returncode == 2
    absent = run("sql", "-c", "SELECT 1", "--data", tmp_path / "absent")
    assert absent.returncode == 3
    assert "no node runs" in absent.stderr and "hint" in absent.stderr


def test_a_second_node_on_a_folder_is_refused(node):
    second = run("serve", "--data", node.data, "--kafka", "127.0.0.1:0", "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert second.returncode == 1
    assert str(node.pid) in second.stderr


def test_sql_prints_tables_json_and_csv(node):
    statement = "SELECT 42 AS n, 'a,\"b' AS t, NULL AS nothing, true AS b"
    assert json.loads(node.cli("sql", "-c", statement, "-o", "json").stdout) == [{"n": 42, "t": 'a,"b', "nothing": None, "b": True}]
    rows = list(csv.reader(io.StringIO(node.cli("sql", "-c", statement, "-o", "csv").stdout)))
    assert rows == [["n", "t", "nothing", "b"], ["42", 'a,"b', "", "true"]]
    assert "(1 row)" in node.cli("sql", "-c", statement).stdout


def test_an_error_says_what_where_and_what_to_do(node):
    failed = node.cli("sql", "-c", "SELECT 1;\nSELECT * FROM no_such_thing", check=False)
    assert failed.returncode == 1
    assert "no_such_thing" in failed.stderr and "42P01" in failed.stderr
    assert "line 2" in failed.stderr and "^" in failed.stderr
    missing = node.cli("sql", "-f", "/no/such/file.sql", check=False)
    assert missing.returncode == 1 and "/no/such/file.sql" in missing.stderr
    folder = node.cli("sql", "-f", "/tmp", check=False)
    assert folder.returncode == 1 and "cannot read /tmp: Is a directory" in folder.stderr
    folder = node.cli("sql", "-c", "CREATE FUNCTION f LANGUAGE wasm FROM '/tmp'", check=False)
    assert folder.returncode == 1 and "cannot read '/tmp': Is a directory" in folder.stderr


def test_apply_is_idempotent_and_says_what_it_did(node, tmp_path):
    (tmp_path / "1.sql").write_text("CREATE TOPIC cli_in (a INTEGER, b VARCHAR);\nCREATE TABLE cli_t (k INTEGER PRIMARY KEY);")
    (tmp_path / "2.sql").write_text("CREATE MATERIALIZED VIEW cli_v AS SELECT b, count(*) AS n FROM cli_in GROUP BY b;")
    apply = lambda *more: json.loads(node.cli("apply", tmp_path, "-o", "json", *more).stdout)
    actions = lambda rows: {row["name"]: row["action"] for row in rows}
    names = ("cli_in", "cli_t")
    planned = actions(json.loads(node.cli("apply", tmp_path / "1.sql", "--dry-run", "-o", "json").stdout))
    assert planned == dict.fromkeys(names, "would create")
    assert actions(apply()) == dict.fromkeys((*names, "cli_v"), "created")
    assert actions(apply()) == dict.fromkeys((*names, "cli_v"), "unchanged")
    (tmp_path / "2.sql").write_text("CREATE MATERIALIZED VIEW cli_v AS SELECT b, sum(a) AS n FROM cli_in GROUP BY b;")
    assert actions(apply("--dry-run"))["cli_v"] == "would replace"
    assert actions(apply())["cli_v"] == "replaced"
    (tmp_path / "3.sql").write_text("CREATE TABLE (broken;")
    failed = node.cli("apply", tmp_path, check=False)
    assert failed.returncode == 1 and "3.sql" in failed.stderr


def test_a_project_holds_connectors_and_pipelines(node, tmp_path):
    steps = pathlib.Path(__file__).with_name("steps.wat")
    (tmp_path / "1.sql").write_text(f"CREATE FUNCTION way LANGUAGE wasm FROM '{steps}'; CREATE TOPIC way_a; CREATE TOPIC way_b; CREATE TOPIC way_c;")
    ways = """CREATE SOURCE way_in FROM http WITH (format = 'lines') TRANSFORM way.keep INTO way_a;
        CREATE TRANSFORM way_on FROM way_a INTO way_b USING way.%s;
        CREATE SINK way_out INTO kafka WITH (bootstrap_servers = '%s', topic = 'way_c', %s) FROM way_b;"""
    (tmp_path / "2.sql").write_text(ways % ("mark", node.kafka, "linger = 1"))

    def apply(*more):
        return {row["name"]: row["action"] for row in json.loads(node.cli("apply", tmp_path, "-o", "json", *more).stdout)}

    def travels(sent, arrives):
        request = urllib.request.Request(f"http://{node.http}/v1/sources/way_in", data=sent, method="POST")
        urllib.request.urlopen(request, timeout=30).close()
        wait_until(lambda: arrives in node.cli("consume", "way_c", "--from", "beginning", "-e").stdout.splitlines())
    for dry in ["--dry-run"], []:
        failed = node.cli("apply", tmp_path, *dry, check=False)
        assert failed.returncode == 1 and "2.sql, the statement at line 3" in failed.stderr and "no option linger" in failed.stderr
    (tmp_path / "2.sql").write_text(ways % ("mark", node.kafka, "start = 'earliest'"))
    made = {"way_in": "created", "way_on": "created", "way_out": "created"}
    unchanged = dict.fromkeys(("way", "way_a", "way_b", "way_c", *made), "unchanged")
    node.cli("sql", "-c", "DROP TRANSFORM way_on; DROP SOURCE way_in")
    assert apply("--dry-run") == {**unchanged, **dict.fromkeys(made, "would create")}
    assert apply() == {**unchanged, **made}
    travels(b"one", "#ne")
    assert apply() == unchanged
    (tmp_path / "2.sql").write_text(ways % ("keep", node.kafka, "start = 'latest'"))
    assert apply("--dry-run") == {**unchanged, "way_on": "would replace", "way_out": "would replace"}
    assert apply() == {**unchanged, "way_on": "replaced", "way_out": "replaced"}
    travels(b"two", "two")
    assert node.cli("consume", "way_c", "--from", "beginning", "-e").stdout.splitlines() == ["#ne", "two"]
    node.cli("sql", "-c", "DROP SINK way_out; DROP SOURCE way_in; DROP TRANSFORM way_on")


def test_topics_records_in_and_out(node):
    node.cli("topic", "create", "cli_raw", "-p", "2", "-c", "retention.ms=60000")
    again = node.cli("topic", "create", "cli_raw", check=False)
    assert again.returncode == 1 and "cli_raw" in again.stderr
    listed = {row["topic"]: row for row in json.loads(node.cli("topic", "list", "-o", "json").stdout)}
    assert listed["cli_raw"]["partitions"] == 2
    produced = node.cli("produce", "cli_raw", "-K", ":", "-H", "source=test", input="k1:one\nk2:two\nk1:three\n")
    assert "3 records stored" in produced.stderr
    consumed = [json.loads(line) for line in
                node.cli("consume", "cli_raw", "--from", "beginning", "-e", "-o", "json").stdout.splitlines()]
    assert sorted((r["key"], r["value"]) for r in consumed) == [("k1", "one"), ("k1", "three"), ("k2", "two")]
    assert all(r["headers"] == {"source": "test"} for r in consumed)
    assert len(node.cli("consume", "cli_raw", "--from", "beginning", "-n", "2").stdout.splitlines()) == 2
    assert node.cli("consume", "cli_raw", "--from", "2000-01-01T00:00:00Z", "-e").stdout.count("\n") == 3
    described = json.loads(node.cli("topic", "describe", "cli_raw", "-o", "json").stdout)
    assert sum(p["high_watermark"] for p in described["partitions"]) == 3
    assert {"option": "retention.ms", "value": "60000"}.items() <= next(o for o in described["options"] if o["option"] == "retention.ms").items()
    node.cli("topic", "delete", "cli_raw")
    gone = node.cli("consume", "cli_raw", "-e", check=False)
    assert gone.returncode == 1 and "cli_raw" in gone.stderr
    for command in (["topic", "describe", "cli_absent"], ["produce", "cli_absent"], ["topic", "delete", "cli_absent"]):
        refused = node.cli(*command, check=False, input="")
        assert refused.returncode == 1 and "cli_absent" in refused.stderr, command
    assert "cli_absent" not in node.cli("topic", "list").stdout
    bad = node.cli("topic", "create", "bad name!", check=False)
    assert bad.returncode == 1


def test_sql_reads_a_script_from_standard_input(node):
    script = "CREATE TABLE piped (k INTEGER PRIMARY KEY);\nINSERT INTO piped VALUES (1), (2);\nSELECT count(*) AS n FROM piped;"
    assert '"n": 2' in node.cli("sql", "-o", "json", input=script).stdout


def test_metrics_and_health(node):
    import urllib.request
    text = urllib.request.urlopen(f"http://{node.http}/metrics").read().decode()
    assert "# TYPE millrace_" in text
    assert urllib.request.urlopen(f"http://{node.http}/healthz").status == 200


def test_sigterm_stops_cleanly_and_all_is_there_again(own_node):
    own_node.cli("sql", "-c", "CREATE TABLE kept (k INTEGER PRIMARY KEY); INSERT INTO kept VALUES (7)")
    own_node.stop()
    assert not (own_node.data / "node.json").exists()
    own_node.start()
    assert wait_until(lambda: json.loads(own_node.cli("sql", "-c", "SELECT k FROM kept", "-o", "json").stdout) == [{"k": 7}])
