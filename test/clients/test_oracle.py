"""Views of a real node against DuckDB: tables changed by SQL, a topic filled by Kafka, kill -9 in between."""
import json
import random
import threading

import confluent_kafka
import duckdb
import psycopg

from node import wait_until

RELATIONS = {
    "customers": "id BIGINT{key}, region INTEGER, name VARCHAR, balance DECIMAL(10, 2), since TIMESTAMP",
    "products": "id BIGINT{key}, category VARCHAR, price DECIMAL(10, 2)",
    "orders": "id BIGINT, customer BIGINT, product BIGINT, quantity INTEGER, note VARCHAR, at_time TIMESTAMP",
}
PLAIN = {  # what DuckDB has no functions for, as joins with what a window means
    "TUMBLE(orders, at_time, INTERVAL '1 hour')":
        "(SELECT *, date_trunc('hour', at_time) AS window_start, date_trunc('hour', at_time) + INTERVAL '1 hour' AS window_end FROM orders)",
    "HOP(orders, at_time, INTERVAL '30 minutes', INTERVAL '1 hour')":
        "(SELECT o.*, w AS window_start, w + INTERVAL '1 hour' AS window_end FROM orders o JOIN generate_series(TIMESTAMP '2024-04-30',"
        " TIMESTAMP '2024-05-03', INTERVAL '30 minutes') s(w) ON at_time >= w AND at_time < w + INTERVAL '1 hour')",
}
VIEWS = {
    "all_customers": "SELECT * FROM customers",
    "rich": "SELECT id, upper(name) AS name, balance * 2 AS twice FROM customers WHERE balance > 50",
    "totals": "SELECT count(*) AS n, sum(quantity) AS q, min(at_time) AS first, max(note) AS note FROM orders",
    "by_region": "SELECT region, count(*) AS n, sum(balance) AS b, min(name) AS low, max(since) AS newest FROM customers GROUP BY region",
    "by_product": "SELECT product, count(*) AS n, sum(quantity) AS q, count(DISTINCT customer) AS c FROM orders GROUP BY product",
    "modifiers": "SELECT region, count(*) FILTER (WHERE balance > 20) AS n, string_agg(name, ',' ORDER BY name, id) AS names FROM customers GROUP BY region",
    "statistics": "SELECT region, round(avg(balance), 6) AS a, round(stddev(balance), 6) AS s, median(balance) AS m FROM customers GROUP BY region",
    "lists": "SELECT product, list(id ORDER BY id DESC) FILTER (WHERE quantity > 7) AS ids, arg_max(note, id) AS last FROM orders GROUP BY product",
    "frequent": "SELECT customer, sum(quantity) AS q FROM orders GROUP BY customer HAVING count(*) > 3",
    "notes": "SELECT DISTINCT note FROM orders",
    "regions": "SELECT DISTINCT region, left(name, 1) AS letter FROM customers",
    "inner_join": "SELECT o.id, c.name, p.category FROM orders o JOIN customers c ON o.customer = c.id JOIN products p ON o.product = p.id",
    "left_join": "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id",
    "right_join": "SELECT o.id, p.id AS p, p.price FROM orders o RIGHT JOIN products p ON o.product = p.id AND o.quantity > 8",
    "full_join": "SELECT c.id AS c, p.id AS p FROM customers c FULL JOIN products p ON c.id = p.id + 5 AND c.balance > p.price",
    "self_join": "SELECT a.id AS a, b.id AS b FROM customers a JOIN customers b ON a.region = b.region AND a.id < b.id",
    "inequality": "SELECT c.id AS c, p.id AS p FROM customers c JOIN products p ON p.price > c.balance",
    "join_aggregate": "SELECT p.category, c.region, count(*) AS n, sum(o.quantity * p.price) AS worth FROM orders o JOIN customers c ON o.customer = c.id"
                      " JOIN products p ON o.product = p.id GROUP BY ALL",
    "without_orders": "SELECT id, name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
    "with_large": "SELECT id FROM customers WHERE id IN (SELECT customer FROM orders WHERE quantity = 10)",
    "not_in": "SELECT id FROM products WHERE id NOT IN (SELECT product FROM orders WHERE quantity > 2)",
    "above_average": "SELECT id, balance FROM customers WHERE balance > (SELECT avg(balance) FROM customers)",
    "scalar": "SELECT id, (SELECT max(quantity) FROM orders o WHERE o.product = p.id) AS most FROM products p",
    "union_all": "SELECT id, name AS what FROM customers UNION ALL SELECT id, category FROM products",
    "union_of": "SELECT region AS n FROM customers UNION SELECT quantity FROM orders",
    "except_of": "SELECT id FROM customers EXCEPT SELECT customer FROM orders",
    "intersect_of": "SELECT id FROM products INTERSECT SELECT product FROM orders",
    "shared": "WITH s AS MATERIALIZED (SELECT product, sum(quantity) AS q FROM orders GROUP BY product) SELECT a.product AS a, b.product AS b FROM s a JOIN s b ON a.q < b.q",
    "words": "SELECT word, count(*) AS n FROM (SELECT unnest(string_split(note, ' ')) AS word FROM orders) GROUP BY word",
    "tumbling": "SELECT window_start, window_end, count(*) AS n, sum(quantity) AS q FROM TUMBLE(orders, at_time, INTERVAL '1 hour') GROUP BY ALL",
    "hopping": "SELECT window_start, product, count(*) AS n FROM HOP(orders, at_time, INTERVAL '30 minutes', INTERVAL '1 hour') GROUP BY ALL",
    "of_views": "SELECT r.region, r.n, count(t.id) AS rich FROM by_region r LEFT JOIN customers c ON c.region = r.region LEFT JOIN rich t ON t.id = c.id GROUP BY ALL",
}
ROUNDS = 8  # of changes; the node is killed in two of them
KILLED = (2, 5)
KEYS = 60


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def declare(node, database):
    with connect(node) as sql:
        for name, columns in RELATIONS.items():
            key = " PRIMARY KEY" if "{key}" in columns else ""
            sql.execute(f"CREATE {'TABLE' if key else 'TOPIC'} {name} ({columns.format(key=key)}) WITH (partitions = 3)")
            database.execute(f"CREATE TABLE {name} ({columns.format(key='')})")
        for name, query in VIEWS.items():
            sql.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")
            for window, plain in PLAIN.items():
                query = query.replace(window, plain)
            database.execute(f"CREATE VIEW {name} AS {query}")


class Changes:
    """Random changes of the tables, by SQL, in the node and in DuckDB alike."""

    def __init__(self, rand):
        self.rand = rand
        self.live = {"customers": set(), "products": set()}

    def row(self, table, key):
        rand = self.rand
        if table == "products":
            return f"({key}, {rand.choice(['NULL', repr('tools'), repr('toys')])}, {rand.randrange(10_000) / 100})"
        return (f"({key}, {rand.choice(['NULL', 1, 2, 3])}, '{rand.choice(['ann', 'bob', 'a name longer than twelve', ''])}', "
                f"{rand.choice(['NULL', rand.randrange(10_000) / 100])}, TIMESTAMP '2024-01-01' + INTERVAL '{rand.randrange(9999)} minutes')")

    def statement(self):
        rand = self.rand
        table = rand.choice(["customers", "customers", "products"])
        live = self.live[table]
        some = rand.sample(sorted(live), min(len(live), rand.randrange(1, 6)))
        kind = rand.random()
        free = [key for key in range(KEYS) if key not in live]
        if free and (kind < 0.5 or not some):
            new = rand.sample(free, min(len(free), rand.randrange(1, 8)))
            live.update(new)
            return f"INSERT INTO {table} VALUES {', '.join(self.row(table, key) for key in new)}"
        where = f"WHERE id IN ({', '.join(map(str, some))})"
        if kind < 0.7:
            live.difference_update(some)
            return f"DELETE FROM {table} {where}"
        if table == "products":
            return f"UPDATE products SET price = price + 1, category = 'toys' {where}"
        return f"UPDATE customers SET balance = coalesce(balance, 0) + {rand.randrange(30)}, region = {rand.choice([1, 2, 'NULL'])} {where}"


class Orders:
    """Produces orders while the rest goes on; what it has produced is in DuckDB once it ends."""

    def __init__(self, node, rand, first, count):
        self.values = [{
            "id": first + n, "customer": rand.choice([None, rand.randrange(KEYS)]), "product": rand.randrange(KEYS), "quantity": rand.randrange(11),
            "note": rand.choice([None, "plain", "two words", "words of a text that is longer"]),
            "at_time": f"2024-05-0{rand.randrange(1, 3)}T{rand.randrange(24):02}:{rand.randrange(KEYS):02}:00"} for n in range(count)]
        self.producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 2,
                                                  "message.timeout.ms": 60_000, "reconnect.backoff.max.ms": 100})
        self.left = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for value in self.values:
            self.producer.produce("orders", key=str(value["id"]), value=json.dumps(value))
            self.producer.poll(0)
        self.left = self.producer.flush(60)

    def finish(self, database):
        self.thread.join(90)
        assert self.left == 0
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", [list(value.values()) for value in self.values])


def rows_of(connection, view):
    return sorted(connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {view}").fetchall(), key=repr)


def assert_views_equal(node, database):
    with connect(node) as sql:
        for view in VIEWS:
            expected = rows_of(database, view)
            try:
                wait_until(lambda: rows_of(sql, view) == expected, 30, view)
            except AssertionError:
                ours, theirs = set(rows_of(sql, view)), set(expected)
                raise AssertionError(f"{view}: too much {sorted(ours - theirs, key=repr)[:3]}, missing {sorted(theirs - ours, key=repr)[:3]}") from None


def test_views_equal_duckdb_through_changes_and_kill_9(own_node):
    seed = random.randrange(2**32)
    print("seed", seed)
    rand = random.Random(seed)
    database = duckdb.connect()
    declare(own_node, database)
    changes = Changes(rand)
    for number in range(ROUNDS):
        orders = Orders(own_node, rand, number * 300, rand.randrange(1, 300))
        for _ in range(rand.randrange(3, 25)):
            statement = changes.statement()
            with connect(own_node) as sql:
                sql.execute(statement)
            database.execute(statement)
        if number in KILLED:
            own_node.kill()
            own_node.start()
        orders.finish(database)
        assert_views_equal(own_node, database)
    own_node.stop()
    own_node.start()
    assert_views_equal(own_node, database)
