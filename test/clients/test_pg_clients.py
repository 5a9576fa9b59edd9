"""PostgreSQL's clients, unmodified: psql, psycopg, asyncpg and JDBC, and what each of them asks when it connects or looks around."""
import asyncio
import datetime as dt
import decimal
import json
import os
import pathlib
import subprocess
import threading
import uuid

import asyncpg
import psycopg
import pytest
from psycopg import rows

HERE = pathlib.Path(__file__).resolve().parent
UTC = dt.timezone.utc
UUID = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
VALUES = {
    "true": True,
    "(-2)::SMALLINT": -2,
    "3::INTEGER": 3,
    "9007199254740993::BIGINT": 9007199254740993,
    "18446744073709551615::UBIGINT": decimal.Decimal("18446744073709551615"),
    "170141183460469231731687303715884105727::HUGEINT": decimal.Decimal("170141183460469231731687303715884105727"),
    "1.5::FLOAT": 1.5,
    "0.1::DOUBLE": 0.1,
    "12.3400::DECIMAL(18, 4)": decimal.Decimal("12.3400"),
    "(-1234567.0001)::DECIMAL(18, 4)": decimal.Decimal("-1234567.0001"),
    "'café'": "café",
    "'\\x00\\xFF'::BLOB": b"\x00\xff",
    "DATE '2013-02-28'": dt.date(2013, 2, 28),
    "TIME '10:11:12.5'": dt.time(10, 11, 12, 500000),
    "TIMESTAMP '2013-01-01 10:00:00.25'": dt.datetime(2013, 1, 1, 10, 0, 0, 250000),
    "TIMESTAMPTZ '2013-01-01 10:00:00+02'": dt.datetime(2013, 1, 1, 8, tzinfo=UTC),
    "INTERVAL '3 days 02:00:01'": dt.timedelta(days=3, hours=2, seconds=1),
    f"'{UUID}'::UUID": UUID,
    "[1, NULL, 3]": [1, None, 3],
    "['a', 'b \"c\"', '', 'NULL']": ["a", 'b "c"', "", "NULL"],
    "[]::INTEGER[]": [],
    "[TIMESTAMP '2013-01-01 10:00:00']": [dt.datetime(2013, 1, 1, 10)],
    "{'a': 1, 'b': [1, NULL]}": {"a": 1, "b": [1, None]},
    "MAP {'k': 1.5::DOUBLE}": {"k": 1.5},
    "NULL::INTEGER": None,
}
# What a client may send, with the type that the statement gives it.
PARAMETERS = {
    "BOOLEAN": True,
    "INTEGER": 7,
    "BIGINT": 2**40,
    "DOUBLE": 1.5,
    "DECIMAL(10, 3)": decimal.Decimal("1.250"),
    "VARCHAR": "café",
    "BLOB": b"\x00\xff",
    "DATE": dt.date(2013, 1, 1),
    "TIME": dt.time(1, 2, 3, 4),
    "TIMESTAMP": dt.datetime(2013, 1, 1, 1, 2, 3, 4),
    "TIMESTAMPTZ": dt.datetime(2013, 1, 1, tzinfo=UTC),
    "INTERVAL": dt.timedelta(days=3, seconds=5),
    "UUID": UUID,
    "INTEGER[]": [1, 2, None],
    "VARCHAR[]": ["a b", None, "NULL"],
}
ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE a.range + b.range = c.range - 7"


def address(node):
    host, port = node.pg.rsplit(":", 1)
    return {"host": host, "port": int(port), "user": "test"}


@pytest.fixture
def connection(node):
    with psycopg.connect(**address(node), dbname="millrace", autocommit=True) as connection:
        yield connection


@pytest.fixture
def table(connection, request):
    """A fresh table (id INTEGER PRIMARY KEY, name VARCHAR)."""
    name = "pg_" + request.node.originalname.removeprefix("test_")[:40]
    connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, name VARCHAR)")
    yield name
    connection.execute(f"DROP TABLE {name}")


# ---- psql


def psql(node, *arguments, check=True):
    to = address(node)
    done = subprocess.run(["psql", "-X", "-A", "-t", "-h", to["host"], "-p", str(to["port"]), "-U", "test", "-d", "millrace", *arguments],
                          capture_output=True, text=True, env=os.environ | {"LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "20"})
    if check:
        assert done.returncode == 0, done.stderr
    return done


def test_psql_runs_statements(node):
    assert psql(node, "-c", "SELECT 1 AS a, 'x' AS b; SELECT 2.50").stdout == "1|x\n2.50\n"
    assert psql(node, "-c", "SHOW server_version").stdout.startswith("15.0 (Millrace ")


def test_psql_shows_errors_where_they_are(node):
    done = psql(node, "-c", "SELECT 1 FRM x y", check=False)
    assert done.returncode == 1
    assert "ERROR:" in done.stderr and "LINE 1: SELECT 1 FRM x y" in done.stderr and "^" in done.stderr


def test_psql_copies_both_ways(node, table, tmp_path):
    source = tmp_path / "rows.csv"
    source.write_text("id,name\n1,one\n2,\"two, too\"\n3,\n")
    psql(node, "-c", f"\\copy {table} FROM '{source}' CSV HEADER")
    assert psql(node, "-c", f"\\copy (SELECT * FROM {table} ORDER BY id) TO STDOUT CSV HEADER").stdout == source.read_text()


@pytest.mark.parametrize("command", ["\\d", "\\dt", "\\d nothing", "\\dn", "\\l", "\\df", "\\du", "\\conninfo", "\\encoding"])
def test_psql_looks_around_without_losing_its_connection(node, command):
    done = psql(node, "-c", command, "-c", "SELECT 'still here'", check=False)
    assert "still here" in done.stdout, done.stderr


# ---- psycopg


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_psycopg_reads_every_type(connection, binary):
    cursor = connection.cursor(binary=binary)
    for expression, expected in VALUES.items():
        got = cursor.execute(f"SELECT {expression}").fetchone()[0]
        assert got == expected and type(got) is type(expected), expression


@pytest.mark.parametrize("form", ["s", "t", "b"], ids=["auto", "text", "binary"])
def test_psycopg_sends_every_type(connection, form):
    for type_, value in PARAMETERS.items():
        assert connection.execute(f"SELECT %{form}::{type_}", [value]).fetchone() == (value,), type_
        assert connection.execute(f"SELECT %{form}::{type_} IS NULL", [None]).fetchone() == (True,), type_


def test_psycopg_prepares_on_the_server(connection):
    for i in range(12):
        assert connection.execute("SELECT %s::INTEGER + 1", [i], prepare=True).fetchone() == (i + 1,)


def test_psycopg_pipelines(connection, table):
    with connection.pipeline():
        for i in range(20):
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", [i, f"name {i}"])
        cursor = connection.execute(f"SELECT count(*), max(name) FROM {table}")
    assert cursor.fetchone() == (20, "name 9")
    with pytest.raises(psycopg.errors.UndefinedTable):
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("SELECT * FROM there_is_no_such_table")
            connection.execute("SELECT 2")
    assert connection.execute("SELECT 3").fetchone() == (3,)


def test_psycopg_writes_many_and_counts(connection, table):
    cursor = connection.cursor()
    cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)", [(i, None) for i in range(10)])
    assert cursor.execute(f"UPDATE {table} SET name = 'x' WHERE id < 4").rowcount == 4
    assert cursor.execute(f"DELETE FROM {table} WHERE id >= 4").rowcount == 6
    assert cursor.execute(f"SELECT * FROM {table}").rowcount == 4


def test_psycopg_copies(connection, table):
    cursor = connection.cursor()
    with cursor.copy(f"COPY {table} (id, name) FROM STDIN") as copy:
        copy.write_row((1, "tab\tand\nline \\ é"))
        copy.write_row((2, None))
    assert cursor.statusmessage == "COPY 2"
    with cursor.copy(f"COPY (SELECT id, name FROM {table} ORDER BY id) TO STDOUT") as copy:
        assert list(copy.rows()) == [("1", "tab\tand\nline \\ é"), ("2", None)]
    with cursor.copy(f"COPY (SELECT id, name FROM {table} ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        assert list(copy.rows()) == [(1, "tab\tand\nline \\ é"), (2, None)]
    with pytest.raises(psycopg.errors.QueryCanceled):
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write_row((3, "x"))
            raise psycopg.errors.QueryCanceled("changed my mind")
    assert cursor.execute(f"SELECT count(*) FROM {table}").fetchone() == (2,)


def test_psycopg_reads_a_large_result_in_parts(connection):
    with connection.transaction(), connection.cursor("named", row_factory=rows.scalar_row) as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT range FROM range(25000)")
        total = 0
        for number, value in enumerate(cursor):
            total += value
            if number == 10:  # another statement in between
                assert connection.execute("SELECT 7").fetchone() == (7,)
        assert total == sum(range(25000))


def test_psycopg_transactions_commit_and_roll_back(connection, table):
    with connection.transaction():
        connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    with pytest.raises(ZeroDivisionError):
        with connection.transaction():
            connection.execute(f"INSERT INTO {table} VALUES (2, 'gone')")
            raise ZeroDivisionError
    assert connection.execute(f"SELECT id FROM {table}").fetchall() == [(1,)]
    connection.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT * FROM there_is_no_such_table")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_errors_say_their_state_and_position(connection):
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("SELECT 'é', * FROM there_is_no_such_table")
    assert caught.value.sqlstate == "42P01"
    assert caught.value.diag.statement_position == str("SELECT 'é', * FROM there_is_no_such_table".index("there") + 1)
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("SELEC 1")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        connection.execute("SELECT nothing_here FROM range(1)")


def test_a_statement_can_be_cancelled(connection):
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(ENDLESS)
    timer.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


# ---- asyncpg


def test_asyncpg_talks_binary(node):
    async def talk():
        connection = await asyncpg.connect(**address(node), database="millrace")
        for type_, value in PARAMETERS.items():
            assert await connection.fetchval(f"SELECT $1::{type_}", value) == value, type_
        for expression, expected in VALUES.items():
            got = await connection.fetchval(f"SELECT {expression}")
            assert (json.loads(got) if isinstance(expected, dict) else got) == expected, expression
        await connection.execute("CREATE TABLE pg_asyncpg (id INTEGER PRIMARY KEY, name VARCHAR)")
        await connection.executemany("INSERT INTO pg_asyncpg VALUES ($1, $2)", [(i, str(i)) for i in range(10)])
        async with connection.transaction():
            got = [row["id"] async for row in connection.cursor("SELECT id FROM pg_asyncpg ORDER BY id", prefetch=3)]
        assert got == list(range(10))
        await connection.execute("DROP TABLE pg_asyncpg")
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch(ENDLESS, timeout=0.5)
        await connection.reset()
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()

    asyncio.run(talk())


# ---- JDBC


def test_jdbc(node, pgjdbc_jar, tmp_path):
    subprocess.run(["javac", "-d", tmp_path, HERE / "jdbc" / "JdbcCheck.java"], check=True)
    done = subprocess.run(["java", "-cp", f"{tmp_path}:{pgjdbc_jar}", "JdbcCheck", node.pg], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.strip() == "ok", done.stdout + done.stderr


# ---- what clients ask of PostgreSQL's catalog


def test_no_statement_of_a_client_costs_the_connection(connection):
    """The statements that these clients and SQLAlchemy were seen to send to PostgreSQL. Not each has an answer yet; none may hurt."""
    connection.execute("CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR, amount DOUBLE, ts TIMESTAMPTZ)")
    answered, refused = [], []
    for query in json.loads((HERE / "pg_client_queries.json").read_text()):
        try:
            sql = query["sql"]
            if sql.lower().startswith("copy"):
                with connection.cursor().copy(sql) as copy:
                    list(copy)
            elif "$1" in sql:
                if connection.pgconn.prepare(b"", sql.encode()).status != psycopg.pq.ExecStatus.COMMAND_OK:
                    raise psycopg.ProgrammingError(sql)
            else:
                connection.execute(sql.encode())
            answered.append(query)
        except psycopg.Error:
            refused.append(query)
        assert not connection.closed, query
    print(f"{len(answered)} of {len(answered) + len(refused)} answered")
    connection.execute("ROLLBACK")
    connection.execute("DROP TABLE orders")
    assert len(answered) >= 30


# ---- bytes that are no client's


@pytest.mark.parametrize("bytes_", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, b"\xff" * 64, b"\x00\x00\x00\x08\x00\x03\x00\x00"])
def test_nonsense_ends_its_connection_alone(node, connection, bytes_):
    import socket
    to = address(node)
    with socket.create_connection((to["host"], to["port"]), timeout=20) as stranger:
        stranger.sendall(bytes_)
        stranger.settimeout(20)
        answer = b""
        while more := stranger.recv(4096):
            answer += more
    assert answer[:1] == b"E"
    assert connection.execute("SELECT 1").fetchone() == (1,)
