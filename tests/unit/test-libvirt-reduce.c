/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/error.h>
#include <string.h>
#include "backends/export/libvirt-reduce.h"

static void check(const char *expected, const char *xml)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *reduced = hm_libvirt_reduce(xml, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(reduced, ==, expected);
}

static void check_fails(const char *xml)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *reduced = hm_libvirt_reduce(xml, &error);

    g_assert_null(reduced);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_true(g_str_has_prefix(error->message, "it is no XML: '"));
    g_assert_null(strchr(error->message, '\n'));
}

static void test_kept(void)
{
    const char *const xml =
        "<domain type=\"kvm\" id=\"3\"><name>a &amp; b</name>"
        "<memory unit=\"MiB\">64</memory><cpu mode=\"host-model\"><numa>"
        "<cell id=\"0\"></cell></numa></cpu><memoryBacking><source "
        "type=\"memfd\"></source></memoryBacking><numatune></numatune>"
        "</domain>";

    check(xml, xml);
}

static void test_devices(void)
{
    check("<domain><devices><memory model=\"dimm\"><target><node>0</node>"
          "</target></memory><emulator>/q</emulator><controller type=\"pci\">"
          "<model></model></controller></devices></domain>",
          "<domain><devices><disk><source file='/x'/></disk>"
          "<memory model='dimm'><target><node>0</node></target></memory>"
          "<emulator>/q</emulator><controller type='scsi'><driver/>"
          "</controller><controller type='pci'><model/></controller>"
          "<controller/><interface><memory/></interface></devices></domain>");
}

/* libvirt puts it there when it is not said to be none. */
static void test_balloon(void)
{
    check("<domain><devices><memballoon model=\"none\"></memballoon>"
          "<controller type=\"usb\" model=\"none\"></controller></devices>"
          "</domain>",
          "<domain><devices><memballoon model='none'/><controller type='usb' "
          "model='none'/></devices></domain>");
}

static void test_firmware(void)
{
    check("<domain><os><type arch=\"x86_64\">hvm</type></os></domain>",
          "<domain><os firmware='efi'><type arch='x86_64'>hvm</type>"
          "<loader>/x</loader></os></domain>");
}

static void test_limits(void)
{
    check("<domain><cputune><emulatorpin cpuset=\"0\"></emulatorpin></cputune>"
          "</domain>",
          "<domain><memtune><memory/></memtune><cputune><shares>1</shares>"
          "<emulatorpin cpuset='0'/></cputune></domain>");
}

static void test_namespaces(void)
{
    check("<domain xmlns:q=\"u\"><q:commandline><q:arg value=\"-m\"></q:arg>"
          "</q:commandline></domain>",
          "<domain xmlns:q='u'><q:commandline><q:arg value='-m'/>"
          "</q:commandline><q:other/></domain>");
}

/* Names mean something in their place alone. */
static void test_depth(void)
{
    check("<domain><cpu><a><disk></disk><os f=\"1\"></os></a></cpu></domain>",
          "<domain><cpu><a><disk/><os f='1'/></a></cpu>"
          "<metadata><devices><memory/></devices></metadata></domain>");
}

static void test_comments_and_data(void)
{
    check("<domain><name>&lt;x&gt;&apos;</name></domain>",
          "<?xml version='1.0'?><!-- a --><!DOCTYPE domain [<!ENTITY e 'x'>]>"
          "<domain><!-- <memory/> --><name><![CDATA[<x>']]></name></domain>");
}

static void test_blanks(void)
{
    check("<domain><name b=\"&#10;&#9; \">&#13;&#10;</name></domain>",
          "<domain><name b='&#10;&#9; '>&#13;\n</name></domain>");
}

/* Whether it is a domain is for libvirt to say. */
static void test_other_root(void)
{
    check("<network><name>n</name></network>",
          "<network><name>n</name><bridge/></network>");
}

static void test_no_xml(void)
{
    static const char *const texts[] = {
        "",         " ",           "hello",     "<a",
        "<a>",      "<a></b>",     "<a/><b/>x", "<a>&e;</a>",
        "<a b=1/>", "<a>\xff</a>", "\xef\xbb",  "<a\n\nb/>",
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        check_fails(texts[i]);
    }
}

#define ADD(path, test) g_test_add_func("/libvirt-reduce/" path, test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("kept", test_kept);
    ADD("devices", test_devices);
    ADD("balloon", test_balloon);
    ADD("firmware", test_firmware);
    ADD("limits", test_limits);
    ADD("namespaces", test_namespaces);
    ADD("depth", test_depth);
    ADD("comments-and-data", test_comments_and_data);
    ADD("blanks", test_blanks);
    ADD("other-root", test_other_root);
    ADD("no-xml", test_no_xml);
    return g_test_run();
}
