"""Sarama: the cases of suites/go/sarama."""
import pytest
from node import ROOT
from suite_runner import cases


def SUITE(request):
    return [ROOT / "build" / "deps" / "test-go" / "sarama"], {}


@pytest.mark.parametrize("case", cases("go/sarama/main.go", r'^\t\t{"(\w+)", '))
def test_sarama(suite, case):
    suite.check(case)
