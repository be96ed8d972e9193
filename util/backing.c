/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/memfd.h>
#include <unistd.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/backing-private.h"
#include "util/error.h"
#include "util/size.h"

/* Longest name memfd_create(2) takes, without its "memfd:". */
#define MEMFD_NAME_MAX 249

#define RESIZE_SEALS   (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

const char *hm_mem_kind_name(HmMemKind kind)
{
    static const char *const names[] = {
        [HM_MEM_ANON] = "anonymous memory", [HM_MEM_SHMEM] = "shared memory",
        [HM_MEM_HUGETLB] = "huge pages",    [HM_MEM_FILE] = "a file",
        [HM_MEM_DAX] = "persistent memory",
    };

    g_return_val_if_fail(kind < G_N_ELEMENTS(names), NULL);
    return names[kind];
}

int hm_backing_parts_find(const HmBackingPart *parts, guint n, guint64 offset,
                          guint64 *length, guint64 *fd_offset)
{
    for (guint i = 0; i < n; i++) {
        guint64 inside = offset - parts[i].offset;

        if (offset >= parts[i].offset && inside < parts[i].length) {
            *length = MIN(*length, parts[i].length - inside);
            *fd_offset = parts[i].fd_offset + inside;
            return parts[i].fd;
        }
    }
    return -1;
}

void hm_backing_clear(HmBacking *self)
{
    if (self->fd >= 0 && !self->borrowed) {
        hm_os_close(self->fd);
    }
    g_free(self->parts);
    g_free(self->path);
    *self = (HmBacking)HM_BACKING_INIT;
}

static gboolean is_same_file(int a, int b)
{
    struct stat x, y;

    return hm_os_stat(a, &x) == 0 && hm_os_stat(b, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void remove_created(const HmBacking *self)
{
    hm_autofd int there = hm_os_open(self->path, O_PATH | O_NOFOLLOW, 0);

    /* Somebody may have put another file in its place. */
    if (there >= 0 && is_same_file(there, self->fd)) {
        hm_os_unlink(self->path);
    }
}

void hm_backing_undo(HmBacking *self)
{
    if (self->created && self->path) {
        remove_created(self);
    } else if (self->resized) {
        hm_os_truncate(self->fd, 0);
    }
    hm_backing_clear(self);
}

/* making one */

gboolean hm_backing_round_size(guint64 size, gsize page_size, guint64 *length,
                               GError **error)
{
    if (!size || !hm_align_up(size, page_size, length) ||
        *length > G_MAXINT64) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "memory size 0x%" G_GINT64_MODIFIER
                            "x is out of range: 1 byte to 8 EiB",
                            size);
    }
    return TRUE;
}

gboolean hm_backing_fd_error(GError **error, int err, const char *what)
{
    guint64 limit;

    if (err != EMFILE || hm_os_get_limit(RLIMIT_NOFILE, &limit) < 0) {
        return hm_set_error_errno(error, err, "%s", what);
    }
    return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                        "%s: %s (RLIMIT_NOFILE is %" G_GUINT64_FORMAT ")", what,
                        g_strerror(err), limit);
}

gboolean hm_backing_resize(int fd, guint64 length, const char *what,
                           GError **error)
{
    guint64 limit = G_MAXUINT64;
    int ret;

    /* Asked first: running into it would raise SIGXFSZ. */
    hm_os_get_limit(RLIMIT_FSIZE, &limit);
    if (length > limit) {
        return hm_set_error(error, HOSTMEM_ERROR_LIMIT,
                            "failed to resize %s to %" G_GUINT64_FORMAT
                            ": %s (RLIMIT_FSIZE is %" G_GUINT64_FORMAT ")",
                            what, length, g_strerror(EFBIG), limit);
    }
    ret = hm_os_truncate(fd, length);
    if (ret < 0) {
        return hm_set_error_errno(error, -ret,
                                  "failed to resize %s to %" G_GUINT64_FORMAT,
                                  what, length);
    }
    return TRUE;
}

gboolean hm_backing_init_anon(HmBacking *self, guint64 size, GError **error)
{
    HmBacking made = HM_BACKING_INIT;

    made.kind = HM_MEM_ANON;
    made.page_size = hm_os_page_size();
    if (!hm_backing_round_size(size, made.page_size, &made.length, error)) {
        return FALSE;
    }
    *self = made;
    return TRUE;
}

static gboolean check_multiple(guint64 size, gsize page_size, GError **error)
{
    g_autofree char *page = hm_size_format(page_size);

    if (!size || !hm_is_aligned(size, page_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "memory size 0x%" G_GINT64_MODIFIER
                            "x must be multiple of %s",
                            size, page);
    }
    return TRUE;
}

/* A new, empty file of ours that will be @size bytes long; takes the fd. */
static HmBacking own_file(int fd, HmMemKind kind, guint64 size, gsize page_size,
                          gboolean shared)
{
    return (HmBacking){
        .kind = kind,
        .fd = fd,
        .length = size,
        .page_size = page_size,
        .shared = shared,
    };
}

static unsigned memfd_flags(gsize huge_page_size, gboolean seal)
{
    unsigned flags = MFD_CLOEXEC | (seal ? MFD_ALLOW_SEALING : 0);

    if (huge_page_size) {
        flags |= MFD_HUGETLB | (unsigned)g_bit_nth_lsf(huge_page_size, -1)
                                   << MFD_HUGE_SHIFT;
    }
    return flags;
}

static int create_memfd(const char *name, unsigned flags, gsize huge_page_size,
                        GError **error)
{
    g_autofree char *short_name = g_strndup(name, MEMFD_NAME_MAX);
    g_autofree char *size = hm_size_format(huge_page_size);
    g_autofree char *what =
        g_strdup_printf("failed to create memfd with flags 0x%x", flags);
    int fd = hm_os_memfd(short_name, flags);

    if (fd == -ENODEV || (fd == -EINVAL && huge_page_size)) {
        hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                     "%s: %s (this host has no huge pages of %s)", what,
                     g_strerror(-fd), size);
    } else if (fd < 0) {
        hm_backing_fd_error(error, -fd, what);
    }
    return fd;
}

static gboolean add_seals(int fd, GError **error)
{
    int ret = hm_os_add_seals(fd, RESIZE_SEALS);

    if (ret == -EINVAL) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "failed to add seals 0x%x: this kernel cannot "
                            "seal such a memfd",
                            RESIZE_SEALS);
    }
    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "failed to add seals 0x%x",
                                  RESIZE_SEALS);
    }
    return TRUE;
}

/*
 * A file that was opened by its path counts who has it open: the one that
 * memfd_create(2) opens does not.  Without /proc it stays, and nobody can tell.
 */
static void open_again(HmBacking *self)
{
    int fd = hm_os_reopen(self->fd, O_RDWR);

    self->uncounted = fd < 0;
    if (fd >= 0) {
        hm_os_close(self->fd);
        self->fd = fd;
    }
}

gboolean hm_backing_init_memfd(HmBacking *self, const char *name, guint64 size,
                               gsize huge_page_size, gboolean seal,
                               gboolean shared, GError **error)
{
    gsize page_size = huge_page_size ? huge_page_size : hm_os_page_size();
    hm_autofd int fd = -1;

    g_return_val_if_fail(hm_is_pow2(page_size), FALSE);
    /* With huge pages the kernel's own refusal is what clients know. */
    if ((!huge_page_size || !size) && !check_multiple(size, page_size, error)) {
        return FALSE;
    }
    fd = create_memfd(name, memfd_flags(huge_page_size, seal), huge_page_size,
                      error);
    if (fd < 0 || !hm_backing_resize(fd, size, "memfd", error) ||
        (seal && !add_seals(fd, error))) {
        return FALSE;
    }
    *self = own_file(hm_steal_fd(&fd),
                     huge_page_size ? HM_MEM_HUGETLB : HM_MEM_SHMEM, size,
                     page_size, shared);
    self->sealed = seal;
    if (shared) {
        open_again(self);
    }
    return TRUE;
}

gboolean hm_backing_init_shm(HmBacking *self, guint64 size, GError **error)
{
    gsize page_size = hm_os_page_size();
    hm_autofd int fd = -1;

    if (!check_multiple(size, page_size, error)) {
        return FALSE;
    }
    fd = hm_os_shm();
    if (fd < 0) {
        return hm_backing_fd_error(error, -fd,
                                   "failed to create POSIX shared memory");
    }
    if (!hm_backing_resize(fd, size, "POSIX shared memory", error)) {
        return FALSE;
    }
    *self = own_file(hm_steal_fd(&fd), HM_MEM_SHMEM, size, page_size, TRUE);
    return TRUE;
}

gboolean hm_backing_init_own_tmpfs(HmBacking *self, guint64 size,
                                   gboolean shared, GError **error)
{
    static const HmTmpfsOptions options = {.huge = "always", .mode = 0700};
    gsize page_size = hm_os_page_size();
    hm_autofd int root = -1;
    hm_autofd int fd = -1;

    if (!check_multiple(size, page_size, error)) {
        return FALSE;
    }
    root = hm_os_tmpfs(&options);
    if (root < 0) {
        return hm_backing_fd_error(error, -root,
                                   "failed to mount a private tmpfs");
    }
    fd = hm_os_tmpfile(root, 0600);
    if (fd < 0) {
        return hm_backing_fd_error(error, -fd,
                                   "failed to create a file on a private "
                                   "tmpfs");
    }
    if (!hm_backing_resize(fd, size, "a file on a private tmpfs", error)) {
        return FALSE;
    }
    *self = own_file(hm_steal_fd(&fd), HM_MEM_SHMEM, size, page_size, shared);
    self->own_tmpfs = TRUE;
    return TRUE;
}

/* what is there */

gboolean hm_backing_is_certain(const HmBacking *self)
{
    int seals;

    if (self->kind == HM_MEM_ANON) {
        return TRUE;
    }
    if (self->kind != HM_MEM_SHMEM || self->fd < 0) {
        return FALSE;
    }
    seals = hm_os_get_seals(self->fd);
    return seals >= 0 && seals & F_SEAL_SHRINK;
}

static void add_hole(HmRangeList *holes, guint64 start, guint64 end)
{
    HmRange range;

    if (start < end && hm_range_init(&range, start, end - start)) {
        hm_range_list_add(holes, &range);
    }
}

/* Pages without an entry; private memory has nothing anywhere else. */
static void find_absent_pages(const guint8 *addr, const HmRange *range,
                              HmRangeList *holes)
{
    g_autoptr(GArray) present = hm_range_list_new();
    guint64 at = range->offset;

    if (hm_os_populated_ranges((void *)(addr + range->offset), range->length,
                               present) < 0) {
        return;
    }
    for (guint i = 0; i < present->len; i++) {
        const HmRange *run = hm_range_list_get(present, i);

        add_hole(holes, at, range->offset + run->offset);
        at = range->offset + hm_range_end(run);
    }
    add_hole(holes, at, hm_range_end(range));
}

/* Part of a file, and where it is in the memory. */
typedef struct {
    int fd;
    guint64 start; /* in the file */
    guint64 end;
    guint64 base; /* of the file, in the memory; modulo 2^64 */
} Stretch;

/* Runs of the file that the filesystem knows to be without data. */
static void find_file_holes(const Stretch *file, HmRangeList *holes)
{
    guint64 at = file->start;

    while (at < file->end) {
        gint64 data = hm_os_seek(file->fd, at, SEEK_DATA);
        gint64 hole;

        if (data < (gint64)at && data != -ENXIO) {
            return;
        }
        /* No more data, or it lies behind the range. */
        if (data < 0 || (guint64)data >= file->end) {
            add_hole(holes, file->base + at, file->base + file->end);
            return;
        }
        add_hole(holes, file->base + at, file->base + (guint64)data);
        hole = hm_os_seek(file->fd, (guint64)data, SEEK_HOLE);
        if (hole <= data) {
            return;
        }
        at = (guint64)hole;
    }
}

static void find_pool_holes(const Stretch *file, HmRangeList *holes)
{
    struct stat st;

    if (hm_os_stat(file->fd, &st) == 0 && st.st_blocks == 0) {
        add_hole(holes, file->base + file->start, file->base + file->end);
    }
}

/* What lies in one file from the start of the range. */
static Stretch first_stretch(const HmBacking *self, const HmRange *range)
{
    guint64 length = range->length;
    guint64 start = self->offset + range->offset;
    int fd = self->fd;

    if (self->parts) {
        fd = hm_backing_parts_find(self->parts, self->n_parts, start, &length,
                                   &start);
    }
    return (Stretch){fd, start, start + length, range->offset - start};
}

static void find_shared_holes(const HmBacking *self, const HmRange *range,
                              HmRangeList *holes)
{
    HmRange left = *range;

    while (left.length) {
        const Stretch file = first_stretch(self, &left);
        const guint64 length = file.end - file.start;

        if (self->kind == HM_MEM_HUGETLB) {
            find_pool_holes(&file, holes);
        } else {
            find_file_holes(&file, holes);
        }
        left.offset += length;
        left.length -= length;
    }
}

HmRangeList *hm_backing_holes(const HmBacking *self, const void *addr,
                              const HmRange *range)
{
    HmRangeList *holes = hm_range_list_new();

    if (!self->shared) {
        find_absent_pages(addr, range, holes);
        return holes;
    }
    switch (self->kind) {
    case HM_MEM_SHMEM:
    case HM_MEM_FILE:
    case HM_MEM_HUGETLB:
        find_shared_holes(self, range, holes);
        break;
    case HM_MEM_ANON:
    case HM_MEM_DAX:
        break;
    }
    return holes;
}

static guint64 file_backed_size(int fd, guint64 length)
{
    struct stat st;

    if (hm_os_stat(fd, &st) < 0) {
        return 0;
    }
    if (S_ISCHR(st.st_mode)) {
        return length;
    }
    return MIN((guint64)st.st_blocks * 512, length);
}

guint64 hm_backing_backed_size(const HmBacking *self, const void *addr)
{
    guint64 sum = 0;

    if (!self->shared) {
        gint64 present = addr ? hm_os_populated((void *)addr, self->length) : 0;

        return present < 0 ? 0 : (guint64)present;
    }
    if (!self->parts) {
        return file_backed_size(self->fd, self->length);
    }
    for (guint i = 0; i < self->n_parts; i++) {
        sum += file_backed_size(self->parts[i].fd, self->parts[i].length);
    }
    return sum;
}
