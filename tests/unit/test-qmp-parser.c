/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/parser.h"

/* What came of all messages, by the order in which it came. */
typedef struct {
    HmQmpParser *parser;
    GString *said;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->parser = hm_qmp_parser_new();
    fixture->said = g_string_new(NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_clear_pointer(&fixture->parser, hm_qmp_parser_free);
    g_string_free(fixture->said, TRUE);
}

static void note(json_t *message, const GError *error, gpointer user_data)
{
    Fixture *fixture = user_data;

    if (message) {
        g_string_append_printf(fixture->said, "%d ",
                               (int)json_array_size(message));
    } else {
        g_string_append_printf(fixture->said, "%s ", error->message);
    }
}

static HmQmpParse *start(Fixture *fixture, const char *text)
{
    return hm_qmp_parser_start(fixture->parser, g_string_new(text), note,
                               fixture);
}

/* An array of @n elements, which takes a while. */
static HmQmpParse *start_long(Fixture *fixture, guint n)
{
    GString *text = g_string_new("[1");

    for (guint i = 1; i < n; i++) {
        g_string_append(text, ",1");
    }
    g_string_append_c(text, ']');
    return hm_qmp_parser_start(fixture->parser, text, note, fixture);
}

static void expect(Fixture *fixture, const char *said)
{
    while (fixture->said->len < strlen(said)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(fixture->said->str, ==, said);
}

static void test_parses_later(Fixture *fixture,
                              gconstpointer data G_GNUC_UNUSED)
{
    start(fixture, "[1, 2, 3]");
    g_assert_cmpuint(fixture->said->len, ==, 0);
    expect(fixture, "3 ");
}

static void test_error(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    start(fixture, "[1, ]");
    expect(fixture, "JSON parse error, expecting value, not ']' ");
}

static void test_keeps_order(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    start_long(fixture, 100000);
    start(fixture, "[]");
    start(fixture, "[1]");
    expect(fixture, "100000 0 1 ");
}

static void test_cancelled_ones_say_nothing(Fixture *fixture,
                                            gconstpointer data G_GNUC_UNUSED)
{
    HmQmpParse *first = start_long(fixture, 100000);
    HmQmpParse *second = start(fixture, "[]");

    start(fixture, "[1]");
    hm_qmp_parse_cancel(first);
    hm_qmp_parse_cancel(second);
    expect(fixture, "1 ");
}

static void test_goes_while_parsing(Fixture *fixture,
                                    gconstpointer data G_GNUC_UNUSED)
{
    hm_qmp_parse_cancel(start_long(fixture, 100000));
    hm_qmp_parse_cancel(start(fixture, "[]"));
    g_clear_pointer(&fixture->parser, hm_qmp_parser_free);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpuint(fixture->said->len, ==, 0);
}

static void test_drops(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    json_auto_t *shared = json_array();

    hm_qmp_parser_drop(fixture->parser, json_incref(shared));
    start(fixture, "[]");
    expect(fixture, "0 ");
    g_assert_cmpuint(shared->refcount, ==, 1);
}

static void add(const char *path, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(path, Fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/qmp-parser/parses-later", test_parses_later);
    add("/qmp-parser/error", test_error);
    add("/qmp-parser/keeps-order", test_keeps_order);
    add("/qmp-parser/cancelled-ones-say-nothing",
        test_cancelled_ones_say_nothing);
    add("/qmp-parser/goes-while-parsing", test_goes_while_parsing);
    add("/qmp-parser/drops", test_drops);
    return g_test_run();
}
