/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <grp.h>
#include <pwd.h>
#include "libvirt-hook.h"

/* Whom QEMU of a domain runs as. */

static gboolean parse_id(const char *text, guint32 *id)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32 - 1, &number,
                                    NULL)) {
        return FALSE;
    }
    *id = (guint32)number;
    return TRUE;
}

/* As libvirt does: a name, or else a number, which a plus says to be one. */
static gboolean parse_user(const char *text, uid_t *uid)
{
    const struct passwd *entry = *text == '+' ? NULL : getpwnam(text);

    if (entry) {
        *uid = entry->pw_uid;
        return TRUE;
    }
    return parse_id(*text == '+' ? text + 1 : text, uid);
}

static gboolean parse_group(const char *text, gid_t *gid)
{
    const struct group *entry = *text == '+' ? NULL : getgrnam(text);

    if (entry) {
        *gid = entry->gr_gid;
        return TRUE;
    }
    return parse_id(*text == '+' ? text + 1 : text, gid);
}

static gboolean parse_label(const char *text, HookOwner *owner, GError **error)
{
    g_auto(GStrv) ids = g_strsplit(text, ":", 2);

    return (ids[0] && ids[1] && parse_user(ids[0], &owner->uid) &&
            parse_group(ids[1], &owner->gid)) ||
           hook_refuse(error, HOSTMEM_ERROR_INVALID,
                       "the owner '%s' of the domain is not of the form "
                       "+UID:+GID, and names no user and group",
                       text);
}

static gboolean look_up(const char *name, HookOwner *owner)
{
    const struct passwd *entry = getpwnam(name);

    if (entry) {
        *owner = (HookOwner){entry->pw_uid, entry->pw_gid};
    }
    return entry != NULL;
}

/* libvirt gives its folder to the user of QEMU; but a tmpfs that was mounted
 * there since then belongs to root. */
static void find_usual(const struct stat *base, HookOwner *owner)
{
    *owner = (HookOwner){base->st_uid, base->st_gid};
    if (base->st_uid == 0 && !look_up("libvirt-qemu", owner)) {
        look_up("qemu", owner);
    }
}

gboolean hook_owner_find(const HookOptions *options, const HookDomain *domain,
                         const struct stat *base, HookOwner *owner,
                         GError **error)
{
    if (domain->owner && *domain->owner) {
        return parse_label(domain->owner, owner, error);
    }
    if (options->owner) {
        return look_up(options->owner, owner) ||
               hook_refuse(error, HOSTMEM_ERROR_NOT_FOUND,
                           "there is no user '%s'", options->owner);
    }
    find_usual(base, owner);
    return TRUE;
}
