#!/usr/bin/env python3
"""Writes the C++ source that holds the SDKs' files, so that `millrace module init` needs the binary alone.

usage: embed_sdk.py SDK_FOLDER OUT.cc"""
import pathlib
import sys

sdk, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


def project(language, template):
    """(path in the project, file of the SDK), for one language; `template` is its own files."""
    files = [(where, sdk / language / "template" / name) for where, name in template.items()]
    files += [(name, sdk / "template" / name) for name in ("cases.jsonl", "records.jsonl")]
    if language == "cpp":
        files += [(f"sdk/millrace/{f.name}", f) for f in sorted((sdk / "cpp/include/millrace").glob("*.h"))]
    if language == "rust":
        files += [("sdk/Cargo.toml", sdk / "rust/Cargo.toml")]
        files += [(f"sdk/src/{f.name}", f) for f in sorted((sdk / "rust/src").glob("*.rs"))]
    if language == "assemblyscript":
        files += [(f"sdk/assembly/{f.name}", f) for f in sorted((sdk / "assemblyscript/assembly").glob("*.ts"))]
        files += [("sdk/testing.mjs", sdk / "assemblyscript/testing.mjs"), ("package-lock.json", sdk / "assemblyscript/package-lock.json")]
    return [(language, where, file) for where, file in files]


def content(file):
    text = file.read_text()
    # The examples stay in Millrace's own tree.
    return text.split("[[example]]")[0].rstrip() + "\n" if file.name == "Cargo.toml" and file.parent.name == "rust" else text


files = [
    *project("cpp", {"module.cc": "module.cc", "test.cc": "test.cc"}),
    *project("rust", {"Cargo.toml": "Cargo.toml", "src/lib.rs": "lib.rs"}),
    *project("assemblyscript", {"module.ts": "module.ts", "package.json": "package.json"}),
]
lines = ['#include "app/detail/module_project.h"', "", "namespace millrace::app {", "", "std::span<const ProjectFile> project_files() {",
         "  static constexpr ProjectFile kFiles[] = {"]
lines += [f'      {{"{language}", "{where}", R"~~~~({content(file)})~~~~"}},' for language, where, file in files]
lines += ["  };", "  return kFiles;", "}", "", "}  // namespace millrace::app", ""]
out.write_text("\n".join(lines))
