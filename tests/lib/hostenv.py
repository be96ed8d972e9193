# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests change on the host, each as a context that always undoes it.

Undone also after a failure, a timeout, and SIGTERM: the runner turns those
into exceptions.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import traceback

MIB = 1 << 20
PR_SET_THP_DISABLE = 41
_libc = ctypes.CDLL(None)


class Skip(Exception):
    """The host cannot do what a test needs."""


def skip(reason):
    raise Skip(reason)


def need_root():
    if os.geteuid() != 0:
        skip("needs root")


def need_program(name):
    """The path of a program in PATH."""
    return shutil.which(name) or skip(f"{name} is not installed")


def need_memory(size):
    """Skip unless @size bytes of RAM are available."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) << 10
            if available < size:
                skip(f"needs {size // MIB} MiB of memory,"
                     f" {available // MIB} MiB are available")


def wait_for_lock(file):
    """Have it locked until it is closed; to wait is no time of the test's."""
    left = signal.alarm(0)
    fcntl.flock(file, fcntl.LOCK_EX)
    signal.alarm(left)


# users

def run_as(uid, function):
    """What a function returns (as JSON) in a child that is another user.

    Forked, for the interpreter may lie where that user cannot execute it.
    """
    need_root()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.write(write_end, json.dumps(function()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child of user {uid} failed: {status}"
    return json.loads(text)


# file systems

@contextlib.contextmanager
def mounted(fstype, options):
    """A file system mounted on a folder of its own; yields the folder."""
    need_root()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hostmem-mnt-"))
    try:
        result = subprocess.run(
            ["mount", "-t", fstype, "-o", options, "hostmem-test", folder],
            capture_output=True, text=True, timeout=20)
        if result.returncode:
            skip(f"cannot mount {fstype}: {result.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True, timeout=20)
    finally:
        folder.rmdir()


def tmpfs(size, *more):
    """A tmpfs of @size bytes; @more are mount options."""
    return mounted("tmpfs", ",".join([f"size={size}", *more]))


def hugetlbfs(page_size=2 * MIB, size=None):
    """A hugetlbfs; its pages come from need_huge_pages()."""
    limit = f",size={size}" if size else ""
    return mounted("hugetlbfs", f"pagesize={page_size}{limit}")


# huge pages

@contextlib.contextmanager
def need_huge_pages(count, page_size=2 * MIB):
    """Exactly @count free huge pages; one holder at a time on the host."""
    need_root()
    pool = pathlib.Path("/sys/kernel/mm/hugepages",
                        f"hugepages-{page_size >> 10}kB")
    if not pool.exists():
        skip(f"no huge pages of {page_size // MIB} MiB")
    nr_hugepages = pool / "nr_hugepages"
    with open(nr_hugepages) as lock:
        wait_for_lock(lock)
        before = int(nr_hugepages.read_text())
        used = before - int((pool / "free_hugepages").read_text())
        try:
            nr_hugepages.write_text(str(used + count))
            got = int(nr_hugepages.read_text()) - used
            if got != count:
                skip(f"needs {count} free huge pages of"
                     f" {page_size // MIB} MiB, {got} are to be had")
            yield
        finally:
            nr_hugepages.write_text(str(before))


# cgroups

def _cgroup_mounts():
    """(file system type, options, root, mount point) of each hierarchy."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        fstype, _, options = fields[fields.index("-") + 1:][:3]
        if fstype in ("cgroup", "cgroup2"):
            yield (fstype, options.split(","), fields[3],
                   pathlib.Path(fields[4]))


def _system_mounts():
    """Those of the system; a test's own goes away with that test."""
    return [mount for mount in _cgroup_mounts()
            if not mount[3].name.startswith("hostmem-mnt-")]


def _own_path(controller):
    """Our path in the v1 hierarchy of a controller; None without one."""
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return None


def _mounted_hierarchy(controller):
    """The hierarchy of a controller where a bare system mounts none."""
    if _own_path(controller):
        return mounted("cgroup", controller)
    return mounted("cgroup2", "rw")


class _Cgroup:
    """A cgroup of one controller, v1 or v2, for child processes.

    Give it to Hostmemd or run_hostmemd; removed at the end.
    """

    controller = None

    def __init__(self):
        self.version = 0
        self.path = None
        self._stack = None

    def _settings(self):
        """What to write: {name of the file: text}."""
        raise NotImplementedError

    def __enter__(self):
        need_root()
        with contextlib.ExitStack() as stack:
            parent = self._find_parent(_system_mounts())
            if not parent:
                folder = stack.enter_context(
                    _mounted_hierarchy(self.controller))
                parent = self._find_parent(
                    [mount for mount in _cgroup_mounts()
                     if mount[3] == folder])
            if not parent:
                skip(f"no {self.controller} cgroup controller")
            self.path = parent / f"hostmem-test-{os.getpid()}"
            self.path.mkdir()
            stack.callback(self._remove)
            for name, text in self._settings().items():
                (self.path / name).write_text(text)
            self._stack = stack.pop_all()
        return self

    def _find_parent(self, mounts):
        """Where to make the cgroup; None when no mount is fit for it."""
        for fstype, options, root, point in mounts:
            if fstype == "cgroup" and self.controller in options:
                self.version = 1
                path = _own_path(self.controller) or "/"
                own = point / os.path.relpath(path, root)
                return own if own.is_dir() else point
        for fstype, _, _, point in mounts:
            if fstype == "cgroup2" and self._delegate(point):
                self.version = 2
                return point
        return None

    def _delegate(self, point):
        """Whether children of a v2 mount point get the controller."""
        control = point / "cgroup.subtree_control"
        try:
            if self.controller not in control.read_text().split():
                control.write_text(f"+{self.controller}")
        except OSError:
            return False
        return True

    def __exit__(self, *_):
        self._stack.close()

    def _remove(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                self.path.rmdir()
                return
            except OSError:  # busy until its last process is gone
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def join(self):
        """Move the calling process in: for preexec_fn of a child."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self):
        """The processes in it."""
        return [int(pid)
                for pid in (self.path / "cgroup.procs").read_text().split()]


class MemoryCgroup(_Cgroup):
    """A limit on memory, in bytes."""

    controller = "memory"

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def _settings(self):
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        return {name: str(self.limit)}

    def usage(self):
        """Bytes charged now."""
        name = ("memory.usage_in_bytes" if self.version == 1
                else "memory.current")
        return int((self.path / name).read_text())

    def oom_kills(self):
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in (self.path / name).read_text().splitlines():
            key, value = line.split()
            if key == "oom_kill":
                return int(value)
        return 0


class SlowHost(_Cgroup):
    """A share of one CPU, in percent, and small pages only.

    Makes a population that takes milliseconds long enough to be watched.
    """

    controller = "cpu"
    PERIOD_US = 100_000

    def __init__(self, percent):
        super().__init__()
        self.quota_us = self.PERIOD_US * percent // 100

    def _settings(self):
        if self.version == 1:
            return {"cpu.cfs_period_us": str(self.PERIOD_US),
                    "cpu.cfs_quota_us": str(self.quota_us)}
        return {"cpu.max": f"{self.quota_us} {self.PERIOD_US}"}

    def lift(self):
        """No limit any more: what is to be watched has been seen."""
        name, value = (("cpu.cfs_quota_us", "-1") if self.version == 1
                       else ("cpu.max", "max"))
        (self.path / name).write_text(value)

    def join(self):
        super().join()
        if _libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0):
            raise OSError("prctl refused PR_SET_THP_DISABLE")
