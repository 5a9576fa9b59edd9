"""Apache Kafka's Java client, its share consumer, its admin client and Kafka Streams: the cases of suites/java, in one JVM."""
import subprocess

import pytest
from suite_runner import HERE, cases

FILES = ["ClientCases.java", "AdminCases.java", "ShareCases.java", "StreamsCases.java"]


def SUITE(request):
    classes = request.getfixturevalue("tmp_path_factory").mktemp("classes")
    libs = request.getfixturevalue("kafka_libs")
    subprocess.run(["javac", "-Xlint:-options", "-d", classes, "-cp", f"{libs}/*", *(HERE / "java").glob("*.java")], check=True)
    return ["java", "-Xmx512m", "-Dlog4j2.level=ERROR", "-cp", f"{classes}:{libs}/*", "Harness"], {}


@pytest.mark.parametrize("case", [name for file in FILES for name in cases(f"java/{file}", r"^    @Harness\.Case\n    static void (\w+)")])
def test_java(suite, case):
    suite.check(case)
