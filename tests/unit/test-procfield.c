/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/procfield.h"
#include "util/size.h"

static void test_first_and_later_lines(void)
{
    const char *text = "MemTotal:   4 kB\nMemFree:\t3 kB\n";

    g_assert_cmpuint(hm_procfield_bytes(text, "MemTotal"), ==, 4 * HM_KIB);
    g_assert_cmpuint(hm_procfield_bytes(text, "MemFree"), ==, 3 * HM_KIB);
}

static void test_words_before_the_key(void)
{
    const char *text = "Node 0 Active:  9 kB\nNode 0 Active(file): 5 kB\n";

    g_assert_cmpuint(hm_procfield_bytes(text, "Active(file)"), ==, 5 * HM_KIB);
}

static void test_key_that_ends_another(void)
{
    const char *text = "SwapFree: 9 kB\nFree: 5 kB\n";

    g_assert_cmpuint(hm_procfield_bytes(text, "Free"), ==, 5 * HM_KIB);
}

static void test_no_such_line(void)
{
    g_assert_cmpuint(hm_procfield_bytes("", "Free"), ==, 0);
    g_assert_cmpuint(hm_procfield_bytes("SwapFree: 9 kB\n", "Free"), ==, 0);
}

static void test_value_that_is_no_number(void)
{
    g_assert_cmpuint(hm_procfield_bytes("Free: lots\n", "Free"), ==, 0);
    g_assert_cmpuint(
        hm_procfield_bytes("Free: 18446744073709551615 kB\n", "Free"), ==, 0);
}

static void test_number_of_a_key_at_the_start_of_a_line(void)
{
    const char *text = "inactive_file 1\nfile 2\nfile_mapped 3\n";
    guint64 value = 9;

    g_assert_true(hm_procfield_number(text, "file", &value));
    g_assert_cmpuint(value, ==, 2);
    g_assert_true(hm_procfield_number("Free:  4 kB\n", "Free:", &value));
    g_assert_cmpuint(value, ==, 4);
}

static void test_no_number_leaves_the_value(void)
{
    guint64 value = 9;

    g_assert_false(hm_procfield_number("file_mapped 3\n", "file", &value));
    g_assert_false(hm_procfield_number("", "file", &value));
    g_assert_cmpuint(value, ==, 9);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/procfield/first-and-later-lines",
                    test_first_and_later_lines);
    g_test_add_func("/procfield/words-before-the-key",
                    test_words_before_the_key);
    g_test_add_func("/procfield/key-that-ends-another",
                    test_key_that_ends_another);
    g_test_add_func("/procfield/no-such-line", test_no_such_line);
    g_test_add_func("/procfield/value-that-is-no-number",
                    test_value_that_is_no_number);
    g_test_add_func("/procfield/number-of-a-key-at-the-start-of-a-line",
                    test_number_of_a_key_at_the_start_of_a_line);
    g_test_add_func("/procfield/no-number-leaves-the-value",
                    test_no_number_leaves_the_value);
    return g_test_run();
}
