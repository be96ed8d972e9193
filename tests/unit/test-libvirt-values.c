/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <hostmem/libvirt.h>
#include <string.h>

static void assert_size(const char *text, const char *unit, guint64 expected)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes = 0;

    hostmem_libvirt_parse_size(text, unit, &bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(bytes, ==, expected);
}

static void assert_no_size(const char *text, const char *unit, const char *part)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes;

    g_assert_false(hostmem_libvirt_parse_size(text, unit, &bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_size_has_kib_without_a_unit(void)
{
    assert_size("4", NULL, 4096);
    assert_size("4", "", 4096);
    assert_size(" \n4\t", NULL, 4096);
    assert_size("0", "EiB", 0);
}

static void test_size_has_libvirts_units(void)
{
    assert_size("7", "b", 7);
    assert_size("7", "byte", 7);
    assert_size("7", "Bytes", 7);
    assert_size("7", "k", 7 << 10);
    assert_size("7", "KiB", 7 << 10);
    assert_size("7", "KB", 7000);
    assert_size("7", "MiB", 7 << 20);
    assert_size("7", "mb", 7000000);
    assert_size("7", "G", 7ull << 30);
    assert_size("7", "TiB", 7ull << 40);
    assert_size("7", "PB", 7000000000000000ull);
    assert_size("7", "E", 7ull << 60);
}

static void test_size_fits_63_bits(void)
{
    assert_size("9223372036854775807", "b", G_MAXINT64);
    assert_no_size("9223372036854775808", "b", "'9223372036854775808'");
    assert_no_size("8", "EiB", "to 7");
    assert_no_size("9007199254740992", NULL, "'9007199254740992'");
}

static void test_size_refuses_others(void)
{
    static const char *const units[] = {"x",  "Kx", "iB",   "KiBB", "KBytes",
                                        "B ", " k", "Mib ", "\xff"};
    static const char *const numbers[] = {"",   " ",   "-1",  "+1",
                                          "1x", "1.5", "0x10"};

    for (guint i = 0; i < G_N_ELEMENTS(units); i++) {
        assert_no_size("1", units[i], "is no unit");
    }
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        assert_no_size(numbers[i], NULL, "is no number");
    }
}

static void test_number_has_a_limit(void)
{
    g_autoptr(GError) error = NULL;
    guint64 number;

    g_assert_true(hostmem_libvirt_parse_number(" 12 ", 12, &number, NULL));
    g_assert_cmpuint(number, ==, 12);
    g_assert_true(hostmem_libvirt_parse_number("18446744073709551615",
                                               G_MAXUINT64, &number, NULL));
    g_assert_cmpuint(number, ==, G_MAXUINT64);
    g_assert_false(hostmem_libvirt_parse_number("13", 12, &number, &error));
    g_assert_cmpstr(error->message, ==, "'13' is no number from 0 to 12");
}

#define ADD(name) g_test_add_func("/libvirt-values/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(size_has_kib_without_a_unit);
    ADD(size_has_libvirts_units);
    ADD(size_fits_63_bits);
    ADD(size_refuses_others);
    ADD(number_has_a_limit);
    return g_test_run();
}
