/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include "util/error.h"
#include "util/user.h"

#define FIRST_SIZE 1024
/* A group lists its members; those of a large host are many. */
#define MAX_SIZE (16u << 20)

/* The last number, (uid_t)-1, stands for "as it is". */
#define MAX_NUMBER (G_MAXUINT32 - 1)

/* 0, ERANGE when @size is too small, or why not; @number when *@found. */
typedef int (*LookUp)(const char *name, char *buffer, gsize size,
                      gboolean *found, guint32 *number);

static int look_up_user(const char *name, char *buffer, gsize size,
                        gboolean *found, guint32 *number)
{
    struct passwd entry;
    struct passwd *there;
    int err = getpwnam_r(name, &entry, buffer, size, &there);

    *found = there != NULL;
    if (there) {
        *number = there->pw_uid;
    }
    return err;
}

static int look_up_group(const char *name, char *buffer, gsize size,
                         gboolean *found, guint32 *number)
{
    struct group entry;
    struct group *there;
    int err = getgrnam_r(name, &entry, buffer, size, &there);

    *found = there != NULL;
    if (there) {
        *number = there->gr_gid;
    }
    return err;
}

/* Databases say in different ways that they have no such name. */
static gboolean means_not_found(int err)
{
    return err == 0 || err == ENOENT || err == ESRCH || err == EBADF ||
           err == EPERM;
}

static gboolean find(const char *kind, const char *name, LookUp look_up,
                     guint32 *number, GError **error)
{
    g_autofree char *quoted = NULL;
    gboolean found = FALSE;
    int err = ERANGE;

    for (gsize size = FIRST_SIZE; err == ERANGE && size <= MAX_SIZE;
         size *= 4) {
        g_autofree char *buffer = g_malloc(size);

        err = look_up(name, buffer, size, &found, number);
    }
    if (found) {
        return TRUE;
    }
    quoted = hm_error_quote(name);
    if (means_not_found(err)) {
        return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                            "there is no %s %s on this host", kind, quoted);
    }
    return hm_set_error(error, HOSTMEM_ERROR_SYSTEM, "cannot look up %s %s: %s",
                        kind, quoted, g_strerror(err));
}

static gboolean is_number(const char *text)
{
    while (g_ascii_isdigit(*text)) {
        text++;
    }
    return !*text;
}

static gboolean parse(const char *kind, const char *text, LookUp look_up,
                      guint32 *number, GError **error)
{
    guint64 value;

    if (!*text) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "expected the name or number of a %s", kind);
    }
    if (!is_number(text)) {
        return find(kind, text, look_up, number, error);
    }
    if (!g_ascii_string_to_unsigned(text, 10, 0, MAX_NUMBER, &value, NULL)) {
        g_autofree char *quoted = hm_error_quote(text);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s is not the number of a %s: those go up to %u",
                            quoted, kind, MAX_NUMBER);
    }
    *number = (guint32)value;
    return TRUE;
}

gboolean hm_user_parse(const char *text, uid_t *uid, GError **error)
{
    guint32 number;

    if (!parse("user", text, look_up_user, &number, error)) {
        return FALSE;
    }
    *uid = number;
    return TRUE;
}

gboolean hm_group_parse(const char *text, gid_t *gid, GError **error)
{
    guint32 number;

    if (!parse("group", text, look_up_group, &number, error)) {
        return FALSE;
    }
    *gid = number;
    return TRUE;
}
