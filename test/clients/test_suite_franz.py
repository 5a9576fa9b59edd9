"""franz-go: the cases of suites/go/franz."""
import pytest
from node import ROOT
from suite_runner import cases


def SUITE(request):
    return [ROOT / "build" / "deps" / "test-go" / "franz"], {}


@pytest.mark.parametrize("case", cases("go/franz/main.go", r'^\t\t{"(\w+)", '))
def test_franz(suite, case):
    suite.check(case)
