"""SUBSCRIBE through PostgreSQL's clients: as COPY, as a cursor, as rows; over views, topics, tables and queries."""
import collections
import json
import subprocess
import threading
import time

import psycopg
import pytest

WAIT = 30  # seconds that nothing here comes near to


def connect(node, **options):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", **options)


def eventually(holds):
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def apply(held, rows):
    """Applies rows of a subscription (epoch, weight, row...) to what a subscriber holds."""
    for _, weight, *row in rows:
        held[tuple(row)] += weight
        assert held[tuple(row)] >= 0
        if held[tuple(row)] == 0:
            del held[tuple(row)]


def counted(rows):
    return collections.Counter(tuple(row) for row in rows)


@pytest.fixture
def orders(sql, request):
    """A topic, and a view over it; their names."""
    name = f"orders_{request.node.name.split('[')[0].removeprefix('test_')}"
    sql(f"CREATE TOPIC {name} (id INTEGER, shop VARCHAR, amount INTEGER)")
    sql(f"INSERT INTO {name} SELECT i, 's' || i % 5, i FROM range(100) t(i)")
    sql(f"CREATE MATERIALIZED VIEW {name}_by_shop AS SELECT shop, count(*) AS n, sum(amount)::BIGINT AS amount FROM {name} GROUP BY shop")
    eventually(lambda: sql(f"SELECT sum(n) FROM {name}_by_shop") == [(100,)])
    return name, f"{name}_by_shop"


def insert_some(sql, topic, times=20):
    for i in range(times):
        sql(f"INSERT INTO {topic} SELECT i, 's' || i % 7, i FROM range({100 + i * 10}, {110 + i * 10}) t(i)")


def by_shop_after(times):
    """(n, amount) of each shop after insert_some()."""
    rows = [(i % 5, i) for i in range(100)] + [(i % 7, i) for i in range(100, 100 + 10 * times)]
    return [(len(amounts), sum(amounts)) for amounts in ([amount for shop, amount in rows if shop == k] for k in range(7))]


def test_copy_streams_the_rows_and_then_their_changes(node, sql, orders):
    topic, view = orders
    before = counted([(f"s{i}", 20, sum(range(i, 100, 5))) for i in range(5)])
    after = counted([(f"s{i}", *totals) for i, totals in enumerate(by_shop_after(20))])
    held, writer = collections.Counter(), threading.Thread(target=insert_some, args=(sql, topic))
    with connect(node) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY (SUBSCRIBE TO {view} WITH SNAPSHOT) TO STDOUT") as copy:
            copy.set_types(["int8", "int8", "text", "int8", "int8"])
            for row in copy.rows():
                apply(held, [row])
                if held == before:
                    writer.start()
                if held == after:
                    break
            connection.cancel()
            with pytest.raises(psycopg.errors.QueryCanceled):
                for _ in copy:
                    pass
        writer.join()
    assert held == counted(sql(f"SELECT * FROM {view}"))


def test_a_cursor_fetches_what_has_changed_until_the_time_is_over(node, sql, orders):
    topic, view = orders
    with connect(node) as connection:
        connection.execute(f"DECLARE c CURSOR FOR SUBSCRIBE TO {view} WITH SNAPSHOT")
        held = collections.Counter()
        apply(held, connection.execute("FETCH ALL c").fetchall())
        assert held == counted(sql(f"SELECT * FROM {view}"))
        began = time.monotonic()
        assert connection.execute("FETCH 10 c WITH (timeout = '300ms')").fetchall() == []
        assert 0.29 <= time.monotonic() - began < WAIT
        insert_some(sql, topic)
        wanted = counted(sql(f"SELECT shop, count(*), sum(amount)::BIGINT FROM {topic} GROUP BY shop"))
        while held != wanted:
            fetched = connection.execute("FETCH 3 c WITH (timeout = '1s')").fetchall()
            assert len(fetched) <= 3
            apply(held, fetched)
        names = [column.name for column in connection.execute("FETCH 1 c WITH (timeout = '0s')").description]
        assert names == ["epoch", "weight", "shop", "n", "amount"]


def test_a_token_goes_on_after_a_restart(own_node):
    node = own_node
    with connect(node, autocommit=True) as connection:
        connection.execute("CREATE TOPIC t (a INTEGER)")
        connection.execute("CREATE MATERIALIZED VIEW v AS SELECT a % 3 AS k, count(*) AS n FROM t GROUP BY 1")
        connection.execute("INSERT INTO t SELECT i FROM range(9) t(i)")
        connection.execute("BEGIN")
        connection.execute("DECLARE c CURSOR FOR SUBSCRIBE TO v WITH (SNAPSHOT, PROGRESS)")
        held, token = collections.Counter(), None
        while held != {(0, 3): 1, (1, 3): 1, (2, 3): 1}:
            for epoch, weight, progress, *row in connection.execute("FETCH ALL c WITH (timeout = '50ms')").fetchall():
                token = progress or token
                if not progress:
                    apply(held, [(epoch, weight, *row)])
    node.kill()
    node.start()
    with connect(node, autocommit=True) as connection:
        connection.execute("INSERT INTO t VALUES (0)")
        connection.execute("BEGIN")
        connection.execute(f"DECLARE c CURSOR FOR SUBSCRIBE TO v AFTER '{token}'")
        apply(held, connection.execute("FETCH 2 c WITH (timeout = '30s')").fetchall())
        assert held == {(0, 4): 1, (1, 3): 1, (2, 3): 1}
        connection.execute("ROLLBACK")
        with pytest.raises(psycopg.Error, match="is not a resume token"):
            connection.execute("SUBSCRIBE TO v AFTER 'x'")


def test_topics_tables_and_queries_can_be_subscribed_to(node, sql, orders):
    topic, view = orders
    sql("CREATE TABLE prices (shop VARCHAR PRIMARY KEY, price INTEGER)")
    sql("INSERT INTO prices VALUES ('s1', 10), ('s2', 20)")
    queries = {
        topic: f"SELECT * FROM {topic}",
        "prices": "SELECT * FROM prices",
        f"(SELECT p.shop, p.price, v.n FROM prices p JOIN {view} v ON v.shop = p.shop WHERE p.price > 5)":
            f"SELECT p.shop, p.price, v.n FROM prices p JOIN {view} v ON v.shop = p.shop WHERE p.price > 5",
    }
    for subscribed, query in queries.items():
        with connect(node) as connection:
            connection.execute(f"DECLARE c CURSOR FOR SUBSCRIBE TO {subscribed} WITH SNAPSHOT")
            connection.execute(f"DECLARE d CURSOR FOR SUBSCRIBE TO {subscribed}")
            held, late = collections.Counter(), counted(sql(query))
            apply(held, connection.execute("FETCH ALL c").fetchall())
            assert held == late, subscribed
            sql(f"INSERT INTO {topic} VALUES (1, 's1', 1)")
            sql("UPDATE prices SET price = price + 1 WHERE shop = 's1'")
            eventually(lambda: sql(f"SELECT sum(n) FROM {view}") == sql(f"SELECT count(*) FROM {topic}"))
            wanted = counted(sql(query))
            for cursor, rows in (("c", held), ("d", late)):
                while rows != wanted:
                    apply(rows, connection.execute(f"FETCH 100 {cursor} WITH (timeout = '100ms')").fetchall())
    # What was made for them has gone with them.
    eventually(lambda: sql("SELECT count(*) FROM millrace.topics WHERE name LIKE '\\_\\_subscription%' ESCAPE '\\'") == [(0,)])
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql("SUBSCRIBE TO nothing")
    with pytest.raises(psycopg.errors.UndefinedTable) as wrong:
        sql("SUBSCRIBE TO (SELECT * FROM nothing) WITH SNAPSHOT")
    assert wrong.value.diag.statement_position == "29"
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        sql("SUBSCRIBE TO prices AFTER 'x'")


def test_what_a_crash_leaves_of_a_query_is_gone_after_the_next_start(own_node):
    node = own_node
    connection = connect(node, autocommit=True)  # not to be closed in an orderly way
    connection.execute("CREATE TOPIC t (a INTEGER)")
    connection.execute("BEGIN")
    connection.execute("DECLARE c CURSOR FOR SUBSCRIBE TO t")
    with connect(node, autocommit=True) as other:
        assert other.execute("SELECT count(*) FROM millrace.topics").fetchone() == (2,)
    node.kill()
    node.start()
    with connect(node, autocommit=True) as connection:
        assert connection.execute("SELECT name FROM millrace.topics").fetchall() == [("t",)]
        connection.execute("DROP TOPIC t")


def test_a_subscription_ends_with_its_view(node, sql, orders):
    _, view = orders
    failures = []

    def subscribe():
        with connect(node) as connection:
            try:
                connection.execute(f"SUBSCRIBE TO {view}")
            except psycopg.Error as error:
                failures.append((error.sqlstate, str(error)))

    reader = threading.Thread(target=subscribe)
    reader.start()
    time.sleep(0.2)
    sql(f"DROP MATERIALIZED VIEW {view}")
    reader.join(WAIT)
    assert failures and failures[0][0] == "42P01" and "was dropped or replaced" in failures[0][1]


def test_psql_prints_changes_as_they_come(node, sql, orders):
    topic, view = orders
    host, port = node.pg.split(":")
    psql = subprocess.Popen(["stdbuf", "-oL", "psql", "-h", host, "-p", port, "-U", "test", "-d", "millrace", "-c",
                             f"COPY (SUBSCRIBE TO {view} WITH SNAPSHOT) TO STDOUT WITH (FORMAT csv)"], stdout=subprocess.PIPE, text=True)
    held = collections.Counter()

    def read(until):
        while held != until:
            epoch, weight, shop, n, amount = psql.stdout.readline().strip().split(",")
            held[(shop, int(n), int(amount))] += int(weight)
            if held[(shop, int(n), int(amount))] == 0:
                del held[(shop, int(n), int(amount))]

    read(counted(sql(f"SELECT * FROM {view}")))
    sql(f"INSERT INTO {topic} VALUES (1, 's1', 1)")
    read(counted([(f"s{i}", 20 + (i == 1), sum(range(i, 100, 5)) + (i == 1)) for i in range(5)]))
    psql.terminate()
    psql.wait(WAIT)


def test_the_command_prints_changes_as_they_come(node, sql, orders):
    topic, view = orders
    printed = node.cli("subscribe", view, "--snapshot", "-n", "5").stdout.splitlines()
    assert printed[0].split() == ["epoch", "weight", "shop", "n", "amount"]
    rows = sql(f"SELECT * FROM {view}")
    assert sorted(line.split()[1:] for line in printed[1:]) == sorted(["1", *map(str, row)] for row in rows)
    assert len({len(line) for line in printed[1:]}) == 1, "the last column holds numbers: lines end together"
    lines = node.cli("subscribe", view, "--snapshot", "--progress", "-n", "6", "-o", "json").stdout.splitlines()
    parsed = [json.loads(line) for line in lines]
    assert counted((p["shop"], p["n"], p["amount"]) for p in parsed[:5]) == counted(rows)
    token = parsed[5]["token"]
    sql(f"INSERT INTO {topic} VALUES (1, 's1', 1)")
    after = node.cli("subscribe", view, "--after", token, "-n", "2", "-o", "csv").stdout.splitlines()
    assert after[0] == "epoch,weight,shop,n,amount"
    assert sorted(line.split(",")[1:3] for line in after[1:]) == [["-1", "s1"], ["1", "s1"]]
    query = node.cli("subscribe", f"(SELECT count(*) AS n FROM {topic})", "-s", "-n", "1", "-o", "json").stdout
    assert json.loads(query)["n"] == 101
    wrong = node.cli("subscribe", "nothing", check=False)
    assert wrong.returncode == 1 and '"nothing" does not exist' in wrong.stderr
