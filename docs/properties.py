#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write the reference of the object types, as the program itself tells it.

properties.py HOSTMEMD >properties.rst
"""

import re
import subprocess
import sys

HEAD = """\
Properties of the object types
==============================

``-object TYPE,id=ID,NAME=VALUE...`` on the command line and ``object-add`` over
QMP take these, and ``-object TYPE,help`` prints them.
"""

OPTION = re.compile(r"  (?P<name>[\w.-]+)=<(?P<type>.+?)>(?:\s+- (?P<text>.*))?$")


def help_lines(hostmemd, topic):
    """The lines below the heading of `-object TOPIC`."""
    text = subprocess.check_output([hostmemd, "-object", topic], text=True)
    return text.splitlines()[1:]


def option(line):
    match = OPTION.match(line)
    if not match:
        raise SystemExit(f"properties.py: cannot read the help line '{line}'")
    return f"``{match['name']}`` ({match['type']})\n    {escaped(match['text'])}\n"


def escaped(text):
    return re.sub(r"([*`|_\\])", r"\\\1", text or "No description.")


def main():
    hostmemd = sys.argv[1]
    print(HEAD)
    for name in map(str.strip, help_lines(hostmemd, "help")):
        print(name, "-" * len(name), "", sep="\n")
        print(*map(option, help_lines(hostmemd, name + ",help")), sep="\n")


main()
