/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/address.h"
#include <hostmem/error.h>

/* @want: what it is written as again */
static void parses(const char *text, const char *want)
{
    g_auto(HmQmpAddress) address = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *again = NULL;

    hm_qmp_address_parse(&address, text, &error);
    g_assert_no_error(error);
    again = hm_qmp_address_to_string(&address);
    g_assert_cmpstr(again, ==, want);
}

static void fails(const char *text, const char *phrase)
{
    g_auto(HmQmpAddress) address = {0};
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_qmp_address_parse(&address, text, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, phrase));
}

static void test_unix(void)
{
    g_auto(HmQmpAddress) address = {0};

    g_assert_true(hm_qmp_address_parse(&address, "unix:/run/q", NULL));
    g_assert_cmpstr(address.path, ==, "/run/q");
    g_assert_null(address.host);
}

static void test_unix_paths(void)
{
    parses("unix:relative", "unix:relative");
    parses("unix:/a=b:c", "unix:/a=b:c");
    parses("unix:a,,b", "unix:a,,b");
    parses("unix:a,,,,b,,", "unix:a,,,,b,,");
    parses("unix:a,,,server=on", "unix:a,,");
}

static void test_unix_comma_is_one(void)
{
    g_auto(HmQmpAddress) address = {0};

    g_assert_true(hm_qmp_address_parse(&address, "unix:a,,b,wait=off", NULL));
    g_assert_cmpstr(address.path, ==, "a,b");
}

static void test_unix_longest(void)
{
    g_autofree char *path = g_strnfill(107, 'x');
    g_autofree char *text = g_strconcat("unix:", path, NULL);
    g_autofree char *longer = g_strconcat(text, "x", NULL);

    parses(text, text);
    fails(longer, "is too long: 108 bytes, the kernel takes 107");
}

static void test_unix_empty(void)
{
    fails("unix:", "needs the path");
    fails("unix:,server=on", "needs the path");
}

static void test_tcp(void)
{
    g_auto(HmQmpAddress) address = {0};

    g_assert_true(hm_qmp_address_parse(&address, "tcp:localhost:4444", NULL));
    g_assert_null(address.path);
    g_assert_cmpstr(address.host, ==, "localhost");
    g_assert_cmpuint(address.port, ==, 4444);
}

static void test_tcp_forms(void)
{
    parses("tcp:127.0.0.1:0", "tcp:127.0.0.1:0");
    parses("tcp::65535", "tcp::65535");
    parses("tcp:[::1]:1", "tcp:[::1]:1");
    parses("tcp:[fe80::1%eth0]:1", "tcp:[fe80::1%eth0]:1");
}

static void test_tcp_host(void)
{
    fails("tcp:", "expected tcp:HOST:PORT");
    fails("tcp:4444", "expected tcp:HOST:PORT");
    fails("tcp:::1:4444", "for IPv6");
    fails("tcp:[::1:4444", "for IPv6");
    fails("tcp:::1]:4444", "for IPv6");
}

static void test_tcp_port(void)
{
    fails("tcp:h:", "port ''");
    fails("tcp:h:x", "port 'x'");
    fails("tcp:h:-1", "port '-1'");
    fails("tcp:h:+1", "port '+1'");
    fails("tcp:h: 1", "port ' 1'");
    fails("tcp:h:65536", "port '65536'");
    fails("tcp:h:0x10", "port '0x10'");
}

static void test_options(void)
{
    parses("unix:q,server=on,wait=off", "unix:q");
    parses("unix:q,server,nowait", "unix:q");
    parses("unix:q,wait=on", "unix:q");
    parses("tcp:h:1,server=on,wait=off", "tcp:h:1");
}

static void test_options_refused(void)
{
    fails("unix:q,server=off", "server=off");
    fails("unix:q,noserver", "server=off");
    fails("unix:q,foo=on", "foo");
    fails("unix:q,wait=maybe", "wait");
}

static void test_kinds(void)
{
    fails("", "expected unix:PATH or tcp:HOST:PORT");
    fails("/run/q", "expected unix:PATH or tcp:HOST:PORT");
    fails("udp:h:1", "expected unix:PATH or tcp:HOST:PORT");
    fails("UNIX:/run/q", "expected unix:PATH or tcp:HOST:PORT");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-address/unix", test_unix);
    g_test_add_func("/qmp-address/unix/paths", test_unix_paths);
    g_test_add_func("/qmp-address/unix/comma-is-one", test_unix_comma_is_one);
    g_test_add_func("/qmp-address/unix/longest", test_unix_longest);
    g_test_add_func("/qmp-address/unix/empty", test_unix_empty);
    g_test_add_func("/qmp-address/tcp", test_tcp);
    g_test_add_func("/qmp-address/tcp/forms", test_tcp_forms);
    g_test_add_func("/qmp-address/tcp/host", test_tcp_host);
    g_test_add_func("/qmp-address/tcp/port", test_tcp_port);
    g_test_add_func("/qmp-address/options", test_options);
    g_test_add_func("/qmp-address/options/refused", test_options_refused);
    g_test_add_func("/qmp-address/kinds", test_kinds);
    return g_test_run();
}
