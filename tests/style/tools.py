#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What other tools say about the sources."""

import re
import shutil
import subprocess

import sources
import tap

CLANG_FORMAT = 14  # another version breaks lines elsewhere


def output(*command):
    """Run a command at the top; its complaints as lines."""
    result = subprocess.run(
        command,
        cwd=sources.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = result.stdout.splitlines()
    return lines if result.returncode == 0 or lines else [f"{command[0]} failed"]


def python_compiles():
    """Python files compile"""
    for path in sources.files():
        text = sources.read(path)
        if path.endswith(".py") or re.match(r"#!.*python", text):
            try:
                compile(text, path, "exec")
            except SyntaxError as error:
                yield f"{path}: {error}"


def shell_parses():
    """shell scripts parse"""
    for path in (*sources.files(), *sources.top_files()):
        shell = re.match(r"#!.*?\b(sh|bash)\n", sources.read(path))
        if shell and not shutil.which(shell.group(1)):
            yield f"{path}: there is no {shell.group(1)}"
        elif shell:
            yield from output(shell.group(1), "-n", path)


def clang_format():
    """clang-format would change nothing"""
    for name in (f"clang-format-{CLANG_FORMAT}", "clang-format"):
        if shutil.which(name):
            version = re.search(r"version (\d+)", "".join(output(name, "--version")))
            if version and int(version.group(1)) == CLANG_FORMAT:
                break
    else:
        raise tap.Skip(f"there is no clang-format {CLANG_FORMAT}")
    yield from output(name, "--dry-run", "-Werror", *sources.files(".c", ".h"))


def commands_agree():
    """.ci/run tests with the command of the README"""
    commands = re.findall(r"^    (\./configure .*)$", sources.read("README.rst"), re.M)
    if len(commands) != 2:
        yield f"README.rst: {len(commands)} commands instead of two"
    elif commands[1] not in map(str.strip, sources.read(".ci/run").splitlines()):
        yield f".ci/run: has no line '{commands[1]}'"


tap.run(python_compiles, shell_parses, clang_format, commands_agree)
