#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What holds for every file, whatever its language."""

import itertools
import re

import sources
import tap

LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"
PROSE = (".rst", "LICENSE")
# A folder of somebody's own machine, spelled so that this file passes.
WORKPLACE = re.compile("/(wo" "rk|ho" "me)/")


def texts():
    return itertools.chain(sources.files(), sources.top_files())


def lines():
    for path in texts():
        for number, line in enumerate(sources.read(path).splitlines(), 1):
            yield f"{path}:{number}", line


def licence():
    """every source file says its licence at its top"""
    for path in texts():
        head = sources.read(path).split("\n", 2)
        first = head[head[0].startswith("#!")]
        if not path.endswith(PROSE) and LICENCE not in first:
            yield path


def blanks():
    """no tab, no trailing blank, a newline at the end"""
    for place, line in lines():
        if "\t" in line or line != line.rstrip():
            yield place
    for path in texts():
        text = sources.read(path)
        if text and not text.endswith("\n") or text.endswith("\n\n"):
            yield f"{path}: its end"


def no_workplace():
    """no path of anybody's own machine"""
    for place, line in lines():
        if WORKPLACE.search(line):
            yield place


tap.run(licence, blanks, no_workplace)
