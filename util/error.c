/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>
#include "util/error.h"

/* Characters of a foreign text that a message repeats. */
#define QUOTE_MAX 80

/* Not G_DEFINE_QUARK: clang-format puts blanks into the name it stringizes. */
GQuark hostmem_error_quark(void)
{
    return g_quark_from_static_string("hostmem-error-quark");
}

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
    case ETIMEDOUT:
        return HOSTMEM_ERROR_TIMED_OUT;
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

char *hm_error_quote(const char *text)
{
    /* No character is longer than 4 bytes: what lies behind is not looked at */
    gsize length = strnlen(text, 4 * (QUOTE_MAX + 1));
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)length);
    GString *quoted = g_string_new("'");
    const char *p = valid;

    for (guint i = 0; *p && i < QUOTE_MAX; i++) {
        gunichar c = g_utf8_get_char(p);

        g_string_append_unichar(quoted, g_unichar_iscntrl(c) ? '?' : c);
        p = g_utf8_next_char(p);
    }
    g_string_append(quoted, *p ? "'..." : "'");
    return g_string_free(quoted, FALSE);
}
