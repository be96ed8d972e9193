# SPDX-License-Identifier: LGPL-2.1-or-later
"""The project's files, by walking its fixed top-level folders."""

import os
import re

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
FOLDERS = (".ci", "backends", "docs", "include", "tests", "util")
SKIPPED = ("__pycache__", "corpus")  # inputs of the fuzzers are any bytes


def files(*endings, below=FOLDERS):
    """Yield the paths, relative to the top, of files with these endings."""
    for folder in below:
        for path, folders, names in os.walk(os.path.join(ROOT, folder)):
            folders[:] = sorted(set(folders) - set(SKIPPED))
            for name in sorted(names):
                if name.endswith(endings or ("",)):
                    yield os.path.relpath(os.path.join(path, name), ROOT)


def top_files():
    """Yield the names of the files at the top that are ours."""
    for name in sorted(os.listdir(ROOT)):
        if os.path.isfile(os.path.join(ROOT, name)) and name not in (
            "GNUmakefile",
            ".git",
        ):
            yield name


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


TOKEN = re.compile(
    r"""/\*.*?\*/ | //[^\n]*                          # comment
      | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'      # literal
      | ^[ \t]*\#(?:/\*.*?\*/|[^\n\\]|\\.)*            # directive
    """,
    re.X | re.S | re.M,
)


def blank(text, keep_directives=False):
    """C text with comments, literals and directives blanked, lines kept."""

    def replace(match):
        token = match.group()
        if keep_directives and token.lstrip().startswith("#"):
            return token
        return re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(replace, text)
