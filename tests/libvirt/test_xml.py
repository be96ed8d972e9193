# SPDX-License-Identifier: LGPL-2.1-or-later
"""Memory of domains: what libvirt asks QEMU for, hostmemd makes."""

import json
import os
import pathlib
import re

import devicetree
import harness
from domainxml import (PATIENT, hostmemd, need_libvirt, nothing_left,
                       print_options, private, property_of, status,
                       system_places, xml_file)
from expect import as_nobody, succeeds, under
from harness import MIB, need_huge_pages, run_hostmemd, scratch, wait_until
from libvirtd import domain_xml

CELL = ("<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa>"
        "</cpu>")
HOTPLUG = "<maxMemory slots='4' unit='MiB'>1024</maxMemory>" + CELL
MEMFD = ("<memoryBacking><source type='memfd'/><access mode='shared'/>"
         "</memoryBacking>")


def has(found, **expected):
    """Check what a backend or a device is like."""
    for name, value in expected.items():
        name = name.replace("_", "-")
        assert found.get(name) == value, (name, value, found)


def only(found):
    value, = found.values()
    return value


def test_plain():
    with hostmemd(domain_xml("plain", 64 * MIB)) as daemon:
        memdevs, devices = status(daemon)
    assert list(memdevs) == ["pc.ram"] and not devices, (memdevs, devices)
    has(only(memdevs), type="memory-backend-ram", size=64 * MIB, share=False,
        prealloc=False, dump=False, merge=True)


def test_memory_that_is_locked_or_not_merged_or_dumped():
    more = "<memoryBacking><nosharepages/><locked/></memoryBacking>"
    xml = domain_xml("m", 64 * MIB, more=more)
    with hostmemd(xml) as daemon:
        has(only(status(daemon)[0]), merge=False, dump=False)
        assert property_of(daemon, "pc.ram", "mem-lock") == "on"
    xml = xml.replace("<locked/>", "").replace("<memory unit='b'>", "<memory dumpCore='on' unit='b'>")
    with hostmemd(xml) as daemon:
        has(only(status(daemon)[0]), merge=False, dump=True)


def test_memfd_that_is_shared():
    with hostmemd(domain_xml("memfd", 64 * MIB, more=MEMFD)) as daemon:
        has(only(status(daemon)[0]), id="pc.ram", type="memory-backend-memfd",
            size=64 * MIB, share=True, prealloc=False, populated_size=0)
        assert property_of(daemon, "pc.ram",
                           "x-use-canonical-path-for-ramblock-id") == "off"


def test_memory_that_is_there_at_once():
    more = MEMFD.replace("</memoryBacking>",
                         "<allocation mode='immediate' threads='2'/>"
                         "</memoryBacking>")
    with hostmemd(domain_xml("now", 64 * MIB, more=more)) as daemon:
        has(only(status(daemon)[0]), prealloc=True, populated_size=64 * MIB)
        assert property_of(daemon, "pc.ram", "prealloc-threads") == "2"


def huge_domain(numatune=""):
    return domain_xml("huge", 32 * MIB, cpus=2, more=f"""
      <memoryBacking>
        <hugepages><page size='2' unit='MiB'/></hugepages>
        <allocation threads='2'/>
      </memoryBacking>
      {numatune}
      <cpu><numa>
        <cell id='0' cpus='0' memory='16' unit='MiB'/>
        <cell id='1' cpus='1' memory='16' unit='MiB'/>
      </numa></cpu>""")


def huge_mount(folder):
    return private(f"mount -t hugetlbfs -o pagesize=2M none {folder}")


def test_huge_pages_of_two_cells():
    need_libvirt()
    with scratch() as folder, need_huge_pages(16), \
            hostmemd(huge_domain(), under=huge_mount(folder)) as daemon:
        memdevs, _ = status(daemon)
        assert set(memdevs) == {"ram-node0", "ram-node1"}, memdevs
        for id, memdev in memdevs.items():
            has(memdev, type="memory-backend-file", size=16 * MIB,
                page_size=2 * MIB, prealloc=True, populated_size=16 * MIB)
            assert property_of(daemon, id, "prealloc-threads") == "2"
            assert property_of(daemon, id, "mem-path") == str(folder)


def test_huge_pages_bound_to_nodes_come_from_thread_contexts():
    need_libvirt()
    xml = huge_domain("<numatune><memnode cellid='1' mode='strict' "
                      "nodeset='0'/></numatune>")
    with scratch() as folder, need_huge_pages(16), \
            hostmemd(xml, under=huge_mount(folder)) as daemon:
        has(status(daemon)[0]["ram-node1"], host_nodes=[0], policy="bind",
            populated_size=16 * MIB)
        context = property_of(daemon, "ram-node1", "prealloc-context")
        assert "tc-ram-node1" in context, context
        assert not property_of(daemon, "ram-node0", "prealloc-context")


def test_libvirt_makes_no_directories_among_the_huge_pages():
    need_libvirt()
    with scratch() as folder:
        script = (f"mount -t hugetlbfs -o pagesize=2M none {folder}; "
                  f"hostmemd=$1; shift; \"$hostmemd\" \"$@\"; ls {folder}; "
                  "exit")
        with xml_file(huge_domain()) as path:
            result = run_hostmemd(["--print-libvirt-options", path],
                                  under=private(script), **PATIENT)
    assert result.stdout.count("memory-backend-file") == 2, result
    assert "libvirt" not in result.stdout, result


def test_file_that_is_discarded():
    need_libvirt()
    xml = domain_xml("file", 64 * MIB, more="""
      <memoryBacking><source type='file'/><access mode='shared'/><discard/>
      </memoryBacking>""")
    with scratch() as folder:
        (folder / "qemu.conf").write_text(
            "# memory_backing_dir = '/nowhere'\n"
            f'memory_backing_dir = "{folder}"\n')
        (folder / "etc").mkdir()
        bound = private(f"mount --bind {folder} /etc/libvirt")
        if not pathlib.Path("/etc/libvirt").is_dir():
            harness.skip("there is no /etc/libvirt")
        with hostmemd(xml, under=bound) as daemon:
            has(only(status(daemon)[0]), type="memory-backend-file",
                size=64 * MIB, share=True)
            assert property_of(daemon, "pc.ram", "mem-path") == str(folder)
            assert property_of(daemon, "pc.ram", "discard-data") == "on"
        assert sorted(os.listdir(folder)) == ["etc", "qemu.conf"]


def test_policies_of_numatune():
    for mode, policy in [("strict", "bind"), ("preferred", "preferred"),
                         ("interleave", "interleave")]:
        more = (f"{MEMFD}<numatune><memory mode='{mode}' nodeset='0'/>"
                "</numatune>")
        with hostmemd(domain_xml("numa", 64 * MIB, more=more)) as daemon:
            has(only(status(daemon)[0]), host_nodes=[0], policy=policy)


def test_virtio_mem():
    xml = domain_xml("vmem", 320 * MIB, more=MEMFD + HOTPLUG, devices="""
      <memory model='virtio-mem'><target>
        <size unit='MiB'>256</size><node>0</node>
        <block unit='MiB'>2</block><requested unit='MiB'>128</requested>
      </target></memory>""")
    with hostmemd(xml) as daemon:
        memdevs, devices = status(daemon)
        assert property_of(daemon, "memvirtiomem0", "reserve") == "off"
    has(memdevs["ram-node0"], size=64 * MIB, guest_node=0)
    has(memdevs["memvirtiomem0"], type="memory-backend-memfd", size=256 * MIB,
        share=True, reserve=False)
    has(only(devices), id="virtiomem0", memdev="/objects/memvirtiomem0",
        requested_size=128 * MIB, block_size=2 * MIB, max_size=256 * MIB,
        node=0, size=0)


def test_dimm():
    xml = domain_xml("dimm", 128 * MIB, more=MEMFD + HOTPLUG, devices="""
      <memory model='dimm'><target>
        <size unit='MiB'>64</size><node>0</node>
      </target></memory>""")
    with hostmemd(xml) as daemon:
        memdevs, devices = status(daemon)
    assert set(memdevs) == {"ram-node0", "memdimm0"} and not devices, memdevs
    has(memdevs["memdimm0"], type="memory-backend-memfd", size=64 * MIB,
        share=True, guest_node=0)


def test_device_tree_has_the_nodes_of_the_guest():
    xml = domain_xml("nodes", 192 * MIB, cpus=2, more="""
      <maxMemory slots='4' unit='MiB'>1024</maxMemory><cpu><numa>
        <cell id='0' cpus='0' memory='64' unit='MiB'/>
        <cell id='1' cpus='1' memory='64' unit='MiB'/>
      </numa></cpu>""", devices="""
      <memory model='dimm'><target>
        <size unit='MiB'>64</size><node>1</node>
      </target></memory>""")
    with scratch() as folder:
        path = folder / "vm.dtb"
        with hostmemd(xml, "-dumpdtb", path):
            assert devicetree.memory(path) == [
                (1024 * MIB, 64 * MIB, 0), (1088 * MIB, 64 * MIB, 1),
                (1152 * MIB, 64 * MIB, 1)]


def test_persistent_memory():
    with scratch() as folder:
        folder.chmod(0o755)
        file = folder / "nv"
        file.write_bytes(b"kept")
        os.truncate(file, 64 * MIB)
        xml = domain_xml("nv", 128 * MIB, more=MEMFD + HOTPLUG, devices=f"""
          <memory model='nvdimm'>
            <source><path>{file}</path><alignsize unit='MiB'>2</alignsize>
            </source>
            <target><size unit='MiB'>64</size><node>0</node>
              <label><size unit='KiB'>128</size></label></target>
          </memory>""")
        with hostmemd(xml) as daemon:
            has(status(daemon)[0]["memnvdimm0"], type="memory-backend-file",
                size=64 * MIB, share=True, prealloc=True,
                populated_size=64 * MIB)
            assert property_of(daemon, "memnvdimm0", "mem-path") == str(file)
            assert property_of(daemon, "memnvdimm0", "align") == "2097152"
        with open(file, "rb") as left:
            assert left.read(4) == b"kept"


def test_virtio_pmem():
    with scratch() as folder:
        folder.chmod(0o755)
        file = folder / "pm"
        file.touch()
        os.truncate(file, 64 * MIB)
        xml = domain_xml("pm", 64 * MIB, more=MEMFD + HOTPLUG, devices=f"""
          <memory model='virtio-pmem'><source><path>{file}</path></source>
            <target><size unit='MiB'>64</size></target></memory>""")
        with hostmemd(xml) as daemon:
            has(status(daemon)[0]["memvirtiopmem0"], size=64 * MIB,
                type="memory-backend-file", share=True)


RICH = """
  <loader readonly='yes' type='pflash'>/nonexistent/CODE.fd</loader>
  <nvram>/nonexistent/VARS.fd</nvram>
""", """
  <metadata><x:memory xmlns:x='urn:x'>1</x:memory></metadata>
  <iothreads>1</iothreads>
  <memtune><hard_limit unit='GiB'>1</hard_limit></memtune>
  <cputune><shares>10</shares><emulatorpin cpuset='0'/></cputune>
  <seclabel type='dynamic' model='apparmor' relabel='yes'/>
""", """
  <controller type='scsi' model='virtio-scsi'><driver iothread='1'/>
  </controller>
  <disk type='volume' device='disk'><driver name='qemu' type='raw'/>
    <source pool='nosuch' volume='v'/><target dev='vdb' bus='virtio'/></disk>
  <interface type='network'><source network='nosuch'/></interface>
  <interface type='bridge'><source bridge='nosuch'/></interface>
  <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
  <hostdev mode='subsystem' type='pci' managed='yes'><source>
    <address domain='0x7777' bus='0' slot='3' function='0'/></source></hostdev>
  <filesystem type='mount'><driver type='virtiofs'/><source dir='/nosuch'/>
    <target dir='x'/></filesystem>
  <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  <memory model='dimm' access='shared'><target><size unit='MiB'>64</size>
    <node>0</node></target>
    <address type='dimm' slot='2' base='0x140000000'/></memory>
"""


def test_what_is_no_memory_is_left_out():
    """Not even what only the host of the domain has, or only root."""
    os, more, devices = RICH
    words = print_options(domain_xml("rich", 128 * MIB, os=os, devices=devices,
                                     more=MEMFD + HOTPLUG + more))
    assert [json.loads(word)["id"] for word in words[1::2]] == [
        "ram-node0", "memdimm2"], words
    assert json.loads(words[3])["share"] is True, words


def test_what_was_given_to_qemu_itself():
    xml = domain_xml("args", 64 * MIB, more="""
      <q:commandline>
        <q:arg value='-object'/>
        <q:arg value='memory-backend-memfd,id=more,size=32M'/>
        <q:arg value='-device'/>
        <q:arg value='virtio-mem-pci,id=v,memdev=more,bus=pcie.0,addr=0x9'/>
      </q:commandline>""").replace(
        "<domain ", "<domain "
        "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' ")
    with hostmemd(xml) as daemon:
        memdevs, devices = status(daemon)
    assert set(memdevs) == {"pc.ram", "more"} and set(devices) == {"v"}


def test_hardware_virtualization():
    """Also where only root may use it, as here."""
    harness.need_root()
    if not pathlib.Path("/dev/kvm").exists():
        harness.skip("there is no /dev/kvm")
    xml = domain_xml("kvm", 64 * MIB).replace("type='qemu'", "type='kvm'", 1)
    words = print_options(xml)
    assert json.loads(words[1])["id"] == "pc.ram", words


def test_memfd_of_huge_pages():
    need_libvirt()
    xml = huge_domain().replace("<hugepages>",
                                "<source type='memfd'/><hugepages>")
    with scratch() as folder, need_huge_pages(16), \
            hostmemd(xml, under=huge_mount(folder)) as daemon:
        memdevs, _ = status(daemon)
        for id in "ram-node0", "ram-node1":
            has(memdevs[id], type="memory-backend-memfd", page_size=2 * MIB,
                populated_size=16 * MIB)
            assert property_of(daemon, id, "hugetlb") == "on"
            assert property_of(daemon, id, "hugetlbsize") == str(2 * MIB)


def test_standard_input():
    need_libvirt()
    table = run_hostmemd(["--once", "-libvirt-xml", "-"],
                         input=domain_xml("stdin", 64 * MIB), **PATIENT)
    assert table.returncode == 0 and "pc.ram" in table.stdout, table


def test_standard_input_in_the_background():
    need_libvirt()
    with scratch() as folder:
        pidfile = folder / "pid"
        result = run_hostmemd(
            ["-daemonize", "-libvirt-xml", "-", "-pidfile", pidfile],
            input=domain_xml("bg", 64 * MIB), may_leave_processes=True,
            **PATIENT)
        assert result.returncode == 0 and "pc.ram" in result.stdout, result
        os.kill(int(pidfile.read_text()), 15)
        wait_until(lambda: not pidfile.exists(), what="the end")


def test_beside_objects_and_devices():
    xml = domain_xml("beside", 64 * MIB)
    with hostmemd(xml, "-object", "memory-backend-ram,id=m0,size=64M",
                  "-device", "virtio-mem,id=v0,memdev=m0") as daemon:
        memdevs, devices = status(daemon)
    assert set(memdevs) == {"pc.ram", "m0"} and set(devices) == {"v0"}


def test_an_id_that_is_taken():
    need_libvirt()
    with xml_file(domain_xml("twice", 64 * MIB)) as path:
        result = run_hostmemd(
            ["--once", "-libvirt-xml", path, "-object",
             "memory-backend-ram,id=pc.ram,size=64M"], **PATIENT)
    assert result.returncode == 1, result
    assert "pc.ram" in result.stderr, result


def test_what_is_printed_can_be_given():
    words = print_options(domain_xml("words", 64 * MIB, more=MEMFD))
    assert "pc.ram" in succeeds("--once", *words)


def test_in_the_background():
    need_libvirt()
    with scratch() as folder, xml_file(domain_xml("bg", 64 * MIB)) as path:
        pidfile = folder / "pid"
        result = run_hostmemd(["-daemonize", "-libvirt-xml", path,
                               "-pidfile", pidfile],
                              may_leave_processes=True, **PATIENT)
        assert result.returncode == 0, result
        os.kill(int(pidfile.read_text()), 15)
        wait_until(lambda: not pidfile.exists(), what="the end")


def test_a_user_without_rights():
    words = print_options(domain_xml("user", 64 * MIB, more=MEMFD),
                          under=as_nobody())
    assert len(words) == 2 and "memory-backend-memfd" in words[1], words


def test_root_that_may_not_mount():
    harness.need_root()
    start = under("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all")
    with nothing_left() as env:
        words = print_options(domain_xml("root", 64 * MIB, more=MEMFD),
                              under=start, env=env)
    assert len(words) == 2 and "memory-backend-memfd" in words[1], words


def test_nothing_of_libvirt_stays():
    places = system_places()
    with nothing_left() as env, \
            hostmemd(domain_xml("gone", 64 * MIB), env=env) as daemon:
        maps = pathlib.Path(f"/proc/{daemon.pid}/maps").read_text()
        assert "virt" not in " ".join(re.findall(r"/lib[^ \n]*", maps)), maps
        children = pathlib.Path(
            f"/proc/{daemon.pid}/task/{daemon.pid}/children")
        assert not children.exists() or not children.read_text()
    assert system_places() == places


if __name__ == "__main__":
    harness.main()
