"""librdkafka 2.x, by confluent-kafka: the cases of suites/suite_librdkafka.py and of what it imports."""
import pytest
from suite_runner import python_cases, python_suite

SUITE = python_suite("suite_librdkafka.py")


@pytest.mark.parametrize("case", python_cases("suite_librdkafka.py", "librdkafka_groups.py"))
def test_librdkafka(suite, case):
    suite.check(case)
