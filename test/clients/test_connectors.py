"""Sources and sinks: records from other systems and to them, through a node that is killed, and systems that go away."""
import http.server
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import quick_kafka
from draining import drain
from kafka.record.util import calc_crc32c
from node import Node, wait_until

STEPS = pathlib.Path(__file__).with_name("steps.wat")  # keep drops values with 'd', mark makes '#' of the first byte, strict refuses 'b'
QUICK = "backoff = '50 ms', backoff_max = '500 ms'"


def connect(node, user="test"):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user=user, dbname="millrace", autocommit=True)


@pytest.fixture(scope="module")
def far(request, tmp_path_factory):
    """What the connectors speak to: another node, or Apache Kafka by MILLRACE_TEST_TARGET=kafka."""
    if os.environ.get("MILLRACE_TEST_TARGET") == "kafka":
        yield request.getfixturevalue("apache_kafka")
        return
    started = Node(tmp_path_factory.mktemp("far") / "data")
    yield started
    started.stop()


@pytest.fixture
def own_far(tmp_path):
    """One that the test may kill."""
    started = (quick_kafka if os.environ.get("MILLRACE_TEST_TARGET") == "kafka" else Node)(tmp_path / "far")
    yield started
    started.process.send_signal(signal.SIGCONT)
    started.stop()


@pytest.fixture(scope="module")
def steps(node):
    with connect(node) as connection:
        connection.execute(f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'")


def make_topic(far, name, partitions):
    admin = AdminClient({"bootstrap.servers": far.kafka})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)


def read(node, topic, partitions=1):
    """Committed records, each as (partition, key, value, headers, timestamp)."""
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "reader", "enable.partition.eof": True, "isolation.level": "read_committed",
                         "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    return [(m.partition(), m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in drain(consumer, partitions)]


def status(node, name):
    """(state, records, errors, last_error, lag) of a connector."""
    with connect(node) as sql:
        for table in "sources", "sinks":
            rows = sql.execute(f"SELECT state, records, errors, last_error, lag FROM millrace.{table} WHERE name = %s", (name,)).fetchall()
            if rows:
                return rows[0]
    return None


def test_a_source_keeps_what_a_record_is(node, sql, steps, far):
    make_topic(far, "origin", 3)
    producer = Producer({"bootstrap.servers": far.kafka})
    for i in range(300):
        producer.produce("origin", key=b"k%d" % i, value=b"%c %d" % (b"ad"[i % 3 == 0], i), partition=i % 3, timestamp=1_700_000_000_000 + i,
                         headers=[("n", b"%d" % i), ("none", None)])
    producer.produce("origin", value=None, key=b"gone", partition=1, timestamp=1_700_000_001_000)
    assert producer.flush(30) == 0
    sql("CREATE TOPIC copied WITH (partitions = 3)")
    sql(f"CREATE SOURCE s FROM kafka WITH (bootstrap_servers = '{far.kafka}', topic = 'origin', {QUICK}, \"librdkafka.sasl.password\" = 'hidden') "
        "INTO copied")
    wait_until(lambda: status(node, "s")[1] == 301, what=f"all records, {node.log()[-500:]}")
    assert sorted(read(node, "copied", 3)) == sorted(read(far, "origin", 3))
    assert status(node, "s")[0::2] == ("running", 0, 0)
    # The same through a transform, from a time on.
    sql("CREATE TOPIC kept WITH (partitions = 3)")
    sql(f"CREATE SOURCE s2 FROM kafka WITH (bootstrap_servers = '{far.kafka}', topic = 'origin', start = '1700000000150') "
        "TRANSFORM steps.keep WITH (memory = '32 MiB', time_slice = '100 ms'), steps.mark ON ERROR skip INTO kept")
    expected = sorted(b"#" + m[2][1:] for m in read(far, "origin", 3) if m[2] and m[2][:1] != b"d" and m[4] >= 1_700_000_000_150)
    wait_until(lambda: len([m for m in read(node, "kept", 3) if m[2]]) == len(expected))
    assert sorted(m[2] for m in read(node, "kept", 3) if m[2]) == expected
    # What SQL tells.
    assert [row[:3] for row in sql("SHOW SOURCES")] == [("s", "kafka", "copied"), ("s2", "kafka", "kept")]
    [(text,)] = sql("SHOW CREATE SOURCE s")
    assert "hidden" not in text and "'***'" in text and text.endswith("INTO copied")
    [(text,)] = sql("SHOW CREATE SOURCE s2")
    assert "TRANSFORM steps.keep WITH (memory = 33554432, time_slice = '100 ms'), steps.mark ON ERROR skip INTO kept" in text
    assert "hidden" not in node.log()
    way = [line for line, in sql("EXPLAIN TOPIC kept")]
    assert way.index("  1. read from kafka") < way.index("  2. transform steps.keep WITH (memory = 33554432, time_slice = '100 ms') ON ERROR skip (of test)")
    [(place, failed)] = sql("SELECT place, failed_records FROM millrace.transforms WHERE topic = 's2' AND export = 'keep'")
    assert (place, failed) == ("source", 0)
    # Dropped and made again it begins anew; paused it reads nothing.
    sql("ALTER SOURCE s PAUSE")
    assert status(node, "s")[0] == "paused"
    with pytest.raises(psycopg.Error, match="read.* it"):
        sql("DROP TOPIC copied")
    with connect(node, "mallory") as other, pytest.raises(psycopg.Error, match="only test may"):
        other.execute("DROP SOURCE s")
    producer.produce("origin", b"while paused", partition=0)
    producer.flush(30)
    sql("ALTER SOURCE s RESUME")
    wait_until(lambda: len(read(node, "copied", 3)) == 302)
    sql("DROP SOURCE s")
    sql("DROP SOURCE s2")
    assert sql("SHOW SOURCES") == []
    sql("DROP TOPIC copied")


def test_what_cannot_be_is_told_at_create(node, sql, far):
    sql("CREATE TOPIC told")

    def refused(statement, code, *words):
        with pytest.raises(psycopg.Error) as error:
            sql(statement)
        told = f"{error.value.diag.message_primary} {error.value.diag.message_hint}"
        assert error.value.sqlstate == code, told
        assert all(word in told for word in words), told
    server = "bootstrap_servers = 'nowhere:1'"
    refused("CREATE SOURCE x FROM kafka WITH (topic = 'a') INTO told", "22023", "bootstrap_servers", "missing")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}) INTO told", "22023", "topic")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a', color = 'red') INTO told", "22023", "no option color", "bootstrap_servers")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a', start = 'soon') INTO told", "22023", "earliest")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a', \"librdkafka.nothing\" = 1) INTO told", "22023", "nothing")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a', \"librdkafka.plugin.library.paths\" = 'x') INTO told", "22023", "cannot be set")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a') INTO nothing", "42P01", "nothing")
    refused(f"CREATE SOURCE x FROM smoke WITH ({server}) INTO told", "0A000", "smoke")
    refused(f"CREATE SINK x INTO kafka WITH ({server}, topic = 'a', delivery = 'twice') FROM told", "22023", "at_least_once")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a') TRANSFORM nothing.f INTO told", "42883", "nothing")
    refused(f"CREATE SOURCE x FROM kafka WITH ({server}, topic = 'a') TRANSFORM steps.keep WITH (look_back = 5) INTO told", "42601", "expansion")
    assert sql("SHOW SOURCES") == []


def rewrite_catalog(node, before, after):
    """Of a stopped node: as if another version of it had written its definitions."""
    [path] = (node.data / "log" / "__catalog-0").glob("*.log")
    data, at = path.read_bytes(), 0
    while length := int.from_bytes(data[at + 8:at + 12], "big"):
        end = at + 12 + length
        told = data[at + 21:end].replace(before, after)
        data = data[:at + 17] + calc_crc32c(told).to_bytes(4, "big") + told + data[end:]
        at = end
    path.write_bytes(data)


def test_a_definition_that_fits_no_more_is_listed_as_failed(own_node):
    node = own_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC here")
        sql.execute("CREATE SOURCE fed FROM http WITH (format = 'lines') INTO here")
        sql.execute("CREATE SINK k INTO http WITH (url = 'http://127.0.0.1:1', batch_records = 17) FROM here")
    node.stop()
    rewrite_catalog(node, b"lines", b"verse")
    rewrite_catalog(node, b"batch_records", b"batch_letters")
    node.start()
    assert status(node, "fed")[0] == status(node, "k")[0] == "failed"
    assert "format = 'verse'" in status(node, "fed")[3] and "no option batch_letters" in status(node, "k")[3]
    with connect(node) as sql:
        with pytest.raises(psycopg.Error) as error:
            sql.execute("ALTER SOURCE fed RESUME")
        assert error.value.sqlstate == "22023"
        sql.execute("CREATE OR REPLACE SOURCE fed FROM http WITH (format = 'lines') INTO here")
        assert status(node, "fed")[::3] == ("running", None)
        sql.execute("DROP SINK k")
        assert status(node, "k") is None


def test_exactly_once_there_and_back_through_kill_9_of_both(own_far, own_node):
    node, far, partitions = own_node, own_far, 3
    make_topic(far, "there", partitions)
    make_topic(far, "back", partitions)
    with connect(node) as sql:
        sql.execute(f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'")
        sql.execute("CREATE TOPIC here WITH (partitions = 3)")
        sql.execute(f"CREATE SOURCE s FROM kafka WITH (bootstrap_servers = '{far.kafka}', topic = 'there', {QUICK}) TRANSFORM steps.keep INTO here")
        sql.execute(f"CREATE SINK k INTO kafka WITH (bootstrap_servers = '{far.kafka}', topic = 'back', {QUICK}) TRANSFORM steps.mark FROM here")
    producer = Producer({"bootstrap.servers": far.kafka, "enable.idempotence": True, "linger.ms": 1, "log_level": 0})  # it loses its broker
    enough, sent = threading.Event(), []

    def produce():
        while not enough.is_set():
            for _ in range(50):
                i = len(sent)
                producer.produce("there", key=b"%d" % i, value=b"%c %d" % (b"ad"[i % 5 == 0], i), partition=i % partitions)
                sent.append(i)
            producer.poll(0.01)
            enough.wait(0.02)
        assert producer.flush(60) == 0
    thread = threading.Thread(target=produce)
    thread.start()

    def moved():
        return status(node, "k")[1] >= 500
    try:
        for _ in range(3):
            wait_until(moved, what="the flow")
            node.kill()
            node.start()
        wait_until(moved, what="the flow after kill -9")
        far.kill()
        # Also one that has nothing to do notices.
        wait_until(lambda: all("kafka" in (status(node, name)[3] or "") for name in "sk"), what="the connectors' complaints")
        assert status(node, "s")[0] in ("waiting", "starting")
        far.start()
    finally:
        enough.set()
        thread.join(90)
    want = sorted([(i % partitions, b"%d" % i, b"# %d" % i) for i in sent if i % 5])

    def arrived():
        return status(node, "s")[4] == 0 and status(node, "k")[4] == 0 and len(read(far, "back", partitions)) >= len(want)
    wait_until(arrived, what=f"the rest, of {len(want)}: {status(node, 's')} {status(node, 'k')}")
    assert sorted((m[0], m[1], b"#" + m[2][1:]) for m in read(node, "here", partitions)) == want
    assert sorted(m[:3] for m in read(far, "back", partitions)) == want


def test_a_sink_goes_on_where_the_far_side_says(node, sql, far):
    make_topic(far, "goal", 1)
    sql("CREATE TOPIC origin_of_g")
    sql(f"CREATE SINK g INTO kafka WITH (bootstrap_servers = '{far.kafka}', topic = 'goal', positions_topic = 'places', {QUICK}) FROM origin_of_g")
    local = Producer({"bootstrap.servers": node.kafka})

    def send(first, last):
        for i in range(first, last):
            local.produce("origin_of_g", b"%d" % i)
        assert local.flush(30) == 0
    send(0, 10)
    wait_until(lambda: status(node, "g")[1] == 10)
    # Another sink's transaction is open where the positions are, before the last of ours, and much comes behind it.
    other = Producer({"bootstrap.servers": far.kafka, "transactional.id": "other"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce("places", b"x", key=b"other")
    assert other.flush(30) == 0
    send(10, 11)
    wait_until(lambda: status(node, "g")[1] == 11)
    much = Producer({"bootstrap.servers": far.kafka})
    for i in range(300):
        much.produce("places", b"x", key=b"another")
    assert much.flush(30) == 0
    # What this side knew of the position is lost.
    sql("ALTER SINK g PAUSE")
    admin = AdminClient({"bootstrap.servers": node.kafka})
    admin.delete_consumer_groups(["millrace.sink.g"])["millrace.sink.g"].result(30)
    send(11, 12)
    sql("ALTER SINK g RESUME")
    # It goes on when it knows its position, which is told when the other transaction has ended.
    time.sleep(1)
    assert status(node, "g")[0] == "starting"
    other.abort_transaction(30)
    wait_until(lambda: status(node, "g")[4] == 0, what=f"the rest: {status(node, 'g')}")
    assert [m[2] for m in read(far, "goal")] == [b"%d" % i for i in range(12)]
    sql("DROP SINK g")


def test_a_far_side_that_does_not_answer_holds_nobody_up(own_node, own_far):
    node, far = own_node, own_far
    make_topic(far, "there", 1)
    make_topic(far, "back", 1)
    mute = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    web = f"url = 'http://127.0.0.1:{mute.getsockname()[1]}/', timeout = '5 minutes'"
    kafka = f"bootstrap_servers = '{far.kafka}', {QUICK}, \"librdkafka.socket.timeout.ms\" = 2000"
    with connect(node) as sql:
        sql.execute("CREATE TOPIC here")
        sql.execute(f"CREATE SOURCE s FROM kafka WITH (topic = 'there', {kafka}) INTO here")
        sql.execute(f"CREATE SINK k INTO kafka WITH (topic = 'back', {kafka}) FROM here")
        sql.execute(f"CREATE SINK k1 INTO kafka WITH (topic = 'back', delivery = 'at_least_once', {kafka}) FROM here")
        sql.execute(f"CREATE SOURCE h FROM http WITH ({web}) INTO here")
        sql.execute(f"CREATE SINK h1 INTO http WITH ({web}) FROM here")
        local = Producer({"bootstrap.servers": node.kafka})
        local.produce("here", b"one")
        assert local.flush(30) == 0
        wait_until(lambda: status(node, "s")[0] == "running" and status(node, "k")[1] == 1 and status(node, "k1")[1] == 1)
        far.process.send_signal(signal.SIGSTOP)
        local.produce("here", b"two")
        assert local.flush(30) == 0
        for name in ("s", "k", "k1"):
            wait_until(lambda: status(node, name)[3], what=f"the complaint of {name}")
        began = time.monotonic()
        sql.execute("DROP SINK k")
        sql.execute("DROP SINK h1")
        assert time.monotonic() - began < 30, "DROP waits for the far side"
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 30, "the node's end waits for the far side"


class Web(http.server.ThreadingHTTPServer):
    """A system that speaks HTTP: GET gives `answer` under `etag`, POST keeps what came, with 503 while it is `away`."""

    def __init__(self, port=0, certificate=None):
        self.answer, self.etag, self.away, self.asked, self.unchanged = b"[]", None, False, 0, 0
        self.posted, self.lock = [], threading.Lock()
        super().__init__(("127.0.0.1", port), self.Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/path"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            web = self.server
            web.asked += 1
            same = web.etag and self.headers["If-None-Match"] == web.etag
            web.unchanged += bool(same)
            self.send_response(503 if web.away else 304 if same else 200)
            body = b"" if same or web.away else web.answer
            if web.etag:
                self.send_header("ETag", web.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            web = self.server
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with web.lock:
                if not web.away:
                    web.posted.append((dict(self.headers), body))
                self.send_response(503 if web.away else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()


@pytest.fixture
def web():
    started = Web()
    yield started
    started.shutdown()
    started.server_close()


def test_http_is_polled_each_version_once(node, sql, web):
    sql("CREATE TOPIC polled (n INTEGER)")
    web.answer = b'[{"n": 1}, {"n": 2}]'
    sql(f"CREATE SOURCE polls FROM http WITH (url = '{web.url}', format = 'array', interval = '100 ms', {QUICK}) INTO polled")
    wait_until(lambda: sql("SELECT n FROM polled ORDER BY n") == [(1,), (2,)])
    web.answer, web.etag = b'[{"n": 3}]', '"v3"'
    wait_until(lambda: web.unchanged > 1 and sql("SELECT n FROM polled ORDER BY n") == [(1,), (2,), (3,)])
    web.away = True
    wait_until(lambda: status(node, "polls")[0] == "waiting" and "503" in status(node, "polls")[3])
    web.away, web.answer, web.etag = False, b'[{"n": 4}]', '"v4"'
    wait_until(lambda: len(sql("SELECT n FROM polled")) == 4)
    asked = web.asked
    sql(f"CREATE OR REPLACE SOURCE polls FROM http WITH (url = '{web.url}', format = 'array', interval = '150 ms', {QUICK}) INTO polled")
    wait_until(lambda: web.asked > asked + 2)
    assert sql("SELECT n FROM polled ORDER BY n") == [(1,), (2,), (3,), (4,)]
    sql("DROP SOURCE polls")


def test_http_is_taken_in_when_it_is_durable(own_node):
    node = own_node

    def post(name, body):
        request = urllib.request.Request(f"http://{node.http}/v1/sources/{name}", data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
    with connect(node) as sql:
        sql.execute("CREATE TOPIC hooks")
        sql.execute(f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'")
        sql.execute("CREATE SOURCE h FROM http WITH (format = 'lines') TRANSFORM steps.strict ON ERROR dead_letter INTO hooks")
    large = b"\n".join(b"a%07d" % i for i in range(100_000))
    assert post("h", large) == (200, {"records": 100_000})
    assert post("h", b"a1\nbad\na2") == (200, {"records": 3})
    node.kill()
    node.start()
    assert [m[2] for m in read(node, "hooks")] == large.split(b"\n") + [b"a1", b"a2"]
    [letter] = read(node, "hooks.dead_letter")
    assert letter[2] == b"bad" and b"source h: steps.strict" in dict(letter[3])["reason"]
    assert post("nobody", b"x")[0] == 404
    with connect(node) as sql:
        sql.execute("ALTER SOURCE h PAUSE")
    assert post("h", b"a3")[0] == 429


def test_http_is_posted_to_with_every_record(node, sql, web):
    sql("CREATE TOPIC outbox (n INTEGER)")
    web.away = True
    sql("INSERT INTO outbox SELECT i FROM range(1000) t(i)")
    sql(f"CREATE SINK posts INTO http WITH (url = '{web.url}', format = 'array', batch_records = 300, headers = E'Authorization: Bearer hidden\nX: y', "
        f"{QUICK}) FROM outbox")
    wait_until(lambda: status(node, "posts")[0] == "waiting")
    assert "503" in status(node, "posts")[3] and not web.posted
    assert "hidden" not in sql("SHOW CREATE SINK posts")[0][0]
    web.away = False
    wait_until(lambda: status(node, "posts")[4] == 0)
    got = [record["n"] for _, body in web.posted for record in json.loads(body)]
    assert sorted(got) == list(range(1000))
    headers = web.posted[0][0]
    assert headers["Authorization"] == "Bearer hidden" and headers["Idempotency-Key"] == "outbox-0-0" and headers["Millrace-Offsets"] == "0-299"
    assert ("posts", "", "", "", "http", "outbox") in sql("SHOW SINKS")
    sql("DROP SINK posts")
    assert sql("SELECT * FROM millrace.groups WHERE group_id = 'millrace.sink.posts'") == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder: ca.pem, other.pem (another authority), and server.pem, which the first has signed for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in "ca", "other":
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "names").write_text("subjectAltName = IP:127.0.0.1")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-out", "server.crt")
    (folder / "server.pem").write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return folder


def test_https_is_spoken_with_whom_the_certificates_name(node, sql, certificates):
    web = Web(certificate=certificates / "server.pem")
    web.answer, web.etag = b'[{"n": 1}]', '"v1"'
    sql("CREATE TOPIC safe_in (n INTEGER)")
    sql("CREATE TOPIC safe_out")
    trusted = f"ca_file = '{certificates}/ca.pem'"
    sql(f"CREATE SOURCE safe FROM http WITH (url = '{web.url}', format = 'array', interval = '100 ms', {trusted}, {QUICK}) INTO safe_in")
    sql(f"CREATE SINK safe_k INTO http WITH (url = '{web.url}', {trusted}, {QUICK}) FROM safe_out")
    local = Producer({"bootstrap.servers": node.kafka})
    local.produce("safe_out", b"two")
    assert local.flush(30) == 0
    wait_until(lambda: sql("SELECT n FROM safe_in") == [(1,)] and [body for _, body in web.posted] == [b"two\n"])
    # Whom it does not trust it tells nothing: another authority, the system's, another name, none.
    asked = len(web.posted)
    for name, url, options, why in (("other", web.url, f"ca_file = '{certificates}/other.pem'", "not trusted: unable to get local issuer certificate"),
                                    ("system", web.url, "timeout = '10 seconds'", "not trusted: unable to get local issuer certificate"),
                                    ("name", web.url.replace("127.0.0.1", "localhost"), trusted, "not trusted: hostname mismatch"),
                                    ("none", web.url, f"ca_file = '{certificates}/nothing.pem'", "cannot be read")):
        sql(f"CREATE SINK safe_{name} INTO http WITH (url = '{url}', {options}, {QUICK}) FROM safe_out")
        wait_until(lambda: why in (status(node, f"safe_{name}")[3] or ""), what=f"{why}: {status(node, f'safe_{name}')}")
        assert "ca_file" in status(node, f"safe_{name}")[3]
    assert len(web.posted) == asked
    web.shutdown()
    web.server_close()
