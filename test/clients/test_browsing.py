"""What the node is doing, as system tables and as commands."""
import json

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from node import wait_until

TABLES = ("topics", "partitions", "groups", "members", "offsets", "transactions", "connections", "quotas")


def rows(node, query):
    return json.loads(node.cli("sql", "-o", "json", "-c", query).stdout)


@pytest.mark.parametrize("table", TABLES)
def test_every_system_table_answers(node, table):
    assert isinstance(rows(node, f"SELECT * FROM millrace.{table}"), list)


def test_topics_and_partitions_tell_what_was_produced(node):
    node.cli("topic", "create", "browsed", "-p", "3", "-c", "cleanup.policy=compact")
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka})
    for n in range(10):
        producer.produce("browsed", key=b"k", value=b"v%d" % n, partition=1)
    assert producer.flush(30) == 0
    [topic] = rows(node, "SELECT kind, partitions, cleanup_policy, records FROM millrace.topics WHERE name = 'browsed'")
    assert topic == {"kind": "topic", "partitions": 3, "cleanup_policy": "compact", "records": 10}
    marks = rows(node, "SELECT partition, high_watermark, last_stable_offset FROM millrace.partitions WHERE topic = 'browsed' ORDER BY 1")
    assert [(m["partition"], m["high_watermark"], m["last_stable_offset"]) for m in marks] == [(0, 0, 0), (1, 10, 10), (2, 0, 0)]


def test_a_groups_members_offsets_and_lag_show(node):
    admin = AdminClient({"bootstrap.servers": node.kafka})  # must outlive what it was asked for
    admin.create_topics([NewTopic("lagging", 1, 1)])["lagging"].result()
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka})
    for n in range(10):
        producer.produce("lagging", b"%d" % n)
    assert producer.flush(30) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": node.kafka, "group.id": "laggards", "client.id": "browser",
                                         "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["lagging"])
    message = wait_until(lambda: consumer.poll(0.2), what="a record")
    consumer.commit(message=message, asynchronous=False)
    [group] = rows(node, "SELECT type, state, members FROM millrace.groups WHERE group_id = 'laggards'")
    assert group == {"type": "classic", "state": "Stable", "members": 1}
    [member] = rows(node, "SELECT client_id, array_to_string(assigned, ',') AS assigned FROM millrace.members WHERE group_id = 'laggards'")
    assert member == {"client_id": "browser", "assigned": "lagging-0"}
    [offset] = rows(node, "SELECT committed_offset, lag, pending FROM millrace.offsets WHERE group_id = 'laggards'")
    assert offset == {"committed_offset": 1, "lag": 9, "pending": False}
    assert any(c["client_id"] == "browser" for c in rows(node, "SELECT client_id FROM millrace.connections"))
    told = json.loads(node.cli("group", "describe", "laggards", "-o", "json").stdout)
    assert told["offsets"][0]["lag"] == 9 and told["members"][0]["assigned"] == "lagging-0"
    assert "laggards" in node.cli("group", "list").stdout

    busy = node.cli("group", "reset", "laggards", "--topic", "lagging", "--to", "end", check=False)
    assert busy.returncode == 1 and "members must be stopped" in busy.stderr
    consumer.close()
    node.cli("group", "reset", "laggards", "--topic", "lagging", "--to", "7")
    [offset] = rows(node, "SELECT committed_offset, lag FROM millrace.offsets WHERE group_id = 'laggards'")
    assert offset == {"committed_offset": 7, "lag": 3}
    outside = node.cli("group", "reset", "laggards", "--topic", "lagging", "--to", "99", check=False)
    assert outside.returncode == 1 and "0 to 10" in outside.stderr
    node.cli("group", "delete", "laggards")
    assert rows(node, "SELECT * FROM millrace.groups WHERE group_id = 'laggards'") == []
    gone = node.cli("group", "describe", "laggards", check=False)
    assert gone.returncode == 1 and "no group" in gone.stderr


def test_an_open_transaction_shows_with_its_partitions(node):
    node.cli("topic", "create", "in_transaction")
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "transactional.id": "browsed-transaction"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("in_transaction", b"v")
    assert producer.flush(30) == 0
    query = "SELECT state, array_to_string(partitions, ',') AS p FROM millrace.transactions WHERE transactional_id = 'browsed-transaction'"
    assert rows(node, query) == [{"state": "Ongoing", "p": "in_transaction-0"}]
    [mark] = rows(node, "SELECT high_watermark, last_stable_offset FROM millrace.partitions WHERE topic = 'in_transaction'")
    assert mark == {"high_watermark": 1, "last_stable_offset": 0}
    producer.commit_transaction(30)
    assert rows(node, query)[0]["state"] == "CompleteCommit"
    assert "browsed-transaction" in node.cli("transaction", "list").stdout


def test_an_object_named_as_a_system_table_is_reached_through_public(node):
    node.cli("sql", "-c", "CREATE TABLE topics (id INTEGER PRIMARY KEY); INSERT INTO topics VALUES (7)")
    assert rows(node, "SELECT id FROM topics") == [{"id": 7}]
    assert rows(node, "SELECT id FROM public.topics") == [{"id": 7}]
    assert "name" in rows(node, "SELECT * FROM millrace.topics")[0]
    node.cli("sql", "-c", "DROP TABLE topics")


def test_a_materialized_view_over_a_system_table_is_refused(node):
    refused = node.cli("sql", "-c", "CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM millrace.topics", check=False)
    assert refused.returncode == 1 and "materialized view cannot be kept over it" in refused.stderr


def test_dead_letters_are_listed_and_replayed_once(node):
    node.cli("sql", "-c", "CREATE TOPIC strict_numbers (n BIGINT)")
    node.cli("topic", "create", "second_chance")
    node.cli("produce", "strict_numbers", "-K", "=", "-H", "origin=test", input='k={"n": 1}\nk={"n": "many"}\nk={"n": 3}\n')

    def letters():
        done = node.cli("dead-letter", "list", "strict_numbers", "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else []
    [letter] = wait_until(letters, what="the dead letter")
    assert letter["topic"] == "strict_numbers" and letter["at"] == 1 and letter["value"] == '{"n": "many"}'
    # What is passed over stays to be replayed.
    other = node.cli("dead-letter", "replay", "strict_numbers", "--to", "second_chance", "--reason", "not valid JSON", "-o", "json")
    assert json.loads(other.stdout) == []
    assert json.loads(node.cli("dead-letter", "replay", "strict_numbers", "--to", "second_chance", "--reason", "expected BIGINT", "-o", "json").stdout) == \
        [{"topic": "second_chance", "replayed": 1}]
    assert json.loads(node.cli("dead-letter", "replay", "strict_numbers", "--to", "second_chance", "-o", "json").stdout) == []
    [line] = node.cli("consume", "second_chance", "--from", "beginning", "--exit", "-o", "json").stdout.splitlines()
    record = json.loads(line)
    assert record["key"] == "k" and record["value"] == '{"n": "many"}' and record["headers"] == {"origin": "test"}
    none = node.cli("dead-letter", "list", "second_chance", check=False)
    assert none.returncode == 1 and "second_chance.dead_letter" in none.stderr


def test_sql_and_views_see_what_is_committed_and_nothing_else(node):
    node.cli("sql", "-c", "CREATE TOPIC paid (n BIGINT); CREATE MATERIALIZED VIEW paid_total AS SELECT count(*) AS c, sum(n)::BIGINT AS s FROM paid")
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "transactional.id": "payer"})
    producer.init_transactions(30)

    def transaction(values):
        producer.begin_transaction()
        for n in values:
            producer.produce("paid", json.dumps({"n": n}).encode())
        assert producer.flush(30) == 0
    transaction([1, 2, 3])
    producer.commit_transaction(30)
    transaction([1000, 2000])
    producer.abort_transaction(30)
    transaction([4])
    producer.commit_transaction(30)
    transaction([5000])  # stays open while it is asked
    assert rows(node, "SELECT count(*) AS c, sum(n)::BIGINT AS s FROM paid") == [{"c": 4, "s": 10}]
    wait_until(lambda: rows(node, "SELECT c, s FROM paid_total") == [{"c": 4, "s": 10}], what="the view has all that is committed")
    producer.commit_transaction(30)
    wait_until(lambda: rows(node, "SELECT c, s FROM paid_total") == [{"c": 5, "s": 5010}], what="the view has the last transaction")
