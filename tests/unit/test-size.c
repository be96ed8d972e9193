/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/error.h>
#include "util/size.h"

static void assert_parses(const char *text, guint64 expected)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes;

    g_test_message("\"%s\"", text);
    hm_size_parse(text, &bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(bytes, ==, expected);
}

static void assert_refused(const char *text, const char *why)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes = 42;

    g_test_message("\"%s\"", text);
    g_assert_false(hm_size_parse(text, &bytes, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, why));
    g_assert_cmpuint(bytes, ==, 42);
}

static void test_bytes(void)
{
    assert_parses("0", 0);
    assert_parses("4096", 4096);
    assert_parses("010", 10);
    assert_parses(" \t7", 7);
    assert_parses("12b", 12);
    assert_parses("18446744073709551615", G_MAXUINT64);
}

static void test_suffixes(void)
{
    assert_parses("3k", 3 * HM_KIB);
    assert_parses("3K", 3 * HM_KIB);
    assert_parses("3M", 3 * HM_MIB);
    assert_parses("3g", 3 * HM_GIB);
    assert_parses("3T", 3 * HM_GIB << 10);
    assert_parses("3P", 3 * HM_GIB << 20);
    assert_parses("1e", HM_GIB << 30);
    assert_parses("15E", 15 * (HM_GIB << 30));
}

static void test_hexadecimal(void)
{
    assert_parses("0x1000", 4096);
    assert_parses("0XfF", 255);
    assert_parses("0x1e", 30);
    assert_parses("0xffffffffffffffff", G_MAXUINT64);
    assert_refused("0x", "hexadecimal");
    assert_refused("0xg", "hexadecimal");
    assert_refused("0x20M", "hexadecimal");
    assert_refused("0x1.8", "hexadecimal");
    assert_refused("0x10000000000000000", "2^64");
}

static void test_fractions(void)
{
    assert_parses("1.5G", HM_GIB + HM_GIB / 2);
    assert_parses(".5G", HM_GIB / 2);
    assert_parses("1.M", HM_MIB);
    assert_parses("1.0M", HM_MIB);
    assert_parses("0.0009765625k", 1);
    assert_parses("15.5E", 31 * (HM_GIB << 29));
}

static void test_fraction_rounds_half_up(void)
{
    assert_parses("1.0000001M", HM_MIB);
    assert_parses("0.00048828125k", 1);              /* half a byte */
    assert_parses("0.000488281249999999999999k", 0); /* just below */
    assert_parses("1.9999999M", 2 * HM_MIB);
}

/* A double has 53 bits: these differ from what it would give. */
static void test_fraction_is_exact(void)
{
    assert_parses("1.1E", G_GUINT64_CONSTANT(1268213655067531674));
    assert_parses("9.000000000000000001E", 9 * (HM_GIB << 30) + 1);
    assert_parses("0.9999999999999999995663191310057982263970188796520233P",
                  HM_GIB << 20);
}

static void test_fraction_needs_suffix(void)
{
    assert_refused("1.5", "fraction needs a suffix");
    assert_refused("1.5B", "fraction needs a suffix");
    assert_refused("1.", "fraction needs a suffix");
}

static void test_too_large(void)
{
    assert_refused("18446744073709551616", "2^64");
    assert_refused("16E", "2^64");
    assert_refused("99999999999999999999999999", "2^64");
    assert_refused("18014398509481984k", "2^64");
    assert_refused("15.99999999999999999999999E", "2^64");
}

static void test_no_number(void)
{
    assert_refused("", "digit");
    assert_refused(" ", "digit");
    assert_refused("G", "digit");
    assert_refused(".", "digit");
    assert_refused(".G", "digit");
    assert_refused("+1", "digit");
    assert_refused("-1", "negative");
    assert_refused(" -4G", "negative");
}

static void test_trailing_text(void)
{
    assert_refused("10X", "suffix is none of");
    assert_refused("1 ", "suffix is none of");
    assert_refused("1,", "suffix is none of");
    assert_refused("1KiB", "behind the suffix");
    assert_refused("1M5", "behind the suffix");
    assert_refused("1E3", "behind the suffix");
    assert_refused("1.5.5G", "suffix is none of");
}

static void test_error_names_the_text(void)
{
    g_autoptr(GError) error = NULL;
    guint64 bytes;

    g_assert_false(hm_size_parse("10X", &bytes, &error));
    g_assert_cmpstr(error->message, ==,
                    "'10X' is not a size: the suffix is none of b, k, M, G, "
                    "T, P, E");
}

static void assert_format(guint64 bytes, const char *expected)
{
    g_autofree char *text = hm_size_format(bytes);

    g_assert_cmpstr(text, ==, expected);
}

static void test_format(void)
{
    assert_format(0, "0 B");
    assert_format(1, "1 B");
    assert_format(1023, "1023 B");
    assert_format(4096, "4 KiB");
    assert_format(HM_GIB + HM_GIB / 2, "1.5 GiB");
    assert_format(HM_GIB + HM_GIB / 4, "1.25 GiB");
    assert_format(HM_GIB << 30, "1 EiB");
}

static void test_format_rounds_down(void)
{
    assert_format(HM_MIB - 1, "1023.99 KiB");
    assert_format(HM_MIB + 1, "1.00 MiB");
    assert_format(1536 + 1, "1.50 KiB");
    assert_format(G_MAXUINT64, "15.99 EiB");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/size/bytes", test_bytes);
    g_test_add_func("/size/suffixes", test_suffixes);
    g_test_add_func("/size/hexadecimal", test_hexadecimal);
    g_test_add_func("/size/fractions", test_fractions);
    g_test_add_func("/size/fraction-rounds-half-up",
                    test_fraction_rounds_half_up);
    g_test_add_func("/size/fraction-is-exact", test_fraction_is_exact);
    g_test_add_func("/size/fraction-needs-suffix", test_fraction_needs_suffix);
    g_test_add_func("/size/too-large", test_too_large);
    g_test_add_func("/size/no-number", test_no_number);
    g_test_add_func("/size/trailing-text", test_trailing_text);
    g_test_add_func("/size/error-names-the-text", test_error_names_the_text);
    g_test_add_func("/size/format", test_format);
    g_test_add_func("/size/format-rounds-down", test_format_rounds_down);
    return g_test_run();
}
