# SPDX-License-Identifier: LGPL-2.1-or-later
"""A domain as a libvirtd has it, and what that libvirtd makes of it."""

import json
import pathlib
import shlex

import harness
from domainxml import need_libvirt, print_options, private
from harness import MIB, scratch
from libvirtd import Libvirtd, domain_xml

HOTPLUG = "<maxMemory slots='4' unit='MiB'>1024</maxMemory>"
CELLS = """
  <cpu><numa>
    <cell id='0' cpus='0' memory='32' unit='MiB'/>
    <cell id='1' cpus='1' memory='32' unit='MiB'/>
  </numa></cpu>"""


def domains():
    """XML of each kind that needs nothing of the host."""
    backing = "<memoryBacking>{}</memoryBacking>"
    memfd = backing.format("<source type='memfd'/><access mode='shared'/>")
    numatune = ("<numatune><memory mode='{0}' nodeset='0'/><memnode cellid='1'"
                " mode='{0}' nodeset='0'/></numatune>")
    yield domain_xml("plain", 64 * MIB)
    yield domain_xml("cells", 64 * MIB, cpus=2, more=CELLS)
    yield domain_xml("memfd", 64 * MIB, more=memfd)
    yield domain_xml("file", 64 * MIB, more=backing.format(
        "<source type='file'/><access mode='shared'/><discard/>"
        "<allocation mode='immediate' threads='2'/>"))
    for mode in "strict", "preferred", "interleave":
        yield domain_xml(mode, 64 * MIB, cpus=2, more=backing.format(
            "<source type='memfd'/><allocation mode='immediate'/>")
            + numatune.format(mode) + CELLS)
    yield domain_xml(
        "plugged", 192 * MIB, cpus=2, more=memfd + HOTPLUG + CELLS, devices="""
        <memory model='virtio-mem'><target><size unit='MiB'>64</size>
          <node>0</node><block unit='MiB'>2</block>
          <requested unit='MiB'>8</requested></target></memory>
        <memory model='dimm'><target><size unit='MiB'>64</size><node>1</node>
          </target></memory>""")


def memory_of(words):
    """Memory objects and devices of a command line."""
    found = []
    for option, value in zip(words, words[1:]):
        if option in ("-object", "-device") and value.startswith("{"):
            properties = json.loads(value)
            kind = properties.get("qom-type", properties.get("driver"))
            if kind.startswith(("memory-", "thread-context", "virtio-mem")):
                found.append(properties)
    return found


def comparable(properties):
    """Without what only one of them says so, or says of its own places."""
    return {name: value for name, value in properties.items()
            if name not in ("mem-path", "dump", "guest-node", "bus", "addr")}


def same_settings(folder):
    """What hostmemd is started by so that it finds that qemu.conf."""
    if not pathlib.Path("/etc/libvirt").is_dir():
        harness.skip("there is no /etc/libvirt")
    (folder / "qemu.conf").write_text(f'memory_backing_dir = "{folder}"\n')
    return private(f"mount --bind {folder} /etc/libvirt")


def check_same(libvirtd, xml, under):
    theirs = memory_of(shlex.split(libvirtd.virsh(
        "domxml-to-native", "qemu-argv", "--xml", "/dev/stdin", input=xml)))
    ours = memory_of(print_options(xml, under=under))
    assert theirs and ([comparable(p) for p in ours]
                       == [comparable(p) for p in theirs]), (ours, theirs)


@harness.time_limit(240)
def test_the_same_as_of_libvirtd():
    need_libvirt()
    with scratch() as folder, Libvirtd(
            memory_backing_dir=folder) as libvirtd:
        for xml in domains():
            check_same(libvirtd, xml, same_settings(folder))


@harness.time_limit(240)
def test_domain_that_runs():
    need_libvirt()
    with Libvirtd() as libvirtd:
        libvirtd.start(domain_xml("runs", 64 * MIB, more="""
          <memoryBacking><source type='memfd'/><access mode='shared'/>
          </memoryBacking>"""))
        xml = libvirtd.virsh("dumpxml", "runs")
        assert "id='" in xml, xml
        words = print_options(xml)
        libvirtd.virsh("destroy", "runs")
    assert json.loads(words[1])["qom-type"] == "memory-backend-memfd", words


if __name__ == "__main__":
    harness.main()
