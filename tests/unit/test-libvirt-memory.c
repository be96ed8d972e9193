/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt.h>

/*
 * Command lines as libvirt 9.0 writes them for QEMU 7.2, their parts that no
 * memory is about left out, and such as QEMU would understand.
 */

#define ROOT "/tmp/root"

static const HostmemLibvirtPlace places[] = {
    {ROOT "/ram", "/var/ram", "files"},
    {ROOT "/huge-2M", "/mnt/huge", "huge pages of 2 MiB"},
    {ROOT "/huge-1G", NULL, "huge pages of 1 GiB"},
};

/* (nullable): "-object TEXT -device TEXT"; NULL with @error. */
static char *convert(const char *const *argv, GError **error)
{
    g_auto(GStrv) options = hostmem_libvirt_memory_options(
        argv, places, G_N_ELEMENTS(places), error);

    return options ? g_strjoinv(" ", options) : NULL;
}

static void check(const char *expected, const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = convert(argv, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, expected);
}

#define CHECK(expected, ...) \
    check(expected, (const char *const[]){__VA_ARGS__, NULL})

static void check_fails(HostmemError code, const char *message,
                        const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = convert(argv, &error);

    g_assert_null(text);
    g_assert_error(error, HOSTMEM_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
}

#define CHECK_FAILS(code, message, ...) \
    check_fails(code, message, (const char *const[]){__VA_ARGS__, NULL})

/* What libvirt writes */

static void test_plain(void)
{
    CHECK("-object {\"qom-type\": \"memory-backend-ram\", \"id\": \"pc.ram\", "
          "\"size\": 67108864, \"dump\": false}",
          "LC_ALL=C", "PATH=/usr/bin", "/usr/bin/qemu-system-x86_64", "-name",
          "guest=plain,debug-threads=on", "-S", "-object",
          "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\","
          "\"file\":\"" ROOT "/lib/master-key.aes\"}",
          "-machine",
          "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend="
          "pc.ram",
          "-accel", "tcg", "-m", "64", "-object",
          "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\","
          "\"size\":67108864}",
          "-overcommit", "mem-lock=off", "-smp", "1,sockets=1");
}

static void test_huge_pages(void)
{
    CHECK("-object {\"qom-type\": \"thread-context\", \"id\": "
          "\"tc-ram-node0\", \"node-affinity\": [0]} "
          "-object {\"qom-type\": \"memory-backend-file\", \"id\": "
          "\"ram-node0\", \"mem-path\": \"/mnt/huge\", \"prealloc\": true, "
          "\"prealloc-threads\": 2, \"size\": 16777216, \"host-nodes\": [0], "
          "\"policy\": \"bind\", \"prealloc-context\": \"tc-ram-node0\", "
          "\"guest-node\": 0}",
          "-machine", "pc,dump-guest-core=on", "-m", "16", "-object",
          "{\"qom-type\":\"thread-context\",\"id\":\"tc-ram-node0\","
          "\"node-affinity\":[0]}",
          "-object",
          "{\"qom-type\":\"memory-backend-file\",\"id\":\"ram-node0\","
          "\"mem-path\":\"" ROOT "/huge-2M/libvirt/qemu/-1-h\","
          "\"prealloc\":true,\"prealloc-threads\":2,\"size\":16777216,"
          "\"host-nodes\":[0],\"policy\":\"bind\","
          "\"prealloc-context\":\"tc-ram-node0\"}",
          "-numa", "node,nodeid=0,cpus=0,memdev=ram-node0");
}

static void test_virtio_mem(void)
{
    const char *device =
        "{\"driver\":\"virtio-mem-pci\",\"node\":0,\"block-size\":2097152,"
        "\"requested-size\":134217728,\"memdev\":\"memvirtiomem0\","
        "\"prealloc\":true,\"memaddr\":4294967296,\"id\":\"virtiomem0\","
        "\"bus\":\"pci.3\",\"multifunction\":true,\"addr\":\"0x0\"}";

    CHECK("-device {\"driver\": \"virtio-mem-pci\", \"node\": 0, "
          "\"block-size\": 2097152, \"requested-size\": 134217728, "
          "\"memdev\": \"memvirtiomem0\", \"prealloc\": true, "
          "\"memaddr\": 4294967296, \"id\": \"virtiomem0\"}",
          "-device", device, "-device",
          "{\"driver\":\"virtio-balloon-pci\",\"id\":\"balloon0\"}", "-device",
          "{\"driver\":\"pc-dimm\",\"node\":0,\"memdev\":\"m\",\"slot\":0}",
          "-device", "{\"driver\":\"nvdimm\",\"memdev\":\"m\"}");
}

/* What QEMU understands as well */

static void test_text(void)
{
    CHECK("-object {\"qom-type\": \"memory-backend-memfd\", \"id\": \"m\", "
          "\"size\": 1073741824} -device {\"driver\": \"virtio-mem-pci\", "
          "\"id\": \"v\", \"memdev\": \"m\"}",
          "--object", "memory-backend-memfd,id=m,size=1G", "-object",
          "id=s,qom-type=secret,file=/a,,b", "--device",
          "virtio-mem-pci,bus=pci.0,id=v,addr=0x1,,2,memdev=m", "-device",
          "virtio-net-pci,netdev=n,host_mtu=1500");
}

static void test_type_may_come_last(void)
{
    CHECK("-object {\"id\": \"m\", \"size\": 1048576, \"qom-type\": "
          "\"memory-backend-ram\"}",
          "-object", "id=m,size=1M,qom-type=memory-backend-ram");
}

static void test_transport(void)
{
    CHECK("-device {\"driver\": \"virtio-mem\", \"memdev\": \"m\"}", "-device",
          "{\"driver\":\"virtio-mem\",\"memdev\":\"m\",\"ats\":true,"
          "\"iommu_platform\":true,\"packed\":true,\"page_per_vq\":true,"
          "\"disable-legacy\":\"on\",\"disable-modern\":false,"
          "\"acpi-index\":1,\"devno\":\"fe.0.0001\"}");
}

static void test_value_of_append(void)
{
    CHECK("", "-append", "-object", "-kernel", "memory-backend-ram,id=x");
}

static void test_no_memory(void)
{
    CHECK("", "qemu", "-S", "-object", "iothread,id=i", "-object",
          "{\"qom-type\":\"rng-random\",\"id\":\"r\"}", "-object",
          "tls-creds-x509,id=t", "-object", "{\"id\":\"nothing\"}");
    check("", (const char *const[]){NULL});
}

/* RAM without an object */

static void check_ram_size(const char *text, const char *bytes)
{
    g_autofree char *expected = g_strdup_printf(
        "-object {\"qom-type\": \"memory-backend-ram\", \"id\": \"ram\", "
        "\"size\": %s}",
        bytes);

    CHECK(expected, "-m", text);
}

static void test_ram_size(void)
{
    check_ram_size("64", "67108864");
    check_ram_size("64M", "67108864");
    check_ram_size("1G", "1073741824");
    check_ram_size("size=262144k,slots=16,maxmem=4194304k", "268435456");
    check_ram_size("slots=2,size=1,maxmem=4G", "1048576");
    check_ram_size("8796093022207", "9223372036853727232");
}

static void test_ram_of_a_path(void)
{
    CHECK("-object {\"qom-type\": \"memory-backend-file\", \"id\": \"ram\", "
          "\"size\": 1048576, \"mem-path\": \"/var/ram\", \"prealloc\": true}",
          "-mem-prealloc", "-mem-path", ROOT "/ram/-1-x/y", "-m", "1");
    CHECK("-object {\"qom-type\": \"memory-backend-file\", \"id\": \"ram\", "
          "\"size\": 1048576, \"mem-path\": \"/tmp/rootless\"}",
          "-mem-path", "/tmp/rootless", "-m", "1");
}

static void test_ram_of_nodes(void)
{
    CHECK("-object {\"qom-type\": \"memory-backend-ram\", \"id\": "
          "\"ram-node1\", \"size\": 1048576, \"guest-node\": 1} "
          "-object {\"qom-type\": \"memory-backend-ram\", \"id\": "
          "\"ram-node3\", \"size\": 2097152, \"guest-node\": 3} "
          "-object {\"qom-type\": \"memory-backend-ram\", \"id\": "
          "\"ram-node2\", \"size\": 1024, \"guest-node\": 2}",
          "-m", "4", "-numa", "node,nodeid=1,mem=1", "-numa",
          "node,nodeid=3,mem=2M", "-numa", "node,cpus=0,mem=1K", "-numa",
          "dist,src=0,dst=1,val=20");
}

static void check_node(const char *node, const char *option, const char *value)
{
    g_autofree char *expected = g_strdup_printf(
        "-object {\"qom-type\": \"memory-backend-ram\", \"id\": \"m\", "
        "\"size\": 1048576%s}",
        node);

    CHECK(expected, "-object", "memory-backend-ram,id=m,size=1M", option,
          value);
}

static void test_nodes_of_the_guest(void)
{
    check_node(", \"guest-node\": 0", "-numa", "node,memdev=m");
    check_node(", \"guest-node\": 7", "-numa", "node,cpus=0,memdev=m,nodeid=7");
    check_node("", "-numa", "node,memdev=other");
    check_node("", "-numa", "dist,src=0,dst=1,val=20");
    check_node(", \"guest-node\": 1", "-device",
               "{\"driver\":\"pc-dimm\",\"node\":1,\"memdev\":\"m\"}");
    check_node(", \"guest-node\": 2", "-device", "nvdimm,memdev=m,node=2,id=n");
    check_node("", "-device", "{\"driver\":\"pc-dimm\",\"memdev\":\"m\"}");
    check_node("", "-device", "pc-dimm,memdev=m");
    check_node("", "-device", "other,memdev=m,node=1");
}

static void test_node_that_is_none(void)
{
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-numa 'node,memdev=m,nodeid=4294967296': '4294967296' is no "
                "number of a NUMA node",
                "-numa", "node,memdev=m,nodeid=4294967296");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-device 'pc-dimm,memdev=m,node=-1': '-1' is no number of a "
                "NUMA node",
                "-device", "pc-dimm,memdev=m,node=-1");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-device '{\"driver\":\"nvdimm\",\"memdev\":\"m\","
                "\"node\":-1}': 'node' is no number of a NUMA node",
                "-device",
                "{\"driver\":\"nvdimm\",\"memdev\":\"m\",\"node\":-1}");
}

static void test_ram_that_has_an_object(void)
{
    CHECK("", "-m", "64", "-machine", "q35", "-machine", "memory-backend=m");
    CHECK("", "-m", "64", "-numa", "node,memdev=m");
}

/* What holds for all */

static void test_defaults(void)
{
    CHECK("-object {\"qom-type\": \"memory-backend-ram\", \"id\": \"a\", "
          "\"size\": 1048576, \"prealloc\": true, \"merge\": false, "
          "\"dump\": false, \"mem-lock\": \"on\"} "
          "-object {\"qom-type\": \"memory-backend-ram\", \"id\": \"b\", "
          "\"size\": 1048576, \"prealloc\": false, \"merge\": true, "
          "\"dump\": true, \"mem-lock\": \"off\"} "
          "-object {\"qom-type\": \"thread-context\", \"id\": \"t\"}",
          "-object", "memory-backend-ram,id=a,size=1M", "-object",
          "{\"qom-type\":\"memory-backend-ram\",\"id\":\"b\","
          "\"size\":1048576,\"prealloc\":false,\"merge\":true,\"dump\":true,"
          "\"mem-lock\":\"off\"}",
          "-object", "thread-context,id=t", "-machine",
          "q35,mem-merge=off,dump-guest-core=off", "-mem-prealloc",
          "-overcommit", "mem-lock=on", "-overcommit", "cpu-pm=on");
}

/* What is wrong */

static void test_place_without_directory(void)
{
    CHECK_FAILS(HOSTMEM_ERROR_NOT_FOUND,
                "-object 'memory-backend-file,id=m,size=1G,mem-path=" ROOT
                "/huge-1G/a': libvirt would put it in huge pages of 1 GiB, and "
                "there is none",
                "-object",
                "memory-backend-file,id=m,size=1G,mem-path=" ROOT "/huge-1G/a");
}

static void test_malformed(void)
{
    CHECK_FAILS(HOSTMEM_ERROR_INVALID, "-object has no value", "-object");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID, "-m has no value", "-S", "-m");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-m '1X': '1X' is not a size: the suffix is none of b, k, M, "
                "G, T, P, E",
                "-m", "1X");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-m '99999999999999999': '99999999999999999' MiB do not fit 64 "
                "bits",
                "-m", "99999999999999999");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID, "-m: RAM of more than 2^63 bytes", "-m",
                "8796093022208");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID, "-m: its value is no UTF-8", "-m",
                "\xff");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-object 'memory-backend-ram,id=m,nosuch=1': Invalid parameter "
                "'nosuch'",
                "-object", "memory-backend-ram,id=m,nosuch=1");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID,
                "-object 'memory-backend-epc,id=m,size=1M': Parameter "
                "'qom-type' does not accept value 'memory-backend-epc'",
                "-object", "memory-backend-epc,id=m,size=1M");
    CHECK_FAILS(HOSTMEM_ERROR_INVALID, "-machine '=': Invalid parameter ''",
                "-machine", "=");
}

static void test_malformed_json(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = convert(
        (const char *const[]){"-object", "{\"qom-type\":", NULL}, &error);

    g_assert_null(text);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message,
                                   "-object '{\"qom-type\":': JSON parse"));
}

#define ADD(path, test) g_test_add_func("/libvirt-memory/" path, test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("plain", test_plain);
    ADD("huge-pages", test_huge_pages);
    ADD("virtio-mem", test_virtio_mem);
    ADD("text", test_text);
    ADD("type-may-come-last", test_type_may_come_last);
    ADD("transport", test_transport);
    ADD("value-of-append", test_value_of_append);
    ADD("no-memory", test_no_memory);
    ADD("ram-size", test_ram_size);
    ADD("ram-of-a-path", test_ram_of_a_path);
    ADD("ram-of-nodes", test_ram_of_nodes);
    ADD("nodes-of-the-guest", test_nodes_of_the_guest);
    ADD("node-that-is-none", test_node_that_is_none);
    ADD("ram-that-has-an-object", test_ram_that_has_an_object);
    ADD("defaults", test_defaults);
    ADD("place-without-directory", test_place_without_directory);
    ADD("malformed", test_malformed);
    ADD("malformed-json", test_malformed_json);
    return g_test_run();
}
