# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemd as a service of a real systemd, by the units that are installed."""

import contextlib
import re
import time

import harness
from bootedsystemd import Systemd
from harness import MIB, QmpClient, SlowHost, program, skip, wait_until
from test_notify import PROGRESS
from test_units import UNITS, unit_text

SERVICE, SOCKET = UNITS
RAM = "memory-backend-ram,id=m0,size=2M,prealloc=on"


@contextlib.contextmanager
def booted(options="", *, start=True, **drop_ins):
    """A systemd with our units; @drop_ins are more lines of the service."""
    units = {name: re.sub(r"(?m)^(ExecStart=)\S+", rf"\1{program('hostmemd')}",
                          unit_text(name)) for name in UNITS}
    for name, text in drop_ins.items():
        units[f"{SERVICE}.d/{name}.conf"] = text
    with Systemd(units, f"HOSTMEMD_OPTIONS={options}\n") as systemd:
        try:
            if start:
                systemd.control("start", SERVICE)
            yield systemd
        except Exception:
            harness.diag(systemd.control("status", SERVICE, check=False))
            harness.diag(systemd.log)
            raise


def connect(systemd):
    return QmpClient.unix(systemd.path("/run/hostmem/qmp.sock")).negotiate()


def test_start_ends_when_the_memory_is_there():
    with booted(f"-object {RAM}") as systemd:
        assert systemd.show(SERVICE, "ActiveState") == "active"
        assert systemd.show(SERVICE, "StatusText") \
            == "ready: 1 backend, 2 MiB"
        systemd.control("stop", SERVICE)
        assert systemd.show(SERVICE, "Result") == "success"


def test_options_over_several_lines():
    with booted('"-object memory-backend-ram,id=m0,size=2M \\\n'
                "  -object 'memory-backend-ram,id=m1, size=2M'\"",
                start=False) as systemd:
        with harness.raises(AssertionError):
            systemd.control("start", SERVICE)
        assert "' size'" in systemd.show(SERVICE, "StatusText")
    with booted('"-object memory-backend-ram,id=m0,size=2M \\\n'
                '  -object memory-backend-ram,id=m1,size=4M"') as systemd:
        assert systemd.show(SERVICE, "StatusText") \
            == "ready: 2 backends, 6 MiB"


def test_failed_start_says_why():
    with booted("-object memory-backend-ram,id=m0,size=8E", start=False,
                once="[Service]\nRestart=no\n") as systemd:
        with harness.raises(AssertionError):
            systemd.control("start", SERVICE)
        assert systemd.show(SERVICE, "Result") == "exit-code"
        assert "m0" in systemd.show(SERVICE, "StatusText")


def test_start_may_take_longer_than_the_limit_while_it_gets_on():
    # Not so slow that it says nothing within that limit.
    with harness.tmpfs(1280 * MIB) as folder, SlowHost(3) as slow, booted(
            f"-object memory-backend-file,id=m0,size=1G,share=on,thp=off,"
            f"mem-path={folder}/file,prealloc=on,prealloc-threads=1",
            start=False) as systemd:
        if slow.version != 1:
            skip("needs the cpu controller of version 1")
        group = systemd.cgroup_path(slow.path)
        systemd.write_unit(
            f"{SERVICE}.d/slow.conf", "[Service]\nTimeoutStartSec=3\nExecStart="
            f"\nExecStart=/bin/sh -c 'echo $$$$ >{group}/cgroup.procs;"
            f" exec {program('hostmemd')} $HOSTMEMD_OPTIONS'\n")
        systemd.control("daemon-reload")
        systemd.control("start", "--no-block", SERVICE)
        wait_until(lambda: PROGRESS.fullmatch(
            systemd.show(SERVICE, "StatusText")), what="progress")
        time.sleep(4)
        assert systemd.show(SERVICE, "ActiveState") == "activating"
        assert PROGRESS.fullmatch(systemd.show(SERVICE, "StatusText"))


if __name__ == "__main__":
    harness.main()
