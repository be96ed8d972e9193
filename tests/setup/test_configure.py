#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""configure names what is missing, and sets up a build."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TARGETS = ("all", "check", "install", "clean", "run")


def configure(*args, source=SOURCE, path=os.environ["PATH"]):
    env = {**os.environ, "PATH": str(path)}
    env.pop("MAKEFLAGS", None)
    return subprocess.run(["/bin/sh", source / "configure", *args], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)


@contextlib.contextmanager
def tools(*names):
    """A folder for PATH that has nothing but these programs."""
    with harness.scratch() as folder:
        for name in names:
            (folder / name).symlink_to(shutil.which(name))
        yield folder


@contextlib.contextmanager
def source_copy():
    with harness.scratch() as folder:
        yield shutil.copytree(
            SOURCE, folder / "source",
            ignore=shutil.ignore_patterns("build", "build-*", ".git"))


def options(build):
    text = subprocess.check_output(
        ["meson", "introspect", "--buildoptions", build], text=True)
    return {option["name"]: option["value"] for option in json.loads(text)}


def test_help_names_each_switch():
    text = configure("--help").stdout
    for word in ("--prefix", "--install-deps", "--enable-X", "--disable-X",
                 "tests", "docs", "shell", "systemd", "libvirt", "fuzz",
                 "werror", "asan", "tsan"):
        assert word in text, word


def test_unknown_option_is_refused():
    result = configure("--enable-everything")
    assert result.returncode == 1
    assert "unknown option '--enable-everything'" in result.stderr


def test_missing_packages_are_named():
    with tools("dirname", "cat") as path:
        result = configure(path=path)
    assert result.returncode == 1
    for package in ("gcc", "meson", "ninja-build", "libglib2.0-dev",
                    "libjansson-dev", "libnuma-dev"):
        assert package in result.stderr, package
    assert "--install-deps" in result.stderr


def test_without_apt_get_nothing_is_installed():
    with tools("dirname", "cat") as path:
        result = configure("--install-deps", path=path)
    assert result.returncode == 1
    assert "qemu-system-x86" in result.stderr


def test_build_is_set_up_and_changed():
    with source_copy() as source:
        first = configure("--disable-docs", "--prefix=/opt/a b", source=source)
        assert first.returncode == 0, first.stdout + first.stderr
        made = options(source / "build")
        assert made["docs"] == "disabled" and made["prefix"] == "/opt/a b"
        again = configure("--enable-werror", source=source)
        assert again.returncode == 0, again.stdout + again.stderr
        made = options(source / "build")
        assert made["docs"] == "disabled" and made["werror"] is True


def test_make_knows_its_targets():
    harness.need_program("make")
    with source_copy() as source:
        assert configure("--disable-docs", source=source).returncode == 0
        for target in TARGETS:
            subprocess.run(["make", "--dry-run", target], cwd=source,
                           check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    harness.main()
