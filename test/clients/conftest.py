import os
import pathlib
import sys

import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from node import ROOT, Node  # noqa: E402

sys.path[:0] = [str(ROOT / "examples" / "flights"), str(ROOT / "bench")]
import suite_runner  # noqa: E402
from kafka_peer import Kafka  # noqa: E402


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
    return pathlib.Path(os.environ["KAFKA_LIBS"]).resolve()


@pytest.fixture(scope="session")
def pgjdbc_jar():
    return pathlib.Path(os.environ["PGJDBC_JAR"])


class Address:
    """A broker that somebody else started."""

    def __init__(self, kafka):
        self.kafka = kafka


def quick_kafka(data):
    """Apache Kafka; what takes it long by default is asked to be quick."""
    return Kafka(data, offsets_topic_num_partitions=4, transaction_state_log_num_partitions=4, share_coordinator_state_topic_num_partitions=4)


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory):
    """Apache Kafka, started once a session."""
    started = quick_kafka(tmp_path_factory.mktemp("kafka") / "data")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def target(request):
    """What a suite of cases talks to: a node of its own; or, by the variable MILLRACE_TEST_TARGET, `kafka` (Apache Kafka, to learn
    whether the suite is right) or an address."""
    wanted = os.environ.get("MILLRACE_TEST_TARGET", "millrace")
    if wanted == "kafka":
        broker = request.getfixturevalue("apache_kafka")
    elif ":" in wanted:
        broker = Address(wanted)
    else:
        broker = request.getfixturevalue("node")
    broker.name = wanted
    return broker


@pytest.fixture(scope="module")
def suite(request, target, tmp_path_factory):
    """The results of the module's SUITE, a function that gives the command of its program; it runs once, with the cases that pytest
    is about to run."""
    command, environment = request.module.SUITE(request)
    results = suite_runner.Results(command, target, suite_runner.selected(request), tmp_path_factory.mktemp("suite"), **environment)
    yield results
    results.stop()
