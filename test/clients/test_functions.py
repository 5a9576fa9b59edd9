"""Functions of SQL in wasm: called in queries and in views, from each guest language."""
import pathlib
import subprocess

import psycopg
import pytest
from node import ROOT, wait_until

# same gives its argument; 1 never ends, 2 traps, 3 is refused, 4 gives too few bytes.
SCALARS = pathlib.Path(__file__).with_name("scalars.wat")


@pytest.fixture
def refused(sql):
    def run(statement, code, *words):
        with pytest.raises(psycopg.Error) as error:
            sql(statement)
        told = f"{error.value.diag.message_primary} {error.value.diag.message_hint}"
        assert error.value.sqlstate == code, told
        assert all(word in told for word in words), told
    return run


@pytest.mark.parametrize("language", ["cpp", "rust", "assemblyscript"])
def test_currencies_are_converted_in_queries_and_views(node, sql, refused, language):
    subprocess.run([ROOT / "tools" / "guests.sh", language], check=True, capture_output=True)
    module = ROOT / "build" / "guests" / language / "convert.wasm"
    usd, paid = f"usd_{language}", f"paid_{language}"
    sql(f"CREATE FUNCTION {usd}(currency VARCHAR, DOUBLE PRECISION) RETURNS DOUBLE LANGUAGE wasm FROM '{module}' "
        "EXPORT exchange(rates => 'EUR=1.25,GBP=1.5') WITH (time_slice = '200 ms', memory = '32 MiB')")
    # Constants, and other numbers than doubles; null of null.
    assert sql(f"SELECT {usd}('EUR', 10), {usd}('GBP', 2.5), {usd}(NULL, 1), {usd}('USD', -3)") == [(12.5, 3.75, None, -3.0)]
    refused(f"SELECT {usd}('CHF', 1)", "38000", usd, "no rate for 'CHF'")
    refused(f"SELECT {usd}('EUR')", "42883")
    sql(f"CREATE TOPIC {paid} (id BIGINT, currency VARCHAR, amount DOUBLE)")
    sql(f"CREATE MATERIALIZED VIEW {paid}_total AS SELECT currency, sum({usd}(currency, amount)) AS total FROM {paid} GROUP BY currency")
    sql(f"INSERT INTO {paid} SELECT i, ['EUR', 'GBP', 'USD', NULL][i % 4 + 1], i FROM range(10000) t(i)")
    expected = sql(f"SELECT currency, sum(amount * CASE currency WHEN 'EUR' THEN 1.25 WHEN 'GBP' THEN 1.5 WHEN 'USD' THEN 1 END) FROM {paid} "
                   "GROUP BY currency ORDER BY currency")
    assert sql(f"SELECT currency, sum({usd}(currency, amount)) FROM {paid} GROUP BY currency ORDER BY currency") == expected
    wait_until(lambda: sql(f"SELECT * FROM {paid}_total ORDER BY currency") == expected, what="the view")
    # A row that the module refuses is set aside; the others count.
    sql(f"INSERT INTO {paid} VALUES (1, 'USD', 5), (2, 'CHF', 7), (3, 'USD', 6)")
    total = dict(expected)["USD"] + 11
    wait_until(lambda: sql(f"SELECT total FROM {paid}_total WHERE currency = 'USD'") == [(total,)], what="the rows beside the refused one")
    wait_until(lambda: any(b'"CHF"' in letter for letter, in sql(f'SELECT value FROM "{paid}_total.dead_letter"')), what="the letter")
    refused(f"DROP FUNCTION {usd}", "2BP01", f'materialized view "{paid}_total"')
    refused(f"CREATE OR REPLACE FUNCTION {usd}(VARCHAR, DOUBLE) RETURNS DOUBLE LANGUAGE wasm FROM '{module}' EXPORT exchange(rates => 'EUR=2')",
            "2BP01", f"{paid}_total", "keeps rows")


def test_replaced_dropped_and_kept_over_a_kill(own_node):
    """A query's function changes at once; a view goes on with the function that it has after a crash."""
    node = own_node
    module = ROOT / "build" / "guests" / "cpp" / "convert.wasm"
    subprocess.run([ROOT / "tools" / "guests.sh", "cpp"], check=True, capture_output=True)

    def run(statement):
        host, port = node.pg.split(":")
        with psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None
    made = f"FUNCTION usd(VARCHAR, DOUBLE) RETURNS DOUBLE LANGUAGE wasm FROM '{module}' EXPORT exchange"
    run(f"CREATE {made}(rates => 'EUR=2')")
    run("CREATE VIEW ten AS SELECT usd('EUR', 10) AS ten")
    assert run("SELECT * FROM ten") == [(20.0,)]
    run(f"CREATE OR REPLACE {made}(rates => 'EUR=3')")
    assert run("SELECT * FROM ten") == [(30.0,)]
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        run("DROP FUNCTION usd")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        run(f"CREATE OR REPLACE FUNCTION usd(VARCHAR) RETURNS DOUBLE LANGUAGE wasm FROM '{module}' EXPORT exchange(rates => 'EUR=3')")
    run("DROP VIEW ten")
    run("CREATE TABLE t (id BIGINT PRIMARY KEY, amount DOUBLE)")
    run("CREATE MATERIALIZED VIEW v AS SELECT id, usd('EUR', amount) AS usd FROM t")
    run("INSERT INTO t VALUES (1, 1), (2, 2)")
    wait_until(lambda: run("SELECT * FROM v ORDER BY id") == [(1, 3.0), (2, 6.0)], what="the view")
    node.kill()
    node.start()
    run("UPDATE t SET amount = 5 WHERE id = 1")
    wait_until(lambda: run("SELECT * FROM v ORDER BY id") == [(1, 15.0), (2, 6.0)], what="the view after the crash")
    run("DROP MATERIALIZED VIEW v")
    run("DROP FUNCTION usd")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        run("SELECT usd('EUR', 1)")


def test_what_fails_fails_its_query_alone(node, sql, refused):
    sql(f"CREATE FUNCTION same(BIGINT) RETURNS BIGINT LANGUAGE wasm FROM '{SCALARS}'")
    sql(f"CREATE FUNCTION same_text(t TEXT) RETURNS VARCHAR LANGUAGE wasm FROM '{SCALARS}' EXPORT same")
    sql(f"CREATE FUNCTION same_bytes(BLOB) RETURNS VARCHAR LANGUAGE wasm FROM '{SCALARS}' EXPORT same")
    sql(f"CREATE FUNCTION same_bool(BOOLEAN) RETURNS BOOLEAN LANGUAGE wasm FROM '{SCALARS}' EXPORT same")
    assert sql("SELECT same_text('Straße ' || repeat('x', i)), same_bool(i > 1), same(NULL) FROM range(1, 3) t(i)") == [
        ("Straße x", False, None), ("Straße xx", True, None)]
    refused("SELECT same_bytes('\\xFF'::BLOB)", "38000", "UTF-8")
    # Each hundred failures would pause the module, were they anybody's but the query's own.
    for _ in range(50):
        refused("SELECT same(2)", "38000", "same", "gave up")
        refused("SELECT same(3)", "38000", "same", "three")
        refused("SELECT same(4)", "38000", "3 bytes", "BIGINT has 8")
    refused("SELECT same(i) FROM range(5000) t(i) WHERE i <> 2", "38000")
    refused("SELECT same(1)", "38000", "time")
    assert sql("SELECT sum(same(i)) FROM range(5, 100000) t(i)") == [(sum(range(5, 100000)),)]
    assert sql("SHOW CREATE same_text")[0][0].startswith('CREATE FUNCTION same_text(t VARCHAR) RETURNS VARCHAR LANGUAGE wasm FROM \'sha256:')


def test_what_cannot_be_is_told(node, sql, refused):
    def create(signature, rest=""):
        return f"CREATE FUNCTION {signature} LANGUAGE wasm FROM '{SCALARS}' {rest}"
    refused(create("f(HUGEINT) RETURNS BIGINT"), "0A000", "HUGEINT", "BIGINT")
    refused(create("f(BIGINT)"), "42601", "RETURNS")
    refused(create("lower(VARCHAR) RETURNS VARCHAR", "EXPORT same"), "42P07", "lower()")
    refused(create("f(BIGINT) RETURNS BIGINT", "EXPORT other"), "42883", "other", "same (scalar)")
    refused(create("f(BIGINT) RETURNS BIGINT", "EXPORT same(a => 1)"), "22023", "parameters")
    refused(create("f(BIGINT) RETURNS BIGINT", "WITH (memory = '1 TiB')"), "22023", "memory_bytes", "allows")
    refused(create("f(BIGINT) RETURNS BIGINT", "WITH (look_back = 5)"), "42601", "expansion")
    steps = pathlib.Path(__file__).with_name("steps.wat")
    refused(f"CREATE FUNCTION f(BIGINT) RETURNS BIGINT LANGUAGE wasm FROM '{steps}' EXPORT keep", "0A000", "filter", "scalar")
