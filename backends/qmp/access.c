/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/qmp/access.h"
#include "util/error.h"
#include "util/user.h"

#define MAX_MODE 0777

/* "allow-uid" may be repeated, which rows of this kind do not say. */
static const HmProp access_options[] = {
    {.name = "mode", .kind = HM_PROP_STRING},
    {.name = "owner", .kind = HM_PROP_STRING},
    {.name = "group", .kind = HM_PROP_STRING},
    {.name = "allow-uid", .kind = HM_PROP_STRING},
};

const HmProp *hm_qmp_access_find_row(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(access_options); i++) {
        if (g_str_equal(access_options[i].name, name)) {
            return &access_options[i];
        }
    }
    return NULL;
}

static gboolean parse_mode(mode_t *mode, const char *text, GError **error)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 8, 0, MAX_MODE, &value, NULL)) {
        g_autofree char *quoted = hm_error_quote(text);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "mode=%s: expected an octal number up to 0777",
                            quoted);
    }
    *mode = (mode_t)value;
    return TRUE;
}

static gboolean add_allowed(HmQmpAccess *self, const char *text, GError **error)
{
    uid_t uid;

    if (!hm_user_parse(text, &uid, error)) {
        g_prefix_error(error, "allow-uid: ");
        return FALSE;
    }
    if (!self->allowed) {
        self->allowed = g_array_new(FALSE, FALSE, sizeof(uid_t));
    }
    g_array_append_val(self->allowed, uid);
    return TRUE;
}

static gboolean parse_allowed(HmQmpAccess *self, const HmKeyval *options,
                              GError **error)
{
    g_autofree const char **texts = hm_keyval_get_all(options, "allow-uid");

    for (guint i = 0; texts[i]; i++) {
        if (!add_allowed(self, texts[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean parse_owner(HmQmpAccess *self, const HmKeyval *options,
                            GError **error)
{
    const char *owner = hm_keyval_get(options, "owner");
    const char *group = hm_keyval_get(options, "group");

    if (owner && !hm_user_parse(owner, &self->owner, error)) {
        g_prefix_error(error, "owner: ");
        return FALSE;
    }
    if (group && !hm_group_parse(group, &self->group, error)) {
        g_prefix_error(error, "group: ");
        return FALSE;
    }
    return TRUE;
}

gboolean hm_qmp_access_parse(HmQmpAccess *self, const HmKeyval *options,
                             GError **error)
{
    const char *mode = hm_keyval_get(options, "mode");

    *self = (HmQmpAccess)HM_QMP_ACCESS_INIT;
    if ((mode && !parse_mode(&self->mode, mode, error)) ||
        !parse_owner(self, options, error) ||
        !parse_allowed(self, options, error)) {
        hm_qmp_access_clear(self);
        return FALSE;
    }
    return TRUE;
}

static const HmProp *find_inherited_row(const char *name,
                                        gpointer data G_GNUC_UNUSED)
{
    return g_str_equal(name, "allow-uid") ? hm_qmp_access_find_row(name) : NULL;
}

gboolean hm_qmp_access_parse_inherited(HmQmpAccess *self, const char *text,
                                       GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(text ? text : "", NULL, error);
    json_auto_t *options = NULL;

    if (!keyval) {
        return FALSE;
    }
    options = hm_keyval_to_json(keyval, find_inherited_row, NULL, error);
    return options && hm_qmp_access_parse(self, keyval, error);
}

void hm_qmp_access_clear(HmQmpAccess *self)
{
    g_clear_pointer(&self->allowed, g_array_unref);
}

void hm_qmp_access_copy(HmQmpAccess *self, const HmQmpAccess *from)
{
    *self = *from;
    if (self->allowed) {
        g_array_ref(self->allowed);
    }
}
