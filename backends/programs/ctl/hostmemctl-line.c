/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * A line is a QMP command as JSON, or "command key=value ...".  A value is what
 * the command takes there: "4G" is a number where a number is due, and text
 * elsewhere.  Where nobody knows it is JSON if it can be.  A value in quotes is
 * text, and one in brackets is JSON, always; in both there may be blanks.
 */

static json_t *refuse(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static json_t *refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID, message);
    return NULL;
}

/* Words */

/* Where a word is, from its first byte to the one at hand. */
typedef struct {
    gboolean begins_value; /* behind the first '=' */
    char quote;            /* 0: not in quotes */
    guint depth;           /* of brackets */
} Scan;

static gboolean is_in_word(const Scan *scan, char c)
{
    return scan->quote || scan->depth || !g_ascii_isspace(c);
}

/* Takes a byte of a word, or two. */
static const char *step(Scan *scan, const char *at)
{
    gboolean opens = scan->begins_value || scan->depth;
    char c = *at;

    scan->begins_value = c == '=' && !scan->quote && !scan->depth;
    if (scan->quote) {
        if (c == '\\' && scan->quote == '"' && at[1]) {
            return at + 2;
        }
        scan->quote = c == scan->quote ? 0 : scan->quote;
    } else if (opens && (c == '"' || (c == '\'' && !scan->depth))) {
        scan->quote = c;
    } else if (opens && strchr("{[", c)) {
        scan->depth++;
    } else if (scan->depth && strchr("}]", c)) {
        scan->depth--;
    }
    return at + 1;
}

static const char *skip_blanks(const char *text)
{
    while (g_ascii_isspace(*text)) {
        text++;
    }
    return text;
}

char **ctl_line_split(const char *text, gboolean *open)
{
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();
    const char *at = skip_blanks(text);

    *open = FALSE;
    while (*at) {
        Scan scan = {0};
        const char *word = at;

        while (*at && is_in_word(&scan, *at)) {
            at = step(&scan, at);
        }
        g_autofree char *copy = g_strndup(word, at - word);
        g_strv_builder_add(words, copy);
        *open = scan.quote || scan.depth;
        at = skip_blanks(at);
    }
    return g_strv_builder_end(words);
}

gboolean ctl_line_is_open(const char *text)
{
    json_error_t why;
    json_auto_t *value = NULL;

    if (*skip_blanks(text) != '{') {
        return FALSE;
    }
    value = json_loads(text, 0, &why);
    return !value && json_error_code(&why) == json_error_premature_end_of_input;
}

/* Values */

static json_t *unquote(const char *text)
{
    gsize length = strlen(text);

    return length > 1 && text[length - 1] == '\''
               ? json_stringn(text + 1, length - 2)
               : json_string(text);
}

static json_t *value_of(const char *kind, const char *text, GError **error)
{
    if (*text == '\'') {
        return unquote(text);
    }
    if (*text == '"' || *text == '{' || *text == '[') {
        return peer_json_parse(text, error);
    }
    return kind ? ctl_value_parse(kind, text, error) : ctl_value_guess(text);
}

/* "a.b=v" is {"a": {"b": v}}.  @value is (transfer full). */
static gboolean insert(json_t *arguments, const char *key, json_t *value,
                       GError **error)
{
    g_auto(GStrv) parts = g_strsplit(key, ".", -1);
    char **part = parts;
    json_t *object = arguments;

    for (; part[0] && part[1]; part++) {
        json_t *inner = json_object_get(object, *part);

        if (!inner) {
            inner = json_object();
            json_object_set_new(object, *part, inner);
        }
        object = inner;
    }
    if (!json_is_object(object) || json_object_get(object, *part)) {
        json_decref(value);
        refuse(error, "'%s' is given twice", key);
        return FALSE;
    }
    json_object_set_new(object, *part, value);
    return TRUE;
}

/* Lines */

GHashTable *ctl_line_given(char **words)
{
    GHashTable *given =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    for (char **word = words; *word; word++) {
        const char *equals = strchr(*word, '=');

        if (equals) {
            g_hash_table_insert(given, g_strndup(*word, equals - *word),
                                g_strdup(equals + 1));
        }
    }
    return given;
}

static json_t *arguments_of(char **words, CtlKindFunc kind_of,
                            gpointer user_data, GError **error)
{
    g_autoptr(GHashTable) given = ctl_line_given(words + 1);
    json_auto_t *arguments = json_object();

    for (char **word = words + 1; *word; word++) {
        const char *equals = strchr(*word, '=');
        g_autofree char *key = equals ? g_strndup(*word, equals - *word) : NULL;

        if (!key || !*key || *key == '.' || g_str_has_suffix(key, ".")) {
            return refuse(error, "'%s' is not 'argument=value'", *word);
        }
        json_t *value = value_of(kind_of(words[0], key, given, user_data),
                                 equals + 1, error);
        if (!value) {
            g_prefix_error(error, "'%s': ", key);
            return NULL;
        }
        if (!insert(arguments, key, value, error)) {
            return NULL;
        }
    }
    return json_incref(arguments);
}

static json_t *parse_json(const char *text, GError **error)
{
    json_auto_t *message = peer_json_parse(text, error);
    json_t *arguments = json_object_get(message, "arguments");
    const char *key;
    json_t *value;

    if (!message) {
        return NULL;
    }
    if (!peer_json_string(message, "execute")) {
        return refuse(error, "there is no \"execute\" with the name of a "
                             "command");
    }
    if (arguments && !json_is_object(arguments)) {
        return refuse(error, "\"arguments\" is not an object");
    }
    json_object_foreach(message, key, value)
    {
        if (!g_str_equal(key, "execute") && !g_str_equal(key, "arguments") &&
            !g_str_equal(key, "id")) {
            return refuse(error, "\"%s\" means nothing here", key);
        }
    }
    return json_incref(message);
}

json_t *ctl_line_parse(const char *text, CtlKindFunc kind_of,
                       gpointer user_data, GError **error)
{
    gboolean open;
    g_auto(GStrv) words = NULL;

    if (!g_utf8_validate(text, -1, NULL)) {
        return refuse(error, "the line is no UTF-8");
    }
    if (*skip_blanks(text) == '{') {
        return parse_json(text, error);
    }
    words = ctl_line_split(text, &open);
    if (open) {
        return refuse(error, "a quote or a bracket is not closed");
    }
    json_t *arguments = arguments_of(words, kind_of, user_data, error);
    return arguments ? json_pack("{s:s,s:o}", "execute", words[0], "arguments",
                                 arguments)
                     : NULL;
}
