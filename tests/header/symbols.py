#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library exports what its headers declare, no less and no more.

symbols.py LIBRARY HEADER...
"""

import re
import subprocess
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.S)
FUNCTION = re.compile(r"^[A-Za-z][\w\s*]*\b(hostmem_\w+)\s*\(", re.M)


def declared(headers):
    names = set()
    for header in headers:
        with open(header, encoding="utf-8") as file:
            names |= set(FUNCTION.findall(COMMENT.sub("", file.read())))
    return names


def exported(library):
    lines = subprocess.check_output(
        ["nm", "--dynamic", "--defined-only", "--format=posix", library], text=True
    )
    return {line.split()[0] for line in lines.splitlines()}


def main():
    library, *headers = sys.argv[1:]
    wanted, found = declared(headers), exported(library)
    print("1..2")
    failed = False
    for number, title, names in (
        (1, "each declared function is exported", wanted - found),
        (2, "nothing else is exported", found - wanted),
    ):
        print(f"{'not ok' if names else 'ok'} {number} - {title}")
        for name in sorted(names):
            print(f"# {name}", file=sys.stderr)
        failed |= bool(names)
    return failed


sys.exit(main())
