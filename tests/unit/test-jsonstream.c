/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <hostmem/error.h>
#include "util/jsonstream.h"

/* What a stream said: values as compact JSON, errors with '!' before them. */
static void record(json_t *value, const GError *error, gpointer user_data)
{
    GPtrArray *said = user_data;
    char *dumped;

    g_assert_true((value == NULL) == (error != NULL));
    if (error) {
        g_assert_true(error->domain == HOSTMEM_ERROR);
        g_assert_cmpint(error->code, ==, HOSTMEM_ERROR_INVALID);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_ptr_array_add(said, g_strconcat("!", error->message, NULL));
        return;
    }
    dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    g_ptr_array_add(said, g_strdup(dumped));
    free(dumped);
}

/* Feed in pieces of @piece bytes, then end. */
static char *stream_in_pieces(const char *text, gsize length, gsize piece)
{
    g_autoptr(GPtrArray) said = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(record, said);

    for (gsize i = 0; i < length; i += piece) {
        hm_json_stream_feed(stream, text + i, MIN(piece, length - i));
    }
    hm_json_stream_end(stream);
    g_ptr_array_add(said, NULL);
    return g_strjoinv("\n", (char **)said->pdata);
}

/* Whatever the split. */
static void assert_bytes(const char *text, gsize length, const char *expected)
{
    static const gsize pieces[] = {1, 2, 3, 7, 1 << 20};
    g_autofree char *shown = g_strescape(text, NULL);

    g_test_message("%s", shown);
    for (guint i = 0; i < G_N_ELEMENTS(pieces); i++) {
        g_autofree char *said = stream_in_pieces(text, length, pieces[i]);

        g_assert_cmpstr(said, ==, expected);
    }
}

static void assert_stream(const char *text, const char *expected)
{
    assert_bytes(text, strlen(text), expected);
}

static void test_nothing(void)
{
    assert_stream("", "");
    assert_stream(" \t\r\n ", "");
}

static void test_documents(void)
{
    assert_stream("{\"a\":[1,2]}\r\n", "{\"a\":[1,2]}");
    assert_stream("{}[]{}", "{}\n[]\n{}");
    assert_stream("[1]\n\n[2]", "[1]\n[2]");
    assert_stream("{\"a\"\n:\t1\r}", "{\"a\":1}");
}

static void test_scalars(void)
{
    assert_stream("1 -2.5 true null", "1\n-2.5\ntrue\nnull");
    assert_stream("\"a\"\"b\"", "\"a\"\n\"b\"");
    assert_stream("1{}2", "1\n{}\n2");
    assert_stream("1\"x\"[]", "1\n\"x\"\n[]");
}

static void test_strings_hide_brackets(void)
{
    assert_stream("{\"}]\":\"[{\"}", "{\"}]\":\"[{\"}");
    assert_stream("\"a}\" {}", "\"a}\"\n{}");
}

static void test_escapes(void)
{
    assert_stream("[\"\\\"]\"]", "[\"\\\"]\"]");
    assert_stream("[\"\\\\\"]", "[\"\\\\\"]");
    assert_stream("[\"\\u00e9\"]", "[\"\303\251\"]");
}

static void test_garbage_word_is_one_error(void)
{
    assert_stream("xyz", "!JSON parse error, invalid keyword 'xyz'");
    assert_stream("{} xyz\n{}", "{}\n!JSON parse error, invalid keyword "
                                "'xyz'\n{}");
    assert_stream("xyz{}", "!JSON parse error, invalid keyword 'xyz'\n{}");
}

static void test_stray_punctuation_is_one_error(void)
{
    assert_stream("}}]] {}", "!JSON parse error, expecting value, not '}'\n{}");
    assert_stream("{},{}", "{}\n!JSON parse error, expecting value, not ','\n"
                           "{}");
    assert_stream("1} {}", "!JSON parse error, stray '}'\n{}");
}

static void test_broken_document_ends_with_its_bracket(void)
{
    assert_stream("{\"execute\": }{}",
                  "!JSON parse error, expecting value, not '}'\n{}");
    assert_stream("[}{}", "!JSON parse error, expecting value, not '}'\n{}");
    assert_stream("[xyz]{}", "!JSON parse error, invalid keyword 'xyz'\n{}");
}

static void test_duplicate_key(void)
{
    assert_stream("{\"a\":1,\"a\":2}",
                  "!JSON parse error, duplicate key '\"a\"'");
}

static void test_premature_end(void)
{
    assert_stream("{\"a\":1", "!JSON parse error, premature EOI");
    assert_stream("\"a", "!JSON parse error, premature EOI");
    assert_stream("\"a\\", "!JSON parse error, premature EOI");
}

static void test_newline_ends_a_string(void)
{
    assert_stream("{\"a\": \"x\n{}",
                  "!JSON parse error, control character 0x0a in a string\n{}");
    assert_stream("[\"\\\n1",
                  "!JSON parse error, control character 0x0a in a string\n1");
}

static void test_control_characters(void)
{
    assert_stream("[\001 1]\n{}",
                  "!JSON parse error, control character 0x01\n{}");
    assert_stream("[\"\033\"] []\n{}",
                  "!JSON parse error, control character 0x1b in a string\n{}");
}

static void test_nul_bytes(void)
{
    static const char inside[] = "{\"a\"\0:1}\n{}";
    static const char in_string[] = "[\"\0\"]\n{}";
    static const char outside[] = "\0\0 {}\n{}";
    static const char escaped[] = "[\"\\u0000\"]{}";

    assert_bytes(inside, sizeof(inside) - 1,
                 "!JSON parse error, control character 0x00\n{}");
    assert_bytes(in_string, sizeof(in_string) - 1,
                 "!JSON parse error, control character 0x00 in a string\n{}");
    assert_bytes(outside, sizeof(outside) - 1,
                 "!JSON parse error, control character 0x00\n{}");
    assert_bytes(escaped, sizeof(escaped) - 1,
                 "!JSON parse error, \\u0000 in a string near "
                 "'\"\\u0000\"'\n{}");
}

static void test_invalid_utf8(void)
{
    assert_stream("[\"\377\"]{}", "!JSON parse error, unable to decode byte "
                                  "0xff near '\"'\n{}");
    assert_stream("[\"\300\200\"]{}", "!JSON parse error, unable to decode "
                                      "byte 0xc0 near '\"'\n{}");
    assert_stream("[\"\355\240\200\"]{}", "!JSON parse error, unable to decode "
                                          "byte 0xed near '\"'\n{}");
    assert_stream("\377{}",
                  "!JSON parse error, unable to decode byte 0xff\n{}");
}

static void test_integers_beyond_int64_are_reals(void)
{
    assert_stream("[9223372036854775807,-9223372036854775808]",
                  "[9223372036854775807,-9223372036854775808]");
    assert_stream("[9223372036854775808,9007199254740993,1.0,7]",
                  "[9.2233720368547758e18,9007199254740993,1.0,7]");
    assert_stream("-18446744073709551616", "-1.8446744073709552e19");
    assert_stream("{\"id\":99999999999999999999,\"s\":\"9\\\"9\"}",
                  "{\"id\":1e20,\"s\":\"9\\\"9\"}");
}

static void test_reals_beyond_double_are_errors(void)
{
    assert_stream("[1e999]{}",
                  "!JSON parse error, real number overflow near '1e999'\n{}");
    assert_stream("[1e999,9223372036854775808]{}",
                  "!JSON parse error, real number overflow near '1e999'\n{}");
}

/* Limits */

static void append_n(GString *text, char c, gsize n)
{
    g_autofree char *run = g_strnfill(n, c);

    g_string_append_len(text, run, (gssize)n);
}

static void assert_said(const GString *text, gsize piece, const char *expected)
{
    g_autofree char *said = stream_in_pieces(text->str, text->len, piece);

    g_assert_cmpstr(said, ==, expected);
}

static void test_depth_up_to_the_limit(void)
{
    GString *text = g_string_new(NULL);
    g_autofree char *expected = NULL;

    append_n(text, '[', HM_JSON_MAX_DEPTH);
    append_n(text, ']', HM_JSON_MAX_DEPTH);
    expected = g_strdup(text->str);
    assert_said(text, 1000, expected);
    g_string_free(text, TRUE);
}

static void test_depth_above_the_limit(void)
{
    GString *text = g_string_new(NULL);

    append_n(text, '[', HM_JSON_MAX_DEPTH + 1);
    append_n(text, ']', HM_JSON_MAX_DEPTH + 1);
    g_string_append(text, " {}\n[1]");
    assert_said(text, 1000,
                "!JSON nesting depth limit exceeded (1024 levels)\n[1]");
    g_string_free(text, TRUE);
}

static void test_brackets_only(void)
{
    GString *text = g_string_new(NULL);

    append_n(text, '[', 100000);
    assert_said(text, 4096, "!JSON nesting depth limit exceeded (1024 levels)");
    g_string_append(text, "\n{}");
    assert_said(text, 1,
                "!JSON nesting depth limit exceeded (1024 levels)\n{}");
    g_string_free(text, TRUE);
}

static void test_tokens(void)
{
    GString *text = g_string_new("[");

    for (guint i = 0; i < HM_JSON_MAX_TOKENS / 2 - 1; i++) {
        g_string_append(text, "1,");
    }
    g_string_append(text, "1");
    /* "[" and 2^21 - 1 more: the closing one is too many */
    g_string_append(text, "]\n{}");
    assert_said(text, 65536,
                "!JSON token count limit exceeded (2097152 in a message)\n{}");
    g_string_free(text, TRUE);
}

static void test_words_and_strings_count_once(void)
{
    GString *text = g_string_new("[\"");
    g_autofree char *said = NULL;

    append_n(text, ',', HM_JSON_MAX_TOKENS + 1);
    g_string_append(text, "\",1.");
    append_n(text, '1', HM_JSON_MAX_TOKENS + 1);
    g_string_append(text, "]");
    said = stream_in_pieces(text->str, text->len, 65536);
    g_assert_true(g_str_has_suffix(said, ",1.1111111111111112]"));
    g_string_free(text, TRUE);
}

static void keep_length(json_t *value, const GError *error, gpointer user_data)
{
    gsize *length = user_data;

    g_assert_no_error(error);
    *length = json_string_length(value);
}

static void test_string_up_to_the_limit(void)
{
    gsize length = 0;
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(keep_length, &length);
    gsize left = HM_JSON_MAX_BYTES - 2;
    g_autofree char *piece = g_strnfill(65536, 'x');

    hm_json_stream_feed(stream, "\"", 1);
    while (left) {
        gsize n = MIN(left, 65536);

        hm_json_stream_feed(stream, piece, n);
        left -= n;
    }
    hm_json_stream_feed(stream, "\"", 1);
    g_assert_cmpuint(length, ==, HM_JSON_MAX_BYTES - 2);
}

static void test_string_above_the_limit(void)
{
    g_autoptr(GPtrArray) said = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(record, said);
    g_autofree char *piece = g_strnfill(65536, 'x');

    hm_json_stream_feed(stream, "\"", 1);
    for (gsize fed = 0; fed <= HM_JSON_MAX_BYTES; fed += 65536) {
        hm_json_stream_feed(stream, piece, 65536);
    }
    hm_json_stream_feed(stream, "\"\n[1]", 5);
    g_assert_cmpuint(said->len, ==, 2);
    g_assert_cmpstr(said->pdata[0], ==,
                    "!JSON token size limit exceeded (67108864 bytes in a "
                    "message)");
    g_assert_cmpstr(said->pdata[1], ==, "[1]");
}

/* The stream as an object */

typedef struct {
    HmJsonStream *stream;
    guint n;
} Suicide;

static void free_stream(json_t *value G_GNUC_UNUSED,
                        const GError *error G_GNUC_UNUSED, gpointer user_data)
{
    Suicide *suicide = user_data;

    suicide->n++;
    hm_json_stream_free(g_steal_pointer(&suicide->stream));
}

static void assert_one_call(const char *text)
{
    Suicide suicide = {NULL, 0};

    suicide.stream = hm_json_stream_new(free_stream, &suicide);
    hm_json_stream_feed(suicide.stream, text, strlen(text));
    g_assert_cmpuint(suicide.n, ==, 1);
    g_assert_null(suicide.stream);
}

static void test_callback_may_free(void)
{
    assert_one_call("{}{}");
    assert_one_call("xyz {}");
    assert_one_call("[\001 {}\n{}");
}

static void test_callback_may_free_at_the_end(void)
{
    Suicide suicide = {NULL, 0};

    suicide.stream = hm_json_stream_new(free_stream, &suicide);
    hm_json_stream_feed(suicide.stream, "[", 1);
    hm_json_stream_end(suicide.stream);
    g_assert_cmpuint(suicide.n, ==, 1);
    g_assert_null(suicide.stream);
}

static void test_value_comes_with_its_last_byte(void)
{
    g_autoptr(GPtrArray) said = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(record, said);

    hm_json_stream_feed(stream, "{\"a\":1", 6);
    g_assert_cmpuint(said->len, ==, 0);
    hm_json_stream_feed(stream, "}", 1);
    g_assert_cmpuint(said->len, ==, 1);
}

static void test_feeding_after_the_end(void)
{
    g_autoptr(GPtrArray) said = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(HmJsonStream) stream = hm_json_stream_new(record, said);

    hm_json_stream_feed(stream, "[1", 2);
    hm_json_stream_end(stream);
    hm_json_stream_feed(stream, "[2]", 3);
    g_assert_cmpuint(said->len, ==, 2);
    g_assert_cmpstr(said->pdata[1], ==, "[2]");
}

/* One value, alone */

static void assert_parses(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *value = hm_json_parse(text, strlen(text), &error);
    char *dumped;

    g_assert_no_error(error);
    dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    g_assert_cmpstr(dumped, ==, expected);
    free(dumped);
}

static void assert_refused(const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hm_json_parse(text, strlen(text), &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_parse(void)
{
    assert_parses(" {\"size\": 4096} \n", "{\"size\":4096}");
    assert_parses("17", "17");
    assert_parses("18446744073709551615", "1.8446744073709552e19");
}

static void test_parse_refuses(void)
{
    assert_refused("", "JSON parse error, expecting value");
    assert_refused("{\"qom-type\":\"x\",\"id\":\"m\"",
                   "JSON parse error, premature EOI");
    assert_refused("{} {}", "JSON parse error, stray text behind the value");
    assert_refused("{}}", "JSON parse error, stray text behind the value");
    assert_refused("{\"a\":}", "JSON parse error, expecting value, not '}'");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jsonstream/small/nothing", test_nothing);
    g_test_add_func("/jsonstream/small/documents", test_documents);
    g_test_add_func("/jsonstream/small/scalars", test_scalars);
    g_test_add_func("/jsonstream/small/strings-hide-brackets",
                    test_strings_hide_brackets);
    g_test_add_func("/jsonstream/small/escapes", test_escapes);
    g_test_add_func("/jsonstream/small/garbage-word-is-one-error",
                    test_garbage_word_is_one_error);
    g_test_add_func("/jsonstream/small/stray-punctuation-is-one-error",
                    test_stray_punctuation_is_one_error);
    g_test_add_func("/jsonstream/small/broken-document-ends-with-its-bracket",
                    test_broken_document_ends_with_its_bracket);
    g_test_add_func("/jsonstream/small/duplicate-key", test_duplicate_key);
    g_test_add_func("/jsonstream/small/premature-end", test_premature_end);
    g_test_add_func("/jsonstream/small/newline-ends-a-string",
                    test_newline_ends_a_string);
    g_test_add_func("/jsonstream/small/control-characters",
                    test_control_characters);
    g_test_add_func("/jsonstream/small/nul-bytes", test_nul_bytes);
    g_test_add_func("/jsonstream/small/invalid-utf8", test_invalid_utf8);
    g_test_add_func("/jsonstream/small/integers-beyond-int64-are-reals",
                    test_integers_beyond_int64_are_reals);
    g_test_add_func("/jsonstream/small/reals-beyond-double-are-errors",
                    test_reals_beyond_double_are_errors);
    g_test_add_func("/jsonstream/small/depth-up-to-the-limit",
                    test_depth_up_to_the_limit);
    g_test_add_func("/jsonstream/small/depth-above-the-limit",
                    test_depth_above_the_limit);
    g_test_add_func("/jsonstream/small/brackets-only", test_brackets_only);
    g_test_add_func("/jsonstream/large/tokens", test_tokens);
    g_test_add_func("/jsonstream/large/words-and-strings-count-once",
                    test_words_and_strings_count_once);
    g_test_add_func("/jsonstream/large/string-up-to-the-limit",
                    test_string_up_to_the_limit);
    g_test_add_func("/jsonstream/large/string-above-the-limit",
                    test_string_above_the_limit);
    g_test_add_func("/jsonstream/small/callback-may-free",
                    test_callback_may_free);
    g_test_add_func("/jsonstream/small/callback-may-free-at-the-end",
                    test_callback_may_free_at_the_end);
    g_test_add_func("/jsonstream/small/value-comes-with-its-last-byte",
                    test_value_comes_with_its_last_byte);
    g_test_add_func("/jsonstream/small/feeding-after-the-end",
                    test_feeding_after_the_end);
    g_test_add_func("/jsonstream/small/parse", test_parse);
    g_test_add_func("/jsonstream/small/parse-refuses", test_parse_refuses);
    return g_test_run();
}
