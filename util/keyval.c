/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/error.h"
#include "util/keyval.h"

/*
 * Theory of operation
 *
 * The text is split into parts without knowing any key.  Only when rows are
 * there to ask do the parts become groups, one for each property: repeated
 * keys and dotted indices both end as the list of texts of one row.
 */

/* Longest name between two dots of a key. */
#define FRAGMENT_MAX 127

typedef struct {
    char *key;
    char *value; /* NULL: a bare word */
} Part;

struct HmKeyval {
    GPtrArray *parts;
    char *implied_key;
};

/* What was said about one row; the texts belong to the parts. */
typedef struct {
    const HmProp *row;
    GPtrArray *texts;    /* of the plain key, in order */
    GHashTable *indexed; /* index -> text, of dotted keys */
} Group;

typedef struct {
    const HmProp *(*find)(const char *key, gpointer data);
    gpointer data;
    GHashTable *by_row; /* HmProp -> Group, not owned */
    GPtrArray *groups;  /* in the order of their first part */
} Grouping;

/* Text to parts */

static void part_free(gpointer data)
{
    Part *part = data;

    g_free(part->key);
    g_free(part->value);
    g_free(part);
}

static gboolean is_key(const char *key)
{
    g_auto(GStrv) fragments = g_strsplit(key, ".", -1);

    for (char **p = fragments; *p; p++) {
        gsize length = strspn(*p, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_");

        if (!length || length > FRAGMENT_MAX || (*p)[length]) {
            return FALSE;
        }
    }
    return *key != '\0';
}

static gboolean refuse_key(const char *key, GError **error)
{
    g_autofree char *shown = hm_error_quote(key);

    return hm_set_error(error, HOSTMEM_ERROR_INVALID, "Invalid parameter %s",
                        shown);
}

/* Up to a comma of its own; *@text moves to it, or to the end. */
static char *take_value(const char **text)
{
    GString *value = g_string_new(NULL);
    const char *p = *text;

    while (*p && (*p != ',' || p[1] == ',')) {
        p += *p == ',';
        g_string_append_c(value, *p++);
    }
    *text = p;
    return g_string_free(value, FALSE);
}

static gboolean take_part(HmKeyval *self, const char **text, GError **error)
{
    Part *part = g_new0(Part, 1);
    gsize length = strcspn(*text, "=,");
    gboolean bare = (*text)[length] != '=';

    g_ptr_array_add(self->parts, part);
    part->key = g_strndup(*text, length);
    *text += length;
    if (!bare) {
        (*text)++;
        part->value = take_value(text);
        return is_key(part->key) || refuse_key(part->key, error);
    }
    if (!length) {
        return refuse_key("", error);
    }
    if (self->parts->len == 1 && self->implied_key) {
        part->value = part->key;
        part->key = g_strdup(self->implied_key);
    }
    return TRUE;
}

HmKeyval *hm_keyval_parse(const char *text, const char *implied_key,
                          GError **error)
{
    g_autoptr(HmKeyval) self = g_new0(HmKeyval, 1);

    self->parts = g_ptr_array_new_with_free_func(part_free);
    self->implied_key = g_strdup(implied_key);
    if (!g_utf8_validate(text, -1, NULL)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID, "options must be UTF-8");
        return NULL;
    }
    while (*text) {
        if (!take_part(self, &text, error)) {
            return NULL;
        }
        text += *text == ',';
    }
    return g_steal_pointer(&self);
}

void hm_keyval_free(HmKeyval *self)
{
    if (self) {
        g_ptr_array_unref(self->parts);
        g_free(self->implied_key);
        g_free(self);
    }
}

const char *hm_keyval_get(const HmKeyval *self, const char *key)
{
    for (guint i = self->parts->len; i > 0; i--) {
        const Part *part = g_ptr_array_index(self->parts, i - 1);

        if (part->value && g_str_equal(part->key, key)) {
            return part->value;
        }
    }
    return NULL;
}

const char **hm_keyval_get_all(const HmKeyval *self, const char *key)
{
    const char **values = g_new0(const char *, self->parts->len + 1);
    guint n = 0;

    for (guint i = 0; i < self->parts->len; i++) {
        const Part *part = g_ptr_array_index(self->parts, i);

        if (part->value && g_str_equal(part->key, key)) {
            values[n++] = part->value;
        }
    }
    return values;
}

/* Parts to groups */

static void group_free(gpointer data)
{
    Group *group = data;

    g_ptr_array_unref(group->texts);
    g_hash_table_unref(group->indexed);
    g_free(group);
}

static const HmProp *find_row(const Grouping *grouping, const char *key)
{
    const HmProp *row = grouping->find(key, grouping->data);

    return row && !(row->flags & HM_PROP_READ_ONLY) ? row : NULL;
}

static Group *group_of(Grouping *grouping, const HmProp *row)
{
    Group *group = g_hash_table_lookup(grouping->by_row, row);

    if (!group) {
        group = g_new0(Group, 1);
        group->row = row;
        group->texts = g_ptr_array_new();
        group->indexed = g_hash_table_new(NULL, NULL);
        g_hash_table_insert(grouping->by_row, (gpointer)row, group);
        g_ptr_array_add(grouping->groups, group);
    }
    return group;
}

static gboolean refuse_mixture(const HmProp *row, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Parameters '%s.*' used inconsistently", row->name);
}

static gboolean refuse_below(const char *key, gsize length, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "Parameters '%.*s.*' are unexpected", (int)length, key);
}

/* `flag` or `noflag`, of BOOL rows only. */
static gboolean add_bare(Grouping *grouping, const char *word, GError **error)
{
    const HmProp *row = find_row(grouping, word);
    const HmProp *negated = NULL;

    if (!row && g_str_has_prefix(word, "no")) {
        negated = find_row(grouping, word + strlen("no"));
    }
    if (row && row->kind == HM_PROP_BOOL) {
        g_ptr_array_add(group_of(grouping, row)->texts, (gpointer) "on");
        return TRUE;
    }
    if (negated && negated->kind == HM_PROP_BOOL) {
        g_ptr_array_add(group_of(grouping, negated)->texts, (gpointer) "off");
        return TRUE;
    }
    if (row) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Expected '=' after parameter '%s'", row->name);
    }
    return refuse_key(word, error);
}

/* `name.INDEX=value`; @dot is the one in @part's key. */
static gboolean add_indexed(Grouping *grouping, const Part *part,
                            const char *dot, GError **error)
{
    g_autofree char *name = g_strndup(part->key, dot - part->key);
    const HmProp *row = find_row(grouping, name);
    const char *second_dot = strchr(dot + 1, '.');
    guint64 index;

    if (!row) {
        return refuse_key(part->key, error);
    }
    if (row->kind != HM_PROP_IDS) {
        return refuse_below(part->key, dot - part->key, error);
    }
    if (second_dot) {
        return refuse_below(part->key, second_dot - part->key, error);
    }
    if (!g_ascii_string_to_unsigned(dot + 1, 10, 0, G_MAXUINT, &index, NULL)) {
        return refuse_mixture(row, error);
    }
    g_hash_table_insert(group_of(grouping, row)->indexed,
                        GUINT_TO_POINTER(index), part->value);
    return TRUE;
}

static gboolean add_part(Grouping *grouping, const Part *part, GError **error)
{
    const char *dot = strchr(part->key, '.');
    const HmProp *row;

    if (!part->value) {
        return add_bare(grouping, part->key, error);
    }
    if (dot) {
        return add_indexed(grouping, part, dot, error);
    }
    row = find_row(grouping, part->key);
    if (!row) {
        return refuse_key(part->key, error);
    }
    g_ptr_array_add(group_of(grouping, row)->texts, part->value);
    return TRUE;
}

/* Groups to JSON */

/* The indices must be 0, 1, 2...: as many as there are. */
static gboolean append_indexed(Group *group, GError **error)
{
    guint n = g_hash_table_size(group->indexed);

    if (n && group->texts->len) {
        return refuse_mixture(group->row, error);
    }
    for (guint i = 0; i < n; i++) {
        gpointer text =
            g_hash_table_lookup(group->indexed, GUINT_TO_POINTER(i));

        if (!text) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "Parameter '%s.%u' missing", group->row->name,
                                i);
        }
        g_ptr_array_add(group->texts, text);
    }
    return TRUE;
}

static gboolean add_to_json(Group *group, json_t *object, GError **error)
{
    json_t *value;

    if (!append_indexed(group, error)) {
        return FALSE;
    }
    g_ptr_array_add(group->texts, NULL);
    value = hm_prop_text_to_json(
        group->row, (const char *const *)group->texts->pdata, error);
    return value && json_object_set_new(object, group->row->name, value) == 0;
}

const char *hm_keyval_find_unknown(const HmKeyval *self,
                                   const HmProp *(*find)(const char *key,
                                                         gpointer data),
                                   gpointer data)
{
    for (guint i = 0; i < self->parts->len; i++) {
        const Part *part = g_ptr_array_index(self->parts, i);
        g_autofree char *name = g_strndup(part->key, strcspn(part->key, "."));

        if (part->value && !find(name, data)) {
            return part->key;
        }
    }
    return NULL;
}

json_t *hm_keyval_to_json(const HmKeyval *self,
                          const HmProp *(*find)(const char *key, gpointer data),
                          gpointer data, GError **error)
{
    g_autoptr(GHashTable) by_row = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) groups = g_ptr_array_new_with_free_func(group_free);
    Grouping grouping = {find, data, by_row, groups};
    json_auto_t *object = json_object();

    for (guint i = 0; i < self->parts->len; i++) {
        if (!add_part(&grouping, g_ptr_array_index(self->parts, i), error)) {
            return NULL;
        }
    }
    for (guint i = 0; i < groups->len; i++) {
        if (!add_to_json(g_ptr_array_index(groups, i), object, error)) {
            return NULL;
        }
    }
    return json_incref(object);
}
