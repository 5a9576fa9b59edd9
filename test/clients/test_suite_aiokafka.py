"""aiokafka: the cases of suites/suite_aiokafka.py."""
import pytest
from suite_runner import python_cases, python_suite

SUITE = python_suite("suite_aiokafka.py")


@pytest.mark.parametrize("case", python_cases("suite_aiokafka.py"))
def test_aiokafka(suite, case):
    suite.check(case)
