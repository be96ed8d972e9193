# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real systemd, as process 1 of namespaces of its own.

    with bootedsystemd.Systemd(units, options) as systemd:
        systemd.control("start", "hostmemd.service")

It knows the given units and nothing else of this machine, whose files it sees
but for /run and /etc/default.  Needs root, and a cgroup2 to be had.
"""

import contextlib
import os
import pathlib
import signal
import subprocess

from harness import (PATIENCE, die_with_parent, need_program, need_root,
                     scratch, skip, wait_until)

SYSTEMD = "/lib/systemd/systemd"
TIMEOUT = 30.0 * PATIENCE  # seconds

# What every unit wants to be there, unless it says otherwise.
TARGETS = ("basic", "multi-user", "shutdown", "sockets", "sysinit")

BOOT = """
set -e
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs -o mode=755 tmpfs /run
mount --rbind /sys/fs/cgroup {folder}/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind {folder}/default /etc/default
exec env -i PATH="$PATH" HOSTMEM_TEST_MARK="$HOSTMEM_TEST_MARK" \\
    container=hostmem-test SYSTEMD_UNIT_PATH={folder}/units \\
    SYSTEMD_GENERATOR_PATH={folder}/none \\
    SYSTEMD_ENVIRONMENT_GENERATOR_PATH={folder}/none \\
    {systemd} --system --unit=basic.target --log-target=console \\
    --show-status=no --default-standard-output=inherit
"""


def _unified_cgroup():
    """Where a cgroup2 is mounted."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind = line.split()[:3]
        if kind == "cgroup2":
            return pathlib.Path(folder)
    skip("no cgroup2 is mounted")


class Systemd:
    """Runs as long as the context lasts.

    @units are {name: text}; @options is what /etc/default/hostmemd holds.
    """

    def __init__(self, units, options=""):
        self._units = units
        self._options = options

    def __enter__(self):
        need_root()
        for name in (SYSTEMD, "systemctl", "unshare", "nsenter", "mount"):
            need_program(name)
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(scratch())
            self._write_files()
            self._cgroup = stack.enter_context(self._own_cgroup())
            stack.callback(self._end)
            self._boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _write_files(self):
        for name in ("units", "default", "cgroup", "none"):
            (self._folder / name).mkdir()
        (self._folder / "default" / "hostmemd").write_text(self._options)
        targets = {f"{name}.target": "[Unit]\nDefaultDependencies=no\n"
                   for name in TARGETS}
        for name, text in {**targets, **self._units}.items():
            self.write_unit(name, text)

    def write_unit(self, name, text):
        """@name may be that of a drop-in: "x.service.d/y.conf"."""
        path = self._folder / "units" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    @contextlib.contextmanager
    def _own_cgroup(self):
        cgroup = _unified_cgroup() / f"hostmem-test-{os.getpid()}"
        try:
            cgroup.mkdir()
        except OSError as error:
            skip(f"cannot make a cgroup: {error}")
        try:
            yield cgroup
        finally:
            wait_until(lambda: self._try_remove(cgroup), what="empty cgroups")

    @staticmethod
    def _try_remove(cgroup):
        try:
            for folder, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(folder)
        except OSError:
            return False
        return True

    def _prepare(self):
        die_with_parent()
        (self._cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def _boot(self):
        script = BOOT.format(folder=self._folder, systemd=SYSTEMD)
        self._log = open(self._folder / "log", "wb")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "--pid", "--fork",
             "--kill-child", "--cgroup", "--uts", "--ipc", "sh", "-c", script],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True, preexec_fn=self._prepare)
        self._init = wait_until(self._find_init, what="process 1")
        wait_until(self._is_up, TIMEOUT, "systemd")

    def _find_init(self):
        self._must_run()
        pid = self._process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return int(children) if children else None

    def _must_run(self):
        if self._process.poll() is not None:
            skip(f"systemd cannot run here: {self.log}")

    def _is_up(self):
        self._must_run()
        return self._run("is-active", "basic.target").returncode == 0

    def _end(self):
        if not hasattr(self, "_process"):
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._log.close()

    @property
    def log(self):
        return (self._folder / "log").read_text(errors="replace")

    def cgroup_path(self, path):
        """Where a service finds a cgroup of version 1 of the host."""
        return self._folder / "cgroup" / path.relative_to("/sys/fs/cgroup")

    def path(self, path):
        """A path of its own, such as of a socket in /run."""
        return pathlib.Path(f"/proc/{self._init}/root", path.lstrip("/"))

    def _run(self, *args):
        return subprocess.run(
            ["nsenter", "--mount", "--pid", "--cgroup", "--ipc", "-t",
             str(self._init), "systemctl", *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT)

    def control(self, *args, check=True):
        """Run systemctl, which must succeed if @check; returns its output."""
        result = self._run(*args)
        assert result.returncode == 0 or not check, (args, result, self.log)
        return result.stdout

    def show(self, unit, name):
        """A property of a unit."""
        return self.control("show", "--value", "-p", name, unit).strip()
