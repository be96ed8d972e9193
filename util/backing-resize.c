/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A file ends where the memory ends, if it can: who has it open sees how much
 * there is, and a touch behind that is a SIGBUS rather than memory that nobody
 * has granted.
 *
 * A seal against resizing is kept: it saves us from a SIGBUS by whoever else
 * has the memory.  So a file that is sealed has the length that the memory may
 * come to, and holes where there is none.
 *
 * A process that was killed while it made a file longer leaves it so.  Of a
 * file that we have made, and that nobody else has, the rest is nobody's: it
 * goes, for what a memory grows by is zeroes.  What others have may be in use.
 */
#include <errno.h>
#include "util/backing-private.h"
#include "util/error.h"
#include "util/os.h"

/* Whether it is ours to change, and can be. */
static gboolean is_changeable(const HmBacking *self, const struct stat *st)
{
    return S_ISREG(st->st_mode) && !self->readonly;
}

static gboolean stat_failed(int err, const char *what, GError **error)
{
    return hm_set_error_errno(error, err, "cannot ask for the length of %s",
                              what);
}

static gboolean is_too_short(const HmBacking *self, guint64 need, guint64 have,
                             const char *what, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is 0x%" G_GINT64_MODIFIER
                        "x bytes long%s, 0x%" G_GINT64_MODIFIER "x are needed",
                        what, have, self->sealed ? " and sealed" : "", need);
}

static gboolean make_longer(HmBacking *self, guint64 need, const char *what,
                            guint64 *file_length, GError **error)
{
    struct stat st;
    int ret = hm_os_stat(self->fd, &st);
    guint64 have;

    if (ret < 0) {
        return stat_failed(-ret, what, error);
    }
    have = hm_backing_file_length(&st);
    if (have >= need) {
        return TRUE;
    }
    if (self->sealed || !is_changeable(self, &st)) {
        return is_too_short(self, need, have, what, error);
    }
    if (!hm_backing_resize(self->fd, need, what, error)) {
        return FALSE;
    }
    *file_length = have;
    return TRUE;
}

gboolean hm_backing_grow(HmBacking *self, guint64 length, const char *what,
                         guint64 *file_length, GError **error)
{
    guint64 end;

    g_return_val_if_fail(!self->parts && length > self->length, FALSE);

    *file_length = 0;
    if (!g_uint64_checked_add(&end, self->offset, length) || end > G_MAXINT64) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "0x%" G_GINT64_MODIFIER
                            "x bytes at offset 0x%" G_GINT64_MODIFIER
                            "x of %s are more than 8 EiB",
                            length, self->offset, what);
    }
    if (!self->sealed) {
        hm_backing_trim(self);
    }
    if (self->fd >= 0 && !make_longer(self, end, what, file_length, error)) {
        return FALSE;
    }
    self->length = length;
    return TRUE;
}

/* A rest that nobody can have made but we. */
static gboolean is_own_rest(const HmBacking *self, const struct stat *st)
{
    return self->shared && !self->parts && !self->path && !self->uncounted &&
           is_changeable(self, st) &&
           (guint64)st->st_size > self->offset + self->length;
}

void hm_backing_trim(HmBacking *self)
{
    const guint64 end = self->offset + self->length;
    struct stat st;

    if (self->fd < 0 || hm_os_stat(self->fd, &st) < 0 ||
        !is_own_rest(self, &st) || hm_os_only_user(self->fd) != 1) {
        return;
    }
    if (self->sealed) {
        hm_os_punch(self->fd, end, (guint64)st.st_size - end);
    } else {
        hm_os_truncate(self->fd, end);
    }
}

void hm_backing_undo_grow(HmBacking *self, guint64 length, guint64 file_length)
{
    guint64 more = self->length - length;

    self->length = length;
    if (file_length) {
        hm_os_truncate(self->fd, file_length);
    } else if (self->sealed && self->shared) {
        hm_os_punch(self->fd, self->offset + length, more);
    }
}

static int give_back(const HmBacking *self, const struct stat *st,
                     guint64 length)
{
    const guint64 end = self->offset + self->length;

    if (!self->sealed && (guint64)st->st_size == end) {
        return hm_os_truncate(self->fd, self->offset + length);
    }
    return hm_os_punch(self->fd, self->offset + length, self->length - length);
}

gboolean hm_backing_shrink(HmBacking *self, guint64 length, const char *what,
                           GError **error)
{
    struct stat st;
    int ret;

    g_return_val_if_fail(!self->parts && length < self->length, FALSE);

    if (self->shared) {
        ret = hm_os_stat(self->fd, &st);
        if (ret < 0) {
            return stat_failed(-ret, what, error);
        }
        ret = is_changeable(self, &st) ? give_back(self, &st, length) : 0;
        if (ret == -EOPNOTSUPP) {
            return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                                "%s is longer than its memory, and its "
                                "filesystem makes no holes",
                                what);
        }
        if (ret < 0) {
            return hm_set_error_errno(error, -ret,
                                      "cannot give back the end of %s", what);
        }
    }
    self->length = length;
    return TRUE;
}
