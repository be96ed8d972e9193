#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shape of the C code: what clang-format cannot see."""

import re

import sources
import tap

COLUMNS = 80
FILE_LINES = 600
FUNCTION_LINES = 80
USUAL_LINES = 40  # nine functions in ten

CONTROL = re.compile(r"\b(if|for|while|switch|HM_IDSET_FOREACH)\b\s*\(")
BARE = re.compile(r"\b(else|do)\b(?!\s*(?:\{|if\b))")
PROTOTYPE = re.compile(r"^[A-Za-z][\w *]*\b(hostmem_\w+)\s*\([^;{]*;", re.M)


def c_files(*below):
    return sources.files(".c", ".h", below=below or sources.FOLDERS)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def after_parenthesis(text, position):
    """The position behind the parenthesis that opens at position."""
    depth = 0
    for match in re.finditer(r"[()]", text[position:]):
        depth += 1 if match.group() == "(" else -1
        if depth == 0:
            return position + match.end()
    return len(text)


def functions(path):
    """Yield (line, lines) of each function body: braces in column one."""
    start = None
    lines = sources.blank(sources.read(path)).splitlines()
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield start, number - start + 1
            start = None


def no_goto():
    """no goto"""
    for path in c_files():
        text = sources.blank(sources.read(path))
        for match in re.finditer(r"\bgoto\b", text):
            yield f"{path}:{line_of(text, match.start())}"


def short_lines():
    """C fits 80 columns"""
    for path in c_files():
        for number, line in enumerate(sources.read(path).splitlines(), 1):
            if len(line) > COLUMNS:
                yield f"{path}:{number}: {len(line)} columns"


def braces():
    """control statements have braces, always"""
    for path in c_files():
        text = sources.blank(sources.read(path))
        for match in CONTROL.finditer(text):
            end = after_parenthesis(text, match.end() - 1)
            behind = text[end:].lstrip()[:1]
            ends_do = (
                match.group(1) == "while"
                and behind == ";"
                and text[: match.start()].rstrip().endswith("}")
            )
            if behind != "{" and not ends_do:
                yield f"{path}:{line_of(text, match.start())}"
        for match in BARE.finditer(text):
            yield f"{path}:{line_of(text, match.start())}"


def short_files():
    """no C file is longer than 600 lines"""
    for path in c_files():
        count = len(sources.read(path).splitlines())
        if count > FILE_LINES:
            yield f"{path}: {count} lines"


def short_functions():
    """no function is longer than 80 lines"""
    for path in c_files():
        for line, count in functions(path):
            if count > FUNCTION_LINES:
                yield f"{path}:{line}: {count} lines"


def usually_short_functions():
    """nine functions in ten have at most 40 lines"""
    counts = [
        (count, f"{path}:{line}")
        for path in c_files("util", "backends")
        for line, count in functions(path)
    ]
    long = sorted(pair for pair in counts if pair[0] > USUAL_LINES)
    if 10 * len(long) > len(counts):
        yield f"{len(long)} of {len(counts)} functions are longer:"
        yield from (f"{place}: {count} lines" for count, place in long)


def documented():
    """every public function has a doc comment"""
    for path in sources.files(".h", below=("include",)):
        text = sources.read(path)
        for match in PROTOTYPE.finditer(sources.blank(text)):
            above = text[: match.start()].rstrip()
            name = match.group(1)
            if not name.endswith("_get_type") and not above.endswith("*/"):
                yield f"{path}: {name}"


tap.run(
    no_goto,
    short_lines,
    braces,
    short_files,
    short_functions,
    usually_short_functions,
    documented,
)
