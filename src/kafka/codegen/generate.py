#!/usr/bin/env python3
"""Writes the C++ codecs of the Kafka messages in a folder of schemas.

    generate.py SCHEMA_FOLDER OUT_FOLDER

OUT_FOLDER gets messages.h (structs and the table of APIs), messages_<n>.cc (decode and encode), and for tests
messages_fill.h/.cc (random values for every field of a version). Files that would not change are not touched.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from schema import EMPTY, PRIMITIVES, load, min_wire_bytes  # noqa: E402

SOURCES = 8  # how many .cc the codecs are spread over
NOTICE = "// Generated from src/kafka/schemata by src/kafka/codegen/generate.py. Never edited.\n"


class Lines:
    """Text under construction, indented by blocks."""

    def __init__(self):
        self.lines = []
        self.depth = 0

    def add(self, text=""):
        self.lines.append("  " * self.depth + text if text else "")

    def open(self, text):
        self.add(text + " {")
        self.depth += 1

    def close(self, tail=""):
        self.depth -= 1
        self.add("}" + tail)

    def text(self):
        return "\n".join(self.lines) + "\n"


def condition(wanted, valid):
    """A C++ condition on `version` for being in `wanted`, given that it is in `valid`; None: always."""
    parts = []
    if wanted.lo > valid.lo:
        parts.append(f"version >= {wanted.lo}")
    if wanted.hi < valid.hi:
        parts.append(f"version <= {wanted.hi}")
    return " && ".join(parts) or None


def flag(wanted, valid):
    """As condition(), as an expression."""
    if not (wanted & valid):
        return "false"
    return condition(wanted, valid) or "true"


# ---- structs


def emit_struct_body(out, struct, qualified):
    for f in struct.fields:
        out.add(f"{f.cpp_type()} {f.name} {f.cpp_default()};")
    out.add()
    out.add("void read(Reader& in, int16_t version);")
    out.add("void write(Writer& out, int16_t version);")
    out.add(f"bool operator==(const {qualified}&) const = default;")


def emit_header(messages):
    out = Lines()
    out.add("#pragma once")
    out.add()
    out.add('#include "kafka/detail/wire.h"')
    out.add()
    out.open("namespace millrace::kafka")
    out.depth = 0
    for m in messages:
        # Not nested: an optional of a nested struct with initialisers cannot be a member of its enclosing class.
        for s in m.structs:
            out.add()
            out.open(f"struct {m.name}{s.name}")
            for used in {f.struct.name: f.struct for f in s.fields if f.struct}:
                out.add(f"using {used} = {m.name}{used};")
            emit_struct_body(out, s, m.name + s.name)
            out.close(";")
        out.add()
        out.open(f"struct {m.name}")
        out.add(f"static constexpr int16_t kApiKey = {m.api_key};")
        out.add(f"static constexpr int16_t kVersionMin = {m.valid.lo};")
        out.add(f"static constexpr int16_t kVersionMax = {m.valid.hi};")
        for s in m.structs:
            out.add(f"using {s.name} = {m.name}{s.name};")
        out.add()
        emit_struct_body(out, m, m.name)
        out.close(";")
    emit_table(out, [m for m in messages if m.kind == "request"])
    out.add()
    out.add("}  // namespace millrace::kafka")
    return NOTICE + out.text()


def emit_table(out, requests):
    requests = sorted(requests, key=lambda m: m.api_key)
    out.add()
    out.open("enum class ApiKey : int16_t")
    for m in requests:
        out.add(f"k{m.api} = {m.api_key},")
    out.close(";")
    out.add()
    out.add("/// The APIs that are answered, by key.")
    out.open("inline constexpr ApiInfo kApis[] =")
    for m in requests:
        flexible = m.flexible.lo if m.flexible else "INT16_MAX"
        out.add(f'{{{m.api_key}, "{m.api}", {m.advertised.lo}, {m.advertised.hi}, {flexible}}},')
    out.close(";")


# ---- decoding


def emit_read(out, m, struct, qualified):
    out.add()
    out.open(f"void {qualified}::read(Reader& in, [[maybe_unused]] int16_t version)")
    if m.flexible:
        out.add(f"[[maybe_unused]] const bool flexible = {flag(m.flexible, m.valid)};")
    else:
        out.add("[[maybe_unused]] constexpr bool flexible = false;")
    for f in struct.fields:
        plain = plain_versions(f)
        if not plain:
            continue
        guard = condition(plain, m.valid)
        if guard:
            out.open(f"if ({guard})")
        emit_read_value(out, m, f)
        if guard:
            out.close()
    emit_read_tags(out, m, struct)
    out.close()


def plain_versions(f):
    """Versions in which the field stands among the others, not in the tagged section."""
    if not f.tagged:
        return f.versions
    assert f.tagged == f.versions, f"{f.name}: tagged in some versions only"
    return EMPTY


def emit_read_value(out, m, f):
    null = flag(f.nullable, m.valid)
    if f.is_array:
        # Locals with a tail, which no field has.
        out.open(f"if (auto many_ = in.array(flexible, {null}, {min_wire_bytes(f)}))")
        target = f.name
        if f.is_nullable:
            out.add(f"auto& list_ = {f.name}.emplace();")
            target = "list_"
        out.add(f"{target}.reserve(*many_);")
        out.add("while ((*many_)-- > 0 && in.ok()) " + read_element(f, target))
        if f.is_nullable:
            out.depth -= 1
            out.add("} else {")
            out.depth += 1
            out.add(f"{f.name}.reset();")
        out.close()
    elif f.struct:
        if f.is_nullable:
            out.open("if (in.present())")
            out.add(f"{f.name}.emplace().read(in, version);")
            out.depth -= 1
            out.add("} else {")
            out.depth += 1
            out.add(f"{f.name}.reset();")
            out.close()
        else:
            out.add(f"{f.name}.read(in, version);")
    elif f.type in PRIMITIVES:
        out.add(f"{f.name} = in.{PRIMITIVES[f.type][1]}();")
    else:
        tail = f", {null}" if f.is_nullable else ""
        out.add(f"in.{f.type}({f.name}, flexible{tail});")


def read_element(f, target):
    if f.struct:
        return f"{target}.emplace_back().read(in, version);"
    if f.type in PRIMITIVES:
        return f"{target}.push_back(in.{PRIMITIVES[f.type][1]}());"
    return f"in.{f.type}({target}.emplace_back(), flexible);"


def emit_read_tags(out, m, struct):
    if not m.flexible:
        return
    tagged = sorted((f for f in struct.fields if f.tagged), key=lambda f: f.tag)
    if not tagged:
        out.add("if (flexible) in.skip_tags();")
        return
    out.add("if (!flexible) return;")
    out.open("for (uint32_t left = in.tag_count(); left > 0 && in.ok(); --left)")
    out.add("const auto tag = in.open_tag();")
    for i, f in enumerate(tagged):
        guard = condition(f.tagged, m.flexible)
        test = f"tag.id == {f.tag}" + (f" && {guard}" if guard else "")
        if i == 0:
            out.open(f"if ({test})")
        else:
            out.depth -= 1
            out.add(f"}} else if ({test}) {{")
            out.depth += 1
        emit_read_value(out, m, f)
    out.close()
    out.add("in.close_tag(tag);")
    out.close()


# ---- encoding


def is_default(f):
    if f.is_nullable and f.default == "null" or f.is_nullable and f.type == "records":
        return f"!{f.name}.has_value()"
    if f.is_nullable:
        return f"{f.name} && {f.name}->empty()"
    if f.is_array or f.type == "string" and not f.default:
        return f"{f.name}.empty()"
    if f.struct or f.type in ("records", "uuid"):
        return f"{f.name} == {f.cpp_type()}{{}}"
    return f"{f.name} {f.cpp_default().replace('=', '==', 1)}"


def emit_write(out, m, struct, qualified):
    out.add()
    out.open(f"void {qualified}::write(Writer& out, [[maybe_unused]] int16_t version)")
    if m.flexible:
        out.add(f"[[maybe_unused]] const bool flexible = {flag(m.flexible, m.valid)};")
    else:
        out.add("[[maybe_unused]] constexpr bool flexible = false;")
    for f in struct.fields:
        guard = condition(f.versions, m.valid)
        plain = plain_versions(f)
        if plain and guard:
            out.open(f"if ({guard})")
        if plain:
            emit_write_value(out, m, f)
        if not guard:
            continue
        # What this version cannot say must be at its default, unless it may be dropped.
        if plain and f.ignorable:
            out.close()
        elif plain:
            out.depth -= 1
            out.add(f"}} else if (!({is_default(f)})) {{")
            out.depth += 1
            out.add(f'out.fail("{struct.name}.{f.name}", version);')
            out.close()
        elif not f.ignorable:
            absent = f"!({guard}) && !({is_default(f)})"
            out.add(f'if ({absent}) out.fail("{struct.name}.{f.name}", version);')
    emit_write_tags(out, m, struct)
    out.close()


def emit_write_value(out, m, f):
    null = flag(f.nullable, m.valid)
    where = f'"{f.name}"'
    if f.is_array:
        if f.is_nullable:
            out.open(f"if (out.optional_array({f.name}, flexible, {null}, {where}))")
            out.add(f"for (auto& each : *{f.name}) " + write_element(f))
            out.close()
        else:
            out.add(f"out.array({f.name}.size(), flexible);")
            out.add(f"for (auto&& each : {f.name}) " + write_element(f))
    elif f.struct:
        if f.is_nullable:
            out.add(f"out.int8({f.name} ? 1 : -1);")
            out.add(f"if ({f.name}) {f.name}->write(out, version);")
        else:
            out.add(f"{f.name}.write(out, version);")
    elif f.type in PRIMITIVES:
        out.add(f"out.{PRIMITIVES[f.type][1]}({f.name});")
    elif f.is_nullable:
        out.add(f"out.{f.type}({f.name}, flexible, {null}, {where});")
    else:
        out.add(f"out.{f.type}({f.name}, flexible);")


def write_element(f):
    if f.struct:
        return "each.write(out, version);"
    if f.type in PRIMITIVES:
        return f"out.{PRIMITIVES[f.type][1]}(each);"
    return f"out.{f.type}(each, flexible);"


def emit_write_tags(out, m, struct):
    if not m.flexible:
        return
    tagged = sorted((f for f in struct.fields if f.tagged), key=lambda f: f.tag)
    if not tagged:
        out.add("if (flexible) out.varint(0);")
        return
    out.add("if (!flexible) return;")
    for f in tagged:
        guard = condition(f.tagged, m.flexible)
        present = f"!({is_default(f)})" + (f" && {guard}" if guard else "")
        out.add(f"const bool has_{f.name} = {present};")
    out.add("out.varint(" + " + ".join(f"has_{f.name}" for f in tagged) + ");")
    for f in tagged:
        out.open(f"if (has_{f.name})")
        out.add(f"const auto tag = out.open_tag({f.tag});")
        emit_write_value(out, m, f)
        out.add("out.close_tag(tag);")
        out.close()


def emit_source(messages):
    out = Lines()
    out.add('#include "kafka/messages.h"')
    out.add()
    out.add("namespace millrace::kafka {")
    for m in messages:
        for s in m.structs:
            emit_read(out, m, s, f"{m.name}{s.name}")
            emit_write(out, m, s, f"{m.name}{s.name}")
        emit_read(out, m, m, m.name)
        emit_write(out, m, m, m.name)
    out.add()
    out.add("}  // namespace millrace::kafka")
    return NOTICE + out.text()


# ---- for tests


def emit_fill(messages):
    head, out = Lines(), Lines()
    head.add("#pragma once")
    head.add()
    head.add('#include "kafka/detail/testing.h"')
    head.add('#include "kafka/messages.h"')
    head.add()
    head.add("namespace millrace::kafka {")
    out.add('#include "kafka/messages_fill.h"')
    out.add()
    out.add("namespace millrace::kafka {")
    for m in messages:
        for s in m.structs + [m]:
            name = m.name if s is m else f"{m.name}{s.name}"
            signature = f"void fill_fields({name}& to, [[maybe_unused]] Filler& random, [[maybe_unused]] int16_t version)"
            head.add(f"{signature};")
            out.add()
            out.open(signature)
            for f in s.fields:
                guard = condition(f.versions, m.valid)
                test = f"if ({guard}) " if guard else ""
                out.add(f"{test}random.fill(to.{f.name}, version, {flag(f.nullable, m.valid)});")
            out.close()
    head.add()
    head.add("template <typename F>")
    head.open("void for_each_message(F f)")
    for m in messages:
        head.add(f'f.template operator()<{m.name}>("{m.name}");')
    head.close()
    for lines in (head, out):
        lines.add()
        lines.add("}  // namespace millrace::kafka")
    return NOTICE + head.text(), NOTICE + out.text()


def write_if_changed(path, text):
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    schemas, folder = sys.argv[1], sys.argv[2]
    names = sorted(n for n in os.listdir(schemas) if n.endswith(".json"))
    messages = [load(os.path.join(schemas, n)) for n in names]
    os.makedirs(folder, exist_ok=True)
    write_if_changed(os.path.join(folder, "messages.h"), emit_header(messages))
    for i in range(SOURCES):
        write_if_changed(os.path.join(folder, f"messages_{i}.cc"), emit_source(messages[i::SOURCES]))
    fill_header, fill_source = emit_fill(messages)
    write_if_changed(os.path.join(folder, "messages_fill.h"), fill_header)
    write_if_changed(os.path.join(folder, "messages_fill.cc"), fill_source)


if __name__ == "__main__":
    main()
