/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * Who has the directory is told by a lock on it (flock), which goes with its
 * process.  Before the mount that is a lock on the directory that will be
 * covered, afterwards one on the root of the tmpfs, which is taken before
 * anybody can see it; both are kept.  So of two that begin at the same time one
 * is refused, and whoever comes later finds the root locked.
 *
 * After a lock was had the path is looked up again: its last owner may have
 * unmounted it between our open and our lock.
 *
 * A mount that is ours and not locked was left by a process that was killed.
 * A file in it that nobody has open or mapped can have no user any more.  Files
 * of memory that was handed to us over a restart are open, by us.
 */
#include <errno.h>
#include "backends/export-dir.h"
#include "util/autofd.h"
#include "util/error.h"
#include "util/keyval.h"
#include "util/mounts.h"
#include "util/os.h"
#include "util/size.h"

/* What mountinfo calls our mounts. */
#define SOURCE "hostmem-export"
#define TRIES  10

struct _HostmemExportDir {
    GObject parent_instance;

    char *path;
    int covered;      /* -1: taken over */
    int root;         /* -1: not mounted */
    gint left_behind; /* atomic */
};

typedef struct {
    GObjectClass parent_class;
} HostmemExportDirClass;

G_DEFINE_TYPE(HostmemExportDir, hostmem_export_dir, G_TYPE_OBJECT)

/* What is asked for */

static const HmProp option_rows[] = {
    {.name = "path", .kind = HM_PROP_STRING, .flags = HM_PROP_REQUIRED},
    {.name = "size", .kind = HM_PROP_SIZE},
};

static const HmProp *find_row(const char *key, gpointer data G_GNUC_UNUSED)
{
    for (guint i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        if (g_str_equal(option_rows[i].name, key)) {
            return &option_rows[i];
        }
    }
    return NULL;
}

static gboolean parse(HostmemExportDir *self, const char *options,
                      guint64 *size, GError **error)
{
    g_autoptr(HmKeyval) keyval = hm_keyval_parse(options, "path", error);
    const char *unknown =
        keyval ? hm_keyval_find_unknown(keyval, find_row, NULL) : NULL;
    const char *path = keyval ? hm_keyval_get(keyval, "path") : NULL;
    const char *limit = keyval ? hm_keyval_get(keyval, "size") : NULL;

    if (!keyval) {
        return FALSE;
    }
    if (unknown) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Invalid parameter '%s'", unknown);
    }
    if (!path || !*path) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'path' is missing");
    }
    self->path = g_canonicalize_filename(path, NULL);
    *size = 0;
    if (limit && (!hm_size_parse(limit, size, NULL) || !*size)) {
        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "Parameter 'size' expects a size value above 0");
    }
    return TRUE;
}

/* What is there */

static gboolean stat_error(const HostmemExportDir *self, int err,
                           GError **error)
{
    return hm_set_error_errno(error, err, "cannot look at %s", self->path);
}

/* Returns: whether the path still leads to it; -errno */
static int leads_to(const char *path, int dir)
{
    hm_autofd int there = hm_os_open(path, O_PATH | O_DIRECTORY, 0);
    struct stat a, b;
    int ret = there < 0 ? there : hm_os_stat(there, &a);

    ret = ret < 0 ? ret : hm_os_stat(dir, &b);
    return ret < 0 ? ret : a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The directory, locked; -1 with an error. */
static int open_locked(const HostmemExportDir *self, GError **error)
{
    for (guint i = 0; i < TRIES; i++) {
        hm_autofd int dir = hm_os_open(self->path, O_RDONLY | O_DIRECTORY, 0);
        int ret = dir < 0 ? dir : hm_os_flock(dir);

        if (ret == -EAGAIN) {
            hm_set_error(error, HOSTMEM_ERROR_BUSY,
                         "another process has %s for its memory", self->path);
            return -1;
        }
        if (ret < 0) {
            hm_set_error_errno(error, -ret, "cannot open the directory %s",
                               self->path);
            return -1;
        }
        if (leads_to(self->path, dir) > 0) {
            return hm_steal_fd(&dir);
        }
    }
    hm_set_error(error, HOSTMEM_ERROR_BUSY,
                 "others mount and unmount %s all the time", self->path);
    return -1;
}

/* Whether a file system begins here. */
static int is_mount_point(int dir, dev_t *device)
{
    hm_autofd int parent = hm_os_open_at(dir, "..", O_PATH | O_DIRECTORY, 0);
    struct stat own, above;
    int ret = parent < 0 ? parent : hm_os_stat(parent, &above);

    ret = ret < 0 ? ret : hm_os_stat(dir, &own);
    if (ret < 0) {
        return ret;
    }
    *device = own.st_dev;
    return own.st_dev != above.st_dev;
}

static gboolean is_ours(const HmMount *mount)
{
    return mount && g_str_equal(mount->type, "tmpfs") &&
           g_str_equal(mount->source, SOURCE);
}

static int list(int dir, GStrv *names)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", dir);

    return hm_os_list_dir(path, names);
}

static gboolean check_empty(const HostmemExportDir *self, int dir,
                            GError **error)
{
    g_auto(GStrv) names = NULL;
    int ret = list(dir, &names);

    if (ret < 0) {
        return stat_error(self, -ret, error);
    }
    return !names[0] ||
           hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is not empty: a mount would hide what is in it",
                        self->path);
}

/* Taking over */

/* NULL: it is gone. */
static const char *why_kept(int root, const char *name)
{
    hm_autofd int fd =
        hm_os_open_at(root, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
    struct stat st;
    int ret = fd < 0 ? fd : hm_os_stat(fd, &st);

    if (ret == 0 && !S_ISREG(st.st_mode)) {
        return "it is no regular file";
    }
    ret = ret < 0 ? ret : hm_os_only_user(fd);
    if (ret == 0) {
        return "somebody has it open";
    }
    ret = ret < 0 ? ret : hm_os_unlink_at(root, name);
    return ret < 0 ? g_strerror(-ret) : NULL;
}

static void remove_stale_files(const HostmemExportDir *self)
{
    g_auto(GStrv) names = NULL;
    int ret = list(self->root, &names);

    if (ret < 0) {
        g_message("%s: what is in it stays: %s", self->path, g_strerror(-ret));
        return;
    }
    for (char **name = names; *name; name++) {
        const char *why = why_kept(self->root, *name);

        if (why) {
            g_message("%s/%s was left behind and stays: %s", self->path, *name,
                      why);
        }
    }
}

static void compare_size(const HostmemExportDir *self, guint64 size)
{
    g_autofree char *text = NULL;
    struct statfs fs;
    guint64 there;

    if (hm_os_statfs(self->root, &fs) < 0) {
        return;
    }
    there = (guint64)fs.f_blocks * (guint64)fs.f_bsize;
    if (there != size) {
        text = there ? hm_size_format(there) : g_strdup("no limit");
        g_message("%s was left behind and keeps its size: %s", self->path,
                  text);
    }
}

static void take_over(HostmemExportDir *self, int root, guint64 size)
{
    self->root = root;
    compare_size(self, size);
    remove_stale_files(self);
}

/* Mounting */

static gboolean mount_error(const HostmemExportDir *self, int err,
                            GError **error)
{
    return hm_set_error_errno(error, err, "cannot mount a tmpfs on %s%s",
                              self->path,
                              err == EPERM ? " without CAP_SYS_ADMIN" : "");
}

static gboolean mount(HostmemExportDir *self, int dir, guint64 size,
                      GError **error)
{
    const HmTmpfsOptions options = {
        .huge = "always", .source = SOURCE, .size = size, .mode = 0711};
    hm_autofd int tmpfs = hm_os_tmpfs(&options);
    hm_autofd int root =
        tmpfs < 0 ? tmpfs
                  : hm_os_open_at(tmpfs, ".", O_RDONLY | O_DIRECTORY, 0);
    int ret = root < 0 ? root : hm_os_flock(root);

    if (tmpfs == -EINVAL) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "cannot mount a tmpfs on %s: this kernel has no "
                            "huge pages for it",
                            self->path);
    }
    ret = ret < 0 ? ret : hm_os_attach(tmpfs, dir);
    if (ret < 0) {
        return mount_error(self, -ret, error);
    }
    self->root = hm_steal_fd(&root);
    return TRUE;
}

static gboolean mount_or_take_over(HostmemExportDir *self, guint64 size,
                                   GError **error)
{
    hm_autofd int dir = open_locked(self, error);
    g_autoptr(HmMount) there = NULL;
    dev_t device = 0;
    int mounted;

    if (dir < 0) {
        return FALSE;
    }
    mounted = is_mount_point(dir, &device);
    if (mounted < 0) {
        return stat_error(self, -mounted, error);
    }
    if (!mounted) {
        self->covered = hm_steal_fd(&dir);
        return check_empty(self, self->covered, error) &&
               mount(self, self->covered, size, error);
    }
    there = hm_mount_find(device);
    if (is_ours(there)) {
        take_over(self, hm_steal_fd(&dir), size);
        return TRUE;
    }
    return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                        "%s is the root of another filesystem (%s)", self->path,
                        there ? there->type : "unknown");
}

/* Life */

HostmemExportDir *hostmem_export_dir_new(const char *options, GError **error)
{
    g_autoptr(HostmemExportDir) self = NULL;
    guint64 size;

    g_return_val_if_fail(options, NULL);

    self = g_object_new(HOSTMEM_TYPE_EXPORT_DIR, NULL);
    if (!parse(self, options, &size, error) ||
        !mount_or_take_over(self, size, error)) {
        return NULL;
    }
    return g_steal_pointer(&self);
}

const char *hostmem_export_dir_get_path(HostmemExportDir *self)
{
    g_return_val_if_fail(HOSTMEM_IS_EXPORT_DIR(self), NULL);

    return self->path;
}

void hm_export_dir_leave_behind(HostmemExportDir *self)
{
    g_atomic_int_set(&self->left_behind, TRUE);
}

static void hostmem_export_dir_init(HostmemExportDir *self)
{
    self->covered = -1;
    self->root = -1;
}

/* What somebody else has mounted over it is not ours to unmount. */
static void unmount(const HostmemExportDir *self)
{
    int ret = leads_to(self->path, self->root);

    ret = ret > 0 ? hm_os_detach(self->root) : ret < 0 ? ret : -EBUSY;
    if (ret < 0) {
        g_message("%s is not unmounted: %s", self->path, g_strerror(-ret));
    }
}

static void hostmem_export_dir_finalize(GObject *object)
{
    HostmemExportDir *self = HOSTMEM_EXPORT_DIR(object);

    if (self->root >= 0 && !g_atomic_int_get(&self->left_behind)) {
        unmount(self);
    }
    if (self->root >= 0) {
        hm_os_close(self->root);
    }
    if (self->covered >= 0) {
        hm_os_close(self->covered);
    }
    g_free(self->path);
    G_OBJECT_CLASS(hostmem_export_dir_parent_class)->finalize(object);
}

static void hostmem_export_dir_class_init(HostmemExportDirClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hostmem_export_dir_finalize;
}
