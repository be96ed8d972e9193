#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write the reference of all types, as the program itself tells it.

properties.py HOSTMEMD >properties.rst
"""

import re
import subprocess
import sys

HEAD = """\
Properties of objects and devices
=================================

``-object TYPE,id=ID,NAME=VALUE...`` on the command line and ``object-add`` over
QMP take these, and ``-object TYPE,help`` prints them.  For ``virtio-mem`` it is
``-device``, ``device_add`` and ``-device DRIVER,help``.
"""

OPTION = re.compile(r"  (?P<name>[\w.-]+)=<(?P<type>.+?)>(?:\s+- (?P<text>.*))?$")


DEVICES = ["virtio-mem"]  # its other names have the same properties


def help_lines(hostmemd, option, topic):
    """The lines below the heading of `-object TOPIC`."""
    text = subprocess.check_output([hostmemd, option, topic], text=True)
    return text.splitlines()[1:]


def option(line):
    match = OPTION.match(line)
    if not match:
        raise SystemExit(f"properties.py: cannot read the help line '{line}'")
    return f"``{match['name']}`` ({match['type']})\n    {escaped(match['text'])}\n"


def escaped(text):
    return re.sub(r"([*`|_\\])", r"\\\1", text or "No description.")


def describe(hostmemd, maker, name):
    print(name, "-" * len(name), "", sep="\n")
    lines = help_lines(hostmemd, maker, name + ",help")
    print(*map(option, lines), sep="\n")


def main():
    hostmemd = sys.argv[1]
    print(HEAD)
    for name in map(str.strip, help_lines(hostmemd, "-object", "help")):
        describe(hostmemd, "-object", name)
    for name in DEVICES:
        describe(hostmemd, "-device", name)


main()
