#!/usr/bin/env python3
"""Makes the descriptors in this folder from the schemas that Kafka's jars carry.

Run it only to follow a new release of Kafka; the build does not need it.

    convert.py OUT NEW OLD...

OUT is this folder. NEW is a folder with the unpacked `common/message/*.json` of the current
release's kafka-clients, kafka-group-coordinator, kafka-transaction-coordinator and
kafka-share-coordinator; OLD one with those of the last release that spoke the old versions (3.9).
Only facts are taken over: names, types, versions, defaults. Versions marked unstable are left out.
Descriptors of `private.txt` are written by hand and not touched.
"""

import json
import os
import re
import sys

GROUPS = {
    "group_coordinator": re.compile(r"^(Consumer|Share|Streams)?(Group|LegacyOffset|OffsetCommit)\w*(Key|Value)$"),
    "share_coordinator": re.compile(r"^Share(Snapshot|Update)(Key|Value)$"),
    "transaction_coordinator": re.compile(r"^TransactionLog(Key|Value)$"),
    "control_records": re.compile(
        r"^(ControlRecordTypeSchema|EndTxnMarker|LeaderChangeMessage|Snapshot\w+Record|KRaftVersionRecord|VotersRecord)$"),
    "client_data": re.compile(r"^(ConsumerProtocol\w+|DefaultPrincipalData)$"),
}
# Written by hand in Rust.
SKIPPED = {"RequestHeader", "ResponseHeader"}
# Fields that were renamed without a change on the wire: (message, old name) -> name now.
RENAMED = {}


def load(folder):
    messages = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".json"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            message = json.loads(re.sub(r"(?m)^\s*//.*$", "", file.read()))
        message["range"] = versions(message["validVersions"], 99)
        messages[message["name"]] = message
    # The mark is on the request and holds for the response too.
    for message in list(messages.values()):
        if message["type"] == "request" and message.get("latestVersionUnstable"):
            for name in (message["name"], message["name"].replace("Request", "Response")):
                messages[name]["range"].discard(max(messages[name]["range"]))
    return {name: message for name, message in messages.items() if message["range"]}


def versions(text, top):
    """`3`, `1-3`, `2+` or `none` as a set."""
    if not text or text == "none":
        return set()
    if text.endswith("+"):
        return set(range(int(text[:-1]), top + 1))
    low, _, high = text.partition("-")
    return set(range(int(low), int(high or low) + 1))


def spell(numbers, top):
    low, high = min(numbers), max(numbers)
    assert numbers == set(range(low, high + 1)), f"gap in {sorted(numbers)}"
    if high == top:
        return f"{low}+"
    return str(low) if low == high else f"{low}-{high}"


def merge(message, sources, fields_of, scope):
    """Fields of one struct over all versions; `sources` says which schema holds for which versions."""
    order, facts = [], {}
    for index, (schema, valid) in enumerate(sources):
        place = 0
        for field in fields_of(schema):
            name = RENAMED.get((message, field["name"]), field["name"])
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place if index else len(order), name)
                place = order.index(name) + 1
                facts[name] = {"json": field, "present": set(), "null": set(), "tagged": set(), "sources": []}
            fact = facts[name]
            assert fact["json"]["type"] == field["type"], f"{message}.{name} changed its type"
            tagged = versions(field.get("taggedVersions"), 99)
            present = (versions(field.get("versions"), 99) or tagged) & valid & scope
            fact["present"] |= present
            fact["null"] |= versions(field.get("nullableVersions"), 99) & present
            fact["tagged"] |= tagged & present
            fact["sources"].append((field, valid))
    return [(name, facts[name]) for name in order if facts[name]["present"]]


def write_fields(out, message, top, sources, fields_of, scope, depth):
    for name, fact in merge(message, sources, fields_of, scope):
        field = fact["json"]
        line = f"{'  ' * depth}{name[0].upper() + name[1:]}: {field['type']} {spell(fact['present'], top)}"
        if fact["null"]:
            line += f" null {spell(fact['null'], top)}"
        if fact["tagged"]:
            assert fact["tagged"] == fact["present"], f"{message}.{name} is tagged in some versions only"
            line += f" tag {field['tag']}"
        default = field.get("default")
        if default is not None and default != "":
            line += f" default {str(default).lower() if isinstance(default, bool) else default}"
        if field.get("ignorable"):
            line += " ignorable"
        has_fields = any(source.get("fields") for source, _ in fact["sources"])
        out.append(line + (" {" if has_fields else ""))
        if has_fields:
            write_fields(out, message, top, fact["sources"], lambda s: s.get("fields", []), fact["present"], depth + 1)
            out.append("  " * depth + "}")


def write_message(out, name, releases):
    sources, covered = [], set()
    for release in releases:
        if name in release:
            schema = release[name]
            sources.append((schema, schema["range"] - covered))
            covered |= schema["range"]
    schema = sources[0][0]
    top = max(covered)
    flexible = next(s["flexibleVersions"] for s, _ in sources if s["flexibleVersions"]) if schema["type"] else "none"
    kind = {"request": "request", "response": "response"}.get(schema["type"], "data")
    head = f"{kind} {name}"
    if kind != "data":
        head += f" key {schema['apiKey']}"
    elif schema["type"].startswith("coordinator"):
        head += f" record {schema['apiKey']}"
    head += f" versions {min(covered)}-{top}"
    if flexible != "none":
        head += f" flexible {flexible.rstrip('+')}"
    spell(covered, top)
    out.append(head + " {")
    write_fields(out, name, top, sources, lambda s: s["fields"], covered, 1)
    structs = []
    for source, _ in sources:
        for struct in source.get("commonStructs", []):
            if struct["name"] not in structs:
                structs.append(struct["name"])
    for struct in structs:
        def fields_of(source, struct=struct):
            return next((s["fields"] for s in source.get("commonStructs", []) if s["name"] == struct), [])
        out.append(f"  struct {struct} {{")
        write_fields(out, name, top, sources, fields_of, covered, 2)
        out.append("  }")
    out.append("}")


def file_of(name):
    for group, pattern in GROUPS.items():
        if pattern.match(name):
            return group
    api = re.sub(r"(Request|Response)$", "", name)
    assert api != name, f"no file for {name}"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", api).lower()


def main():
    out_folder, *folders = sys.argv[1:]
    releases = [load(folder) for folder in folders]
    files = {}
    for name in sorted(releases[0]):
        if name not in SKIPPED:
            lines = files.setdefault(file_of(name), [])
            if lines:
                lines.append("")
            write_message(lines, name, releases)
    for name, lines in files.items():
        with open(os.path.join(out_folder, name + ".txt"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


main()
