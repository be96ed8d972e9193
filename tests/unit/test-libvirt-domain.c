/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-domain.h"
#include <string.h>

#define KIB          ((guint64)1 << 10)
#define MIB          ((guint64)1 << 20)
#define GIB          ((guint64)1 << 30)

#define DOMAIN(body) "<domain id='3'><name>vm7</name>" body "</domain>"
#define VIRTIO_MEM                             \
    "<memory model='virtio-mem'><target>"      \
    "<size unit='KiB'>1048576</size>"          \
    "<node>1</node>"                           \
    "<block unit='KiB'>2048</block>"           \
    "<requested unit='KiB'>524288</requested>" \
    "<current unit='KiB'>4096</current>"       \
    "</target><alias name='virtiomem0'/></memory>"
#define DIMM                                                         \
    "<memory model='dimm'><target><size>2048</size></target><alias " \
    "name='dimm0'/></memory>"

static HostmemLibvirtDomain *parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    HostmemLibvirtDomain *domain = hm_domain_parse(xml, &error);

    g_assert_no_error(error);
    g_assert_nonnull(domain);
    return domain;
}

static const HostmemLibvirtMemory *device(const HostmemLibvirtDomain *domain,
                                          guint i)
{
    g_assert_cmpuint(i, <, domain->devices->len);
    return g_ptr_array_index(domain->devices, i);
}

static void assert_refused_with(const char *xml, HostmemError code,
                                const char *why)
{
    g_autoptr(GError) error = NULL;

    g_test_message("%.100s", xml);
    g_assert_null(hm_domain_parse(xml, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_cmpuint(strlen(error->message), <, 500);
}

static void assert_refused(const char *xml, const char *why)
{
    assert_refused_with(xml, HOSTMEM_ERROR_INVALID, why);
}

/* Reading */

static void test_sizes_of_a_domain(void)
{
    g_autoptr(HostmemLibvirtDomain) domain =
        parse(DOMAIN("<uuid>8ccb27c3-8418-4d2b-998f-475708ef6010</uuid>"
                     "<maxMemory slots='4' unit='KiB'>1048576</maxMemory>"
                     "<memory unit='KiB'>786432</memory>"
                     "<currentMemory unit='KiB'>262144</currentMemory>"));

    g_assert_cmpstr(domain->name, ==, "vm7");
    g_assert_cmpstr(domain->uuid, ==, "8ccb27c3-8418-4d2b-998f-475708ef6010");
    g_assert_cmpint(domain->id, ==, 3);
    g_assert_cmpuint(domain->max, ==, GIB);
    g_assert_cmpuint(domain->memory, ==, 768 * MIB);
    g_assert_cmpuint(domain->current, ==, 256 * MIB);
    g_assert_cmpuint(domain->devices->len, ==, 0);
}

static void test_that_does_not_run(void)
{
    g_autoptr(HostmemLibvirtDomain) domain =
        parse("<domain><name>vm7</name></domain>");

    g_assert_cmpint(domain->id, ==, -1);
    g_assert_null(domain->uuid);
}

static void test_virtio_mem(void)
{
    g_autoptr(HostmemLibvirtDomain) domain =
        parse(DOMAIN("<devices>" VIRTIO_MEM "</devices>"));
    const HostmemLibvirtMemory *memory = device(domain, 0);

    g_assert_cmpstr(memory->model, ==, "virtio-mem");
    g_assert_cmpstr(memory->alias, ==, "virtiomem0");
    g_assert_cmpuint(memory->size, ==, GIB);
    g_assert_cmpuint(memory->block, ==, 2 * MIB);
    g_assert_cmpuint(memory->requested, ==, 512 * MIB);
    g_assert_cmpuint(memory->current, ==, 4 * MIB);
    g_assert_cmpint(memory->node, ==, 1);
}

static void test_all_of_a_dimm_is_there(void)
{
    g_autoptr(HostmemLibvirtDomain) domain =
        parse(DOMAIN("<devices>" DIMM VIRTIO_MEM "</devices>"));
    const HostmemLibvirtMemory *memory = device(domain, 0);

    g_assert_cmpstr(memory->model, ==, "dimm");
    g_assert_cmpuint(memory->size, ==, 2 * MIB);
    g_assert_cmpuint(memory->current, ==, 2 * MIB);
    g_assert_cmpuint(memory->requested, ==, 2 * MIB);
    g_assert_cmpuint(memory->block, ==, 0);
    g_assert_cmpint(memory->node, ==, -1);
    g_assert_cmpstr(device(domain, 1)->alias, ==, "virtiomem0");
}

static void test_what_is_of_others_is_not_looked_at(void)
{
    g_autoptr(HostmemLibvirtDomain) domain = parse(
        DOMAIN("<metadata><name>no</name><memory>no</memory>"
               "<x:domain xmlns:x='u'><devices><memory/></devices></x:domain>"
               "</metadata><devices><disk><alias name='no'/></disk></devices>"
               "<cputune><memorytune><node id='x'/></memorytune></cputune>"));

    g_assert_cmpstr(domain->name, ==, "vm7");
    g_assert_cmpuint(domain->memory, ==, 0);
    g_assert_cmpuint(domain->devices->len, ==, 0);
}

static void test_units(void)
{
    static const struct {
        const char *unit;
        guint64 bytes;
    } rows[] = {
        {"", 3 * KIB},
        {" unit='b'", 3},
        {" unit='bytes'", 3},
        {" unit='KiB'", 3 * KIB},
        {" unit='KB'", 3000},
        {" unit='MiB'", 3 * MIB},
        {" unit='GiB'", 3 * GIB},
    };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain><name>a</name><memory%s> 3\n</memory></domain>",
            rows[i].unit);
        g_autoptr(HostmemLibvirtDomain) domain = parse(xml);

        g_assert_cmpuint(domain->memory, ==, rows[i].bytes);
    }
}

/* Refusing */

static void test_what_is_no_domain(void)
{
    assert_refused("", "no XML");
    assert_refused("<domain>", "no XML");
    assert_refused("<domain/>", "no name");
    assert_refused("<domain><name></name></domain>", "no name");
    assert_refused("<network><name>a</name></network>", "'network'");
    assert_refused("<!DOCTYPE x [<!ENTITY e 'eeee'>]><domain>&e;</domain>",
                   "no XML");
}

static void test_numbers_that_are_none(void)
{
    assert_refused("<domain id='x'><name>a</name></domain>", "'x'");
    assert_refused("<domain id='-1'><name>a</name></domain>", "'-1'");
    assert_refused("<domain id='2147483648'><name>a</name></domain>",
                   "'2147483648'");
    assert_refused(DOMAIN("<memory></memory>"),
                   "/domain/memory: '' is no number");
    assert_refused(DOMAIN("<memory>4096M</memory>"), "'4096M'");
    assert_refused(DOMAIN("<memory unit='b'>9223372036854775808</memory>"),
                   "'9223372036854775808'");
    /* Bytes would be more than there are. */
    assert_refused(DOMAIN("<memory>9007199254740992</memory>"),
                   "'9007199254740992'");
    assert_refused(DOMAIN("<memory unit='furlong'>1</memory>"), "'furlong'");
}

static void test_a_long_value_makes_no_long_message(void)
{
    g_autofree char *long_one = g_strnfill(100000, '9');
    g_autofree char *xml =
        g_strdup_printf(DOMAIN("<memory>%s\n\x1b</memory>"), long_one);

    /* Not even XML. */
    assert_refused(xml, "");
}

static void test_limits(void)
{
    g_autoptr(GString) deep = g_string_new("<domain>");
    g_autoptr(GString) many = g_string_new("<domain><devices>");
    g_autofree char *large = g_strnfill(HM_DOMAIN_XML_MAX + 1, ' ');

    for (guint i = 0; i < 64; i++) {
        g_string_append(deep, "<a>");
    }
    assert_refused_with(deep->str, HOSTMEM_ERROR_LIMIT, "64 levels");
    for (guint i = 0; i < 4097; i++) {
        g_string_append(many, "<memory/>");
    }
    assert_refused_with(many->str, HOSTMEM_ERROR_LIMIT, "4096 memory devices");
    assert_refused_with(large, HOSTMEM_ERROR_LIMIT, "4 MiB");
}

/* Changing */

static void test_update_changes_the_request_alone(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = hm_domain_update(
        DOMAIN("<devices>" DIMM VIRTIO_MEM "</devices>"), 1, 6 * MIB, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(
        xml, ==,
        "<memory model='virtio-mem'><target><size unit='KiB'>1048576</size>"
        "<node>1</node><block unit='KiB'>2048</block>"
        "<requested unit='b'>6291456</requested>"
        "<current unit='KiB'>4096</current></target>"
        "<alias name='virtiomem0'></alias></memory>");
}

static void test_update_keeps_what_must_be_escaped(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = hm_domain_update(
        DOMAIN("<devices><memory model='virtio-mem' x='&apos;&lt;'>a&amp;b"
               "<target><requested>1</requested></target></memory></devices>"),
        0, 0, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(xml, ==,
                    "<memory model='virtio-mem' x='&apos;&lt;'>a&amp;b"
                    "<target><requested unit='b'>0</requested></target>"
                    "</memory>");
}

static void test_update_of_what_has_no_request(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(
        hm_domain_update(DOMAIN("<devices>" DIMM "</devices>"), 0, 0, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
}

/* Finding */

static void assert_found(const char *devices, const char *alias, guint index)
{
    g_autofree char *xml = g_strconcat("<domain><name>a</name><devices>",
                                       devices, "</devices></domain>", NULL);
    g_autoptr(HostmemLibvirtDomain) domain = parse(xml);
    g_autoptr(GError) error = NULL;
    guint found = 99;

    g_assert_true(hm_domain_find(domain, alias, &found, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(found, ==, index);
}

static void assert_missed(const char *devices, const char *alias,
                          const char *why)
{
    g_autofree char *xml = g_strconcat("<domain><name>a</name><devices>",
                                       devices, "</devices></domain>", NULL);
    g_autoptr(HostmemLibvirtDomain) domain = parse(xml);
    g_autoptr(GError) error = NULL;
    guint found;

    g_assert_false(hm_domain_find(domain, alias, &found, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, why));
}

static void test_find(void)
{
    assert_found(DIMM VIRTIO_MEM, NULL, 1);
    assert_found(DIMM VIRTIO_MEM, "virtiomem0", 1);
    assert_found(DIMM VIRTIO_MEM, "dimm0", 0);
    assert_missed(DIMM, NULL, "no virtio-mem");
    assert_missed(DIMM VIRTIO_MEM, "x", "'x' (there is 'virtiomem0')");
    assert_missed(VIRTIO_MEM VIRTIO_MEM, NULL, "several");
    assert_missed("", "x", "'x'");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libvirt-domain/sizes", test_sizes_of_a_domain);
    g_test_add_func("/libvirt-domain/idle", test_that_does_not_run);
    g_test_add_func("/libvirt-domain/virtio-mem", test_virtio_mem);
    g_test_add_func("/libvirt-domain/dimm", test_all_of_a_dimm_is_there);
    g_test_add_func("/libvirt-domain/of-others",
                    test_what_is_of_others_is_not_looked_at);
    g_test_add_func("/libvirt-domain/units", test_units);
    g_test_add_func("/libvirt-domain/no-domain", test_what_is_no_domain);
    g_test_add_func("/libvirt-domain/no-number", test_numbers_that_are_none);
    g_test_add_func("/libvirt-domain/long-value",
                    test_a_long_value_makes_no_long_message);
    g_test_add_func("/libvirt-domain/limits", test_limits);
    g_test_add_func("/libvirt-domain/update",
                    test_update_changes_the_request_alone);
    g_test_add_func("/libvirt-domain/update-escapes",
                    test_update_keeps_what_must_be_escaped);
    g_test_add_func("/libvirt-domain/update-none",
                    test_update_of_what_has_no_request);
    g_test_add_func("/libvirt-domain/find", test_find);
    return g_test_run();
}
