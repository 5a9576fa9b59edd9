"""The guest SDKs: the examples of each language give the same for every case of sdk/cases.jsonl, compiled natively with the
SDK's own harness, and as the WebAssembly that would be deployed."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
GUESTS = ROOT / "build" / "guests"
CASES = ROOT / "sdk" / "cases.jsonl"
EXAMPLES = ["redact", "to_columns", "by_field", "sessionise", "convert", "tour"]


def run(*command, **environment):
    done = subprocess.run([str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ | environment, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def guests():
    run("tools/guests.sh")


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("language", ["cpp", "rust", "assemblyscript"])
def test_an_example_gives_what_the_cases_say(language, example):
    module = GUESTS / language / f"{example}.wasm"
    run("node", "sdk/assemblyscript/testing.mjs", module, CASES, example)
    assert module.stat().st_size < 100_000


def test_the_cases_hold_natively_in_cpp():
    source, program = GUESTS / "cases.cc", GUESTS / "cases"
    includes = "".join(f'#include "{example}.cc"\n' for example in EXAMPLES)
    source.write_text(includes + '#include <millrace/testing.h>\nint main(int, char** a) { return millrace::testing::check_file(a[1]); }\n')
    run("clang++-19", "-std=c++20", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror",
        "-Isdk/cpp/include", "-Isdk/cpp/examples", source, "-o", program)
    # What a module keeps for its life it never frees.
    assert "0 failed" in run(program, CASES, ASAN_OPTIONS="detect_leaks=0")


def test_the_cases_hold_natively_in_rust():
    out = run("build/deps/rust/bin/cargo", "test", "--quiet", "--offline", "--locked", "--manifest-path", "sdk/rust/Cargo.toml", "--examples",
              CARGO_TARGET_DIR=str(GUESTS / "target"))
    assert out.count("1 passed") == len(EXAMPLES), out


def test_a_case_that_does_not_hold_is_told(tmp_path):
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"module":"m","transform":"has_error","case":"wrong","records":[{"value":"fine"}],"expect":{"records":[{"value":"fine"}]}}\n')
    done = subprocess.run(["node", "sdk/assemblyscript/testing.mjs", GUESTS / "assemblyscript" / "tour.wasm", cases], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "record of 0: key null, value 'fine'" in done.stderr and "0 passed, 1 failed" in done.stdout
