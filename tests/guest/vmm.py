# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running VMM, tests/guest/vmm.c, and the Linux in it."""

import time

import guest
from harness import diag

READY = "the guest is ready"
TIMEOUT = 60.0  # seconds for what takes one or two on an idle machine
RETRY_TIME = 50.0  # after which the driver tries again what did not work
PATIENCE = 3 * RETRY_TIME + TIMEOUT  # twice, after twice the time


class Vmm:
    """Lines to and from a VMM, see commands.c.

    @place is where it runs, see vmmhost.py.
    """

    def __init__(self, place, console):
        self.ended = False
        self._place = place
        self._console = console

    def _read(self, who, timeout):
        """The next line of "guest" or "vmm"."""
        deadline = time.monotonic() + timeout
        while True:
            line = self._console.read_line(deadline)
            if line.startswith(f"{who}: "):
                return line.removeprefix(f"{who}: ")
            if not line.startswith(("guest: ", "vmm: ")):
                diag(line)
                assert not line.startswith("exit "), "the VMM has ended"

    # the guest

    def wait_for_boot(self, timeout=guest.BOOT_TIMEOUT):
        while self._read("guest", timeout) != READY:
            pass

    def run(self, command):
        """Run a shell command in the guest; returns what it prints."""
        self.send(command)
        lines = []
        while not (line := self._read("guest", TIMEOUT)).startswith("end "):
            lines.append(line)
        assert line == "end 0", f"{command}: {line}: {lines}"
        return "\n".join(lines)

    def send(self, command):
        """Run a shell command that does not return."""
        self._console.send(f"guest {command}")

    def memory(self):
        """Bytes of memory that the guest has."""
        return int(self.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo")
                   ) << 10

    def wait_for_memory(self, size):
        """The driver goes on for a while after its last request."""
        deadline = time.monotonic() + TIMEOUT
        while (memory := self.memory()) != size:
            assert time.monotonic() < deadline, f"{memory}, not {size}"
            time.sleep(0.2)

    def power_off(self):
        """Let the guest power off; returns the exit status of the VMM."""
        self.send("poweroff -f")
        self.ended = True
        return self._place.wait(self._console)

    # the host

    def command(self, line):
        """Tell the VMM; returns its answer."""
        self._console.send(line)
        answer = self._read("vmm", TIMEOUT)
        assert not answer.startswith("error"), f"{line}: {answer}"
        return answer

    def status(self):
        """What the VMM knows: {word: bytes, number or text}."""
        words, _, reason = self.command("status").partition(" reason=")
        pairs = (word.split("=") for word in words.split()[1:])
        return {**{key: int(value) if value.isdigit() else value
                   for key, value in pairs}, "reason": reason}

    def wait_for(self, condition, timeout=PATIENCE):
        """Poll until @condition(status); returns that status."""
        deadline = time.monotonic() + timeout
        while not condition(status := self.status()):
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        return status

    def wait_for_size(self, size, **timeout):
        """Wait until the guest has plugged just that."""
        return self.wait_for(
            lambda status: status["plugged"] == size == status["requested"]
            and status["state"] == "reached", **timeout)

    def resize(self, size, **timeout):
        """Request a size and wait until the guest has done it."""
        self.command(f"requested-size {size}")
        return self.wait_for_size(size, **timeout)
