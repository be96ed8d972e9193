# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real libvirtd, in namespaces of its own.

    with libvirtd.Libvirtd() as daemon:
        daemon.start(libvirtd.domain_xml("vm7", "256M"))
        daemon.virsh("destroy", "vm7")

It sees the files of this machine, but for its own configuration and state, and
no network.  Its domains end with it.  Needs root, QEMU, and Debian's packages
libvirt-daemon, libvirt-daemon-driver-qemu and libvirt-clients; users and groups
that their absence leaves out are there for it alone.

A domain that is to boot Linux:

    with libvirtd.Linux(script) as linux:
        daemon.start(linux.domain_xml("vm7", "256M"))
        linux.connect().expect("hello")
"""

import contextlib
import glob
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from guest import BOOT_TIMEOUT, Console
from guestfiles import cached, initramfs, kernel
from harness import (PATIENCE, die_with_parent, need_program, need_root,
                     scratch, skip, wait_until)

TIMEOUT = 60.0 * PATIENCE  # seconds; its first look at QEMU takes some
USER = "libvirt-qemu"  # whom QEMU runs as
USER_ID = 64055  # where there is no such user: the one of Debian

CAPABILITIES = "libvirt-capabilities"  # in the build folder
DRIVER = [f"/usr/{folder}/libvirt/connection-driver/libvirt_driver_qemu.so"
          for folder in ("lib", "lib64", "lib/*")]

# What libvirt has built in, and writes to.
STATE = ("/etc/libvirt", "/run", "/var/lib/libvirt", "/var/cache/libvirt",
         "/var/log/libvirt")

DAEMON_CONF = """
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "2:stderr"
"""

QEMU_CONF = f"""
user = "{USER}"
group = "{USER}"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""

# Without /dev/kvm, or a libvirtd that may use it, with a QEMU that may not, looks
# at all programs of QEMU again for each domain.  The shell stays: it buries the
# domains, whose parents are gone.
BOOT = """
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for name in null zero full random urandom tty ptmx; do
    touch {folder}/dev/$name
    mount --bind /dev/$name {folder}/dev/$name
done
for name in pts shm hugepages; do
    [ ! -d /dev/$name ] || mkdir {folder}/dev/$name
    [ ! -d /dev/$name ] || mount --rbind /dev/$name {folder}/dev/$name
done
mount --rbind {folder}/dev /dev
{mounts}
mkdir -p /run/libvirt
echo ready
libvirtd --config /etc/libvirt/libvirtd.conf &
wait
"""

# Where the root is no mount point its propagation cannot be changed: a copy of it
# becomes the root, below a mount that is nobody else's.
CHROOT = """
set -e
mount --rbind / {root}
mount --make-rslave {root}
exec chroot {root} sh -c "$0"
"""

DOMAIN = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='b'>{memory}</memory>
  <vcpu>{cpus}</vcpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    {os}
  </os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  {more}
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""


def domain_xml(name, memory, *, cpus=1, machine="q35", os="", more="",
               devices=""):
    """A domain under software emulation; @memory is in bytes.

    @os, @more and @devices are elements to be put there.
    """
    return DOMAIN.format(name=name, memory=memory, cpus=cpus, machine=machine,
                         os=os, more=more, devices=devices,
                         emulator=need_program("qemu-system-x86_64"))


def _is_mount_point(path):
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == path for line in mounts)


class Libvirtd:
    """Runs as long as the context lasts.

    @settings are more of those of qemu.conf.

    @uri is how libvirt's clients find it, from inside and outside of its
    namespaces.  @memory is its memory_backing_dir: what is mounted in it, also
    later, is seen on both sides.
    """

    def __init__(self, **settings):
        self._settings = settings

    def __enter__(self):
        need_root()
        for name in ("libvirtd", "virsh", "unshare", "nsenter", "mount",
                     "qemu-system-x86_64"):
            need_program(name)
        if not any(map(glob.glob, DRIVER)):
            skip("libvirt's driver for QEMU is not installed")
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(scratch())
            self.folder.chmod(0o755)
            self.memory = self.folder / "memory"
            stack.enter_context(self._mounted(self.memory, "--make-shared"))
            stack.enter_context(self._mounted(self.folder / "root",
                                              "--make-private"))
            self._write_files()
            stack.callback(self._end)
            self._boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    # its files

    @contextlib.contextmanager
    def _mounted(self, folder, propagation):
        """A folder of ours as a mount point."""
        folder.mkdir()
        result = subprocess.run(["mount", "--bind", folder, folder],
                                capture_output=True, text=True)
        if result.returncode:
            skip(f"cannot mount: {result.stderr.splitlines()[0]}")
        try:
            subprocess.run(["mount", propagation, folder], check=True)
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)

    def _write_files(self):
        self._binds = {}
        (self.folder / "dev").mkdir()
        for path in STATE:
            self._own(pathlib.Path(path))
        self._own_users("passwd", f"{USER}:x:{USER_ID}:{USER_ID}::/:/bin/false")
        self._own_users("group", f"{USER}:x:{USER_ID}:", "kvm:x:64056:")
        # What it has found out about QEMU stays, and is looked at again when
        # QEMU, libvirt or the kernel is another one.
        self._binds[self._capabilities()] = cached(CAPABILITIES)
        self.etc = self._inside("/etc/libvirt")
        (self.etc / "hooks" / "qemu.d").mkdir(parents=True)
        # Without one when it starts libvirtd never looks for one again.
        self.install_hook("#!/bin/sh\n")
        (self.etc / "libvirtd.conf").write_text(DAEMON_CONF)
        settings = {"memory_backing_dir": self.memory, **self._settings}
        (self.etc / "qemu.conf").write_text(QEMU_CONF + "".join(
            f'{name} = "{value}"\n' for name, value in settings.items()))

    def _capabilities(self):
        path = pathlib.Path("/var/cache/libvirt/qemu/capabilities")
        self._inside(path).mkdir(parents=True)
        return path

    def _own(self, path):
        """A folder, or that above one that is missing, is another here."""
        point = path if path.is_dir() else path.parent
        own = self.folder / str(point).strip("/").replace("/", "-")
        (own / path.relative_to(point)).mkdir(parents=True, exist_ok=True)
        own.chmod(0o755)
        self._binds[point] = own

    def _own_users(self, name, *lines):
        text = pathlib.Path("/etc", name).read_text()
        for line in lines:
            if not re.search(f"^{line.split(':')[0]}:", text, re.M):
                text += f"{line}\n"
        own = self.folder / name
        own.write_text(text)
        self._binds[pathlib.Path("/etc", name)] = own

    def _inside(self, path):
        """Where a path of its own is for us."""
        for point, own in self._binds.items():
            if pathlib.Path(path).is_relative_to(point):
                return own / pathlib.Path(path).relative_to(point)
        return pathlib.Path(path)

    @property
    def user_id(self):
        """Of those that QEMU runs as."""
        text = (self.folder / "passwd").read_text()
        return int(re.search(f"^{USER}:[^:]*:(\\d+):", text, re.M)[1])

    def install_hook(self, script):
        """@script is what libvirt runs at each step of a domain's life."""
        path = self.etc / "hooks" / "qemu.d" / "hostmem"
        path.write_text(script)
        path.chmod(0o755)

    # its life

    def _boot(self):
        script = BOOT.format(folder=self.folder, mounts="\n".join(
            f"mount --bind {own} {point}"
            for point, own in self._binds.items()))
        chroot = CHROOT.format(root=self.folder / "root")
        whole = _is_mount_point("/")
        self._log = open(self.folder / "log", "wb")
        self._process = subprocess.Popen(
            ["unshare", "--mount",
             f"--propagation={'slave' if whole else 'unchanged'}", "--pid",
             "--fork", "--kill-child", "--net", "--ipc", "sh", "-c",
             *([] if whole else [chroot]), script],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True, preexec_fn=die_with_parent)
        self.uri = ("qemu:///system?socket="
                    f"{self._inside('/run/libvirt/libvirt-sock')}")
        wait_until(self._is_up, TIMEOUT, "libvirtd")

    def _is_up(self):
        if self._process.poll() is not None:
            reason = " ".join(self.log.split())[-500:]
            skip(f"libvirtd cannot run here: {reason}")
        return (self._inside("/run/libvirt/libvirt-sock").exists()
                and self._virsh("list").returncode == 0)

    def _end(self):
        if not hasattr(self, "_process"):
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._log.close()

    def _pid(self):
        """Of libvirtd, which the shell has started."""
        shell = pathlib.Path(f"/proc/{self._process.pid}")
        for _ in range(2):
            task = shell / "task" / shell.name / "children"
            for child in task.read_text().split():
                shell = pathlib.Path("/proc", child)
                if (shell / "comm").read_text().strip() == "libvirtd":
                    return int(child)
        raise AssertionError("libvirtd does not run")

    @contextlib.contextmanager
    def silent(self):
        """It says nothing meanwhile."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        """libvirtd goes as if it had crashed, and its domains with it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    @property
    def mount_namespace(self):
        """What /proc/PID/ns/mnt of libvirtd and its domains leads to."""
        pid = self._process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return os.readlink(f"/proc/{children.strip()}/ns/mnt")

    @property
    def log(self):
        """What libvirtd and its hooks have said."""
        return (self.folder / "log").read_text(errors="replace")

    # its domains

    def _virsh(self, *args, input=None):
        return subprocess.run(
            ["virsh", "--quiet", "--connect", self.uri, *map(str, args)],
            **({"input": input} if input else {"stdin": subprocess.DEVNULL}),
            capture_output=True, text=True, timeout=TIMEOUT,
            env={**os.environ, "LC_ALL": "C"})

    def virsh(self, *args, input=None, check=True):
        """Run virsh, which must succeed if @check; returns its output."""
        result = self._virsh(*args, input=input)
        assert result.returncode == 0 or not check, (
            args, result.stderr, self.log[-2000:])
        return result.stdout if check else result.stdout + result.stderr

    def define(self, xml):
        self.virsh("define", "/dev/stdin", input=xml)

    def start(self, xml):
        """A domain that libvirt forgets when it ends."""
        self.virsh("create", "/dev/stdin", input=xml)

    def state(self, name):
        """As virsh says it; "" when there is no such domain."""
        result = self._virsh("domstate", name)
        return result.stdout.strip() if result.returncode == 0 else ""

    def wait_gone(self, name, timeout=BOOT_TIMEOUT):
        """Wait until a domain does not run any more."""
        wait_until(lambda: self.state(name) in ("", "shut off"), timeout,
                   f"the end of {name}")

    def qemu_log(self, name):
        """What QEMU was called with, and said."""
        return (self._inside("/var/log/libvirt") / "qemu"
                / f"{name}.log").read_text(errors="replace")


class Linux:
    """A domain that boots Linux with a script: see guestfiles.py.

    Its console is connected when the domain starts, so that nothing is lost.
    """

    def __init__(self, script, files=None):
        self._script = script
        self._files = files

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(scratch())
            self._folder.chmod(0o755)
            self._kernel = shutil.copy(kernel(), self._folder / "kernel")
            self._initramfs = initramfs(self._folder, self._script,
                                        self._files)
            for path in (self._kernel, self._initramfs):
                os.chmod(path, 0o644)
            self._stack = stack.pop_all()
        self._listen()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def _listen(self):
        path = self._folder / "console"
        self._listener = self._stack.enter_context(
            contextlib.closing(socket.socket(socket.AF_UNIX)))
        self._listener.bind(str(path))
        path.chmod(0o777)
        self._listener.listen()
        self._listener.settimeout(BOOT_TIMEOUT)

    def domain_xml(self, name, memory, *, devices="", **more):
        """domain_xml() with what boots."""
        return domain_xml(
            name, memory, devices=f"""
              <serial type='unix'>
                <source mode='connect' path='{self._folder}/console'/>
                <target port='0'/>
              </serial>
              {devices}""",
            os=f"""
              <kernel>{self._kernel}</kernel>
              <initrd>{self._initramfs}</initrd>
              <cmdline>console=ttyS0 quiet loglevel=0 panic=-1</cmdline>""",
            **more)

    def connect(self):
        """The console of the domain that was started."""
        connection, _ = self._listener.accept()
        self._stack.enter_context(contextlib.closing(connection))
        return Console(connection)
