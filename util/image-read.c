/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A file is looked at twice: header and table when it is opened, before
 * anything is made for it, and each block when it is read, in case somebody
 * changes it meanwhile.  What the header claims costs nothing before it is
 * known to agree with the memory that is wanted.
 *
 * What is stored is read to its place by the kernel, for which a page that is
 * not to be had is an error and no signal; the checksum is made of what is
 * there then.
 */
#include <errno.h>
#include <string.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/image.h"
#include "util/parallel.h"
#include "util/sigbus.h"
#include "util/size.h"

#define GRANULES (HM_IMAGE_BLOCK / HM_IMAGE_GRANULE)
#define FULL     ((1u << GRANULES) - 1)
/* Blocks that a thread takes at a time: 4 MiB of memory. */
#define CHUNK 64

struct HmImage {
    char *path;
    int fd;
    HmImageInfo info;
    HmImageEntry *table;
};

void hm_image_free(HmImage *self)
{
    if (self->fd >= 0) {
        hm_os_close(self->fd);
    }
    g_free(self->table);
    g_free(self->path);
    g_free(self);
}

/* Opening */

static gboolean open_file(HmImage *self, guint64 *file_size, GError **error)
{
    struct stat st;
    int ret;

    /* A FIFO must not keep us waiting. */
    self->fd = hm_os_open(self->path, O_RDONLY | O_NONBLOCK, 0);
    if (self->fd < 0) {
        return hm_set_error_errno(error, -self->fd, "it cannot be opened");
    }
    ret = hm_os_stat(self->fd, &st);
    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "it cannot be looked at");
    }
    if (!S_ISREG(st.st_mode)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID, "it is no file");
    }
    *file_size = (guint64)st.st_size;
    return TRUE;
}

static gboolean no_page(guint64 length, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_NO_MEMORY,
                        "there is no page to be had for 0x%" G_GINT64_MODIFIER
                        "x bytes of it",
                        length);
}

static gboolean read_all(const HmImage *self, void *data, gsize length,
                         guint64 offset, GError **error)
{
    gssize got = hm_os_read_at(self->fd, data, length, offset);

    if (got == (gssize)length) {
        return TRUE;
    }
    if (got == -EFAULT) {
        return no_page(length, error);
    }
    return got < 0 ? hm_set_error_errno(error, (int)-got, "it cannot be read")
                   : hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                                  "it was cut short: it ends before byte "
                                  "%" G_GUINT64_FORMAT,
                                  offset + length);
}

static gboolean read_header(HmImage *self, guint64 file_size, GError **error)
{
    guint8 header[HM_IMAGE_HEADER_SIZE];

    if (file_size < sizeof(header)) {
        return hm_set_error(
            error, HOSTMEM_ERROR_INVALID,
            "it is no image of memory: it has %" G_GUINT64_FORMAT " bytes",
            file_size);
    }
    return read_all(self, header, sizeof(header), 0, error) &&
           hm_image_parse_header(header, file_size, &self->info, error);
}

static gboolean check_size(const HmImage *self, guint64 size, GError **error)
{
    if (size == self->info.size) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "it is of %" G_GUINT64_FORMAT
                        " bytes of memory, and there are %" G_GUINT64_FORMAT,
                        self->info.size, size);
}

/* Bits of granules that a block has: the last one may be shorter. */
static guint32 granules_of(const HmImage *self, guint64 block)
{
    const guint64 left = self->info.length - block * HM_IMAGE_BLOCK;

    return left >= HM_IMAGE_BLOCK ? FULL
                                  : (1u << (left / HM_IMAGE_GRANULE)) - 1;
}

static gboolean check_table(HmImage *self, GError **error)
{
    guint64 stored = 0;

    for (guint64 i = 0; i < self->info.n_blocks; i++) {
        HmImageEntry *entry = &self->table[i];

        entry->hash = GUINT64_FROM_LE(entry->hash);
        entry->stored = GUINT32_FROM_LE(entry->stored);
        if (entry->stored & ~granules_of(self, i)) {
            return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                                "its table stores what is not there");
        }
        stored += (guint64)__builtin_popcount(entry->stored);
    }
    return stored * HM_IMAGE_GRANULE == self->info.stored ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "its table does not agree with its header");
}

static gboolean read_table(HmImage *self, GError **error)
{
    const gsize length = self->info.n_blocks * HM_IMAGE_ENTRY_SIZE;

    self->table = g_try_malloc(length);
    if (!self->table) {
        return hm_set_error(
            error, HOSTMEM_ERROR_NO_MEMORY,
            "no memory for its table, %" G_GSIZE_FORMAT " bytes", length);
    }
    if (!read_all(self, self->table, length, self->info.table_offset, error)) {
        return FALSE;
    }
    if (hm_image_hash(self->table, length) != self->info.table_hash) {
        return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                            "its table was altered: the checksum is wrong");
    }
    return check_table(self, error);
}

static void name_image(const HmImage *self, GError **error)
{
    g_autofree char *name = hm_error_quote(self->path);

    g_prefix_error(error, "image %s: ", name);
}

HmImage *hm_image_open(const char *path, guint64 size, GError **error)
{
    g_autoptr(HmImage) self = g_new0(HmImage, 1);
    guint64 file_size = 0;

    self->path = g_strdup(path);
    self->fd = -1;
    if (open_file(self, &file_size, error) &&
        read_header(self, file_size, error) && check_size(self, size, error) &&
        read_table(self, error)) {
        return g_steal_pointer(&self);
    }
    name_image(self, error);
    return NULL;
}

gboolean hm_image_check_page_size(const HmImage *self, guint64 page_size,
                                  GError **error)
{
    g_autofree char *there = NULL;
    g_autofree char *wanted = NULL;

    if (page_size == self->info.page_size) {
        return TRUE;
    }
    there = hm_size_format(self->info.page_size);
    wanted = hm_size_format(page_size);
    hm_set_error(error, HOSTMEM_ERROR_INVALID,
                 "it is of memory with pages of %s, and these are of %s", there,
                 wanted);
    name_image(self, error);
    return FALSE;
}

guint64 hm_image_get_stored(const HmImage *self)
{
    return self->info.stored;
}

/* Loading */

typedef struct {
    HmImage *image;
    guint8 *addr;
    GCancellable *cancellable;
    HmProgress *progress; /* (nullable) */
    guint64 next;         /* atomic: block */
    gint failed;          /* atomic */
    GMutex lock;          /* guards what follows */
    GError *error;
} Load;

static gboolean refuse_block(guint64 block, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "it was altered: the checksum is wrong of what was at "
                        "0x%" G_GINT64_MODIFIER "x, 0x%x bytes",
                        block * HM_IMAGE_BLOCK, HM_IMAGE_BLOCK);
}

/* To their places: a page that is not to be had is an error there. */
static gboolean read_granules(const HmImage *self, guint64 block, guint8 *to,
                              GError **error)
{
    const guint64 offset = self->info.data_offset + block * HM_IMAGE_BLOCK;
    const guint32 stored = self->table[block].stored;

    for (guint i = 0; i < GRANULES;) {
        guint n = 0;

        while (i + n < GRANULES && stored >> (i + n) & 1) {
            n++;
        }
        if (n &&
            !read_all(self, to + i * HM_IMAGE_GRANULE, n * HM_IMAGE_GRANULE,
                      offset + i * HM_IMAGE_GRANULE, error)) {
            return FALSE;
        }
        i += MAX(n, 1);
    }
    return TRUE;
}

static guint64 hash_granules(guint32 stored, const guint8 *block,
                             guint8 *scratch)
{
    gsize bytes = 0;

    if (stored == FULL) {
        return hm_image_hash(block, HM_IMAGE_BLOCK);
    }
    for (guint i = 0; i < GRANULES; i++) {
        if (stored >> i & 1) {
            memcpy(scratch + bytes, block + i * HM_IMAGE_GRANULE,
                   HM_IMAGE_GRANULE);
            bytes += HM_IMAGE_GRANULE;
        }
    }
    return hm_image_hash(scratch, bytes);
}

static gboolean load_block(const HmImage *self, guint64 block, guint8 *to,
                           guint8 *scratch, GError **error)
{
    const HmImageEntry *entry = &self->table[block];

    if (!entry->stored) {
        return TRUE;
    }
    return read_granules(self, block, to, error) &&
           (hash_granules(entry->stored, to, scratch) == entry->hash ||
            refuse_block(block, error));
}

/* Some blocks, by one thread. */
typedef struct {
    const Load *load;
    guint64 first; /* block */
    guint64 end;
    guint8 *scratch;
    GError *error;
} Chunk;

/* Touches the memory; see hm_sigbus_run(). */
static void load_blocks(gpointer data)
{
    Chunk *self = data;
    guint64 i = self->first;

    while (i < self->end && load_block(self->load->image, i,
                                       self->load->addr + i * HM_IMAGE_BLOCK,
                                       self->scratch, &self->error)) {
        i++;
    }
}

/* What was read may be gone when its checksum is made: others may truncate a
 * file that the memory is. */
static gboolean load_chunk(Load *load, guint64 first, guint8 *scratch,
                           GError **error)
{
    const HmImageInfo *info = &load->image->info;
    const guint64 start = first * HM_IMAGE_BLOCK;
    const guint64 end = MIN(first + CHUNK, info->n_blocks);
    const guint64 length = MIN(end * HM_IMAGE_BLOCK, info->length) - start;
    Chunk chunk = {load, first, end, scratch, NULL};
    void *fault;
    int ret =
        hm_sigbus_run(load_blocks, &chunk, load->addr + start, length, &fault);

    if (ret < 0) {
        return no_page(length, error);
    }
    if (chunk.error) {
        g_propagate_error(error, chunk.error);
        return FALSE;
    }
    if (load->progress) {
        __atomic_fetch_add(&load->progress->done, (gint64)length,
                           __ATOMIC_RELAXED);
    }
    return TRUE;
}

/* Takes @error. */
static void stop(Load *load, GError *error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&load->lock);

    g_atomic_int_set(&load->failed, TRUE);
    if (load->error) {
        g_error_free(error);
    } else {
        load->error = error;
    }
}

static void load_main(gpointer data)
{
    Load *load = data;
    g_autofree guint8 *scratch = g_malloc(HM_IMAGE_BLOCK);
    GError *error = NULL;

    while (!g_atomic_int_get(&load->failed)) {
        guint64 first =
            __atomic_fetch_add(&load->next, CHUNK, __ATOMIC_RELAXED);

        if (first >= load->image->info.n_blocks) {
            return;
        }
        if (g_cancellable_set_error_if_cancelled(load->cancellable, &error) ||
            !load_chunk(load, first, scratch, &error)) {
            stop(load, error);
        }
    }
}

gboolean hm_image_load(HmImage *self, guint8 *addr, guint threads,
                       GCancellable *cancellable, HmProgress *progress,
                       GError **error)
{
    const guint64 chunks = (self->info.n_blocks - 1) / CHUNK + 1;
    Load load = {
        .image = self,
        .addr = addr,
        .cancellable = cancellable,
        .progress = progress,
    };

    g_mutex_init(&load.lock);
    hm_parallel_run((guint)MIN(threads, chunks), "hostmem-load", load_main,
                    &load);
    g_mutex_clear(&load.lock);
    if (!load.error) {
        return TRUE;
    }
    g_propagate_error(error, load.error);
    if (!g_cancellable_is_cancelled(cancellable)) {
        name_image(self, error);
    }
    return FALSE;
}
