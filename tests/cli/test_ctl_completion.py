# SPDX-License-Identifier: LGPL-2.1-or-later
"""Completion, as a real bash does it."""

import contextlib
import os
import subprocess

import harness
from ctl import address_of, ctl, environment, fake
from harness import (Hostmemd, build_folder, die_with_parent, need_program,
                     program, scratch, wait_until)

# Completes the line in $LINE as Tab would, and prints what there is.
ASK = r"""
. "$SCRIPT"
COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9 COMP_KEY=9
# The words as bash splits them: at blanks and at COMP_WORDBREAKS.
mapfile -t COMP_WORDS < <(grep -oE '[=:]+|[^[:space:]=:]+' <<<"$LINE")
[[ $LINE == *[[:blank:]] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p "${COMP_WORDS[0]}" | sed 's/.*-F \([^ ]*\).*/\1/')
"$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
"""

RAM = "memory-backend-ram,id=m0,size=64M"


def complete(line, *, name="hostmemctl", server=None):
    """What bash would offer for the end of a command line."""
    need_program("bash")
    script = build_folder() / "backends/programs/completions" / name
    if not script.exists():
        harness.skip(f"{script} is not built")
    path = f"{program(name).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "SCRIPT": str(script), "LINE": line}
    if server:
        env["HOSTMEM_QMP"] = address_of(server)
    result = subprocess.run(["bash", "--norc", "-c", ASK], text=True,
                            capture_output=True, timeout=20,
                            env=environment(env))
    assert result.stderr == "", result
    return set(result.stdout.split("\n")) - {""}


def press_tab(line, server):
    """The same through readline: the line after a Tab."""
    script = build_folder() / "backends/programs/completions/hostmemctl"
    path = f"{program('hostmemctl').parent}:{os.environ['PATH']}"
    master, slave = os.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave,
        stderr=slave, preexec_fn=die_with_parent,
        env=environment({"PATH": path, "PS1": "$ ", "TERM": "dumb",
                         "HOSTMEM_QMP": address_of(server)}))
    os.close(slave)
    os.set_blocking(master, False)
    output = bytearray()

    def shows(text):
        with contextlib.suppress(BlockingIOError):
            output.extend(os.read(master, 4096))
        return text in output

    try:
        os.write(master, f". {script}; echo loa''ded\n".encode())
        wait_until(lambda: shows(b"loaded\r\n$ "))
        output.clear()
        os.write(master, line.encode() + b"\t")
        wait_until(lambda: len(output) > len(line) or shows(b"\0"))
        os.write(master, b"#\n")
        wait_until(lambda: shows(b"#"))
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return output.decode().partition("#")[0]


def test_commands():
    assert {"status", "plug", "add"} <= complete("hostmemctl ")
    assert complete("hostmemctl ev") == {"events"}
    assert "complete" not in complete("hostmemctl comp")


def test_options():
    assert complete("hostmemctl status --w") == {"--watch"}
    assert complete("hostmemctl --c") == {"--connect"}
    assert {"--help", "--json", "--watch"} <= complete("hostmemctl status -")
    assert complete("hostmemctl jobs --w") == set()


def test_commands_of_a_family():
    assert complete("hostmemctl do") == {"domain"}
    assert complete("hostmemctl domain ") == {"list", "status", "plug", "watch"}
    assert complete("hostmemctl domain pl") == {"plug"}
    assert complete("hostmemctl domain plug --w") == {"--wait"}
    assert complete("hostmemctl domain list -") == {
        "--connect", "--help", "--json", "--version"}


def test_types_and_their_properties():
    assert complete("hostmemctl add memory-backend-me") == {
        "memory-backend-memfd,"}
    assert complete("hostmemctl add memory-backend-memfd,id=m0,prealloc-th"
                    ) == {"m0,prealloc-threads="}
    assert complete("hostmemctl add --device virtio-mem,memd") == {
        "virtio-mem,memdev="}


def test_ids():
    with Hostmemd("-object", RAM, "-object",
                  RAM.replace("m0", "other"), "-device",
                  "virtio-mem,id=vm0,memdev=m0") as daemon:
        assert complete("hostmemctl del ", server=daemon) == {"m0", "other"}
        assert complete("hostmemctl get ", server=daemon) == {"m0", "other",
                                                              "vm0"}
        assert complete("hostmemctl del --device ", server=daemon) == {"vm0"}
        assert complete("hostmemctl plug v", server=daemon) == {"vm0"}
        assert complete("hostmemctl get m0 prealloc-th",
                        server=daemon) == {"prealloc-threads"}
        assert "requested-size" in complete("hostmemctl set vm0 r",
                                            server=daemon)
        address = address_of(daemon)
        assert complete(f"hostmemctl -c {address} del m") == {"m0"}
        assert complete(f"hostmemctl --connect={address} plug ") == {"vm0"}


def test_no_server():
    assert complete("hostmemctl del ") == set()
    assert complete("hostmemctl -c unix:/nonexistent del ") == set()


def test_addresses():
    assert complete("hostmemctl -c ") == {"unix:", "tcp:"}
    assert complete("hostmemctl --connect=u") == {"unix:"}
    with scratch() as folder:
        (folder / "one.sock").touch()
        (folder / "two.sock").touch()
        assert complete(f"hostmemctl -c unix:{folder}/o") == {
            f"{folder}/one.sock"}


def test_what_exec_and_attach_take():
    with Hostmemd("-object", RAM) as daemon, scratch() as folder:
        (folder / "vm7.sock").touch()
        assert complete("hostmemctl exec ", server=daemon) == {"m0"}
        assert complete("hostmemctl exec m0 ", server=daemon) == {"m0"}
        assert "sh" in complete("hostmemctl exec m0 -- s", server=daemon)
        assert complete(f"hostmemctl exec m0 -- cat {folder}/v",
                        server=daemon) == {f"{folder}/vm7.sock"}
        for command in "attach", "detach":
            assert complete(f"hostmemctl {command} {folder}/v") == {
                f"{folder}/vm7.sock"}
            assert complete(f"hostmemctl {command} {folder}/vm7.sock ",
                            server=daemon) == {"m0"}
        assert complete("hostmemctl attach --no") == {"--node"}


def test_what_advise_and_discard_take():
    with Hostmemd("-object", RAM) as daemon:
        for command in "advise", "discard":
            assert complete(f"hostmemctl {command} ", server=daemon) == {"m0"}
    assert complete("hostmemctl advise m0 ") == {"will-need", "cold",
                                                 "page-out", "collapse"}
    assert complete("hostmemctl advise m0 cold --w") == {"--wait"}
    for line in "advise m0 cold a", "discard m0 a", "discard m0 0+1M a":
        assert complete(f"hostmemctl {line}") == {"all"}


def test_help_of_types():
    assert complete("hostmemctl help memory-backend-f") == {
        "memory-backend-file"}
    assert complete("hostmemctl help pl") == {"plug"}
    assert complete("hostmemctl help domain pl") == {"plug"}
    assert complete("hostmemctl help plug ") == set()
    assert complete("hostmemctl help domain plug ") == set()


def test_ids_that_mean_something_to_a_shell():
    names = ["ok", "$(touch /tmp/owned)", "a b", "`x`", "a;b", "-x", "a\nb"]

    def serve(peer):
        peer.negotiate()
        peer.answer([{"name": name, "type": "child<x>"} for name in names])

    with fake(serve) as address:
        assert complete(f"hostmemctl -c {address} del ") == {"ok"}


def test_the_tab_key():
    with Hostmemd("-object", RAM) as daemon:
        need_program("bash")
        assert press_tab("hostmemctl get m0 prealloc-thr",
                         daemon) == "hostmemctl get m0 prealloc-threads "
        assert press_tab("hostmemctl add memory-backend-memfd,id=x,prealloc-c"
                         "h", daemon).endswith(",id=x,prealloc-check=")


def test_hostmemd():
    assert complete("hostmemd --o", name="hostmemd") == {"--once"}
    assert "-object" in complete("hostmemd -", name="hostmemd")
    assert complete("hostmemd -object memory-backend-sh",
                    name="hostmemd") == {"memory-backend-shm,"}


def test_hostmem_bench():
    assert complete("hostmem-bench --th",
                    name="hostmem-bench") == {"--threads"}
    assert {"compare", "plug"} <= complete("hostmem-bench ",
                                           name="hostmem-bench")


def test_script_is_what_the_program_prints():
    script = build_folder() / "backends/programs/completions/hostmemctl"
    assert script.read_text() == ctl(None, "completion", "bash")


if __name__ == "__main__":
    harness.main()
