"""The house rules that a machine can check: who includes whom, what a header may hold, how long a file may be."""
import json
import pathlib
import re
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"

# room: (rooms that it may include besides base, patterns of foreign headers beyond the standard library and those of every room)
ROOMS = {
    "base": ([], r"fmt/|spdlog/|prometheus/|zlib\.h|zstd\.h|lz4|snappy|xxhash|nmmintrin\.h|openssl/"),
    "base/io": (["base"], r"boost/asio|liburing\.h"),
    "log": (["base/io"], r"librdkafka/"),
    "wasm": (["base/io"], r"wasmtime|openssl/"),
    "catalog": (["log"], r"boost/json"),
    "guard": (["catalog"], r"openssl/"),
    "broker": (["log", "catalog", "wasm"], r"boost/json|re2/"),
    "kafka": (["broker", "guard"], r"boost/"),
    "sql": (["catalog", "broker", "guard"], r"duckdb|simdjson"),
    "table": (["log", "sql"], r"duckdb|boost/unordered"),
    "flow": (["sql", "table", "broker"], r"duckdb|boost/(unordered|intrusive)|boost/json|simdjson"),
    "pgwire": (["sql", "table", "flow"], r"duckdb"),
    "http": (["sql", "table", "flow"], r"boost/beast|boost/asio|duckdb"),
    "connect": (["broker"], r"librdkafka/|boost/(asio|beast)|openssl/|simdjson"),
    "app": (["base", "base/io", "log", "wasm", "catalog", "guard", "broker", "kafka", "sql", "table", "flow", "pgwire", "http", "connect"],
            r"CLI/|librdkafka/|libpq-fe\.h|boost/json|absl/time|duckdb"),
}
SYSTEM = re.compile(r"^[a-z_]+$|^[a-z0-9_]+\.h$|^(sys|arpa|netinet|linux|bits)/|^cxxabi|fmt/|gtest/|gmock/|x86intrin")


def reachable(room):
    seen, todo = set(), [room]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += ROOMS[at][0]
    return seen | {"base"}


def room_of(path):
    parts = path.relative_to(SRC).parts
    return "base/io" if parts[:2] == ("base", "io") else parts[0]


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).exists()]


SOURCES = [p for p in tracked("src/*") if p.suffix in (".h", ".cc")]


def quoted_room(name):
    parts = name.split("/")
    return "base/io" if parts[:2] == ["base", "io"] else parts[0]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_includes_only_what_its_line_allows(room):
    wrong = []
    allowed = reachable(room)
    foreign = re.compile(ROOMS[room][1])
    for path in (p for p in SOURCES if room_of(p) == room):
        for kind, name in re.findall(r'^\s*#\s*include\s+(["<])([^">]+)[">]', path.read_text(), re.M):
            where = f"{path.relative_to(ROOT)}: {name}"
            if kind == '"':
                target = quoted_room(name)
                generated = target == "kafka" and room == "kafka"
                if target not in allowed and not generated:
                    wrong.append(where)
                elif "/detail/" in name and target != room:
                    wrong.append(where + " (another room's detail)")
            elif not SYSTEM.search(name) and not foreign.search(name):
                wrong.append(where)
    assert not wrong, "\n".join(wrong)


def test_every_room_says_what_it_is_in_a_readme_of_one_screen():
    missing = [room for room in ROOMS if not (SRC / room / "README.md").exists()]
    assert not missing
    long = [room for room in ROOMS if len((SRC / room / "README.md").read_text().splitlines()) > 50]
    assert not long


def test_a_door_has_at_most_ten_headers():
    for room in ROOMS:
        headers = [p for p in SOURCES if p.suffix == ".h" and p.parent == SRC / room]
        assert len(headers) <= 12, f"{room}: {[h.name for h in headers]}"


def test_heavy_headers_stand_in_no_header():
    wrong = [p for p in SOURCES if p.suffix == ".h" and re.search(r"#\s*include\s*<boost/(asio|beast)", p.read_text())
             and "detail" not in p.parts]
    assert not wrong


def test_sources_hold_one_idea():
    long = [f"{p.relative_to(ROOT)}: {n} lines" for p in SOURCES if (n := len(p.read_text().splitlines())) > 600]
    assert not long, "\n".join(long)


def test_headers_begin_with_pragma_once():
    assert not [p for p in SOURCES if p.suffix == ".h" and not p.read_text().startswith("#pragma once")]


def test_nobody_throws_or_frees_by_hand():
    wrong = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = re.sub(r'"(\\.|[^"\\])*"|//.*', "", line)
            if re.search(r"\bdelete\s+\w|(?<![.>\w])(malloc|free)\(", code):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_no_todo_without_an_issue():
    wrong = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and not re.search(r"#\d+", line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}")
    assert not wrong, "\n".join(wrong)


def test_each_header_compiles_alone():
    """With the flags of a source of its room, checked by the compiler's syntax pass, all in two processes at a time."""
    commands = json.loads((ROOT / "build" / "release" / "compile_commands.json").read_text())
    flags = {}
    for entry in commands:
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(SRC):
            flags.setdefault(room_of(path), entry)
    processes, failures = [], []

    def reap(limit):
        while len(processes) > limit:
            path, process = processes.pop(0)
            output = process.communicate()[0]
            if process.returncode:
                failures.append(f"{path}: {output[:400]}")

    for path in (p for p in SOURCES if p.suffix == ".h"):
        entry = flags.get(room_of(path))
        if not entry:
            continue
        words = shlex.split(entry["command"])
        words = words[next(i for i, w in enumerate(words) if w.endswith("clang++-19")):]
        for option, count in (("-o", 2), ("-c", 2), ("-MT", 2), ("-MF", 2), ("-MD", 1)):
            while option in words:
                at = words.index(option)
                del words[at:at + count]
        words += ["-fsyntax-only", "-x", "c++", "-Wno-pragma-once-outside-header", "-Wno-unused-function", str(path)]
        processes.append((path.relative_to(ROOT), subprocess.Popen(words, cwd=entry["directory"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
        reap(1)
    reap(0)
    assert not failures, "\n".join(failures)


def test_no_registry_host_or_machine_path_is_written_down():
    hosts = re.compile(r"(^|[^A-Za-z0-9_.])/(work|farm|root)/|registry\.npm" + r"js|py" + r"pi\.org|files\.python" + r"hosted|static\.crat" +
                       r"es|repo1?\.mav" + r"en|proxy\.gol" + r"ang|deb\.debi" + r"an\.org")
    wrong = []
    for path in tracked("."):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {line.strip()[:80]}" for line in text.splitlines() if hosts.search(line)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("tool", ["errors_doc.py", "kafka_doc.py"])
def test_a_page_made_from_the_code_is_what_the_code_says(tool):
    done = subprocess.run(["python3", ROOT / "tools" / tool, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
