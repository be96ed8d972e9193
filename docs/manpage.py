#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Put the program's own --help into its manual page, as a literal block.

manpage.py PROGRAM PAGE.rst >PAGE-WITH-OPTIONS.rst
"""

import subprocess
import sys
import textwrap

MARK = "@HELP@\n"


def main():
    program, page = sys.argv[1:]
    text = subprocess.check_output([program, "--help"], text=True)
    with open(page, encoding="utf-8") as file:
        before, after = file.read().split(MARK)
    print(before + "::\n\n" + textwrap.indent(text, "    ") + "\n" + after, end="")


main()
