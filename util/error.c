/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "util/error.h"

G_DEFINE_QUARK(hostmem - error - quark, hostmem_error)

HostmemError hm_error_from_errno(int err)
{
    switch (err) {
    case EINVAL:
    case ERANGE:
    case EOVERFLOW:
    case EISDIR:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return HOSTMEM_ERROR_INVALID;
    case EEXIST:
        return HOSTMEM_ERROR_EXISTS;
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return HOSTMEM_ERROR_NOT_FOUND;
    case EBUSY:
    case ETXTBSY:
        return HOSTMEM_ERROR_BUSY;
    case ENOMEM:
        return HOSTMEM_ERROR_NO_MEMORY;
    case ENOSPC:
        return HOSTMEM_ERROR_NO_SPACE;
    case EMFILE:
    case ENFILE:
    case EDQUOT:
    case EFBIG:
    case EAGAIN:
        return HOSTMEM_ERROR_LIMIT;
    case EACCES:
    case EPERM:
    case EROFS:
        return HOSTMEM_ERROR_PERMISSION;
    case ENOSYS:
    case EOPNOTSUPP:
        return HOSTMEM_ERROR_UNSUPPORTED;
    case EHWPOISON:
        return HOSTMEM_ERROR_CHANGED;
    default:
        return HOSTMEM_ERROR_SYSTEM;
    }
}

gboolean hm_set_error_errno(GError **error, int err, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, HOSTMEM_ERROR, (gint)hm_error_from_errno(err), "%s: %s",
                text, g_strerror(err));
    return FALSE;
}

gboolean hm_set_error(GError **error, HostmemError code, const char *format,
                      ...)
{
    va_list args;

    va_start(args, format);
    if (error) {
        *error = g_error_new_valist(HOSTMEM_ERROR, (gint)code, format, args);
    }
    va_end(args);
    return FALSE;
}
