/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A path comes from outside and may be anything, and may change while we look.
 * First a descriptor that opens nothing (O_PATH) tells what it is, so that a
 * FIFO blocks nobody and no device is disturbed.  Then the file is opened, and
 * what was opened is looked at again; only that counts.
 */
#include <errno.h>
#include <sys/sysmacros.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/backing-private.h"
#include "util/error.h"
#include "util/pagesize.h"

#define OPEN_TRIES 10
/* A lease is there for microseconds. */
#define LEASE_TRIES    100
#define LEASE_PAUSE_US 1000

/* Longest part of an object's name in that of a temporary file. */
#define TEMP_NAME_MAX 100

static gboolean open_error(GError **error, int err,
                           const HmBackingFileOptions *options)
{
    g_autofree char *what = g_strdup_printf(
        "can't open backing store %s for guest RAM", options->path);

    if ((err == EACCES || err == EPERM || err == EROFS) && !options->shared &&
        !options->readonly) {
        return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                            "%s: %s; a private copy of a read-only file is "
                            "made with readonly=on,rom=off",
                            what, g_strerror(err));
    }
    return hm_backing_fd_error(error, err, what);
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFBLK:
        return "a block device";
    case S_IFCHR:
        return "a character device, but no DAX device";
    default:
        return "no regular file";
    }
}

/* Whether a descriptor, O_PATH or not, leads to memory; directories do. */
static gboolean check_type(int fd, const HmBackingFileOptions *options,
                           struct stat *st, GError **error)
{
    int ret = hm_os_stat(fd, st);

    if (ret < 0) {
        return open_error(error, -ret, options);
    }
    if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ||
        (S_ISCHR(st->st_mode) && hm_os_is_dax(fd) > 0)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "can't open backing store %s for guest RAM: it is %s",
                        options->path, type_name(st->st_mode));
}

/* opening */

static gboolean create(const HmBackingFileOptions *options, HmBacking *made,
                       int *err)
{
    int fd = hm_os_open(options->path, O_RDWR | O_CREAT | O_EXCL, 0644);

    if (fd < 0) {
        *err = -fd;
        return FALSE;
    }
    made->fd = fd;
    made->created = TRUE;
    made->path = g_canonicalize_filename(options->path, NULL);
    return TRUE;
}

/* For filesystems without unnamed files: a name, but not for long. */
static int named_temporary(const HmBackingFileOptions *options)
{
    const char *name = options->name ? options->name : "";
    g_autofree char *part = g_strndup(name, TEMP_NAME_MAX);
    int fd = -EEXIST;

    g_strdelimit(part, "/", '_');
    for (guint i = 0; fd == -EEXIST && i < OPEN_TRIES; i++) {
        g_autofree char *path = g_strdup_printf(
            "%s/hostmem.%s.%08x", options->path, part, g_random_int());

        fd = hm_os_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            hm_os_unlink(path);
        }
    }
    return fd;
}

static gboolean open_in_directory(int dir, const HmBackingFileOptions *options,
                                  HmBacking *made, GError **error)
{
    int fd;

    if (options->readonly) {
        return open_error(error, EISDIR, options);
    }
    fd = hm_os_tmpfile(dir, 0600);
    if (fd == -EOPNOTSUPP) {
        fd = named_temporary(options);
    }
    if (fd < 0) {
        return open_error(error, -fd, options);
    }
    made->fd = fd;
    return TRUE;
}

/*
 * O_NONBLOCK: should a FIFO have taken its place meanwhile.  It also does not
 * wait for a lease, which whoever has the file takes for a moment to see who
 * else has it: hm_os_only_user().
 */
static int open_now(const char *path, int flags)
{
    int fd = hm_os_open(path, flags | O_NONBLOCK, 0);

    for (guint i = 0; fd == -EAGAIN && i < LEASE_TRIES; i++) {
        g_usleep(LEASE_PAUSE_US);
        fd = hm_os_open(path, flags | O_NONBLOCK, 0);
    }
    return fd;
}

static gboolean open_existing(int there, const HmBackingFileOptions *options,
                              HmBacking *made, GError **error)
{
    int flags = options->readonly ? O_RDONLY : O_RDWR;
    struct stat st;

    if (!check_type(there, options, &st, error)) {
        return FALSE;
    }
    if (S_ISDIR(st.st_mode)) {
        return open_in_directory(there, options, made, error);
    }
    made->fd = open_now(options->path, flags);
    if (made->fd < 0) {
        return open_error(error, -made->fd, options);
    }
    return TRUE;
}

/* Open the file, or make it, whoever else may be at it. */
static gboolean open_or_create(const HmBackingFileOptions *options,
                               HmBacking *made, GError **error)
{
    for (guint i = 0; i < OPEN_TRIES; i++) {
        hm_autofd int there = hm_os_open(options->path, O_PATH, 0);
        int err = there < 0 ? -there : 0;

        if (there >= 0) {
            return open_existing(there, options, made, error);
        }
        if (err != ENOENT || options->readonly) {
            return open_error(error, err, options);
        }
        if (create(options, made, &err)) {
            return TRUE;
        }
        if (err != EEXIST) {
            return open_error(error, err, options);
        }
    }
    return hm_set_error(error, HOSTMEM_ERROR_NOT_FOUND,
                        "can't open backing store %s for guest RAM: it is a "
                        "symbolic link that leads nowhere",
                        options->path);
}

/* what was opened */

static guint64 read_device_number(dev_t device, const char *name)
{
    g_autofree char *path = g_strdup_printf("/sys/dev/char/%u:%u/%s",
                                            major(device), minor(device), name);
    g_autofree char *text = NULL;

    if (hm_os_read_text(path, &text) < 0) {
        return 0;
    }
    return g_ascii_strtoull(text, NULL, 0);
}

int hm_backing_find_kind(HmBacking *made, const struct stat *st)
{
    struct statfs fs;
    int dax = hm_os_is_dax(made->fd);
    int ret = hm_os_statfs(made->fd, &fs);

    if (dax < 0 || ret < 0) {
        return dax < 0 ? dax : ret;
    }
    if (dax) {
        made->kind = HM_MEM_DAX;
    } else if (fs.f_type == HUGETLBFS_MAGIC) {
        made->kind = HM_MEM_HUGETLB;
    } else if (fs.f_type == TMPFS_MAGIC) {
        made->kind = HM_MEM_SHMEM;
    } else {
        made->kind = HM_MEM_FILE;
    }
    ret = hm_fd_page_size(made->fd, &made->page_size);
    /* A device is mapped in units of its own alignment only. */
    if (ret == 0 && S_ISCHR(st->st_mode)) {
        guint64 align = read_device_number(st->st_rdev, "align");

        made->page_size = MAX(made->page_size, hm_is_pow2(align) ? align : 0);
    }
    return ret;
}

guint64 hm_backing_file_length(const struct stat *st)
{
    return S_ISCHR(st->st_mode) ? read_device_number(st->st_rdev, "size")
                                : (guint64)st->st_size;
}

static gboolean identify(HmBacking *made, const HmBackingFileOptions *options,
                         struct stat *st, GError **error)
{
    int ret;

    if (!check_type(made->fd, options, st, error)) {
        return FALSE;
    }
    if (S_ISDIR(st->st_mode)) {
        return open_error(error, EISDIR, options);
    }
    ret = hm_backing_find_kind(made, st);
    if (ret < 0) {
        return open_error(error, -ret, options);
    }
    return TRUE;
}

static gboolean check_geometry(HmBacking *made,
                               const HmBackingFileOptions *options,
                               GError **error)
{
    guint64 end;

    if (!hm_is_aligned(options->offset, made->page_size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "offset 0x%" G_GINT64_MODIFIER
                            "x must be multiples of page size 0x%zx",
                            options->offset, made->page_size);
    }
    if (options->size < made->page_size) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "memory size 0x%" G_GINT64_MODIFIER
                            "x must be equal to or larger than page size "
                            "0x%zx",
                            options->size, made->page_size);
    }
    if (!hm_backing_round_size(options->size, made->page_size, &made->length,
                               error)) {
        return FALSE;
    }
    made->offset = options->offset;
    if (!g_uint64_checked_add(&end, made->offset, made->length) ||
        end > G_MAXINT64) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "'size' option 0x%" G_GINT64_MODIFIER
                            "x plus 'offset' option 0x%" G_GINT64_MODIFIER
                            "x are more than 8 EiB",
                            made->length, made->offset);
    }
    return TRUE;
}

/* Long enough, or empty and made so. */
static gboolean check_length(HmBacking *made,
                             const HmBackingFileOptions *options,
                             const struct stat *st, GError **error)
{
    guint64 need = made->offset + made->length;
    guint64 have = hm_backing_file_length(st);
    g_autofree char *what = g_strdup_printf("backing store %s", options->path);

    if (!have && !options->readonly && !S_ISCHR(st->st_mode)) {
        made->resized = hm_backing_resize(made->fd, need, what, error);
        return made->resized;
    }
    if (have < need) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s backing store size 0x%" G_GINT64_MODIFIER
                            "x is too small for 'size' option "
                            "0x%" G_GINT64_MODIFIER
                            "x plus 'offset' option 0x%" G_GINT64_MODIFIER "x",
                            options->name ? options->name : options->path, have,
                            made->length, made->offset);
    }
    return TRUE;
}

gboolean hm_backing_init_file(HmBacking *self,
                              const HmBackingFileOptions *options,
                              GError **error)
{
    g_auto(HmBacking) made = HM_BACKING_INIT;
    struct stat st;

    made.shared = options->shared;
    made.readonly = options->readonly;
    if (!open_or_create(options, &made, error) ||
        !identify(&made, options, &st, error) ||
        !check_geometry(&made, options, error) ||
        !check_length(&made, options, &st, error)) {
        return FALSE;
    }
    if (!made.path) {
        made.path = g_canonicalize_filename(options->path, NULL);
    }
    *self = made;
    made = (HmBacking)HM_BACKING_INIT;
    return TRUE;
}
