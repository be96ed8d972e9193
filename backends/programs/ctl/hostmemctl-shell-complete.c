/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

/* What a value is, where the schema only knows that it is text. */
typedef struct {
    const char *command; /* NULL: any */
    const char *key;
    CtlWord word;
} Row;

static const Row rows[] = {
    {"object-del", "id", CTL_WORD_OBJECT},
    {"device_del", "id", CTL_WORD_DEVICE},
    {"device_add", "driver", CTL_WORD_DRIVER},
    {"get-memory-fd", "id", CTL_WORD_BACKEND},
    {"virtio-mem-request", "id", CTL_WORD_DEVICE},
    {"job-cancel", "id", CTL_WORD_JOB},
    {"job-dismiss", "id", CTL_WORD_JOB},
    {NULL, "memdev", CTL_WORD_BACKEND},
    {NULL, "path", CTL_WORD_PATH},
    {NULL, "pool", CTL_WORD_OBJECT},
    {NULL, "prealloc-context", CTL_WORD_OBJECT},
    {NULL, "property", CTL_WORD_PROPERTY},
    {NULL, "typename", CTL_WORD_TYPE},
    {0},
};

typedef struct {
    CtlPeer *peer;
    CtlSchema *schema;
    const char *command;
    GHashTable *given; /* keys and values before the word at hand */
    const char *word;  /* which is this, up to the cursor */
    GPtrArray *found;  /* (element-type utf8): what it can become */
} Completion;

/* @before is the part of the word in front of what @name can become. */
static void offer(Completion *self, const char *before, const char *name,
                  const char *end)
{
    g_autofree char *whole = g_strconcat(before, name, end, NULL);

    if (g_str_has_prefix(whole, self->word)) {
        g_ptr_array_add(self->found, g_steal_pointer(&whole));
    }
}

static void offer_commands(Completion *self)
{
    g_autoptr(GPtrArray) commands = ctl_schema_commands(self->schema);

    for (guint i = 0; i < commands->len; i++) {
        if (ctl_name_is_plain(commands->pdata[i])) {
            offer(self, "", commands->pdata[i], "");
        }
    }
}

/* "a.b" is in what "a." leads to. */
static GArray *members_for(Completion *self, const char *key, char **prefix)
{
    const char *dot = strrchr(key, '.');

    *prefix = g_strndup(key, dot ? dot + 1 - key : 0);
    return ctl_schema_members(self->schema, self->command, *prefix,
                              self->given);
}

static void offer_keys(Completion *self)
{
    g_autofree char *prefix = NULL;
    g_autoptr(GArray) members = members_for(self, self->word, &prefix);

    for (guint i = 0; i < members->len; i++) {
        const CtlMember *member = &g_array_index(members, CtlMember, i);
        g_autofree char *key = g_strconcat(prefix, member->name, NULL);
        gboolean inner = g_str_equal(member->kind, "object");

        if (ctl_name_is_plain(member->name) &&
            !g_hash_table_contains(self->given, key)) {
            offer(self, prefix, member->name, inner ? "." : "=");
        }
    }
}

static const Row *find_row(const Completion *self, const char *key)
{
    const Row *row = rows;

    while (row->key &&
           (!g_str_equal(row->key, key) ||
            (row->command && g_strcmp0(row->command, self->command)))) {
        row++;
    }
    return row->key ? row : NULL;
}

static void offer_names(Completion *self, const char *before, const Row *row)
{
    const char *path = g_hash_table_lookup(self->given, "path");
    g_autoptr(GPtrArray) names =
        ctl_names_list(self->peer, row->word, path ? path : "");

    for (guint i = 0; i < names->len; i++) {
        offer(self, before, names->pdata[i], "");
    }
}

static void offer_values(Completion *self, const char *equals)
{
    g_autofree char *key = g_strndup(self->word, equals - self->word);
    g_autofree char *before = g_strndup(self->word, equals + 1 - self->word);
    g_autofree char *prefix = NULL;
    g_autoptr(GArray) members = members_for(self, key, &prefix);
    const Row *row = find_row(self, key);

    for (guint i = 0; i < members->len; i++) {
        const CtlMember *member = &g_array_index(members, CtlMember, i);

        if (!g_str_equal(member->name, key + strlen(prefix))) {
            continue;
        }
        g_autoptr(GPtrArray) values = ctl_member_values(member);
        for (guint j = 0; j < values->len; j++) {
            if (ctl_name_is_plain(values->pdata[j])) {
                offer(self, before, values->pdata[j], "");
            }
        }
        row = values->len ? NULL : row;
    }
    if (row) {
        offer_names(self, before, row);
    }
}

static void complete_word(Completion *self, char **words)
{
    const char *equals = strchr(self->word, '=');
    gboolean helped = words[0] && g_str_equal(words[0], "help");

    if (!words[0] || (helped && !words[1])) {
        offer_commands(self);
        if (!helped) {
            offer(self, "", "exit", "");
            offer(self, "", "help", "");
        }
        return;
    }
    self->command = words[helped ? 1 : 0];
    if (equals) {
        offer_values(self, equals);
    } else {
        offer_keys(self);
    }
}

GPtrArray *ctl_shell_complete(CtlPeer *peer, CtlSchema *schema,
                              const char *before, gsize *start)
{
    gboolean open;
    g_auto(GStrv) words = ctl_line_split(before, &open);
    guint n = g_strv_length(words);
    gsize length = strlen(before);
    gboolean fresh = !n || (!open && g_ascii_isspace(before[length - 1]));
    g_autofree char *word = fresh ? g_strdup("") : words[n - 1];
    Completion self = {.peer = peer, .schema = schema, .word = word};

    if (!fresh) {
        words[n - 1] = NULL;
    }
    self.found = g_ptr_array_new_with_free_func(g_free);
    self.given = ctl_line_given(words);
    *start = length - strlen(word);
    if (!open && *word != '{' && g_utf8_validate(before, -1, NULL)) {
        complete_word(&self, words);
    }
    g_hash_table_unref(self.given);
    return self.found;
}
