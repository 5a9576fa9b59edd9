import os
import pathlib
import sys

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from node import ROOT, Node  # noqa: E402

sys.path.insert(0, str(ROOT / "examples" / "flights"))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A fresh node that the tests of one file share."""
    started = Node(tmp_path_factory.mktemp("node") / "data")
    yield started
    started.stop()


@pytest.fixture
def own_node(tmp_path):
    """A fresh node for one test, which may kill and start it."""
    started = Node(tmp_path / "data")
    yield started
    started.stop()


@pytest.fixture
def sql(node):
    """Runs one statement on a connection of its own settings: autocommit; gives the rows, or None for a command."""
    host, port = node.pg.split(":")
    with psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True) as connection:
        def run(statement, *parameters):
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else None
        yield run


@pytest.fixture(scope="session")
def kafka_libs():
    """The folder of Apache Kafka's jars."""
    return pathlib.Path(os.environ["KAFKA_LIBS"])


@pytest.fixture(scope="session")
def pgjdbc_jar():
    return pathlib.Path(os.environ["PGJDBC_JAR"])
