# SPDX-License-Identifier: LGPL-2.1-or-later
"""XML that is bad, too much, or hostile; a libvirt that is missing or hangs."""

import contextlib
import glob
import os
import pathlib
import re
import signal
import subprocess

import harness
from domainxml import (PATIENT, need_libvirt, nothing_left, private,
                       system_places, xml_file)
from expect import NOBODY, as_nobody, fails, under
from harness import (MIB, Hostmemd, die_with_parent, need_root, program,
                     run_hostmemd, scratch, wait_until)
from libvirtd import DRIVER, domain_xml

GOOD = domain_xml("good", 64 * MIB)
MEMFD = ("<memoryBacking><source type='memfd'/><access mode='shared'/>"
         "</memoryBacking>")
HOTPLUG = ("<maxMemory slots='4' unit='MiB'>1024</maxMemory><cpu><numa>"
           "<cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>")


def xml_fails(xml, *phrases, **options):
    """A domain that cannot be converted; returns the message."""
    need_libvirt()
    places = system_places()
    with xml_file(xml) as path, nothing_left() as env:
        message = fails("--once", "-libvirt-xml", path, env=env,
                        phrases=[f"hostmemd: -libvirt-xml {path}: ", *phrases],
                        **{**PATIENT, **options})
    assert system_places() == places
    return message


def test_no_xml():
    for text in "hello", "<domain", "<domain></domian>", "\xff\xfe", "\0x":
        xml_fails(text, "it is no ")


def test_nothing():
    for text in "", " \n":
        xml_fails(text, "it is no XML: ", "empty")


def test_no_domain():
    xml_fails("<network><name>n</name></network>",
              "libvirt does not take it: ", "network")


def test_domain_without_memory():
    xml_fails("<domain type='qemu'><name>n</name><os><type arch='x86_64'>hvm"
              "</type></os></domain>", "memory")


def test_nul():
    need_libvirt()
    with scratch() as folder:
        path = folder / "nul"
        path.write_bytes(GOOD.encode() + b"\0")
        fails("-libvirt-xml", path, phrases=["it has a NUL byte"])


def test_huge():
    need_libvirt()
    with xml_file(GOOD + " " * (4 * MIB)) as path:
        fails("-libvirt-xml", path, phrases=["it has more than 4 MiB"])


def test_endless():
    fails("-libvirt-xml", "/dev/zero", phrases=["it has more than 4 MiB"])


def test_deep():
    xml_fails("<domain>" * 100000, "it is no XML: ")
    xml_fails("<domain><name>" + "<a>" * 1000 + "</a>" * 1000
              + "</name></domain>", "libvirt does not take it: ", "depth")


def test_external_entity():
    need_libvirt()
    with scratch() as folder:
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text("ouch")
        doctype = ("<!DOCTYPE domain "
                   f"[<!ENTITY e SYSTEM 'file://{secret}'>]>")
        for xml in (GOOD.replace(">good<", ">&e;<"),
                    GOOD.replace("machine='q35'", "machine='&e;'"),
                    domain_xml("m", 64 * MIB, more=MEMFD.replace(
                        "memfd", "&e;"))):
            xml_fails(doctype + xml, "it is no XML: ", "Entity")


def test_entities_that_multiply():
    entities = "".join(f"<!ENTITY e{n} '{'&e%d;' % (n - 1) * 10}'>"
                       for n in range(1, 12))
    xml_fails(f"<!DOCTYPE domain [<!ENTITY e0 'ha'>{entities}]>"
              + GOOD.replace("<name>good<", "<name>&e11;<"),
              "it is no XML: ", "Entity")


def test_unknown_memory_model():
    for model, phrase in [("nosuch", "nosuch"), ("sgx-epc", "")]:
        xml_fails(domain_xml("m", 128 * MIB, more=MEMFD + HOTPLUG, devices=f"""
          <memory model='{model}'><target><size unit='MiB'>64</size>
          <node>0</node></target></memory>"""), phrase)


def test_memory_that_is_plugged_where_none_can_be():
    xml_fails(domain_xml("m", 128 * MIB, devices="""
      <memory model='dimm'><target><size unit='MiB'>64</size><node>0</node>
      </target></memory>"""), "libvirt does not take it: ")


def test_node_that_is_not_there():
    xml_fails(domain_xml("n", 64 * MIB, more="<numatune>"
                         "<memory mode='strict' nodeset='99'/></numatune>"),
              "99")


def test_huge_pages_without_a_mount():
    xml_fails(domain_xml("h", 64 * MIB, more="<memoryBacking><hugepages/>"
                         "</memoryBacking>"),
              "hugetlbfs", under=private())


def test_huge_pages_of_a_user_without_rights():
    with scratch() as folder:
        mounted = private(f"mount -t hugetlbfs -o pagesize=2M none {folder}")
        xml_fails(domain_xml("h", 64 * MIB, more="<memoryBacking><hugepages/>"
                             "</memoryBacking>"),
                  "shown to libvirt only with CAP_SYS_ADMIN",
                  under=mounted + as_nobody())


def test_files_without_a_directory():
    xml = domain_xml("f", 64 * MIB, more="<memoryBacking>"
                     "<source type='file'/></memoryBacking>")
    with scratch() as folder:
        (folder / "qemu.conf").write_text(
            f"memory_backing_dir = '{folder}/nosuch'\n")
        if not pathlib.Path("/etc/libvirt").is_dir():
            harness.skip("there is no /etc/libvirt")
        xml_fails(xml, f"memory_backing_dir of its qemu.conf, {folder}/nosuch",
                  under=private(f"mount --bind {folder} /etc/libvirt"))


def test_memory_that_is_not_to_be_had():
    """The registry's own message, and where the line came from."""
    xml_fails(domain_xml("big", 1 << 50, more=MEMFD.replace(
        "</memoryBacking>", "<allocation mode='immediate'/></memoryBacking>")),
        "-object {", "pc.ram")


def test_persistent_memory_that_is_none():
    """What a backend cannot honour is named."""
    with scratch() as folder:
        folder.chmod(0o755)
        path = folder / "nv"
        path.touch()
        os.truncate(path, 64 * MIB)
        xml_fails(domain_xml("nv", 128 * MIB, more=MEMFD + HOTPLUG, devices=f"""
          <memory model='nvdimm'><source><path>{path}</path><pmem/></source>
          <target><size unit='MiB'>64</size><node>0</node>
          <label><size unit='KiB'>128</size></label></target></memory>"""),
                  "-object {", "'pmem' = 'on'", "no persistent memory")


def test_no_such_file():
    fails("-libvirt-xml", "/nonexistent", phrases=[
        "hostmemd: -libvirt-xml /nonexistent: ", "No such file"])


def test_directory():
    fails("-libvirt-xml", "/", phrases=["-libvirt-xml /: ", "directory"])


def test_file_that_may_not_be_read():
    need_root()
    with xml_file(GOOD) as path:
        path.chmod(0o600)
        fails("-libvirt-xml", path, phrases=["Permission denied"],
              under=as_nobody())


def test_standard_input_is_taken():
    fails("-libvirt-xml", "-", "-qmp", "stdio",
          phrases=["-qmp stdio does not go with -libvirt-xml -"])


def test_time_that_is_none():
    for text in "0", "-1", "x", "", "99999999", "1.5":
        fails("-libvirt-timeout", text, "-libvirt-xml", "-",
              phrases=["-libvirt-timeout ", "takes a number of seconds"])


def test_qemu_that_is_not_there():
    begin, _, rest = GOOD.partition("<emulator>")
    xml_fails(begin + "<emulator>/nonexistent</emulator>"
              + rest.partition("</emulator>")[2], "/nonexistent")


def test_libvirt_is_missing():
    need_libvirt()
    listed = subprocess.check_output(["/sbin/ldconfig", "-p"], text=True)
    library = re.search(r"libvirt\.so\.0 .*=> (.*)", listed)[1]
    xml_fails(GOOD, "libvirt cannot be loaded: ", "libvirt.so.0",
              under=private(f"mount --bind /dev/null {library}"))


def test_driver_is_missing():
    need_libvirt()
    driver = next(path for pattern in DRIVER for path in glob.glob(pattern))
    xml_fails(GOOD, "libvirt's driver for QEMU does not start: ",
              under=private("mount -t tmpfs none "
                            + os.path.dirname(driver)))


@contextlib.contextmanager
def emulator(script):
    """XML of a domain whose QEMU is a shell script."""
    with scratch() as folder:
        folder.chmod(0o777)
        path = folder / "qemu"
        path.write_text("#!/bin/sh\n" + script.format(folder=folder))
        path.chmod(0o755)
        begin, _, rest = GOOD.partition("<emulator>")
        yield (begin + f"<emulator>{path}</emulator>"
               + rest.partition("</emulator>")[2]), folder


HANGS = "trap '' TERM; touch {folder}/began; sleep 1000; sleep 1000\n"


def test_qemu_that_hangs():
    with emulator(HANGS) as (xml, folder), xml_file(xml) as path, \
            nothing_left() as env:
        fails("-libvirt-timeout", 2, "-libvirt-xml", path, env=env, phrases=[
            "libvirt did not convert it within 2 s"], **PATIENT)
        assert (folder / "began").exists()


def test_qemu_that_is_none():
    for script in "exit 1\n", "echo no QEMU\n", "kill -9 $$\n":
        with emulator(script) as (xml, _):
            xml_fails(xml, "libvirt does not take it: ")


def test_qemu_is_run_by_nobody():
    need_root()
    with emulator("id -u >{folder}/user; exit 1\n") as (xml, folder):
        xml_fails(xml)
        assert (folder / "user").read_text() == f"{NOBODY}\n"


def test_root_that_cannot_become_nobody():
    need_root()
    xml_fails(GOOD, "cannot become nobody", under=under(
        "setpriv", "--bounding-set=-sys_admin,-setuid", "--inh-caps=-all"))


def test_a_signal_meanwhile():
    need_libvirt()
    for signum in signal.SIGTERM, signal.SIGINT:
        with emulator(HANGS) as (xml, folder), xml_file(xml) as path, \
                nothing_left() as env, \
                Hostmemd("-libvirt-xml", path, ready=False,
                         env=env) as daemon:
            wait_until((folder / "began").exists, 60, "QEMU to begin")
            # QMP is served meanwhile.
            assert daemon.qmp.execute("query-memdev") == []
            daemon.process.send_signal(signum)
            assert daemon.wait() == 1
            assert "interrupted before the memory was ready" in daemon.stderr


def test_sighup_that_is_ignored():
    need_libvirt()
    with emulator(HANGS) as (xml, folder), xml_file(xml) as path, \
            Hostmemd("-libvirt-timeout", 4, "-libvirt-xml", path, qmp=False,
                     under=["nohup"]) as daemon:
        wait_until((folder / "began").exists, 60, "QEMU to begin")
        for pid in users_of(path):
            os.kill(int(pid), signal.SIGHUP)
        assert daemon.wait() == 1
        assert "within 4 s" in daemon.stderr, daemon.stderr


def test_death_meanwhile():
    """Even then nothing stays: whoever converts notices."""
    need_libvirt()
    with emulator(HANGS) as (xml, folder), xml_file(xml) as path, \
            nothing_left() as env:
        process = subprocess.Popen(
            [program("hostmemd"), "-libvirt-xml", path],
            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
            env={**os.environ, **env})
        wait_until((folder / "began").exists, 60, "QEMU to begin")
        process.kill()
        process.wait()
        wait_until(lambda: not users_of(folder / "qemu"), what="QEMU to go")


def users_of(path):
    """Processes that have a path in their command line, or are its script."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(path).encode() in entry.read_bytes():
                found.append(entry.parent.name)
    return found


def test_quit_meanwhile():
    need_libvirt()
    with emulator(HANGS) as (xml, folder), xml_file(xml) as path, \
            Hostmemd("-libvirt-xml", path, ready=False) as daemon:
        wait_until((folder / "began").exists, 60, "QEMU to begin")
        daemon.qmp.execute("quit")
        assert daemon.wait() == 0


def test_printing_fails_as_well():
    need_libvirt()
    with xml_file("hello") as path:
        fails("--print-libvirt-options", path, phrases=[
            f"hostmemd: --print-libvirt-options {path}: it is no XML"],
            **PATIENT)
        result = run_hostmemd(["--print-libvirt-options", "-"], input=GOOD,
                              under=["sh", "-c", 'exec "$@" >/dev/full', "sh"],
                              **PATIENT)
        assert result.returncode == 1 and "cannot write" in result.stderr


if __name__ == "__main__":
    harness.main()
