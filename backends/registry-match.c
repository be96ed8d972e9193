/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who starts again with the same command line finds what that line made at
 * first.  A line is compared with the one that made the object, not with what
 * has become of it since.
 */
#include <string.h>
#include "backends/registry-restore.h"

GPtrArray *hostmem_registry_list_restored(HostmemRegistry *self)
{
    GPtrArray *list;

    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), NULL);

    list = g_ptr_array_new();
    for (guint i = 0; i < self->restored->len; i++) {
        g_ptr_array_add(list, g_ptr_array_index(self->restored, i));
    }
    return list;
}

/* (nullable): of that path, made by another process at first. */
static HmEntry *find_by_id(HostmemRegistry *self, HmSpecKind kind,
                           const char *id)
{
    g_autofree char *path = g_strconcat(
        kind == HM_SPEC_DEVICE ? HM_DEVICES_PATH : HM_OBJECTS_PATH, id, NULL);
    HmEntry *entry = hm_registry_find(self, path, HM_ENTRY_READY);

    return entry && entry->restored ? entry : NULL;
}

/* Two devices never have the same memory. */
static HmEntry *find_unnamed(HostmemRegistry *self, json_t *options)
{
    json_t *memdev = json_object_get(options, "memdev");

    for (guint i = 0; i < self->entries->len; i++) {
        HmEntry *entry = g_ptr_array_index(self->entries, i);

        if (entry->restored && !entry->matched &&
            entry->state == HM_ENTRY_READY &&
            g_str_has_prefix(entry->path, HM_UNNAMED_PATH) &&
            json_equal(json_object_get(entry->given, "memdev"), memdev)) {
            entry->matched = TRUE;
            return entry;
        }
    }
    return NULL;
}

static HmEntry *find_entry(HostmemRegistry *self, HmSpecKind kind,
                           json_t *options)
{
    const char *id = json_string_value(json_object_get(options, "id"));

    if (id) {
        return find_by_id(self, kind, id);
    }
    return kind == HM_SPEC_DEVICE ? find_unnamed(self, options) : NULL;
}

static char *value_text(json_t *value)
{
    if (!value) {
        return g_strdup("not given");
    }
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void append_difference(GString *text, const char *key, json_t *now,
                              json_t *then)
{
    g_autofree char *is = value_text(now);
    g_autofree char *was = value_text(then);

    g_string_append_printf(text, "%s%s=%s (was %s)", text->len ? ", " : "", key,
                           is, was);
}

/* (transfer full) (nullable) */
static char *find_differences(json_t *now, json_t *then)
{
    GString *text = g_string_new(NULL);
    const char *key;
    json_t *value;

    json_object_foreach(now, key, value)
    {
        json_t *old = json_object_get(then, key);

        if (!old || !json_equal(value, old)) {
            append_difference(text, key, value, old);
        }
    }
    json_object_foreach(then, key, value)
    {
        if (!json_object_get(now, key)) {
            append_difference(text, key, NULL, value);
        }
    }
    return g_string_free(text, !text->len);
}

static gboolean compare(HostmemRegistry *self, HmSpecKind kind,
                        const char *options, char **difference)
{
    json_auto_t *now = hm_object_spec_parse(kind, options, NULL);
    HmEntry *entry = now ? find_entry(self, kind, now) : NULL;
    json_auto_t *then = NULL;

    *difference = NULL;
    if (!entry) {
        return FALSE;
    }
    then = json_deep_copy(entry->given);
    hm_options_resolve_aliases(now, G_OBJECT_GET_CLASS(entry->object));
    hm_options_resolve_aliases(then, G_OBJECT_GET_CLASS(entry->object));
    *difference = find_differences(now, then);
    return TRUE;
}

gboolean hostmem_registry_compare_restored(HostmemRegistry *self,
                                           const char *options,
                                           char **difference)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), FALSE);
    g_return_val_if_fail(options && difference, FALSE);

    return compare(self, HM_SPEC_OBJECT, options, difference);
}

gboolean hostmem_registry_compare_restored_device(HostmemRegistry *self,
                                                  const char *options,
                                                  char **difference)
{
    g_return_val_if_fail(HOSTMEM_IS_REGISTRY(self), FALSE);
    g_return_val_if_fail(options && difference, FALSE);

    return compare(self, HM_SPEC_DEVICE, options, difference);
}
