#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The documents are well-formed and say what is so."""

import os
import pathlib
import re
import shutil
import subprocess

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HOSTMEM_BUILD", SOURCE / "build"))
DOCS = SOURCE / "docs"


def documents():
    yield SOURCE / "README.rst"
    yield from sorted(DOCS.glob("*.rst"))
    yield from sorted((BUILD / "docs").glob("*.rst"))


def listed(page, heading):
    """The ``words`` in the first column of the table below a heading."""
    table = (DOCS / page).read_text().split(f"\n{heading}\n", 1)[1]
    rows = re.split(r"^=+  =+$", table, maxsplit=2, flags=re.M)[1]
    return set(re.findall(r"``([\w-]+)``", "".join(
        line.split("  ")[0] for line in rows.splitlines())))


def test_markup_is_strict():
    for name in ("rst2html", "rst2html.py"):
        if shutil.which(name):
            break
    else:
        harness.skip("there is no rst2html (docutils)")
    for path in documents():
        subprocess.run([name, "--strict", path], check=True,
                       stdout=subprocess.DEVNULL)


def test_example_runs():
    result = subprocess.run([BUILD / "tests" / "docs" / "embed"], check=True,
                            capture_output=True, text=True)
    ram0, ram1 = result.stdout.splitlines()
    assert re.fullmatch(
        r"ram0: 67108864 bytes at 0x[0-9a-f]+, descriptor \d+", ram0), ram0
    assert re.fullmatch(
        r"ram1: 16777216 bytes at 0x[0-9a-f]+, descriptor -1", ram1), ram1


def test_example_is_short():
    text = re.sub(r"/\*.*?\*/", "", (DOCS / "embed.c").read_text(), flags=re.S)
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) < 30, f"{len(lines)} lines"


def test_qmp_page_has_each_command():
    with harness.Hostmemd() as daemon:
        commands = daemon.qmp.execute("query-commands")
    names = {command["name"] for command in commands}
    assert listed("qmp.rst", "Commands\n--------") == names


def test_qmp_page_has_each_event():
    with harness.Hostmemd() as daemon:
        schema = daemon.qmp.execute("query-qmp-schema")
    names = {entry["name"] for entry in schema if entry["meta-type"] == "event"}
    (text,) = re.findall(r"^Events: [^.]*", (DOCS / "qmp.rst").read_text(), re.M)
    assert set(re.findall(r"``(\w+)``", text)) == names


def test_properties_page_has_each_type():
    page = BUILD / "docs" / "properties.rst"
    if not page.exists():
        harness.skip("built without docs")
    types = harness.run_hostmemd(["-object", "help"]).stdout.splitlines()[1:]
    assert types
    for name in ["virtio-mem", *map(str.strip, types)]:
        assert f"\n{name}\n{'-' * len(name)}\n" in page.read_text(), name


def test_readme_leads_to_each_document():
    readme = (SOURCE / "README.rst").read_text()
    for path in DOCS.glob("*.rst"):
        assert f"docs/{path.name}" in readme, path.name


if __name__ == "__main__":
    harness.main()
