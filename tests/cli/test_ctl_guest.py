# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl hands memory to a QEMU that runs Linux: exec, attach, detach."""

import contextlib
import os
import pathlib
import signal

import guest
import harness
from ctl import ctl, ctl_fails, run_ctl, started
from donor import LINE, SCRIPT, Donor, use_guest, write_pattern
from harness import MIB, Hostmemd, QmpClient, scratch, wait_until

SIZE = 512 * MIB
DIMM = 256 * MIB
POPULATE_TIMEOUT = 60.0  # seconds
GUEST_TIMEOUT = 60

# Says how much memory it has, whenever asked, until it shall go.
DIMM_SCRIPT = """
echo {zone} >/sys/devices/system/memory/auto_online_blocks
mkdir /t
mount -t tmpfs tmpfs /t
while echo "memory $(awk '/^MemTotal/ {{ print $2 }}' /proc/meminfo)"; do
    read answer
    case $answer in
    write) {write}; echo written ;;
    check) {check} ;;
    spawn) for i in $(seq 50); do sleep 1000 & done; echo spawned ;;
    go) break ;;
    esac
done
"""


def dimm_script(zone):
    write = write_pattern("/t/pattern")
    producer, _, _ = write.partition(">")
    return DIMM_SCRIPT.format(
        zone=zone, write=write,
        check=f"{producer} | cmp - /t/pattern && echo same")


@harness.time_limit(180)
def test_guest_boots_on_memory_of_exec():
    harness.need_memory(2 * SIZE)
    arguments = ["-m", "512M", "-machine", "memory-backend=m0", "-object",
                 "{m0:object}"]
    with guest.setup(arguments, SCRIPT) as ready, Hostmemd(
            "-object", f"memory-backend-memfd,id=m0,size={SIZE},prealloc=on",
            timeout=POPULATE_TIMEOUT) as daemon:
        donor = Donor(daemon, SIZE)
        with started(daemon, "exec", "m0", "--", *ready.command) as process, \
                ready.connect() as linux:
            use_guest(linux, donor)
            assert process.wait(GUEST_TIMEOUT) == 0, process.stderr.read()


@contextlib.contextmanager
def killed_at_the_end(process):
    """The child that a process has now."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    child, = map(int, path.read_text().split())
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)


@harness.time_limit(180)
def test_guest_outlives_hostmemctl_and_hostmemd():
    harness.need_memory(2 * SIZE)
    arguments = ["-m", "512M", "-machine", "memory-backend=m0", "-object",
                 "{m0:object}"]
    with guest.setup(arguments, SCRIPT) as ready, Hostmemd(
            "-object", f"memory-backend-memfd,id=m0,size={SIZE}",
            timeout=POPULATE_TIMEOUT) as daemon, \
            started(daemon, "exec", "m0", "--", *ready.command) as process, \
            ready.connect() as linux, killed_at_the_end(process):
        linux.expect("memory ")
        process.kill()
        process.wait()
        daemon.process.kill()
        daemon.wait()
        linux.expect("written")


class Plugged:
    """A guest with 256 MiB, to which a DIMM of hostmemd's can be attached."""

    def __init__(self, daemon, linux, socket):
        self.daemon = daemon
        self._linux = linux
        self._socket = str(socket)
        self.base = self.memory()

    def memory(self, answer=None):
        """Bytes that the guest has now."""
        if answer:
            self.ask(answer)
        return int(self._linux.expect("memory ")) << 10

    def ask(self, what, answer=None):
        self._linux.send(what)
        if answer:
            self._linux.expect(answer)

    def attach(self):
        assert ctl(self.daemon, "attach", self._socket, "m1") == (
            "m1: 256 MiB, device 'dimm-m1' on 'hostmem-m1'\n")
        wait_until(lambda: self.memory("again") > self.base + 0.9 * DIMM,
                   GUEST_TIMEOUT, "the guest to use the memory")

    def detach(self):
        result = run_ctl(None, "detach", self._socket, "m1",
                         timeout=2 * GUEST_TIMEOUT)
        assert (result.returncode, result.stdout, result.stderr) == (
            0, "", ""), result

    def detach_fails(self, *phrases):
        ctl_fails(None, "detach", self._socket, "m1", "--timeout=50",
                  timeout=2 * GUEST_TIMEOUT, phrases=phrases)

    def left_in_qemu(self):
        """What attach has made and is still there."""
        with QmpClient.unix(self._socket) as client:
            client.negotiate()
            devices = client.execute("query-memory-devices")
            memdevs = [memdev["id"] for memdev
                       in client.execute("query-memdev")
                       if memdev.get("id", "").startswith("hostmem-")]
            return devices, memdevs, client.execute("query-fdsets")


MEMFD = f"memory-backend-memfd,id=m1,size={DIMM},prealloc=on"


@contextlib.contextmanager
def plugged(zone, *objects):
    harness.need_memory(2 * DIMM)
    objects = objects or [MEMFD]
    with scratch() as folder, Hostmemd(
            *(word for line in objects for word in ("-object", line)),
            timeout=POPULATE_TIMEOUT) as daemon, guest.boot(
                ["-m", "256M,slots=2,maxmem=4G", "-qmp",
                 f"unix:{folder}/qmp,server=on,wait=off"],
                dimm_script(zone)) as linux:
        yield Plugged(daemon, linux, folder / "qmp")
        linux.send("go")


@harness.time_limit(240)
def test_guest_uses_a_dimm_and_gives_it_back():
    """What is in it moves away, and nothing is left in QEMU."""
    with plugged("online_movable") as linux:
        donor = Donor(linux.daemon, DIMM, "m1")
        linux.attach()
        assert donor.allocated() == donor.prepared
        linux.ask("write", "written")
        linux.memory()
        donor.expect_pattern()
        linux.detach()
        assert linux.left_in_qemu() == ([], [], [])
        assert linux.memory("again") == linux.base
        linux.ask("check", "same")
        linux.memory()
        linux.attach()
        linux.detach()


@harness.time_limit(240)
def test_memory_of_a_pool_comes_back():
    """What the guest wrote is gone before anybody else gets it."""
    with plugged("online_movable",
                 f"memory-pool,id=p0,size={DIMM},segment-size={DIMM}",
                 MEMFD + ",pool=p0") as linux:
        linux.attach()
        linux.ask("write", "written")
        linux.memory()
        found = run_ctl(linux.daemon, "exec", "m1", "--", "grep", "-aqF", LINE,
                        "{m1}")
        assert found.returncode == 0, found
        assert "somebody else has the memory" in found.stderr, found
        linux.detach()
        ctl(linux.daemon, "del", "m1")
        wait_until(lambda: ctl(linux.daemon, "get", "p0", "ready-size")
                   == f"{DIMM}\n", GUEST_TIMEOUT, "the segment")
        assert "not used again" not in linux.daemon.stderr
        ctl(linux.daemon, "add", MEMFD + ",pool=p0")
        assert ctl(linux.daemon, "exec", "m1", "--", "cmp", "-n", DIMM, "{m1}",
                   "/dev/zero") == ""


@harness.time_limit(240)
def test_guest_that_refuses():
    """All stays as it is: the kernel's own data cannot move."""
    with plugged("online_kernel") as linux:
        linux.attach()
        linux.ask("spawn", "spawned")
        linux.memory()
        linux.detach_fails("the guest refuses to release 'dimm-m1': ", "busy")
        devices, memdevs, _ = linux.left_in_qemu()
        assert [d["data"]["id"] for d in devices] == ["dimm-m1"], devices
        assert memdevs == ["hostmem-m1"], memdevs
        assert linux.memory("again") > linux.base + 0.9 * DIMM


if __name__ == "__main__":
    harness.main()
