"""kafka-python: the cases of suites/suite_kafka_python.py."""
import pytest
from suite_runner import python_cases, python_suite

SUITE = python_suite("suite_kafka_python.py")


@pytest.mark.parametrize("case", python_cases("suite_kafka_python.py"))
def test_kafka_python(suite, case):
    suite.check(case)
