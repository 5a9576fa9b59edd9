"""/v1/subscribe through curl, and through npm's clients with the interfaces that browsers have: EventSource and WebSocket."""
import collections
import json
import os
import socket
import subprocess
import threading

import pytest

from node import ROOT, wait_until


@pytest.fixture
def view(sql, request):
    """A view over a topic that holds 100 rows; its name, and a function that adds rows."""
    name = request.node.name.removeprefix("test_")
    sql(f"CREATE TOPIC {name}_t (id INTEGER, shop VARCHAR)")
    sql(f"CREATE MATERIALIZED VIEW {name} AS SELECT shop, count(*) AS n FROM {name}_t GROUP BY shop")

    def add(begin, end):
        sql(f"INSERT INTO {name}_t SELECT i, 's' || i % 5 FROM range({begin}, {end}) t(i)")

    add(0, 100)
    wait_until(lambda: sql(f"SELECT sum(n) FROM {name}") == [(100,)])
    return name, add


class Held:
    """What a subscriber holds who applies all messages."""

    def __init__(self):
        self.rows, self.token, self.resets = collections.Counter(), None, 0

    def apply(self, message):
        if message.get("reset"):
            self.rows.clear()
            self.resets += 1
        for change in message["rows"]:
            row = (change["row"]["shop"], change["row"]["n"])
            self.rows[row] += change["weight"]
            assert self.rows[row] >= 0
            if self.rows[row] == 0:
                del self.rows[row]
        self.token = message.get("token", self.token)

    def total(self):
        return sum(n for _, n in self.rows)


def by_shop(count):
    return collections.Counter((f"s{shop}", len(range(shop, count, 5))) for shop in range(5))


def curl(node, *arguments):
    return subprocess.Popen(["curl", "-sN", *arguments[1:], f"http://{node.http}/v1/subscribe?{arguments[0]}"], stdout=subprocess.PIPE, text=True)


def events(process):
    """Server-Sent Events as (id, event, data)."""
    fields = {}
    for line in process.stdout:
        line = line.rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields.get("id"), fields.get("event"), json.loads(fields["data"]) if "data" in fields else None
            fields = {}


def read(held, process, until):
    for token, event, data in events(process):
        assert event is None, data
        if data is None:
            continue
        assert token == data.get("token")
        held.apply(data)
        if held.total() == until:
            return


def test_events_go_on_after_the_last_one(node, sql, view):
    name, add = view
    held = Held()
    first = curl(node, f"view={name}&snapshot=true")
    read(held, first, 100)
    assert held.rows == by_shop(100)
    add(100, 110)
    read(held, first, 110)
    first.kill()
    add(110, 120)
    again = curl(node, f"view={name}&snapshot=true", "-H", f"Last-Event-ID: {held.token}")
    read(held, again, 120)
    assert held.rows == by_shop(120)
    assert held.resets == 0
    again.kill()
    # A view that was replaced has other tokens: the subscription begins anew, and says so.
    sql(f"CREATE OR REPLACE MATERIALIZED VIEW {name} AS SELECT shop, count(*) AS n FROM {name}_t WHERE true GROUP BY shop")
    wait_until(lambda: sql("SELECT state FROM millrace.views WHERE name = %s", name) == [("live",)])
    assert sql(f"SELECT sum(n) FROM {name}") == [(120,)]
    anew = curl(node, f"view={name}&token={held.token}")
    read(held, anew, 120)
    assert held.rows == by_shop(120) and held.resets == 1
    sql(f"DROP MATERIALIZED VIEW {name}")
    *_, (_, event, data) = events(anew)
    assert event == "end" and data["error"]["code"] == "42P01" and "was dropped" in data["error"]["message"]
    assert anew.wait(30) == 0
    wait_until(lambda: "millrace_http_subscriptions 0" in subprocess.check_output(["curl", "-s", f"http://{node.http}/metrics"], text=True))


@pytest.mark.parametrize("query, status, code", [("view=nothing", "404", "42P01"), ("", "400", "22023"), ("view=only_a_topic", "400", "22023")])
def test_what_cannot_be_subscribed_to_is_told(node, sql, query, status, code):
    sql("CREATE TOPIC IF NOT EXISTS only_a_topic (a INTEGER)")
    answer = subprocess.check_output(["curl", "-s", "-w", " %{http_code}", f"http://{node.http}/v1/subscribe?{query}"], text=True)
    body, _, told = answer.rpartition(" ")
    assert told == status and json.loads(body)["error"]["code"] == code


EVENT_SOURCE = """
const EventSource = require('eventsource');
let source = new EventSource(process.argv[1]);
source.onmessage = e => console.log(e.data);
setInterval(() => {}, 1000);  // while it waits to come again, nothing else keeps Node.js from ending
"""
WEB_SOCKET = """
const { WebSocket } = require('ws');
let socket = new WebSocket(process.argv[1].replace('http:', 'ws:'));
socket.onmessage = e => console.log(e.data);
socket.onclose = e => console.log(JSON.stringify({closed: e.code, reason: e.reason}));
"""


def javascript(address, script, query):
    """A script with the clients that npm has of both, since the Node.js of Debian has neither."""
    environment = os.environ | {"NODE_PATH": str(ROOT / "build" / "deps" / "test-js" / "node_modules")}
    return subprocess.Popen(["node", "-e", script, f"http://{address}/v1/subscribe?{query}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, env=environment)


def test_a_web_socket_gets_messages(node, sql, view):
    name, add = view
    client = javascript(node.http, WEB_SOCKET, f"view={name}&snapshot=true")
    held = Held()
    while held.total() != 100:
        held.apply(json.loads(client.stdout.readline()))
    add(100, 200)
    while held.total() != 200:
        held.apply(json.loads(client.stdout.readline()))
    assert held.rows == by_shop(200)
    sql(f"DROP MATERIALIZED VIEW {name}")
    assert json.loads(client.stdout.readline())["error"]["code"] == "42P01"
    closed = json.loads(client.stdout.readline())
    assert closed["closed"] == 1011 and "was dropped" in closed["reason"]
    assert client.wait(30) == 0


class Wire:
    """Passes connections on to `address`, until they are cut."""

    def __init__(self, address):
        host, port = address.split(":")
        self.target, self.open = (host, int(port)), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            self.open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def cut(self):
        for end in self.open:
            end.shutdown(socket.SHUT_RDWR)
        self.open.clear()


def test_an_event_source_whose_connection_is_cut_goes_on(node, sql, view):
    name, add = view
    wire = Wire(node.http)
    client = javascript(wire.address, EVENT_SOURCE, f"view={name}&snapshot=true")
    held = Held()
    for total in (100, 150, 200):
        add(held.total() or 100, total)
        while held.total() != total:
            held.apply(json.loads(client.stdout.readline()))
        assert held.rows == by_shop(total)
        wire.cut()
    assert held.resets == 0
    client.kill()
