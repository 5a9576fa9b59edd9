"""Users: logins over the Kafka protocol and PostgreSQL's, and what is for one user alone. Java logs in in test_transforms.py."""
import asyncio
import pathlib
import socket
import struct

import asyncpg
import functions_http
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from draining import drain
from kafka import KafkaConsumer
from kafka import TopicPartition as PythonPartition
from node import wait_until

STEPS = pathlib.Path(__file__).with_name("steps.wat")  # mark makes '#' of the first byte
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
SECRET = "tell, nobody='it'"


def login(mechanism, user="ann", password=SECRET):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}


def connect(node, user, **more):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user=user, dbname="millrace", autocommit=True, **more)


def read(node, **config):
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.partition.eof": True, **config})
    consumer.assign([TopicPartition("secrets", 0, OFFSET_BEGINNING)])
    return [m.value() for m in drain(consumer)]


@pytest.fixture(scope="module")
def users(node):
    """Users ann and bob, and a topic whose records ann gets with their first byte hidden."""
    with connect(node, "test") as connection:
        for statement in (f"CREATE USER ann PASSWORD '{SECRET.replace(chr(39), 2 * chr(39))}'", "CREATE USER bob WITH PASSWORD 'b'",
                          f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'", "CREATE TOPIC secrets",
                          "ALTER TOPIC secrets ADD TRANSFORM steps.mark ON FETCH FOR USER ann"):
            connection.execute(statement)
    producer = Producer({"bootstrap.servers": node.kafka, **login("SCRAM-SHA-512", "bob", "b")})
    for i in range(3):
        producer.produce("secrets", value=b"x%d" % i, partition=0)
    assert producer.flush(30) == 0


HIDDEN, SHOWN = [b"#0", b"#1", b"#2"], [b"x0", b"x1", b"x2"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_user_gets_what_is_for_it_by_each_mechanism(node, users, mechanism):
    assert read(node, **login(mechanism)) == HIDDEN
    assert read(node, **login(mechanism, "bob", "b")) == SHOWN
    host, port = node.kafka.split(":")
    plain = {"bootstrap_servers": f"{host}:{port}", "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism,
             "sasl_plain_username": "ann", "sasl_plain_password": SECRET}
    python = KafkaConsumer(**plain, auto_offset_reset="earliest", consumer_timeout_ms=20_000)
    python.assign([PythonPartition("secrets", 0)])
    assert [next(python).value for _ in range(3)] == HIDDEN
    python.close()

    async def by_aiokafka():
        consumer = AIOKafkaConsumer("secrets", **plain, auto_offset_reset="earliest")
        await consumer.start()
        try:
            return [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(3)]
        finally:
            await consumer.stop()
    assert asyncio.run(by_aiokafka()) == HIDDEN


def test_who_does_not_log_in_is_anonymous(node, sql, users):
    assert read(node) == SHOWN
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "client.id": "seen", **login("PLAIN")})
    other = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "client.id": "unseen"})
    for each in consumer, other:
        each.list_topics(timeout=30)
    # One that has just come may be in the middle of its login.
    wait_until(lambda: {row for row in sql("SELECT client_id, user_name FROM millrace.connections") if "seen" in row[0]} ==
               {("seen", "ann"), ("unseen", "ANONYMOUS")}, what="the users of the connections")
    for each in consumer, other:
        each.close()


@pytest.mark.parametrize("config, why", [
    (login("PLAIN", password="wrong"), "user name or the password is wrong"), (login("PLAIN", "nobody"), "user name or the password is wrong"),
    (login("SCRAM-SHA-256", password="wrong"), "user name or the password is wrong"),
    (login("SCRAM-SHA-512", "nobody"), "user name or the password is wrong"),
    ({**login("OAUTHBEARER"), "sasl.oauthbearer.config": "principal=ann", "enable.sasl.oauthbearer.unsecure.jwt": "true"}, "PLAIN")],
    ids=["password", "name", "password by SCRAM", "name by SCRAM", "mechanism"])
def test_a_login_that_fails_says_why(node, users, config, why):
    told = []
    producer = Producer({"bootstrap.servers": node.kafka, "error_cb": told.append, **config})
    producer.produce("secrets", value=b"never")
    wait_until(lambda: producer.poll(0.05) is not None and any(why in str(error) for error in told), what=f"why among {told}")
    producer.purge()


def test_quotas_are_by_the_user_that_logged_in(node, users):
    """An answer to a Produce of ann's tells to wait, one to anybody else does not."""
    def throttled(**config):
        told = []
        producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 0, "throttle_cb": told.append, **config})
        producer.produce("quotas", value=b"x" * 60_000, partition=0)  # more than the ten seconds' that a quota lets through at once
        assert producer.flush(30) == 0
        return any(each.throttle_time > 0 for each in told)
    with connect(node, "test") as connection:
        connection.execute("CREATE TOPIC quotas")
    # confluent_kafka has no call for quotas: AlterClientQuotas 0, by hand.
    text = lambda s: struct.pack(">h", len(s)) + s  # noqa: E731
    body = (struct.pack(">hhi", 49, 0, 1) + text(b"test") + struct.pack(">i", 1) + struct.pack(">i", 1) + text(b"user") + text(b"ann") +
            struct.pack(">i", 1) + text(b"producer_byte_rate") + struct.pack(">d", 5_000) + b"\0" + b"\0")
    host, port = node.kafka.split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(struct.pack(">i", len(body)) + body)
        assert raw.recv(1000)
    assert throttled(**login("PLAIN"))
    assert not throttled()
    assert not throttled(**login("PLAIN", "bob", "b"))


def test_what_is_shown_of_users_and_of_what_is_for_them(node, sql, users):
    assert [row[:2] + row[3:] for row in sql("SHOW USERS")] == [("ann", ", ".join(MECHANISMS), "test"), ("bob", ", ".join(MECHANISMS), "test")]
    assert sql("SELECT name, mechanisms, owner FROM millrace.users WHERE created_at > now() - INTERVAL '1 hour'") == [
        (name, ", ".join(MECHANISMS), "test") for name in ("ann", "bob")]
    assert [row[4:6] for row in sql("SHOW TRANSFORMS") if row[0] == "secrets"] == [(None, "ann")]
    assert sql("SELECT user_name, records_out > 0 FROM millrace.transforms WHERE topic = 'secrets'") == [("ann", True)]
    way = [line for line, in sql("EXPLAIN TOPIC secrets")]
    theirs, others = way.index("to a consumer logged in as ann"), way.index("to every other Kafka consumer")
    step = "  2. transform steps.mark ON FETCH FOR USER ann ON ERROR reject (of test)"
    assert step in way[theirs:others] and step not in way[others:]
    assert sql("SHOW CREATE TOPIC secrets")[0][0].endswith("ADD TRANSFORM steps.mark ON FETCH FOR USER ann ON ERROR reject")


def test_what_cannot_be_is_told(node, sql, users):
    def refused(statement, code, *words):
        with pytest.raises(psycopg.Error) as error:
            sql(statement)
        told = f"{error.value.diag.message_primary} {error.value.diag.message_hint}"
        assert error.value.sqlstate == code, told
        assert all(word in told for word in words) and "hush" not in told, told
    refused("CREATE USER ann PASSWORD 'hush'", "42P07", "exists", "ALTER USER")
    refused("CREATE USER carl PASSWORD hush", "42601", "quotes")
    refused("CREATE USER carl PASSWORD 'it''s' hush", "42601", "behind the password")
    refused("CREATE USER carl", "42601", "PASSWORD")
    refused("CREATE USER carl PASSWORD ''", "22023", "1 to")
    refused("CREATE USER carl PASSWORD 'SCRAM-SHA-256$4096:hush'", "0A000", "hashed")
    refused("CREATE USER \"a b\" PASSWORD 'hush'", "42602", "spaces")
    refused("CREATE USER \"ANONYMOUS\" PASSWORD 'hush'", "42602", "have not logged in")
    refused("ALTER USER carl PASSWORD 'hush'", "42P01", "SHOW USERS")
    refused("DROP USER carl", "42P01", "carl")
    refused("DROP USER ann", "2BP01", "steps.mark", "secrets", "DROP TRANSFORM")
    refused("APPLY CREATE USER carl PASSWORD 'hush'", "0A000", "project")
    sql("DROP USER IF EXISTS carl")
    with connect(node, "mallory") as other:
        for statement in "ALTER USER ann PASSWORD 'hush'", "DROP USER bob":
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)


def test_postgresql_asks_users_for_their_password(node, users):
    with connect(node, "ann", password=SECRET) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("ann",)
        connection.execute("CREATE USER of_ann PASSWORD 'x'")  # who is its owner then
    for password in "wrong", "":
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(node, "ann", password=password)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connect(node, "bob", password="b") as connection:
        connection.execute("DROP USER of_ann")
    with connect(node, "ann", password=SECRET) as connection:
        connection.execute("DROP USER of_ann")

    async def by_asyncpg(password):
        host, port = node.pg.split(":")
        connection = await asyncpg.connect(host=host, port=int(port), user="ann", password=password, database="millrace", ssl=False)
        try:
            return await connection.fetchval("SELECT current_user")
        finally:
            await connection.close()
    assert asyncio.run(by_asyncpg(SECRET)) == "ann"
    with pytest.raises(asyncpg.InvalidPasswordError, match="ann"):
        asyncio.run(by_asyncpg("wrong"))
    # HTTP takes functions under a user's name; it wants the same.
    status, body, _ = functions_http.ask(node, "/made", STEPS.read_bytes(), user="ann")
    assert status == 403 and b"password is wrong" in body


def test_users_outlive_the_node_and_take_another_password(own_node):
    node = own_node
    with connect(node, "test") as connection:
        connection.execute("CREATE TOPIC secrets")
        connection.execute("CREATE USER ann PASSWORD 'the first one'")
        connection.execute("CREATE USER gone PASSWORD 'p'")
        connection.execute("DROP USER gone")
        connection.execute("ALTER USER ann PASSWORD 'the second one'")
    node.kill()
    node.start()
    for mechanism in MECHANISMS:
        assert read(node, **login(mechanism, password="the second one")) == []
    with connect(node, "test") as connection:
        assert [name for name, *_ in connection.execute("SHOW USERS").fetchall()] == ["ann"]
    for name, password in ("ann", "the first one"), ("gone", "p"):
        with pytest.raises(KafkaException):
            Producer({"bootstrap.servers": node.kafka, **login("PLAIN", name, password)}).list_topics(timeout=1)
    node.stop()
    kept = b"".join(path.read_bytes() for path in node.data.rglob("*") if path.is_file()) + node.log().encode()
    assert b"the first one" not in kept and b"the second one" not in kept
