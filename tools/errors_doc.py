#!/usr/bin/env python3
"""Writes docs/errors.md from src/base/errors.def; with --check, fails when it is not what is there."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def document():
    text = (ROOT / "src/base/errors.def").read_text()
    rows = re.findall(r'^MR_ERROR\(k(\w+),\s*(-?\d+),\s*"(\w+)",\s*(\d+),\s*(\w+),\s*"(.*)"\)', text, re.M)
    lines = ["# Errors", "", "Made from `src/base/errors.def` by `tools/errors_doc.py`: one failure is told the same way on every wire.", "",
             "| error | meaning | Kafka code | SQLSTATE | HTTP | worth a retry |", "|---|---|---:|---|---:|---|"]
    lines += [f"| {name} | {meaning} | {kafka} | {sqlstate} | {http} | {'yes' if retry == 'true' else 'no'} |"
              for name, kafka, sqlstate, http, retry, meaning in rows]
    return "\n".join(lines) + "\n"


def main():
    path = ROOT / "docs/errors.md"
    if "--check" in sys.argv:
        sys.exit(0 if path.read_text() == document() else "docs/errors.md is not what src/base/errors.def says: run tools/errors_doc.py")
    path.write_text(document())


if __name__ == "__main__":
    main()
