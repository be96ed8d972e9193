/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "libvirt-hook-test.h"

static void assert_refused_length(const char *xml, gsize length,
                                  HostmemError code, const char *why)
{
    g_autoptr(GError) error = NULL;

    g_autofree char *shown = g_strescape(xml, NULL);
    g_test_message("%.100s", shown);
    g_assert_null(hook_domain_parse(xml, length, &error));
    g_assert_error(error, HOSTMEM_ERROR, (gint)code);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_cmpint(g_utf8_strlen(error->message, -1), <=, 200);
}

static void assert_refused(const char *xml, const char *why)
{
    assert_refused_length(xml, strlen(xml), HOSTMEM_ERROR_INVALID, why);
}

static void test_plain(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(""));

    g_assert_cmpint(domain->id, ==, 3);
    g_assert_cmpstr(domain->name, ==, "vm7");
    g_assert_cmpstr(domain->uuid, ==, UUID);
    g_assert_cmpstr(domain->arch, ==, "x86_64");
    g_assert_cmpstr(domain->machine, ==, "pc-q35-7.2");
    g_assert_cmpuint(domain->size, ==, 64 * MIB);
    g_assert_null(domain->source);
    g_assert_null(domain->access);
    g_assert_null(domain->owner);
    g_assert_false(domain->grows);
    g_assert_false(domain->has_hugepages);
    g_assert_cmpuint(domain->cells->len, ==, 0);
    g_assert_cmpuint(domain->pages->len, ==, 0);
}

static void test_that_does_not_run(void)
{
    g_autoptr(HookDomain) domain = parse(
        "<domain type='qemu'><name>a</name><uuid>\n" UUID "\n</uuid></domain>");

    g_assert_cmpint(domain->id, ==, -1);
    g_assert_cmpuint(domain->size, ==, 0);
}

static void test_declaration_and_comments(void)
{
    g_autoptr(HookDomain) domain = parse(
        "<?xml version='1.0' encoding='UTF-8'?>\n<!-- <domain> -->\n" DOMAIN(
            "<!-- <memoryBacking/> -->"));

    g_assert_cmpstr(domain->name, ==, "vm7");
}

static void test_entities_of_xml(void)
{
    g_autoptr(HookDomain) domain =
        parse("<domain><name>a&amp;b&#x20;\xc3\xa4</name><uuid>" UUID
              "</uuid></domain>");

    g_assert_cmpstr(domain->name, ==, "a&b \xc3\xa4");
}

static void test_memory_backing(void)
{
    g_autoptr(HookDomain) domain =
        parse(DOMAIN("<memoryBacking><hugepages><page size='2048' unit='KiB' "
                     "nodeset='0-1'/><page size='1' unit='G'/></hugepages>"
                     "<source type='file'/><access mode='shared'/>"
                     "<allocation mode='immediate'/></memoryBacking>"));
    const HookPages *pages = (const HookPages *)(void *)domain->pages->data;

    g_assert_cmpstr(domain->source, ==, "file");
    g_assert_cmpstr(domain->access, ==, "shared");
    g_assert_true(domain->has_hugepages);
    g_assert_cmpuint(domain->pages->len, ==, 2);
    g_assert_cmpuint(pages[0].size, ==, 2 * MIB);
    g_assert_cmpstr(pages[0].nodeset, ==, "0-1");
    g_assert_cmpuint(pages[1].size, ==, 1024 * MIB);
    g_assert_null(pages[1].nodeset);
}

static void test_cells(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(
        "<numatune><memory mode='interleave' nodeset='0-1'/>"
        "<memnode cellid='1' mode='strict' nodeset='1'/></numatune>"
        "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB'/>"
        "<cell id='1' cpus='1' memory='16384' unit='KiB' memAccess='private'/>"
        "</numa></cpu>"));
    g_assert_cmpuint(domain->cells->len, ==, 2);
    g_assert_cmpstr(domain->numatune.mode, ==, "interleave");
    for (guint i = 0; i < 2; i++) {
        const HookCell *cell = &g_array_index(domain->cells, HookCell, i);
        gboolean first = cell->id == 0;

        g_assert_cmpuint(cell->size, ==, first ? 32 * MIB : 16 * MIB);
        g_assert_cmpstr(cell->access, ==, first ? NULL : "private");
        g_assert_cmpstr(cell->numatune.nodeset, ==, first ? NULL : "1");
    }
}

static void test_memory_that_grows(void)
{
    g_autoptr(HookDomain) first =
        parse(DOMAIN("<maxMemory slots='2' unit='GiB'>4</maxMemory>"));
    g_autoptr(HookDomain) second =
        parse(DOMAIN("<devices><memory model='dimm'/></devices>"));

    g_assert_true(first->grows);
    g_assert_true(second->grows);
    g_assert_cmpuint(second->size, ==, 64 * MIB);
}

static void test_owner(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(
        "<seclabel type='static' model='apparmor'><label>no</label></seclabel>"
        "<seclabel type='static' model='dac'><label>+107:+108</label>"
        "</seclabel><seclabel model='selinux'><label>no</label></seclabel>"));

    g_assert_cmpstr(domain->owner, ==, "+107:+108");
}

static void test_units(void)
{
    static const struct {
        const char *unit;
        guint64 bytes;
    } rows[] = {
        {"b", 1},
        {"bytes", 1},
        {"KB", 1000},
        {"k", 1024},
        {"KiB", 1024},
        {"MB", 1000000},
        {"M", MIB},
        {"MiB", MIB},
        {"GiB", 1024 * MIB},
        {"TB", 1000000000000},
    };

    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain><name>a</name><uuid>%s</uuid><memory unit='%s'> 7 "
            "</memory></domain>",
            UUID, rows[i].unit);
        g_autoptr(HookDomain) domain = parse(xml);

        g_assert_cmpuint(domain->size, ==, 7 * rows[i].bytes);
    }
}

static void test_only_what_is_in_its_place_counts(void)
{
    g_autoptr(HookDomain) domain = parse(DOMAIN(
        "<metadata><app><name>other</name><memoryBacking><access "
        "mode='shared'/></memoryBacking><domain id='9'><name>x</name></domain>"
        "</app></metadata><devices><disk><source type='file'/></disk>"
        "</devices>"));

    g_assert_cmpstr(domain->name, ==, "vm7");
    g_assert_cmpint(domain->id, ==, 3);
    g_assert_null(domain->source);
    g_assert_null(domain->access);
}

static void test_first_one_counts(void)
{
    g_autoptr(HookDomain) domain =
        parse(DOMAIN("<name>other</name><memory>1</memory>"));

    g_assert_cmpstr(domain->name, ==, "vm7");
    g_assert_cmpuint(domain->size, ==, 64 * MIB);
}

static void test_no_xml(void)
{
    assert_refused("", "no XML");
    assert_refused("hello", "no XML");
    assert_refused("<domain>", "no XML");
    assert_refused("<domain></network>", "no XML");
    assert_refused("<domain/><domain/>", "no name");
    assert_refused("<domain name=vm7/>", "no XML");
    assert_refused("<domain>\xff</domain>", "no XML");
    assert_refused("<!DOCTYPE d [<!ENTITY e 'x'>]><domain><name>&e;</name>"
                   "</domain>",
                   "no XML");
    assert_refused_length("<domain/>\0", 10, HOSTMEM_ERROR_INVALID, "no XML");
}

static void test_no_domain(void)
{
    assert_refused("<network><name>vm7</name></network>", "no domain");
    assert_refused("<domain><uuid>" UUID "</uuid></domain>", "no name");
    assert_refused("<domain><name/><uuid>" UUID "</uuid></domain>", "no name");
    assert_refused("<domain><name>../x</name><uuid>" UUID "</uuid></domain>",
                   "no name");
    assert_refused("<domain><name>x</name></domain>", "no UUID");
    assert_refused("<domain><name>x</name><uuid>../../x</uuid></domain>",
                   "no UUID");
}

static void test_no_numbers(void)
{
    assert_refused("<domain id='x'/>", "no number");
    assert_refused("<domain id='-1'/>", "no number");
    assert_refused("<domain id='99999999999999999999'/>", "no number");
    assert_refused(
        DOMAIN("<cpu><numa><cell id='1024' memory='1'/></numa></cpu>"),
        "no number");
    assert_refused(DOMAIN("<cpu><numa><cell memory='1x'/></numa></cpu>"),
                   "no number");
    assert_refused(DOMAIN("<numatune><memnode nodeset='0'/></numatune>"),
                   "cellid");
    assert_refused("<domain><memory unit='EiB'>8</memory></domain>",
                   "no number");
    assert_refused("<domain><memory>18014398509481984</memory></domain>",
                   "no number");
    assert_refused("<domain><memory unit='fathoms'>1</memory></domain>",
                   "no unit");
    assert_refused("<domain><memory unit='Mx'>1</memory></domain>", "no unit");
}

static void test_what_is_too_much(void)
{
    g_autoptr(GString) deep = g_string_new("<domain>");
    g_autoptr(GString) cells = g_string_new("<domain><cpu><numa>");
    g_autofree char *large = g_malloc0(HOOK_XML_MAX + 1);

    for (guint i = 0; i < 100000; i++) {
        g_string_append(deep, "<a>");
    }
    assert_refused_length(deep->str, deep->len, HOSTMEM_ERROR_LIMIT, "levels");
    for (guint i = 0; i < 129; i++) {
        g_string_append_printf(cells, "<cell id='%u' memory='1'/>", i);
    }
    assert_refused_length(cells->str, cells->len, HOSTMEM_ERROR_LIMIT,
                          "NUMA cells");
    assert_refused_length(large, HOOK_XML_MAX + 1, HOSTMEM_ERROR_LIMIT,
                          "4 MiB");
}

static void test_message_stays_short(void)
{
    g_autofree char *long_text = g_strnfill(100000, 'x');
    g_autofree char *xml =
        g_strdup_printf("<domain><memory>%s</memory></domain>", long_text);

    assert_refused(xml, "xxx");
}

/* Sets */

static void assert_set(const char *text, const char *expected)
{
    g_autoptr(GString) found = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    gboolean ids[HOOK_IDS_MAX];

    g_assert_true(hook_nodeset_parse(text, ids, &error));
    g_assert_no_error(error);
    for (guint i = 0; i < HOOK_IDS_MAX; i++) {
        if (ids[i]) {
            g_string_append_printf(found, "%u ", i);
        }
    }
    g_assert_cmpstr(found->str, ==, expected);
}

static void test_sets(void)
{
    static const char *const bad[] = {"-", "1-",     "x",  "3-1",  "1,,2",
                                      "^", "0-1024", "-1", "1-2-3"};
    gboolean ids[HOOK_IDS_MAX];

    assert_set("0", "0 ");
    assert_set("0-3,^2", "0 1 3 ");
    assert_set("1,5-6,1023", "1 5 6 1023 ");
    assert_set("", "");
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_test_message("%s", bad[i]);
        g_assert_false(hook_nodeset_parse(bad[i], ids, &error));
        g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/libvirt-hook/domain/plain", test_plain);
    g_test_add_func("/libvirt-hook/domain/not-running", test_that_does_not_run);
    g_test_add_func("/libvirt-hook/domain/declaration",
                    test_declaration_and_comments);
    g_test_add_func("/libvirt-hook/domain/entities", test_entities_of_xml);
    g_test_add_func("/libvirt-hook/domain/backing", test_memory_backing);
    g_test_add_func("/libvirt-hook/domain/cells", test_cells);
    g_test_add_func("/libvirt-hook/domain/grows", test_memory_that_grows);
    g_test_add_func("/libvirt-hook/domain/owner", test_owner);
    g_test_add_func("/libvirt-hook/domain/units", test_units);
    g_test_add_func("/libvirt-hook/domain/place",
                    test_only_what_is_in_its_place_counts);
    g_test_add_func("/libvirt-hook/domain/first", test_first_one_counts);
    g_test_add_func("/libvirt-hook/domain/no-xml", test_no_xml);
    g_test_add_func("/libvirt-hook/domain/no-domain", test_no_domain);
    g_test_add_func("/libvirt-hook/domain/no-numbers", test_no_numbers);
    g_test_add_func("/libvirt-hook/domain/too-much", test_what_is_too_much);
    g_test_add_func("/libvirt-hook/domain/message", test_message_stays_short);
    g_test_add_func("/libvirt-hook/domain/sets", test_sets);
    return g_test_run();
}
