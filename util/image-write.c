/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The file has no name while it is written (O_TMPFILE), so that nobody finds
 * half an image, and nothing stays of one, however the process ends.  Where a
 * filesystem has no such files it has a name of its own, which is removed.
 * linkat(2) gives it the right one: all at once, and never in the place of
 * something else.
 *
 * Blocks are written by many threads, in any order, each once: none needs a
 * lock for its entry in the table, which is kept in memory until the end.
 */
#include <errno.h>
#include <string.h>
#include "util/autofd.h"
#include "util/error.h"
#include "util/image.h"
#include "util/sigbus.h"
#include "util/zero.h"

G_STATIC_ASSERT(sizeof(HmImageEntry) == HM_IMAGE_ENTRY_SIZE);

struct HmImageWriter {
    char *path;
    char *name; /* its last part */
    int dir;
    int fd;
    char *temporary; /* (nullable): the name it has meanwhile */
    HmImageInfo info;
    HmImageEntry *table;
};

/* Copies */

HmImageCopy *hm_image_copy_new(gsize length)
{
    HmImageCopy *self = g_new0(HmImageCopy, 1);

    self->data = g_malloc(length);
    return self;
}

void hm_image_copy_free(HmImageCopy *self)
{
    g_free(self->data);
    g_free(self);
}

typedef struct {
    HmImageCopy *copy;
    const guint8 *memory;
} Take;

/* Touches the memory; see hm_sigbus_run(). */
static void take(gpointer data)
{
    const Take *job = data;
    HmImageCopy *self = job->copy;
    guint8 *to = self->data;

    for (guint64 at = 0; at < self->length; at += HM_IMAGE_GRANULE) {
        if (!hm_is_zero(job->memory + at, HM_IMAGE_GRANULE)) {
            memcpy(to, job->memory + at, HM_IMAGE_GRANULE);
            to += HM_IMAGE_GRANULE;
            self->stored[at / HM_IMAGE_BLOCK] |=
                1u << (at % HM_IMAGE_BLOCK / HM_IMAGE_GRANULE);
        }
    }
}

int hm_image_copy_take(HmImageCopy *self, const guint8 *memory, guint64 offset,
                       guint64 length)
{
    Take job = {self, memory};
    void *fault;

    self->offset = offset;
    self->length = length;
    memset(self->stored, 0, sizeof(self->stored));
    return hm_sigbus_run(take, &job, (void *)memory, length, &fault);
}

static gboolean has_granule(const HmImageCopy *copy, guint64 at)
{
    return copy->stored[at / HM_IMAGE_BLOCK] >>
               (at % HM_IMAGE_BLOCK / HM_IMAGE_GRANULE) &
           1;
}

/* Opening */

static gboolean fail(const HmImageWriter *self, int err, const char *what,
                     GError **error)
{
    return hm_set_error_errno(error, err, "cannot %s '%s'", what, self->path);
}

static gboolean check_name(const HmImageWriter *self, GError **error)
{
    hm_autofd int fd =
        hm_os_open_at(self->dir, self->name, O_PATH | O_NOFOLLOW, 0);

    if (fd == -ENOENT) {
        return TRUE;
    }
    return fail(self, fd < 0 ? -fd : EEXIST, "create", error);
}

static int open_with_name(HmImageWriter *self)
{
    self->temporary =
        g_strdup_printf(".%.200s.%08x", self->name, g_random_int());
    return hm_os_open_at(self->dir, self->temporary,
                         O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

static gboolean open_file(HmImageWriter *self, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(self->path);

    self->dir = hm_os_open(dir, O_RDONLY | O_DIRECTORY, 0);
    if (self->dir < 0) {
        return hm_set_error_errno(error, -self->dir, "cannot open '%s'", dir);
    }
    if (!check_name(self, error)) {
        return FALSE;
    }
    self->fd = hm_os_tmpfile(self->dir, 0600);
    if (self->fd == -EOPNOTSUPP) {
        self->fd = open_with_name(self);
    }
    return self->fd >= 0 || fail(self, -self->fd, "create", error);
}

/* Asked first: running into it would raise SIGXFSZ. */
static gboolean check_limit(const HmImageWriter *self, guint64 length,
                            GError **error)
{
    guint64 limit = G_MAXUINT64;

    hm_os_get_limit(RLIMIT_FSIZE, &limit);
    if (length <= limit) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "cannot create '%s' of %" G_GUINT64_FORMAT
                        " bytes: %s (RLIMIT_FSIZE is %" G_GUINT64_FORMAT ")",
                        self->path, length, g_strerror(EFBIG), limit);
}

static gboolean make_room(HmImageWriter *self, GError **error)
{
    const guint64 table = self->info.n_blocks * HM_IMAGE_ENTRY_SIZE;
    const guint64 length = self->info.table_offset + table;
    int ret;

    if (!check_limit(self, length, error)) {
        return FALSE;
    }
    ret = hm_os_truncate(self->fd, length);
    if (ret < 0) {
        return fail(self, -ret, "create", error);
    }
    self->table = g_try_malloc0(table);
    return self->table || hm_set_error(error, HOSTMEM_ERROR_NO_MEMORY,
                                       "no memory for the table of '%s', "
                                       "%" G_GUINT64_FORMAT " bytes",
                                       self->path, table);
}

HmImageWriter *hm_image_writer_new(const char *path, guint64 size,
                                   guint64 length, guint64 page_size,
                                   GError **error)
{
    g_autoptr(HmImageWriter) self = g_new0(HmImageWriter, 1);

    self->path = g_strdup(path);
    self->name = g_path_get_basename(path);
    self->dir = -1;
    self->fd = -1;
    if (!*path || g_str_has_suffix(path, "/") ||
        !hm_image_layout(&self->info, size, length, page_size)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID, "'%s' is no path of a file",
                     path);
        return NULL;
    }
    if (!open_file(self, error) || !make_room(self, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

void hm_image_writer_free(HmImageWriter *self)
{
    if (self->temporary && self->fd >= 0) {
        hm_os_unlink_at(self->dir, self->temporary);
    }
    if (self->fd >= 0) {
        hm_os_close(self->fd);
    }
    if (self->dir >= 0) {
        hm_os_close(self->dir);
    }
    g_free(self->temporary);
    g_free(self->table);
    g_free(self->path);
    g_free(self->name);
    g_free(self);
}

/* Writing */

static gboolean write_at(HmImageWriter *self, const void *data, gsize length,
                         guint64 offset, GError **error)
{
    int ret = hm_os_write_at(self->fd, data, length, offset);

    return ret == 0 || fail(self, -ret, "write to", error);
}

/* Whatever lies side by side goes in one call. */
static gboolean write_granules(HmImageWriter *self, const HmImageCopy *copy,
                               guint64 *stored, GError **error)
{
    const guint8 *from = copy->data;
    guint64 at = 0;

    while (at < copy->length) {
        guint64 start = at;

        while (at < copy->length && has_granule(copy, at)) {
            at += HM_IMAGE_GRANULE;
        }
        if (at == start) {
            at += HM_IMAGE_GRANULE;
            continue;
        }
        if (!write_at(self, from, at - start,
                      self->info.data_offset + copy->offset + start, error)) {
            return FALSE;
        }
        from += at - start;
    }
    *stored = (guint64)(from - copy->data);
    return TRUE;
}

static void note_blocks(HmImageWriter *self, const HmImageCopy *copy)
{
    HmImageEntry *entry = &self->table[copy->offset / HM_IMAGE_BLOCK];
    const guint8 *from = copy->data;

    for (guint64 at = 0; at < copy->length; at += HM_IMAGE_BLOCK, entry++) {
        const guint16 stored = copy->stored[at / HM_IMAGE_BLOCK];
        const gsize bytes =
            (gsize)__builtin_popcount(stored) * HM_IMAGE_GRANULE;

        if (stored) {
            entry->stored = GUINT32_TO_LE(stored);
            entry->hash = GUINT64_TO_LE(hm_image_hash(from, bytes));
            from += bytes;
        }
    }
}

gboolean hm_image_writer_put(HmImageWriter *self, const HmImageCopy *copy,
                             guint64 *stored, GError **error)
{
    guint64 bytes;

    if (!write_granules(self, copy, &bytes, error)) {
        return FALSE;
    }
    note_blocks(self, copy);
    __atomic_fetch_add(&self->info.stored, bytes, __ATOMIC_RELAXED);
    if (stored) {
        *stored = bytes;
    }
    return TRUE;
}

/* The end */

static gboolean write_rest(HmImageWriter *self, GError **error)
{
    const gsize table = self->info.n_blocks * HM_IMAGE_ENTRY_SIZE;
    guint8 header[HM_IMAGE_HEADER_SIZE];

    self->info.table_hash = hm_image_hash(self->table, table);
    hm_image_format_header(&self->info, header);
    return write_at(self, self->table, table, self->info.table_offset, error) &&
           write_at(self, header, sizeof(header), 0, error);
}

static gboolean sync_to_disk(HmImageWriter *self, int fd, GError **error)
{
    int ret = hm_os_sync(fd);

    /* EINVAL: a filesystem that has nothing to wait for. */
    return ret == 0 || ret == -EINVAL || fail(self, -ret, "write", error);
}

gboolean hm_image_writer_finish(HmImageWriter *self, GError **error)
{
    int ret;

    if (!write_rest(self, error) || !sync_to_disk(self, self->fd, error)) {
        return FALSE;
    }
    ret = hm_os_link(self->fd, self->dir, self->name);
    if (ret < 0) {
        return fail(self, -ret, "create", error);
    }
    if (sync_to_disk(self, self->dir, error)) {
        return TRUE;
    }
    hm_os_unlink_at(self->dir, self->name);
    return FALSE;
}
