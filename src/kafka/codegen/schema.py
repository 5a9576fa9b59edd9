"""Reads Kafka message schemas (JSON with // comments) into a model that the emitters walk."""

import json
import re
from dataclasses import dataclass, field

# The widest range that a field's "versions" can mean.
MAX_VERSION = 32767

# Fixed-size wire types: C++ type, the Reader/Writer method, bytes on the wire.
PRIMITIVES = {
    "bool": ("bool", "boolean", 1),
    "int8": ("int8_t", "int8", 1),
    "int16": ("int16_t", "int16", 2),
    "uint16": ("uint16_t", "uint16", 2),
    "int32": ("int32_t", "int32", 4),
    "int64": ("int64_t", "int64", 8),
    "float64": ("double", "float64", 8),
    "uuid": ("Uuid", "uuid", 16),
}
# Types with a length in front.
SIZED = {"string": "std::string", "bytes": "std::string", "records": "Records"}


@dataclass(frozen=True)
class Range:
    """Versions lo..hi, both inclusive; empty when lo > hi."""

    lo: int
    hi: int

    def __bool__(self):
        return self.lo <= self.hi

    def __and__(self, other):
        return Range(max(self.lo, other.lo), min(self.hi, other.hi))

    def covers(self, other):
        return self.lo <= other.lo and other.hi <= self.hi


EMPTY = Range(1, 0)


def parse_range(text):
    if text is None or text == "none":
        return EMPTY
    if text.endswith("+"):
        return Range(int(text[:-1]), MAX_VERSION)
    lo, _, hi = text.partition("-")
    return Range(int(lo), int(hi or lo))


def snake_case(name):
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return text.lower()


@dataclass
class Struct:
    name: str
    fields: list


@dataclass
class Field:
    name: str
    versions: Range  # where the field is on the wire at all
    nullable: Range
    tagged: Range
    tag: int
    ignorable: bool
    default: object
    type: str  # element type for arrays
    is_array: bool
    struct: Struct  # for struct types and arrays of them

    @property
    def is_nullable(self):
        return bool(self.nullable)

    def element_cpp(self):
        if self.struct:
            return self.struct.name
        if self.type in PRIMITIVES:
            return PRIMITIVES[self.type][0]
        return SIZED[self.type]

    def cpp_type(self):
        base = self.element_cpp()
        if self.is_array:
            base = f"std::vector<{base}>"
        return f"std::optional<{base}>" if self.is_nullable else base

    def cpp_default(self):
        """The initialiser after the member's name, or an empty text for T{}."""
        if self.default == "null":
            return "= std::nullopt"
        if self.is_nullable:
            # Kafka's default of nullable records is null, of other nullable types the empty value.
            return "= std::nullopt" if self.type == "records" else f"= {self.inner_cpp()}()"
        if self.is_array or self.struct or self.type in ("records", "uuid", "bytes"):
            return "= {}"
        if self.type == "string":
            return f'= "{self.default}"' if self.default else "= {}"
        if self.type == "bool":
            return f"= {str(self.default or 'false').lower()}"
        return f"= {self.integer_default()}"

    def integer_default(self):
        value = int(str(self.default or 0), 0)
        return "INT64_MIN" if value == -(2**63) else "INT32_MIN" if value == -(2**31) else str(value)

    def inner_cpp(self):
        base = self.element_cpp()
        return f"std::vector<{base}>" if self.is_array else base


@dataclass
class Message:
    name: str
    api_key: int
    kind: str
    valid: Range
    advertised: Range
    flexible: Range
    fields: list
    structs: list  # in an order in which each is declared before its use

    @property
    def api(self):
        return self.name.removesuffix("Request").removesuffix("Response")


def min_wire_bytes(f):
    """The least bytes that one element of an array field takes in any version: what bounds a count."""
    if f.type in PRIMITIVES:
        return PRIMITIVES[f.type][2]
    return 1


def load(path):
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not re.match(r"\s*//", line)]
    raw = json.loads("".join(lines))
    valid = parse_range(raw["validVersions"])
    # An unstable latest version is decoded, and not offered to clients.
    advertised = Range(valid.lo, valid.hi - 1) if raw.get("latestVersionUnstable") else valid
    structs = []

    def build_fields(items, versions):
        fields = []
        for item in items:
            f = build_field(item, versions)
            if f.versions:
                fields.append(f)
        return fields

    def build_field(item, outer):
        versions = parse_range(item["versions"]) & outer
        text = item["type"]
        is_array = text.startswith("[]")
        text = text.removeprefix("[]")
        struct = None
        if text not in PRIMITIVES and text not in SIZED:
            if "fields" in item:
                struct = Struct(text, build_fields(item["fields"], versions))
                structs.append(struct)
            else:
                struct = next(s for s in structs if s.name == text)
        return Field(
            name=snake_case(item["name"]),
            versions=versions,
            nullable=parse_range(item.get("nullableVersions")) & versions,
            tagged=parse_range(item.get("taggedVersions")) & versions,
            tag=item.get("tag", -1),
            ignorable=item.get("ignorable", False),
            default=item.get("default"),
            type=text,
            is_array=is_array,
            struct=struct,
        )

    # Common structs may name each other in any order.
    common = raw.get("commonStructs", [])
    while common:
        waiting = {item["name"] for item in common}
        ready = [c for c in common if not any(f["type"].removeprefix("[]") in waiting for f in c["fields"])]
        for item in ready:
            structs.append(Struct(item["name"], build_fields(item["fields"], parse_range(item["versions"]) & valid)))
        common = [item for item in common if item not in ready]
    fields = build_fields(raw["fields"], valid)
    return Message(
        name=raw["name"],
        api_key=raw["apiKey"],
        kind=raw["type"],
        valid=valid,
        advertised=advertised,
        flexible=parse_range(raw["flexibleVersions"]) & valid,
        fields=fields,
        structs=structs,
    )
