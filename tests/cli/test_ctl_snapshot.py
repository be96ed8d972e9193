# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl snapshot, with a real hostmemd."""

import os

import harness
from ctl import Terminal, ctl, ctl_fails, run_ctl
from fdclient import handed_over
from harness import MIB, Hostmemd, scratch, skip, wait_until

RAM = "memory-backend-ram,id=m0,size=64M"


def take(daemon, *args):
    result = run_ctl(daemon, "snapshot", *args)
    if "CAP_SYS_PTRACE" in result.stderr or "this kernel" in result.stderr:
        skip(result.stderr)
    assert result.returncode == 0, result
    return result


def test_wait_and_restore():
    with scratch() as folder, Hostmemd("-object", RAM) as daemon:
        take(daemon, "m0", folder / "image", "--wait")
        assert (folder / "image").stat().st_size > 64 * MIB
        ctl(daemon, "add", f"memory-backend-memfd,id=m1,size=64M,prealloc=on,"
                           f"image={folder}/image")
        assert ctl(daemon, "get", "m1", "image") == f"{folder}/image\n"


def test_relative_path():
    """It is relative to us, not to the server."""
    with scratch() as folder, Hostmemd("-object", RAM) as daemon:
        here = os.getcwd()
        os.chdir(folder)
        try:
            take(daemon, "m0", "image", "--wait")
        finally:
            os.chdir(here)
        assert (folder / "image").exists()


def test_jobs_and_cancel():
    with scratch() as folder, Hostmemd() as daemon:
        ctl(daemon, "add", RAM)
        take(daemon, "m0", folder / "image", "--max-bandwidth", "1M")
        wait_until(lambda: "concluded" in ctl(daemon, "jobs"))
        text = ctl(daemon, "jobs")
        assert "m0:snapshot" in text and "snapshot" in text, text


def test_wait_shows_progress():
    """So much that is written so slowly is not over before we look."""
    with scratch() as folder, Hostmemd(
            "-object", "memory-backend-memfd,id=m0,size=64M") as daemon:
        take(daemon, "m0", folder / "probe", "--wait")
        with handed_over(daemon) as [memory]:
            memory[:] = b"x" * len(memory)
        with Terminal(daemon, "snapshot", "m0", folder / "image", "--wait",
                      "--allow-exposed", "--max-bandwidth=256K") as terminal:
            wait_until(lambda: b"m0:snapshot [" in terminal.read())
            assert b"of 64 MiB" in terminal.output, terminal.output
            ctl(daemon, "cancel", "m0:snapshot")
            assert terminal.wait() == 1
        assert b"job 'm0:snapshot': " in terminal.output, terminal.output
        assert os.listdir(folder) == ["probe"]


def test_refused():
    with scratch() as folder, Hostmemd("-object", RAM) as daemon:
        ctl_fails(daemon, "snapshot", "m9", folder / "image", phrases=["m9"])
        ctl_fails(daemon, "snapshot", "m0", folder / "image",
                  "--max-bandwidth", "much",
                  phrases=["--max-bandwidth", "much"])
        (folder / "image").write_text("mine")
        result = run_ctl(daemon, "snapshot", "m0", folder / "image", "--wait")
        if "CAP_SYS_PTRACE" not in result.stderr:
            assert "File exists" in result.stderr, result
        assert result.returncode == 1, result


if __name__ == "__main__":
    harness.main()
