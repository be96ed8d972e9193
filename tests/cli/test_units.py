# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units of systemd: well-formed, and of the kind that hostmemd needs."""

import configparser
import subprocess

import harness
from harness import build_folder, need_program, program, scratch
from test_notify import need_libsystemd

UNITS = ("hostmemd.service", "hostmemd.socket")
# What systemd learned after the oldest one that we know of.
NEW_KEYS = ("FileDescriptorStorePreserve",)


def unit_text(name):
    need_libsystemd()
    return (build_folder() / "backends/programs/daemon" / name).read_text()


def unit(name):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(unit_text(name))
    return parser


def test_systemd_finds_no_fault():
    systemd_analyze = need_program("systemd-analyze")
    installed = unit("hostmemd.service")["Service"]["ExecStart"].split()[0]
    with scratch() as folder:
        for name in UNITS:
            (folder / name).write_text(unit_text(name).replace(
                installed, str(program("hostmemd"))))
        result = subprocess.run(
            [systemd_analyze, "verify", "--man=no",
             *(folder / name for name in UNITS)],
            capture_output=True, text=True, timeout=60)
    faults = [line for line in result.stderr.splitlines()
              if not any(f"'{key}'" in line for key in NEW_KEYS)]
    assert result.returncode == 0 and not faults, result.stderr


def test_installed_program_is_started():
    command = unit("hostmemd.service")["Service"]["ExecStart"].split()
    assert command[0].startswith("/") and command[0].endswith("/bin/hostmemd")
    assert command[1:] == ["-restore-fds", '""', "$HOSTMEMD_OPTIONS"]


def test_service_says_when_it_is_ready():
    assert unit("hostmemd.service")["Service"]["Type"] == "notify"


def test_no_mount_namespace_hides_what_is_exported():
    service = unit("hostmemd.service")["Service"]
    for key in ("PrivateTmp", "ProtectSystem", "ProtectHome", "PrivateDevices",
                "PrivateMounts", "ProtectKernelTunables",
                "ProtectControlGroups", "ProtectKernelModules",
                "ReadWritePaths", "MountFlags"):
        assert key not in service, key


def test_what_memory_needs_is_allowed():
    bounds = unit("hostmemd.service")["Service"]["CapabilityBoundingSet"]
    dropped = bounds.removeprefix("~").split()
    for needed in ("SYS_ADMIN", "SYS_NICE", "SYS_RESOURCE", "IPC_LOCK",
                   "CHOWN", "FOWNER", "DAC_OVERRIDE", "LEASE", "KILL",
                   "SETUID", "SETGID", "NET_ADMIN"):
        assert f"CAP_{needed}" not in dropped, needed


def test_socket_is_for_root_until_somebody_says_otherwise():
    socket = unit("hostmemd.socket")["Socket"]
    assert socket["ListenStream"] == "/run/hostmem/qmp.sock"
    assert socket["SocketMode"] == "0660" and socket["SocketGroup"] == "root"


if __name__ == "__main__":
    harness.main()
