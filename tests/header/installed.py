#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program compiles, links and runs against what `meson install` makes.

installed.py BUILD-FOLDER C-COMPILER PROGRAM.c
"""

import glob
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile


def install(build, stage):
    """Install below a folder; its pkg-config file then points there."""
    subprocess.run(
        shlex.split(os.environ.get("MESON", "meson"))
        + ["install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage],
        check=True,
        stdout=sys.stderr,
    )
    (pc,) = map(pathlib.Path, glob.glob(stage + "/**/hostmem.pc", recursive=True))
    pc.write_text(pc.read_text().replace("prefix=/", f"prefix={stage}/", 1))
    return pc.parent


def flags(pc_folder):
    return shlex.split(
        subprocess.check_output(
            shlex.split(os.environ.get("PKG_CONFIG", "pkg-config"))
            + ["--cflags", "--libs", "hostmem"],
            env={**os.environ, "PKG_CONFIG_PATH": str(pc_folder)},
            text=True,
        )
    )


def main():
    build, compiler, source = sys.argv[1:]
    print("1..1")
    with tempfile.TemporaryDirectory() as stage:
        pc_folder = install(build, stage)
        program = stage + "/program"
        subprocess.run(
            [*shlex.split(compiler), source, "-o", program, *flags(pc_folder)],
            check=True,
        )
        subprocess.run(
            [program],
            check=True,
            stdout=sys.stderr,
            env={**os.environ, "LD_LIBRARY_PATH": str(pc_folder.parent)},
        )
    print("ok 1 - the installed library can be built against and run")


main()
