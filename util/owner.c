/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include "util/error.h"
#include "util/owner.h"

/* What an entry of the database may take. */
#define FIRST_BUFFER 1024
#define LAST_BUFFER  (1u << 20)

/* (uid_t)-1 stands for none. */
#define MAX_ID (G_MAXUINT32 - 1)

/* Returns 0 and *@id, ENOENT when there is no such name, or an errno. */
typedef int (*LookUp)(const char *name, char *buffer, gsize size, guint32 *id);

static int look_up_user(const char *name, char *buffer, gsize size, guint32 *id)
{
    struct passwd entry;
    struct passwd *found = NULL;
    int err = getpwnam_r(name, &entry, buffer, size, &found);

    if (found) {
        *id = found->pw_uid;
        return 0;
    }
    return err ? err : ENOENT;
}

static int look_up_group(const char *name, char *buffer, gsize size,
                         guint32 *id)
{
    struct group entry;
    struct group *found = NULL;
    int err = getgrnam_r(name, &entry, buffer, size, &found);

    if (found) {
        *id = found->gr_gid;
        return 0;
    }
    return err ? err : ENOENT;
}

/* See getpwnam(3): these say that there is none. */
static gboolean is_missing(int err)
{
    return err == ENOENT || err == ESRCH || err == EBADF || err == EPERM;
}

static int look_up(LookUp func, const char *name, guint32 *id)
{
    int err = ERANGE;

    for (gsize size = FIRST_BUFFER; err == ERANGE && size <= LAST_BUFFER;
         size *= 2) {
        g_autofree char *buffer = g_malloc(size);

        do {
            err = func(name, buffer, size, id);
        } while (err == EINTR);
    }
    return err;
}

static gboolean parse_id(LookUp func, const char *what, const char *name,
                         guint32 *id, GError **error)
{
    g_autofree char *quoted = hm_error_quote(name);
    guint64 number;
    int err;

    if (!*name) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "the name of a %s is missing", what);
    }
    err = look_up(func, name, id);
    if (!err) {
        return TRUE;
    }
    if (g_ascii_string_to_unsigned(name, 10, 0, MAX_ID, &number, NULL)) {
        *id = (guint32)number;
        return TRUE;
    }
    if (is_missing(err)) {
        return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                            "this host has no %s %s", what, quoted);
    }
    return hm_set_error_errno(error, err, "cannot look up the %s %s", what,
                              quoted);
}

gboolean hm_owner_parse(const char *text, HmOwner *owner, GError **error)
{
    const char *colon = strchr(text, ':');
    g_autofree char *user =
        colon ? g_strndup(text, (gsize)(colon - text)) : g_strdup(text);
    HmOwner found = {.gid = (gid_t)-1};

    if (!parse_id(look_up_user, "user", user, &found.uid, error) ||
        (colon &&
         !parse_id(look_up_group, "group", colon + 1, &found.gid, error))) {
        return FALSE;
    }
    *owner = found;
    return TRUE;
}
