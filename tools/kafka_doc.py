#!/usr/bin/env python3
"""Writes the table of requests in docs/kafka-compatibility.md from the code: what src/kafka/detail/dispatch.cc answers, at the
versions of src/kafka/schemata. With --check, fails when it is not what is there."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src" / "kafka" / "codegen"))
from schema import load  # noqa: E402

PATH = ROOT / "docs" / "kafka-compatibility.md"
BEGIN, END = "<!-- from the code: tools/kafka_doc.py -->", "<!-- end -->"


def table():
    routes = set(re.findall(r"\{ApiKey::k(\w+),", (ROOT / "src/kafka/detail/dispatch.cc").read_text()))
    messages = sorted((load(p) for p in (ROOT / "src/kafka/schemata").glob("*Request.json")), key=lambda m: m.api_key)
    lines = ["| key | request | versions |", "|---:|---|---|"]
    for message in messages:
        if message.api not in routes:
            continue
        lo, hi = message.advertised.lo, message.advertised.hi
        lines.append(f"| {message.api_key} | {message.api} | {lo if lo == hi else f'{lo} to {hi}'} |")
    return "\n".join(lines)


def document():
    text = PATH.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main():
    if "--check" in sys.argv:
        sys.exit(0 if PATH.read_text() == document() else "docs/kafka-compatibility.md is not what the code says: run tools/kafka_doc.py")
    PATH.write_text(document())


if __name__ == "__main__":
    main()
