#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each public header compiles alone, as C99 and as C++.

alone.py INCLUDE-FOLDER C-COMPILER [C++-COMPILER]
"""

import glob
import os
import shlex
import subprocess
import sys

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only")


def glib_flags():
    """GLib's folders as a system's: its own warnings are not ours."""
    flags = subprocess.check_output(
        shlex.split(os.environ.get("PKG_CONFIG", "pkg-config"))
        + ["--cflags", "gio-2.0"],
        text=True,
    )
    return shlex.split(flags.replace("-I", "-isystem"))


def complaints(compiler, language, folder, header):
    result = subprocess.run(
        shlex.split(compiler)
        + [*language, *WARNINGS, "-I" + folder, *glib_flags(), "-"],
        input=f"#include <hostmem/{header}>\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = result.stdout.splitlines()
    return lines if result.returncode == 0 or lines else ["the compiler failed"]


def main():
    folder, c, cxx = sys.argv[1:]
    dialects = {
        "C99": (c, ("-xc", "-std=c99")),
        "C++": (cxx, ("-xc++", "-std=c++11")),
    }
    headers = sorted(map(os.path.basename, glob.glob(folder + "/hostmem/*.h")))
    print(f"1..{len(dialects) * len(headers)}")
    number = 0
    failed = False
    for header in headers:
        for name, (compiler, language) in dialects.items():
            number += 1
            title = f"{number} - <hostmem/{header}> is {name}"
            if not compiler:
                print(f"ok {title} # SKIP there is no {name} compiler")
                continue
            lines = complaints(compiler, language, folder, header)
            print("not ok" if lines else "ok", title)
            for line in lines:
                print(f"# {line}", file=sys.stderr)
            failed |= bool(lines)
    return failed


sys.exit(main())
