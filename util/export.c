/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * The directory is opened once, and everything happens in it: a symbolic link
 * on the way that is turned elsewhere meanwhile changes nothing.  The file is
 * made there without a name (O_TMPFILE), which also finds out whether we may
 * write to the directory, before anything that takes time.  linkat(2) gives it
 * the name at the end: all at once, never in the place of something else, and
 * never through a symbolic link.
 *
 * A name can be removed but not "removed if it leads to this inode".  Between
 * the look and the removal its directory's other writers could put a file of
 * their own there, and lose that.  In a sticky directory only we, root and the
 * owner can.
 */
#include <errno.h>
#include <string.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/backing-private.h"
#include "util/error.h"
#include "util/export.h"
#include "util/mounts.h"
#include "util/size.h"

struct HmExport {
    char *path;
    char *name; /* its last part */
    int dir;    /* O_PATH */
    dev_t device;
    ino_t inode;
    gboolean published;
};

void hm_export_free(HmExport *self)
{
    if (self->dir >= 0) {
        hm_os_close(self->dir);
    }
    g_free(self->path);
    g_free(self->name);
    g_free(self);
}

const char *hm_export_get_path(const HmExport *self)
{
    return self->path;
}

/* The directory */

static gboolean is_file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] && !g_str_equal(slash, "/.") &&
           !g_str_equal(slash, "/..");
}

static HmExport *open_directory(const char *path, GError **error)
{
    g_autoptr(HmExport) self = g_new0(HmExport, 1);
    g_autofree char *dir = g_path_get_dirname(path);

    self->path = g_strdup(path);
    self->name = g_path_get_basename(path);
    self->dir = -1;
    if (!g_path_is_absolute(path) || !is_file_name(path)) {
        hm_set_error(error, HOSTMEM_ERROR_INVALID,
                     "'%s' is no absolute path of a file", path);
        return NULL;
    }
    self->dir = hm_os_open(dir, O_PATH | O_DIRECTORY, 0);
    if (self->dir < 0) {
        hm_backing_fd_error(error, -self->dir, dir);
        return NULL;
    }
    return g_steal_pointer(&self);
}

static gboolean refuse_filesystem(const HmExport *self, const HmMount *mount,
                                  GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is on %s: memory has names on a tmpfs or a "
                        "hugetlbfs only",
                        self->path, mount ? mount->type : "another filesystem");
}

static gboolean refuse_tmpfs(const HmExport *self, gsize page_size,
                             GError **error)
{
    g_autofree char *pages = hm_size_format(page_size);
    guint64 kib = page_size / HM_KIB;

    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is on a tmpfs, and huge pages of %s have names on "
                        "a hugetlbfs only; let root make one: mount -t "
                        "hugetlbfs -o pagesize=%" G_GUINT64_FORMAT
                        "K none DIRECTORY",
                        self->path, pages, kib);
}

static gboolean check_hugetlbfs(const HmExport *self, gsize wanted,
                                guint64 page_size, GError **error)
{
    g_autofree char *there = hm_size_format(page_size);
    g_autofree char *asked = hm_size_format(wanted);

    if (wanted == page_size) {
        return TRUE;
    }
    if (wanted) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s is on a hugetlbfs of %s pages, and the memory "
                            "has pages of %s",
                            self->path, there, asked);
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is on a hugetlbfs: only memory-backend-memfd with "
                        "hugetlb=on,hugetlbsize=%" G_GUINT64_FORMAT
                        "K has pages for it",
                        self->path, page_size / HM_KIB);
}

static gboolean is_huge_tmpfs(const HmMount *mount)
{
    return mount && (hm_mount_has_option(mount, "huge=always") ||
                     hm_mount_has_option(mount, "huge=within_size"));
}

/* Whether it is the right kind for the pages; says which tmpfs has huge ones.
 */
static gboolean check_filesystem(const HmExport *self, gsize huge_page_size,
                                 HmBacking *made, GError **error)
{
    g_autoptr(HmMount) mount = NULL;
    struct statfs fs;
    struct stat st;
    int ret = hm_os_statfs(self->dir, &fs);

    ret = ret < 0 ? ret : hm_os_stat(self->dir, &st);
    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "%s", self->path);
    }
    mount = hm_mount_find(st.st_dev);
    made->page_size = huge_page_size ? huge_page_size : hm_os_page_size();
    switch ((guint64)fs.f_type) {
    case HUGETLBFS_MAGIC:
        made->kind = HM_MEM_HUGETLB;
        return check_hugetlbfs(self, huge_page_size, (guint64)fs.f_bsize,
                               error);
    case TMPFS_MAGIC:
        made->kind = HM_MEM_SHMEM;
        made->own_tmpfs = is_huge_tmpfs(mount);
        return !huge_page_size || refuse_tmpfs(self, huge_page_size, error);
    default:
        return refuse_filesystem(self, mount, error);
    }
}

/* The name */

static gboolean refuse_taken(const HmExport *self, GError **error)
{
    return hm_set_error(error, HOSTMEM_ERROR_EXISTS,
                        "%s: %s; remove it if nobody needs it", self->path,
                        g_strerror(EEXIST));
}

static gboolean check_free(const HmExport *self, GError **error)
{
    hm_autofd int there =
        hm_os_open_at(self->dir, self->name, O_PATH | O_NOFOLLOW, 0);

    if (there == -ENOENT) {
        return TRUE;
    }
    return there < 0 ? hm_backing_fd_error(error, -there, self->path)
                     : refuse_taken(self, error);
}

gboolean hm_export_publish(HmExport *self, int fd, GError **error)
{
    int ret = hm_os_link(fd, self->dir, self->name);

    if (ret == -EEXIST) {
        return refuse_taken(self, error);
    }
    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "cannot make the name %s",
                                  self->path);
    }
    self->published = TRUE;
    return TRUE;
}

/* Returns 0, ENOENT when it leads elsewhere, or what keeps us from looking. */
static int look(const HmExport *self)
{
    hm_autofd int there =
        hm_os_open_at(self->dir, self->name, O_PATH | O_NOFOLLOW, 0);
    struct stat st;
    int ret = there < 0 ? there : hm_os_stat(there, &st);

    if (ret < 0) {
        return -ret;
    }
    return st.st_dev == self->device && st.st_ino == self->inode ? 0 : ENOENT;
}

gboolean hm_export_withdraw(HmExport *self, GError **error)
{
    int err;

    if (!self->published) {
        return TRUE;
    }
    self->published = FALSE;
    err = look(self);
    if (err == 0) {
        err = -hm_os_unlink_at(self->dir, self->name);
    }
    if (err == 0 || err == ENOENT) {
        return TRUE;
    }
    return hm_set_error_errno(error, err, "cannot remove the name %s",
                              self->path);
}

/* The file */

gboolean hm_export_give(int fd, const HmOwner *owner, const char *name,
                        GError **error)
{
    int ret = hm_os_chmod(fd, 0600);

    if (ret == 0) {
        ret = hm_os_chown(fd, owner->uid, owner->gid);
    }
    if (ret < 0) {
        return hm_set_error_errno(error, -ret,
                                  "cannot give the memory to '%s'%s", name,
                                  ret == -EPERM ? " without CAP_CHOWN" : "");
    }
    return TRUE;
}

static gboolean remember(HmExport *self, int fd, GError **error)
{
    struct stat st;
    int ret = hm_os_stat(fd, &st);

    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "%s", self->path);
    }
    self->device = st.st_dev;
    self->inode = st.st_ino;
    return TRUE;
}

static gboolean open_file(const HmExport *self, HmBacking *made, GError **error)
{
    g_autofree char *what =
        g_strdup_printf("cannot make a file for %s", self->path);

    made->fd = hm_os_tmpfile(self->dir, 0600);
    return made->fd >= 0 || hm_backing_fd_error(error, -made->fd, what);
}

/* The umask may have taken bits away. */
static gboolean set_owner(const HmExportOptions *options, int fd,
                          GError **error)
{
    int ret;

    if (options->owner) {
        return hm_export_give(fd, options->owner, options->owner_name, error);
    }
    ret = hm_os_chmod(fd, 0600);
    return ret == 0 || hm_set_error_errno(error, -ret, "%s", options->path);
}

static gboolean set_size(const HmExportOptions *options, HmBacking *made,
                         GError **error)
{
    made->length = options->size;
    return hm_backing_resize(made->fd, options->size, options->path, error);
}

HmExport *hm_export_new(const HmExportOptions *options, HmBacking *backing,
                        GError **error)
{
    g_auto(HmBacking) made = HM_BACKING_INIT;
    g_autoptr(HmExport) self = open_directory(options->path, error);

    if (!self ||
        !check_filesystem(self, options->huge_page_size, &made, error) ||
        !check_free(self, error) || !open_file(self, &made, error) ||
        !remember(self, made.fd, error) ||
        !set_owner(options, made.fd, error) ||
        !set_size(options, &made, error)) {
        return NULL;
    }
    made.shared = TRUE;
    made.path = g_strdup(options->path);
    *backing = made;
    made = (HmBacking)HM_BACKING_INIT;
    return g_steal_pointer(&self);
}

static gboolean check_device(const HmExport *self, GError **error)
{
    struct stat st;
    int ret = hm_os_stat(self->dir, &st);

    if (ret < 0) {
        return hm_set_error_errno(error, -ret, "%s", self->path);
    }
    return st.st_dev == self->device ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is on another filesystem than the memory",
                        self->path);
}

HmExport *hm_export_new_for_file(const char *path, int fd, GError **error)
{
    g_autoptr(HmExport) self = open_directory(path, error);

    if (!self || !remember(self, fd, error) || !check_device(self, error) ||
        !check_free(self, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

HmExport *hm_export_adopt(const char *path, int fd, GError **error)
{
    g_autoptr(HmExport) self = open_directory(path, error);
    int err;

    if (!self || !remember(self, fd, error)) {
        return NULL;
    }
    err = look(self);
    if (err) {
        hm_set_error_errno(error, err, "%s does not lead to this memory", path);
        return NULL;
    }
    self->published = TRUE;
    return g_steal_pointer(&self);
}
