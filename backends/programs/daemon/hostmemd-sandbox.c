/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "hostmemd-convert.h"

/*
 * What libvirt's driver does as root it does as nobody, to a tmpfs and to
 * hugetlbfs that no other process sees: it makes directories there, and in the
 * places of the system, when it starts.  Where mounts cannot be hidden it gets
 * a directory like any other; and no huge pages, for libvirt insists on a
 * directory in each hugetlbfs.
 */

#define NOBODY           65534
#define KVM              "/dev/kvm"
#define REAP_INTERVAL_US 1000
#define MAX_FDS          16 /* that nftw() may open */
#define MOUNT_INFO       "/proc/self/mounts"

static gboolean fail(GError **error, const char *what)
{
    g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_SYSTEM, "%s: %s", what,
                g_strerror(errno));
    return FALSE;
}

/* What is there */

static void huge_mount_free(gpointer data)
{
    HmHugeMount *mount = data;

    g_free(mount->dir);
    g_free(mount->inside);
    g_free(mount);
}

static gboolean has_page_size(const HmSandbox *self, guint64 page_size)
{
    for (guint i = 0; i < self->huge_mounts->len; i++) {
        const HmHugeMount *mount = self->huge_mounts->pdata[i];

        if (mount->page_size == page_size) {
            return TRUE;
        }
    }
    return FALSE;
}

/* As libvirt does, the first one of each page size. */
static void add_huge_mount(HmSandbox *self, const char *dir)
{
    struct statfs info;
    HmHugeMount *mount;

    if (statfs(dir, &info) != 0 || has_page_size(self, info.f_bsize)) {
        return;
    }
    mount = g_new0(HmHugeMount, 1);
    mount->page_size = info.f_bsize;
    mount->dir = g_strdup(dir);
    mount->inside = g_strdup_printf("%s/huge-%" G_GUINT64_FORMAT, self->root,
                                    mount->page_size);
    g_ptr_array_add(self->huge_mounts, mount);
}

static void find_huge_mounts(HmSandbox *self)
{
    FILE *mounts = setmntent(MOUNT_INFO, "re");
    struct mntent *entry;

    while (mounts && (entry = getmntent(mounts))) {
        if (g_str_equal(entry->mnt_type, "hugetlbfs")) {
            add_huge_mount(self, entry->mnt_dir);
        }
    }
    if (mounts) {
        endmntent(mounts);
    }
}

HmSandbox *hm_sandbox_new(GError **error)
{
    g_autoptr(HmSandbox) self = g_new0(HmSandbox, 1);
    const char *parent =
        g_path_is_absolute(g_get_tmp_dir()) ? g_get_tmp_dir() : "/tmp";

    self->huge_mounts = g_ptr_array_new_with_free_func(huge_mount_free);
    self->root = g_build_filename(parent, "hostmem-XXXXXX", NULL);
    if (!g_mkdtemp(self->root)) {
        fail(error, self->root);
        g_clear_pointer(&self->root, g_free);
        return NULL;
    }
    find_huge_mounts(self);
    return g_steal_pointer(&self);
}

static int remove_one(const char *path, G_GNUC_UNUSED const struct stat *info,
                      G_GNUC_UNUSED int kind, G_GNUC_UNUSED struct FTW *walk)
{
    remove(path);
    return 0;
}

/* Whoever could write there shall not make root remove what is elsewhere. */
static void remove_root(const char *root)
{
    uid_t self = geteuid();
    struct stat info;

    if (lstat(root, &info) != 0) {
        return;
    }
    if (info.st_uid != self && seteuid(info.st_uid) != 0) {
        rmdir(root); /* the worker could not become nobody, either */
        return;
    }
    nftw(root, remove_one, MAX_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (seteuid(self) != 0) {
        g_warning("cannot be user %u again", (guint)self);
    }
}

void hm_sandbox_free(HmSandbox *self)
{
    if (self->root) {
        remove_root(self->root);
    }
    g_ptr_array_unref(self->huge_mounts);
    g_free(self->root);
    g_free(self);
}

/* Going inside */

static gboolean mount_huge_pages_of(const HmHugeMount *huge)
{
    g_autofree char *options =
        g_strdup_printf("pagesize=%" G_GUINT64_FORMAT ",uid=%d,size=0",
                        huge->page_size, NOBODY);

    return mkdir(huge->inside, 0700) == 0 &&
           mount("hostmem", huge->inside, "hugetlbfs", MS_NOSUID | MS_NODEV,
                 options) == 0;
}

/* (transfer full): the line of the configuration that names them. */
static char *mount_huge_pages(const HmSandbox *self)
{
    GString *line = g_string_new("hugetlbfs_mount = [ ");
    const char *separator = "";

    for (guint i = 0; i < self->huge_mounts->len; i++) {
        const HmHugeMount *huge = self->huge_mounts->pdata[i];

        if (mount_huge_pages_of(huge)) {
            g_string_append_printf(line, "%s\"%s\"", separator, huge->inside);
            separator = ", ";
        }
    }
    g_string_append(line, " ]\n");
    return g_string_free(line, FALSE);
}

/* The driver's configuration names what has huge pages. */
static gboolean write_conf(const HmSandbox *self, const char *text,
                           GError **error)
{
    g_autofree char *dir = g_build_filename(self->root, "etc", NULL);
    g_autofree char *path = g_build_filename(dir, "qemu.conf", NULL);
    g_autoptr(GError) why = NULL;

    if (g_mkdir_with_parents(dir, 0755) == 0 &&
        g_file_set_contents(path, text, -1, &why)) {
        return TRUE;
    }
    return fail(error, path);
}

/* QEMU says what it can do with KVM only to who may use that.  Where no device
 * can be made, as in a container, the group of KVM will have to do. */
static void show_kvm(const HmSandbox *self)
{
    g_autofree char *inside = g_build_filename(self->root, "kvm", NULL);
    struct stat kvm;

    if (stat(KVM, &kvm) == 0 && S_ISCHR(kvm.st_mode) &&
        mknod(inside, S_IFCHR | 0666, kvm.st_rdev) == 0 &&
        chmod(inside, 0666) == 0) {
        mount(inside, KVM, NULL, MS_BIND, NULL);
    }
}

static gboolean fill_root(HmSandbox *self, GError **error)
{
    g_autofree char *options = g_strdup_printf("mode=0755,uid=%d", NOBODY);
    g_autofree char *conf = NULL;

    if (mount("hostmem", self->root, "tmpfs", MS_NOSUID, options) != 0) {
        return fail(error, self->root);
    }
    self->has_mounts = TRUE;
    conf = mount_huge_pages(self);
    show_kvm(self);
    return write_conf(self, conf, error);
}

/* Whoever may use KVM by its group still may. */
static gboolean become_nobody(GError **error)
{
    struct stat kvm;
    gid_t group;
    gsize n = 0;

    if (stat(KVM, &kvm) == 0 && kvm.st_mode & S_IRGRP && kvm.st_gid != 0) {
        group = kvm.st_gid;
        n = 1;
    }
    if (setgroups(n, &group) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return fail(error, "cannot become nobody");
    }
    return TRUE;
}

/* Files of a home go to the root, and libvirt is silent unless told to speak.
 */
static void set_environment(const HmSandbox *self)
{
    static const char *const places[] = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME",
                                         "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
                                         "XDG_STATE_HOME"};

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        g_unsetenv(places[i]);
    }
    g_setenv("HOME", self->root, TRUE);
    g_setenv("TMPDIR", self->root, TRUE);
    if (!g_getenv("LIBVIRT_DEBUG")) {
        g_setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", FALSE);
    }
}

/* Nobody else sees what is mounted from now on.  A chroot whose root is no
 * mount cannot have that. */
static gboolean hide_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

gboolean hm_sandbox_enter(HmSandbox *self, GError **error)
{
    set_environment(self);
    umask(S_IWGRP | S_IWOTH); /* a daemon's keeps nobody from what root made */
    if (geteuid() != 0) {
        return TRUE;
    }
    if (hide_mounts()) {
        return fill_root(self, error) && become_nobody(error);
    }
    if (chown(self->root, NOBODY, NOBODY) != 0) {
        return fail(error, self->root);
    }
    return become_nobody(error);
}

/* The end */

/* The parent of a process; 0 when there is none, or no such process. */
static pid_t parent_of(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", pid);
    g_autofree char *stat = NULL;
    const char *behind_name;
    int parent = 0;

    if (!g_file_get_contents(path, &stat, NULL, NULL)) {
        return 0;
    }
    behind_name = strrchr(stat, ')');
    return behind_name && sscanf(behind_name, ") %*c %d", &parent) == 1 ? parent
                                                                        : 0;
}

static void kill_children(void)
{
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *name;

    while (proc && (name = g_dir_read_name(proc))) {
        if (g_ascii_isdigit(*name) && parent_of(name) == getpid()) {
            kill(atoi(name), SIGKILL);
        }
    }
}

/* Libvirt waits until a QEMU that it has ended is gone: nobody may wait for us
 * to notice. */
void hm_sandbox_adopt_offspring(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    signal(SIGCHLD, SIG_IGN);
}

void hm_sandbox_end_offspring(void)
{
    while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
        kill_children();
        g_usleep(REAP_INTERVAL_US);
    }
}
