# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line itself."""

import json
import subprocess

import harness
from expect import fails, succeeds
from harness import program, run_hostmemd

RAM = "memory-backend-ram,id=m0,size=2M"


def test_help_names_every_option():
    text = succeeds("--help")
    assert text.startswith("Usage: hostmemd"), text
    for option in ("-object", "-qmp", "-daemonize", "-pidfile", "-name",
                   "--once", "--run", "--print-capabilities", "--version",
                   "--help", "--quiet"):
        assert option in text, option


def test_help_fits_a_terminal():
    prose = succeeds("--help").partition("\nExamples:")[0]
    assert max(map(len, prose.splitlines())) < 80


def test_help_goes_before_objects():
    assert "Usage:" in succeeds("-object", "nonsense", "-help")


def test_version():
    assert succeeds("--version").startswith("hostmemd version ")
    assert succeeds("-V") == succeeds("-version")


def test_one_dash_or_two():
    outputs = {tuple(succeeds("--once", *spelling).split()[:9])
               for spelling in (("-object", RAM), ("--object", RAM),
                                (f"--object={RAM}",), (f"-object={RAM}",))}
    assert len(outputs) == 1, outputs


def test_unknown_option():
    fails("--bogus", phrases=["--bogus: invalid option", "--help"])


def test_option_names_are_not_shortened():
    fails("--obj", RAM, phrases=["--obj: invalid option"])


def test_stray_argument():
    fails("-object", RAM, "extra", phrases=["extra: unexpected argument"])


def test_lone_dashes():
    fails("-", phrases=["unexpected argument"])
    fails("--", phrases=["invalid option"])


def test_missing_argument():
    fails("-object", phrases=["-object: requires an argument"])


def test_argument_of_a_flag():
    fails("--once=yes", phrases=["--once: takes no argument"])


def test_nothing_to_do():
    fails("--once", phrases=["nothing to do", "-object"])


def test_once_and_run():
    fails("--once", "--run", "true", "-object", RAM,
          phrases=["--once", "--run"])


def test_once_and_daemonize():
    fails("--once", "-daemonize", "-object", RAM,
          phrases=["--once", "-daemonize"])


def test_run_and_daemonize():
    fails("--run", "true", "-daemonize", "-object", RAM,
          phrases=["--run", "-daemonize"])


def test_stdio_and_daemonize():
    fails("-qmp", "stdio", "-daemonize", phrases=["stdio", "-daemonize"])


def test_stdio_and_run():
    fails("-qmp", "stdio", "--run", "true", phrases=["stdio", "--run"])


def test_two_sessions_on_stdio():
    fails("-qmp", "stdio", "-qmp", "stdio", phrases=["stdio", "one"])


def test_bad_qmp_address():
    fails("-qmp", "pigeon:coop", phrases=["-qmp pigeon:coop: "])


def test_qmp_address_without_folder():
    address = "unix:/nonexistent/qmp,server=on,wait=off"
    fails("-qmp", address, phrases=[f"-qmp {address}: ", "/nonexistent/qmp"])


def test_capabilities_are_json():
    capabilities = json.loads(succeeds("--print-capabilities"))
    assert isinstance(capabilities, dict) and capabilities


def test_object_help_lists_types():
    lines = succeeds("-object", "help").splitlines()
    assert lines[0] == "List of user creatable objects:", lines
    names = [line[2:] for line in lines[1:]]
    assert names == sorted(names), names
    for name in ("memory-backend-ram", "memory-backend-file",
                 "memory-backend-memfd", "memory-backend-shm",
                 "thread-context"):
        assert name in names, name


def test_type_help_lists_properties():
    lines = succeeds("-object", "memory-backend-file,help").splitlines()
    assert lines[0] == "memory-backend-file options:", lines
    names = [line[2:].partition("=")[0] for line in lines[1:]]
    assert names == sorted(names), names
    for name in ("size", "mem-path", "prealloc", "prealloc-threads", "share"):
        assert name in names, name


def test_help_of_an_unknown_type():
    fails("-object", "teapot,help", phrases=["teapot", "qom-type"])


def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        for args in (["--help"], ["--once", "-object", RAM]):
            result = subprocess.run(
                [program("hostmemd"), *args], stdin=subprocess.DEVNULL,
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
            assert result.returncode == 1, result
            assert "No space left on device" in result.stderr, result


def test_standard_descriptors_may_be_closed():
    """Memory must not get the number that the table is printed to."""
    command = f"exec {program('hostmemd')} --once -object {RAM} <&- >&- 2>&-"
    result = subprocess.run(["/bin/sh", "-c", command], timeout=20)
    assert result.returncode == 0, result


def test_name_is_shown_in_ps():
    with harness.Hostmemd("-name", "guest-seven-memory") as daemon:
        with open(f"/proc/{daemon.pid}/comm") as comm:
            assert comm.read() == "guest-seven-mem\n"


def test_debug_messages_stay_off_stdout():
    result = run_hostmemd(["--print-capabilities"],
                          env={"G_MESSAGES_DEBUG": "all"})
    json.loads(result.stdout)


if __name__ == "__main__":
    harness.main()
