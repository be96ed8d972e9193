/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bench.h"

#define SHM_DIRECTORY "/dev/shm"

/* Where a file has no name, none is left behind, whatever ends us. */

static int fail(GError **error, const char *what)
{
    bench_set_errno(error, what, errno);
    return -1;
}

static int open_named(const char *directory, GError **error)
{
    g_autofree char *path =
        g_build_filename(directory, "hostmem-bench-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        return fail(error, path);
    }
    unlink(path);
    return fd;
}

static int open_unnamed(const char *directory, GError **error)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        return open_named(directory, error);
    }
    return fd < 0 ? fail(error, directory) : fd;
}

static int open_memfd(G_GNUC_UNUSED const BenchOptions *options, GError **error)
{
    int fd = memfd_create("hostmem-bench", MFD_CLOEXEC);

    return fd < 0 ? fail(error, "memfd_create") : fd;
}

static int open_memfd_hugetlb(G_GNUC_UNUSED const BenchOptions *options,
                              GError **error)
{
    int fd = memfd_create("hostmem-bench", MFD_CLOEXEC | MFD_HUGETLB);

    return fd < 0 ? fail(error, "memfd_create with MFD_HUGETLB") : fd;
}

static int open_shm(G_GNUC_UNUSED const BenchOptions *options, GError **error)
{
    return open_unnamed(SHM_DIRECTORY, error);
}

static int open_directory(const BenchOptions *options, GError **error)
{
    return open_unnamed(options->directory, error);
}

/* The root of a filesystem that is mounted nowhere, and ends with its files. */
static int mount_detached(const char *type, const char *option,
                          const char *value)
{
    int root = -1;
    int context = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);

    if (context < 0) {
        return -1;
    }
    if ((!option || syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, option,
                            value, 0) == 0) &&
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) ==
            0) {
        root = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    }
    int number = errno;
    close(context);
    errno = number;
    return root;
}

static int open_on_detached(const char *type, const char *option,
                            const char *value, GError **error)
{
    int root = mount_detached(type, option, value);
    if (root < 0) {
        return fail(error, "mounting a filesystem of our own");
    }
    int fd = openat(root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        fail(error, type);
    }
    close(root);
    return fd;
}

static int open_tmpfs_huge(G_GNUC_UNUSED const BenchOptions *options,
                           GError **error)
{
    return open_on_detached("tmpfs", "huge", "always", error);
}

static int open_hugetlbfs(G_GNUC_UNUSED const BenchOptions *options,
                          GError **error)
{
    return open_on_detached("hugetlbfs", NULL, NULL, error);
}

static const BenchKind kinds[] = {
    {"anon", NULL, BENCH_PAGES_BASE, FALSE},
    {"anon THP", NULL, BENCH_PAGES_TRANSPARENT, FALSE},
    {"memfd", open_memfd, BENCH_PAGES_BASE, FALSE},
    {"memfd hugetlb", open_memfd_hugetlb, BENCH_PAGES_POOL, FALSE},
    {"tmpfs", open_shm, BENCH_PAGES_BASE, FALSE},
    {"tmpfs huge=always", open_tmpfs_huge, BENCH_PAGES_TRANSPARENT, TRUE},
    {"file", open_directory, BENCH_PAGES_BASE, FALSE},
    {"hugetlbfs", open_hugetlbfs, BENCH_PAGES_POOL, FALSE},
};

const BenchKind *bench_kinds(guint *n)
{
    *n = G_N_ELEMENTS(kinds);
    return kinds;
}

static gboolean check_policy(const BenchKind *kind, gboolean shared,
                             GError **error)
{
    const char *name = shared ? "shmem_enabled" : "enabled";

    if (kind->pages != BENCH_PAGES_TRANSPARENT || kind->open) {
        return TRUE;
    }
    g_autofree char *policy = bench_host_thp_policy(shared);
    if (g_str_equal(policy, "never") || g_str_equal(policy, "deny")) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_UNSUPPORTED,
                    "/sys/kernel/mm/transparent_hugepage/%s is %s", name,
                    policy);
        return FALSE;
    }
    return TRUE;
}

const BenchKind *bench_kind_find(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_equal(kinds[i].name, name)) {
            return &kinds[i];
        }
    }
    return NULL;
}

const BenchKind *bench_kind_anonymous(void)
{
    const BenchKind *huge = bench_kind_find("anon THP");

    return check_policy(huge, FALSE, NULL) ? huge : bench_kind_find("anon");
}

static gboolean check_room(const BenchKind *kind, gboolean shared, guint64 size,
                           const BenchOptions *options, GError **error)
{
    if (kind->pages == BENCH_PAGES_POOL) {
        return bench_room_check_huge_pages(size, error);
    }
    if ((kind->open == open_shm &&
         !bench_room_check_space(SHM_DIRECTORY, size, error)) ||
        (kind->open == open_directory &&
         !bench_room_check_space(options->directory, size, error))) {
        return FALSE;
    }
    /* A private copy of a page is made of a page of the file. */
    return bench_room_check_memory(kind->open && !shared ? 2 * size : size,
                                   error);
}

static gsize unit_size(const BenchKind *kind)
{
    switch (kind->pages) {
    case BENCH_PAGES_TRANSPARENT:
        return bench_host_thp_size();
    case BENCH_PAGES_POOL:
        return bench_host_huge_page_size();
    default:
        return sysconf(_SC_PAGESIZE);
    }
}

/* Aligned for huge pages, whether there will be some or not. */
static gboolean map(BenchMemory *self, int flags, GError **error)
{
    gsize alignment = MAX(self->unit, 2 * BENCH_MIB);

    self->reserved_length = self->length + alignment;
    self->reserved = mmap(NULL, self->reserved_length, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (self->reserved == MAP_FAILED) {
        self->reserved = NULL;
        return bench_set_errno(error, "mmap", errno);
    }
    guintptr start = (guintptr)self->reserved + alignment - 1;
    self->addr = (guint8 *)(start - start % alignment);
    if (mmap(self->addr, self->length, PROT_READ | PROT_WRITE,
             flags | MAP_FIXED, self->fd, 0) == MAP_FAILED) {
        return bench_set_errno(error, "mmap", errno);
    }
    return TRUE;
}

static void advise(const BenchMemory *self, const BenchKind *kind)
{
    /* On a file the advice does harm; elsewhere it may be unknown. */
    if (kind->pages != BENCH_PAGES_POOL && kind->open != open_directory) {
        madvise(self->addr, self->length,
                kind->pages == BENCH_PAGES_TRANSPARENT ? MADV_HUGEPAGE
                                                       : MADV_NOHUGEPAGE);
    }
}

static gboolean open_and_map(BenchMemory *self, const BenchKind *kind,
                             gboolean shared, const BenchOptions *options,
                             GError **error)
{
    int flags = shared ? MAP_SHARED : MAP_PRIVATE;

    if (!kind->open) {
        return map(self, flags | MAP_ANONYMOUS, error);
    }
    self->fd = kind->open(options, error);
    if (self->fd < 0) {
        return FALSE;
    }
    if (ftruncate(self->fd, self->length) < 0) {
        return bench_set_errno(error, "ftruncate", errno);
    }
    return map(self, flags, error);
}

gboolean bench_memory_init(BenchMemory *self, const BenchKind *kind,
                           gboolean shared, guint64 size,
                           const BenchOptions *options, GError **error)
{
    g_auto(BenchMemory) memory = {.fd = -1, .length = size};

    if (!check_policy(kind, shared, error) ||
        !check_room(kind, shared, size, options, error)) {
        return FALSE;
    }
    memory.unit = unit_size(kind);
    memory.stride = kind->pages == BENCH_PAGES_POOL
                        ? memory.unit
                        : (gsize)sysconf(_SC_PAGESIZE);
    if (!open_and_map(&memory, kind, shared, options, error)) {
        return FALSE;
    }
    advise(&memory, kind);
    *self = memory;
    memory = (BenchMemory){.fd = -1};
    return TRUE;
}

void bench_memory_clear(BenchMemory *self)
{
    if (self->reserved) {
        munmap(self->reserved, self->reserved_length);
    }
    if (self->fd >= 0) {
        close(self->fd);
    }
    *self = (BenchMemory){.fd = -1};
}
