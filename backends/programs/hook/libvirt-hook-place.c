/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * libvirt's folder for all domains belongs to the user of QEMU, so that a QEMU
 * can put anything there, above all links.  Nothing is followed there: folders
 * are opened as what they must be, and all else happens in what was opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "libvirt-hook.h"

typedef int HookFd;

static void hook_fd_close(HookFd *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(HookFd, hook_fd_close)

static gboolean refuse_errno(GError **error, const char *path)
{
    int err = errno;

    return hook_refuse(error,
                       err == ENOENT ? HOSTMEM_ERROR_NOT_FOUND
                       : err == EACCES || err == EPERM
                           ? HOSTMEM_ERROR_PERMISSION
                           : HOSTMEM_ERROR_SYSTEM,
                       "%s: %s", path, g_strerror(err));
}

/* hugetlbfs */

static void add_mount(GArray *mounts, const char *folder)
{
    HookMount mount = {0};
    struct statfs fs;

    if (statfs(folder, &fs) == 0 && (guint)fs.f_type == HUGETLBFS_MAGIC) {
        mount.page_size = (guint64)fs.f_bsize;
        mount.folder = g_strdup(folder);
        g_array_append_val(mounts, mount);
    }
}

static void add_mounted(GArray *mounts)
{
    FILE *table = setmntent("/proc/mounts", "re");
    struct mntent *entry;

    while (table && (entry = getmntent(table))) {
        if (g_str_equal(entry->mnt_type, "hugetlbfs")) {
            add_mount(mounts, entry->mnt_dir);
        }
    }
    if (table) {
        endmntent(table);
    }
}

static void clear_mount(gpointer data)
{
    g_free(((HookMount *)data)->folder);
}

GArray *hook_place_find_mounts(char **folders)
{
    GArray *mounts = g_array_new(FALSE, FALSE, sizeof(HookMount));

    g_array_set_clear_func(mounts, clear_mount);
    for (char **folder = folders; folder && *folder; folder++) {
        add_mount(mounts, *folder);
    }
    if (!folders) {
        add_mounted(mounts);
    }
    return mounts;
}

guint64 hook_place_huge_page_size(void)
{
    g_autofree char *text = NULL;
    const char *line;

    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        return 0;
    }
    line = strstr(text, "\nHugepagesize:");
    return line ? g_ascii_strtoull(strchr(line, ':') + 1, NULL, 10) << 10 : 0;
}

/* Folders */

/* -1 with an error. */
static int open_base(const HookBlock *block, GError **error)
{
    int fd = open(block->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        hook_refuse(
            error, HOSTMEM_ERROR_NOT_FOUND,
            "libvirt has no folder %s: is this the memory_backing_dir or "
            "hugetlbfs_mount of its qemu.conf?",
            block->base);
    } else if (fd < 0) {
        refuse_errno(error, block->base);
    }
    return fd;
}

/* The folder that the file of a block is in; -1 with an error. */
static int open_folder(const HookBlock *block, GError **error)
{
    g_auto(HookFd) base = open_base(block, error);
    g_autofree char *name = NULL;
    int fd;

    if (base < 0 || !block->folder) {
        fd = base;
        base = -1;
        return fd;
    }
    name = g_path_get_basename(block->folder);
    fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        refuse_errno(error, block->folder);
    }
    return fd;
}

/* As libvirt would; it takes one that is there as it is. */
static gboolean make_folder(int base, HookBlock *block, const HookOwner *owner,
                            GError **error)
{
    g_autofree char *name = g_path_get_basename(block->folder);
    g_auto(HookFd) fd = -1;
    struct stat st;

    block->made = mkdirat(base, name, 0700) == 0;
    if (!block->made && errno != EEXIST) {
        return refuse_errno(error, block->folder);
    }
    fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return refuse_errno(error, block->folder);
    }
    /* Whoever may write to the base can put another one in its place. */
    if (block->made ? st.st_uid != geteuid()
                    : st.st_uid != owner->uid && st.st_uid != 0) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "%s is a folder of somebody else", block->folder);
    }
    return !block->made || fchown(fd, owner->uid, owner->gid) == 0 ||
           refuse_errno(error, block->folder);
}

/* Nothing else has memory of hostmemd, whatever it says. */
static gboolean check_filesystem(int base, const char *path, GError **error)
{
    struct statfs fs;

    if (fstatfs(base, &fs) < 0) {
        return refuse_errno(error, path);
    }
    return (guint)fs.f_type == TMPFS_MAGIC ||
           (guint)fs.f_type == HUGETLBFS_MAGIC ||
           hook_refuse(error, HOSTMEM_ERROR_INVALID,
                       "%s is on no tmpfs and no hugetlbfs: memory that is "
                       "ready cannot be there",
                       path);
}

static gboolean find_owner(const HookOptions *options, const HookDomain *domain,
                           const HookBlock *block, int base, HookOwner *owner,
                           GError **error)
{
    struct stat st;

    return fstat(base, &st) < 0
               ? refuse_errno(error, block->base)
               : hook_owner_find(options, domain, &st, owner, error);
}

gboolean hook_place_open(const HookOptions *options, const HookDomain *domain,
                         HookBlock *block, HookOwner *owner, GError **error)
{
    g_auto(HookFd) base = open_base(block, error);

    return base >= 0 && check_filesystem(base, block->base, error) &&
           find_owner(options, domain, block, base, owner, error) &&
           (!block->folder || make_folder(base, block, owner, error));
}

guint64 hook_place_page_size(const HookBlock *block, GError **error)
{
    struct statfs fs;

    if (statfs(block->base, &fs) < 0) {
        refuse_errno(error, block->base);
        return 0;
    }
    return (guint64)fs.f_bsize;
}

/* Files */

gboolean hook_place_has(const HookBlock *block, GError **error)
{
    g_auto(HookFd) folder = open_folder(block, error);
    g_autofree char *name = g_path_get_basename(block->path);
    struct stat st;

    if (folder < 0) {
        return FALSE;
    }
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno != ENOENT && refuse_errno(error, block->path);
    }
    return (S_ISREG(st.st_mode) && (guint64)st.st_size >= block->size) ||
           hook_refuse(error, HOSTMEM_ERROR_EXISTS,
                       "%s is there already, and no memory of this size",
                       block->path);
}

static gboolean is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* hostmemd may say what it likes: what is moved is a file of the size that is
 * wanted, of the filesystem that memory is on, and its own to give. */
static gboolean check_memory(const HookBlock *block, const char *path,
                             int folder, GError **error)
{
    const struct stat *file = &block->moved;
    struct stat place;

    if (fstat(folder, &place) < 0) {
        return refuse_errno(error, block->base);
    }
    if (file->st_dev != place.st_dev) {
        return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                           "%s is on another filesystem than %s", path,
                           block->base);
    }
    return (S_ISREG(file->st_mode) && (guint64)file->st_size == block->size) ||
           hook_refuse(error, HOSTMEM_ERROR_INVALID,
                       "%s has %" G_GINT64_FORMAT
                       " bytes, and %s of the domain %" G_GUINT64_FORMAT,
                       path, (gint64)file->st_size, block->name, block->size);
}

static gboolean check_giver(const struct stat *file, const char *path,
                            gint64 giver, const HookOwner *owner,
                            GError **error)
{
    return file->st_uid == giver || file->st_uid == owner->uid ||
           hook_refuse(error, HOSTMEM_ERROR_PERMISSION,
                       "%s is user %u's, neither hostmemd's, %" G_GINT64_FORMAT
                       ", nor QEMU's, %u",
                       path, file->st_uid, giver, owner->uid);
}

/* The file at @path, for a look and for its owner; -1 with an error. */
static int open_memory(HookBlock *block, const char *path, int folder,
                       GError **error)
{
    g_auto(HookFd) fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int found;

    if (fd < 0 || fstat(fd, &block->moved) < 0) {
        refuse_errno(error, path);
        return -1;
    }
    if (!check_memory(block, path, folder, error)) {
        return -1;
    }
    found = fd;
    fd = -1;
    return found;
}

/* Whether it was that file that was moved: others may write where it was.  What
 * they have put there has to go back as well. */
static gboolean check_moved(HookBlock *block, int folder, const char *name,
                            GError **error)
{
    struct stat there;

    if (fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) < 0) {
        return refuse_errno(error, block->path);
    }
    if (is_same(&there, &block->moved)) {
        return TRUE;
    }
    block->moved = there;
    return hook_refuse(error, HOSTMEM_ERROR_INVALID,
                       "%s was replaced while it was moved", block->origin);
}

/* Its owner comes last: only of what is in its place. */
gboolean hook_place_move(HookBlock *block, const char *path, gint64 giver,
                         const HookOwner *owner, GError **error)
{
    g_auto(HookFd) folder = open_folder(block, error);
    g_auto(HookFd) memory =
        folder < 0 ? -1 : open_memory(block, path, folder, error);
    g_autofree char *name = g_path_get_basename(block->path);

    if (memory < 0 || !check_giver(&block->moved, path, giver, owner, error)) {
        return FALSE;
    }
    if (renameat2(AT_FDCWD, path, folder, name, RENAME_NOREPLACE) < 0) {
        return hook_refuse(error, HOSTMEM_ERROR_SYSTEM,
                           "cannot move %s to %s: %s", path, block->path,
                           g_strerror(errno));
    }
    block->origin = g_strdup(path);
    if (!check_moved(block, folder, name, error)) {
        return FALSE;
    }
    return fchownat(memory, "", owner->uid, owner->gid, AT_EMPTY_PATH) == 0 ||
           refuse_errno(error, block->path);
}

/* To whom it was.  FALSE: another file is in its place. */
static gboolean give_back(const HookBlock *block, int folder, const char *name)
{
    g_auto(HookFd) fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat there;

    if (fd < 0 || fstat(fd, &there) < 0 || !is_same(&there, &block->moved)) {
        return FALSE;
    }
    if (fchownat(fd, "", block->moved.st_uid, block->moved.st_gid,
                 AT_EMPTY_PATH) < 0) {
        return TRUE; /* its owner is root, or the user of a QEMU, as before */
    }
    return TRUE;
}

/* What cannot go back would be in the way of QEMU; what the user of QEMU has
 * put there is none of hostmemd's. */
static void move_back(const HookBlock *block)
{
    g_auto(HookFd) folder = open_folder(block, NULL);
    g_autofree char *name = g_path_get_basename(block->path);

    if (folder < 0 || !give_back(block, folder, name)) {
        return;
    }
    if (renameat2(folder, name, AT_FDCWD, block->origin, RENAME_NOREPLACE) <
        0) {
        unlinkat(folder, name, 0);
    }
}

static void remove_folder(const HookBlock *block)
{
    g_auto(HookFd) base = open_base(block, NULL);
    g_autofree char *name = g_path_get_basename(block->folder);

    if (base >= 0) {
        unlinkat(base, name, AT_REMOVEDIR);
    }
}

void hook_place_undo(const HookBlock *block)
{
    if (block->origin) {
        move_back(block);
    }
    if (block->made) {
        remove_folder(block);
    }
}

/* Leftovers */

/* "12-NAME", as the domain's runs have had. */
static gboolean is_entry(const HookDomain *domain, const char *name)
{
    gsize digits = strspn(name, "0123456789");
    const char *rest = name + digits + 1;
    glong length = 0;

    if (!digits || name[digits] != '-' || !g_utf8_validate(rest, -1, NULL)) {
        return FALSE;
    }
    length = g_utf8_strlen(rest, -1);
    return g_str_has_prefix(domain->name, rest) &&
           length == MIN(HOOK_SHORT_NAME, g_utf8_strlen(domain->name, -1));
}

/* A lease for writing is given to the only one who has it open. */
static void remove_unused(int base, const char *name)
{
    g_auto(HookFd) fd =
        openat(base, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
        unlinkat(base, name, 0);
    }
}

void hook_place_sweep(const HookDomain *domain, const HookBlock *block)
{
    g_autoptr(GDir) dir = NULL;
    g_auto(HookFd) base = -1;
    const char *name;

    if (!block->page_size) {
        return; /* libvirt removes the folder and all in it */
    }
    base = open_base(block, NULL);
    dir = base < 0 ? NULL : g_dir_open(block->base, 0, NULL);
    while (dir && (name = g_dir_read_name(dir))) {
        if (is_entry(domain, name)) {
            remove_unused(base, name);
        }
    }
}
