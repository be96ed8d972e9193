/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A descriptor that another process has left us may be anything.  What it is
 * for is known; whether it can be that is asked of the kernel alone: its type,
 * how it was opened, the filesystem, its page size, length and seals.
 *
 * A tmpfs of our own, which nobody else can see, is told from a memfd by its
 * device, and from all others by having no limit and no name.  That decides
 * only how it is populated.
 */
#include <errno.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/backing-private.h"
#include "util/error.h"
#include "util/size.h"

#define RESIZE_SEALS (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static gboolean refuse(GError **error, const char *name, const char *why)
{
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED, "descriptor '%s' %s",
                        name, why);
}

static gboolean ask_failed(GError **error, int err, const char *name)
{
    return hm_set_error_errno(error, err, "cannot ask what descriptor '%s' is",
                              name);
}

static gboolean check_mode(int fd, const HmBackingAdoptOptions *options,
                           GError **error)
{
    int mode = hm_os_get_mode(fd);

    if (mode < 0) {
        return ask_failed(error, -mode, options->name);
    }
    if (mode == O_RDWR || (mode == O_RDONLY && options->readonly)) {
        return TRUE;
    }
    return refuse(error, options->name,
                  options->readonly ? "cannot be read"
                                    : "was not opened for reading and writing");
}

/* Whether it is the very file that was left. */
static gboolean check_identity(const struct stat *st,
                               const HmBackingAdoptOptions *options,
                               GError **error)
{
    if (st->st_dev == options->device && st->st_ino == options->inode) {
        return TRUE;
    }
    return refuse(error, options->name, "is another file than was saved");
}

static gboolean check_kind(const HmBacking *made,
                           const HmBackingAdoptOptions *options, GError **error)
{
    g_autofree char *have = NULL;
    g_autofree char *want = NULL;

    if (!options->any_kind && made->kind != options->kind) {
        return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                            "descriptor '%s' is %s, expected: %s",
                            options->name, hm_mem_kind_name(made->kind),
                            hm_mem_kind_name(options->kind));
    }
    if (!options->page_size || made->page_size == options->page_size) {
        return TRUE;
    }
    have = hm_size_format(made->page_size);
    want = hm_size_format(options->page_size);
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "descriptor '%s' has pages of %s, expected: %s",
                        options->name, have, want);
}

static gboolean find_length(HmBacking *made,
                            const HmBackingAdoptOptions *options,
                            GError **error)
{
    guint64 end;

    if (!hm_is_aligned(options->offset, made->page_size) ||
        !hm_backing_round_size(options->size, made->page_size, &made->length,
                               error) ||
        !g_uint64_checked_add(&end, options->offset, made->length) ||
        end > G_MAXINT64) {
        g_clear_error(error);
        return refuse(error, options->name,
                      "has no room for memory at the offset that was saved");
    }
    made->offset = options->offset;
    return TRUE;
}

static gboolean check_length(const HmBacking *made, const struct stat *st,
                             const HmBackingAdoptOptions *options,
                             GError **error)
{
    guint64 need = made->offset + made->length;
    guint64 have = hm_backing_file_length(st);

    if (have == need || (options->may_be_longer && have > need)) {
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "descriptor '%s' is %" G_GUINT64_FORMAT
                        " bytes long, expected: %" G_GUINT64_FORMAT,
                        options->name, have, need);
}

static gboolean check_seals(int fd, const HmBackingAdoptOptions *options,
                            GError **error)
{
    int seals;

    if (!options->sealed) {
        return TRUE;
    }
    seals = hm_os_get_seals(fd);
    return (seals >= 0 && (seals & RESIZE_SEALS) == RESIZE_SEALS) ||
           refuse(error, options->name,
                  "is not sealed, so that others could resize it");
}

/* The device that memfds are on; 0: unknown. */
static dev_t memfd_device(void)
{
    hm_autofd int fd = hm_os_memfd("hostmem-probe", MFD_CLOEXEC);
    struct stat st;

    return fd >= 0 && hm_os_stat(fd, &st) == 0 ? st.st_dev : 0;
}

static gboolean is_own_tmpfs(const HmBacking *made, const struct stat *st)
{
    struct statfs fs;

    return made->kind == HM_MEM_SHMEM && !st->st_nlink &&
           hm_os_statfs(made->fd, &fs) == 0 && !fs.f_blocks &&
           st->st_dev != memfd_device();
}

gboolean hm_backing_adopt(HmBacking *self, int fd,
                          const HmBackingAdoptOptions *options, GError **error)
{
    g_auto(HmBacking) made = HM_BACKING_INIT;
    struct stat st;
    int ret;

    made.fd = fd;
    made.shared = options->shared;
    made.readonly = options->readonly;
    made.sealed = options->sealed;
    ret = hm_os_stat(fd, &st);
    if (ret < 0) {
        return ask_failed(error, -ret, options->name);
    }
    if (!check_mode(fd, options, error) ||
        !check_identity(&st, options, error)) {
        return FALSE;
    }
    if (!S_ISREG(st.st_mode) && !(S_ISCHR(st.st_mode) && options->any_kind)) {
        return refuse(error, options->name, "is no memory");
    }
    ret = hm_backing_find_kind(&made, &st);
    if (ret < 0) {
        return ask_failed(error, -ret, options->name);
    }
    if (!check_kind(&made, options, error) ||
        !find_length(&made, options, error) ||
        !check_length(&made, &st, options, error) ||
        !check_seals(fd, options, error)) {
        return FALSE;
    }
    made.own_tmpfs = is_own_tmpfs(&made, &st);
    made.path =
        options->path ? g_canonicalize_filename(options->path, NULL) : NULL;
    *self = made;
    made = (HmBacking)HM_BACKING_INIT;
    return TRUE;
}
