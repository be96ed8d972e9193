# SPDX-License-Identifier: LGPL-2.1-or-later
"""query-qmp-schema: consistent in itself, and true."""

import harness
from harness import Hostmemd

MEMBERS = {
    "builtin": {"json-type"},
    "enum": {"members", "values"},
    "array": {"element-type"},
    "object": {"members", "tag", "variants"},
    "command": {"arg-type", "ret-type", "allow-oob"},
    "event": {"arg-type"},
}


def read_schema(daemon):
    return daemon.qmp.execute("query-qmp-schema")


def by_name(schema):
    return {entry["name"]: entry for entry in schema}


def test_names_are_unique():
    with Hostmemd() as daemon:
        schema = read_schema(daemon)
    assert len(by_name(schema)) == len(schema)


def test_entries_have_the_members_of_their_kind():
    with Hostmemd() as daemon:
        schema = read_schema(daemon)
    for entry in schema:
        assert set(entry) - {"name", "meta-type"} <= MEMBERS[
            entry["meta-type"]], entry


def references(entry):
    yield from (entry[key] for key in ("arg-type", "ret-type", "element-type")
                if key in entry)
    if entry["meta-type"] == "object":
        yield from (member["type"] for member in entry["members"])
        yield from (variant["type"] for variant in entry.get("variants", []))


def test_every_reference_leads_to_a_type():
    with Hostmemd() as daemon:
        entries = by_name(read_schema(daemon))
    for entry in entries.values():
        for name in references(entry):
            assert entries[name]["meta-type"] not in ("command", "event"), (
                entry, name)


def test_every_type_is_referred_to():
    with Hostmemd() as daemon:
        entries = by_name(read_schema(daemon))
    used = {name for entry in entries.values() for name in references(entry)}
    roots = {name for name, entry in entries.items()
             if entry["meta-type"] in ("command", "event")}
    assert set(entries) == used | roots, set(entries) - used - roots


def test_arrays_are_named_by_their_element():
    with Hostmemd() as daemon:
        schema = read_schema(daemon)
    for entry in schema:
        if entry["meta-type"] == "array":
            assert entry["name"] == f"[{entry['element-type']}]", entry


def test_commands_are_those_of_query_commands():
    with Hostmemd() as daemon:
        schema = read_schema(daemon)
        commands = {c["name"] for c in daemon.qmp.execute("query-commands")}
    assert commands == {entry["name"] for entry in schema
                        if entry["meta-type"] == "command"}


def type_names(daemon, **options):
    return {t["name"] for t in daemon.qmp.execute("qom-list-types", **options)}


def test_object_add_has_a_variant_for_each_type():
    with Hostmemd() as daemon:
        entries = by_name(read_schema(daemon))
        types = type_names(daemon) - type_names(daemon, implements="device")
    options = entries[entries["object-add"]["arg-type"]]
    assert options["tag"] == "qom-type", options
    assert {v["case"] for v in options["variants"]} == types, options
    tag, = (m for m in options["members"] if m["name"] == "qom-type")
    assert set(entries[tag["type"]]["values"]) == types, entries[tag["type"]]


def test_options_say_what_is_mandatory():
    with Hostmemd() as daemon:
        entries = by_name(read_schema(daemon))
    options = entries[entries["object-add"]["arg-type"]]
    variant, = (v["type"] for v in options["variants"]
                if v["case"] == "memory-backend-file")
    members = {m["name"]: m for m in entries[variant]["members"]}
    assert "default" not in members["mem-path"], members
    assert members["prealloc"]["default"] is None, members
    assert "populated-size" not in members, members


def test_answers_have_the_members_that_the_schema_says():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        entries = by_name(read_schema(daemon))
        for name in ("query-version", "query-status", "query-memdev",
                     "query-commands", "query-qmp-schema", "qom-list-types"):
            check(entries, entries[entries[name]["ret-type"]],
                  daemon.qmp.execute(name))


JSON_TYPES = {"string": str, "int": int, "boolean": bool, "value": object}


def check(entries, kind, value):
    """Check a value against an entry of the schema."""
    if kind["meta-type"] == "array":
        for element in value:
            check(entries, entries[kind["element-type"]], element)
    elif kind["meta-type"] == "builtin":
        assert isinstance(value, JSON_TYPES[kind["json-type"]]), (kind, value)
    elif kind["meta-type"] == "enum":
        assert value in kind["values"], (kind, value)
    else:
        members = {m["name"]: m for m in kind["members"]}
        mandatory = {n for n, m in members.items() if "default" not in m}
        assert mandatory <= set(value) <= set(members), (kind, value)
        for name, member in value.items():
            check(entries, entries[members[name]["type"]], member)


if __name__ == "__main__":
    harness.main()
