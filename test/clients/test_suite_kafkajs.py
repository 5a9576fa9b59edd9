"""kafkajs: the cases of suites/js/suite.js."""
import pytest
from node import ROOT
from suite_runner import HERE, cases


def SUITE(request):
    return ["node", HERE / "js" / "suite.js"], {"NODE_PATH": str(ROOT / "build" / "deps" / "test-js" / "node_modules")}


@pytest.mark.parametrize("case", cases("js/suite.js", r"^test\('(\w+)'"))
def test_kafkajs(suite, case):
    suite.check(case)
