/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * A primitive is a system call and no policy.  Where kernels differ, it asks
 * for the new way first and falls back on the errno that an older kernel
 * answers with; nothing is remembered between calls, so there is no state to
 * lock or to go stale.
 */
#include <dirent.h>
#include <linux/memfd.h>
#include <numaif.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "util/align.h"
#include "util/autofd.h"
#include "util/os-private.h"
#include "util/os.h"

#define MAX_TEXT  (1u << 20)
#define SHM_TRIES 100

/* memory */

int hm_os_map(void *hint, gsize length, int prot, int flags, int fd,
              guint64 offset, void **addrp)
{
    void *addr;

    if (offset > G_MAXINT64) {
        return -EOVERFLOW;
    }
    addr = mmap(hint, length, prot, flags, fd, (off_t)offset);
    if (addr == MAP_FAILED) {
        return failure();
    }
    *addrp = addr;
    return 0;
}

int hm_os_unmap(void *addr, gsize length)
{
    return result(munmap(addr, length));
}

int hm_os_move(void *from, gsize length, void *to, gsize new_length)
{
    void *addr =
        mremap(from, length, new_length, MREMAP_MAYMOVE | MREMAP_FIXED, to);

    return addr == MAP_FAILED ? failure() : 0;
}

int hm_os_advise(void *addr, gsize length, int advice)
{
    return result(madvise(addr, length, advice));
}

gssize hm_os_advise_vector(const struct iovec *ranges, gsize n, int advice)
{
    hm_autofd int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    long done;

    if (self < 0) {
        return failure();
    }
    done = syscall(SYS_process_madvise, self, ranges, n, advice, 0);
    return done < 0 ? failure() : done;
}

#define BITS_PER_LONG (8 * sizeof(unsigned long))

/* Bits in longs, as the kernel takes them; *@n_bits is one more than the
 * highest. */
static unsigned long *node_mask(const HmIdset *nodes, gsize *n_bits)
{
    unsigned long *mask =
        g_new0(unsigned long, HM_IDSET_MAX / BITS_PER_LONG + 1);

    *n_bits = 0;
    HM_IDSET_FOREACH (nodes, node) {
        mask[node / BITS_PER_LONG] |= 1ul << (node % BITS_PER_LONG);
        *n_bits = node + 1;
    }
    return mask;
}

int hm_os_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
               unsigned flags)
{
    gsize n_bits;
    g_autofree unsigned long *mask = node_mask(nodes, &n_bits);

    /* The kernel looks at one bit fewer than it is told. */
    return result(mbind(addr, length, mode, n_bits ? mask : NULL,
                        n_bits ? n_bits + 1 : 0, flags));
}

int hm_os_page_nodes(void *const *pages, gsize n, int *nodes)
{
    return result(move_pages(0, n, (void **)pages, NULL, nodes, 0));
}

/* files */

int hm_os_open(const char *path, int flags, mode_t mode)
{
    return result(
        TEMP_FAILURE_RETRY(open(path, flags | O_CLOEXEC | O_NOCTTY, mode)));
}

int hm_os_reopen(int fd, int flags)
{
    char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

    g_snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return hm_os_open(path, flags, 0);
}

int hm_os_close(int fd)
{
    /* Linux has closed it whatever it says: not to be tried again. */
    return close(fd) < 0 && errno != EINTR ? failure() : 0;
}

int hm_os_unlink(const char *path)
{
    return result(unlink(path));
}

static int memfd_create_noexec(const char *name, unsigned flags)
{
    int fd = result(memfd_create(name, flags | MFD_NOEXEC_SEAL));

    return fd == -EINVAL ? result(memfd_create(name, flags)) : fd;
}

int hm_os_memfd(const char *name, unsigned flags)
{
    hm_autofd int fd = memfd_create_noexec(name, flags | MFD_CLOEXEC);

    if (fd < 0) {
        return hm_steal_fd(&fd);
    }
    /* MFD_NOEXEC_SEAL has allowed sealing; EPERM: it was never allowed. */
    if (!(flags & MFD_ALLOW_SEALING)) {
        int ret = hm_os_add_seals(fd, F_SEAL_SEAL);

        if (ret < 0 && ret != -EPERM) {
            return ret;
        }
    }
    return hm_steal_fd(&fd);
}

int hm_os_shm(void)
{
    int fd = -EEXIST;

    for (guint i = 0; fd == -EEXIST && i < SHM_TRIES; i++) {
        g_autofree char *name =
            g_strdup_printf("/hostmem-%d-%08x", getpid(), g_random_int());

        /* Mode 0: nobody can open it in the moment that it has a name. */
        fd = result(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0));
        if (fd >= 0) {
            shm_unlink(name);
        }
    }
    return fd;
}

int hm_os_tmpfile(int dir_fd, mode_t mode)
{
    int fd = result(TEMP_FAILURE_RETRY(
        openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode)));

    /* A kernel that does not know O_TMPFILE sees a directory to write to. */
    return fd == -EISDIR ? -EOPNOTSUPP : fd;
}

int hm_os_stat(int fd, struct stat *st)
{
    return result(fstat(fd, st));
}

int hm_os_statfs(int fd, struct statfs *fs)
{
    return result(TEMP_FAILURE_RETRY(fstatfs(fd, fs)));
}

static gboolean is_dax_device(dev_t device)
{
    g_autofree char *link = g_strdup_printf("/sys/dev/char/%u:%u/subsystem",
                                            major(device), minor(device));
    g_autofree char *subsystem = g_file_read_link(link, NULL);

    return subsystem && g_str_has_suffix(subsystem, "/dax");
}

int hm_os_is_dax(int fd)
{
    struct statx stx = {0};
    int ret = result(statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &stx));

    if (ret < 0) {
        return ret;
    }
    if (S_ISCHR(stx.stx_mode)) {
        return is_dax_device(makedev(stx.stx_rdev_major, stx.stx_rdev_minor));
    }
    return !!(stx.stx_attributes & STATX_ATTR_DAX);
}

int hm_os_truncate(int fd, guint64 length)
{
    return result(TEMP_FAILURE_RETRY(ftruncate(fd, (off_t)length)));
}

static int fallocate_mode(int fd, int mode, guint64 offset, guint64 length)
{
    return result(
        TEMP_FAILURE_RETRY(fallocate(fd, mode, (off_t)offset, (off_t)length)));
}

int hm_os_allocate(int fd, guint64 offset, guint64 length)
{
    return fallocate_mode(fd, 0, offset, length);
}

int hm_os_punch(int fd, guint64 offset, guint64 length)
{
    return fallocate_mode(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          offset, length);
}

gint64 hm_os_seek(int fd, guint64 offset, int whence)
{
    off_t at = lseek(fd, (off_t)offset, whence);

    return at < 0 ? failure() : at;
}

int hm_os_add_seals(int fd, int seals)
{
    return result(fcntl(fd, F_ADD_SEALS, seals));
}

int hm_os_chmod(int fd, mode_t mode)
{
    return result(fchmod(fd, mode));
}

/* this process and host */

#define AFFINITY_BITS (HM_IDSET_MAX + 1)
#define AFFINITY_SIZE CPU_ALLOC_SIZE(AFFINITY_BITS)

static cpu_set_t *cpu_set_new(void)
{
    return g_malloc0(AFFINITY_SIZE);
}

int hm_os_get_affinity(pid_t tid, HmIdset *cpus)
{
    g_autofree cpu_set_t *set = cpu_set_new();
    int ret = result(sched_getaffinity(tid, AFFINITY_SIZE, set));

    if (ret < 0) {
        return ret;
    }
    HM_IDSET_FOREACH (cpus, cpu) {
        hm_idset_remove(cpus, cpu);
    }
    /* Most of the set is beyond the last CPU. */
    int left = CPU_COUNT_S(AFFINITY_SIZE, set);
    for (guint cpu = 0; left > 0; cpu++) {
        if (CPU_ISSET_S(cpu, AFFINITY_SIZE, set)) {
            hm_idset_add(cpus, cpu);
            left--;
        }
    }
    return 0;
}

int hm_os_set_affinity(pid_t tid, const HmIdset *cpus)
{
    g_autofree cpu_set_t *set = cpu_set_new();

    HM_IDSET_FOREACH (cpus, cpu) {
        CPU_SET_S(cpu, AFFINITY_SIZE, set);
    }
    return result(sched_setaffinity(tid, AFFINITY_SIZE, set));
}

int hm_os_lower_priority(HmPriority priority)
{
    const struct sched_param param = {0};

    switch (priority) {
    case HM_PRIORITY_LOW:
        return result(setpriority(PRIO_PROCESS, (id_t)hm_os_thread_id(), 19));
    case HM_PRIORITY_IDLE:
        return result(sched_setscheduler(0, SCHED_IDLE, &param));
    case HM_PRIORITY_NORMAL:
        break;
    }
    return 0;
}

pid_t hm_os_thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

gsize hm_os_page_size(void)
{
    return (gsize)sysconf(_SC_PAGESIZE);
}

gint64 hm_os_now(void)
{
    return g_get_monotonic_time();
}

int hm_os_get_limit(int resource, guint64 *limit)
{
    struct rlimit both;
    int ret = result(getrlimit(resource, &both));

    if (ret == 0) {
        *limit = both.rlim_cur == RLIM_INFINITY ? G_MAXUINT64 : both.rlim_cur;
    }
    return ret;
}

/* Files of /proc and /sys say length 0: read until there is no more. */
int hm_os_read_text(const char *path, char **textp)
{
    hm_autofd int fd = hm_os_open(path, O_RDONLY, 0);
    g_autoptr(GString) text = NULL;
    char buffer[4096];
    gssize n;

    if (fd < 0) {
        return hm_steal_fd(&fd);
    }
    text = g_string_new(NULL);
    while ((n = TEMP_FAILURE_RETRY(read(fd, buffer, sizeof(buffer)))) > 0) {
        if (text->len + (gsize)n > MAX_TEXT) {
            return -EFBIG;
        }
        g_string_append_len(text, buffer, n);
    }
    if (n < 0) {
        return failure();
    }
    *textp = g_string_free(g_steal_pointer(&text), FALSE);
    return 0;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int hm_os_list_dir(const char *path, GStrv *namesp)
{
    g_autoptr(GPtrArray) names = NULL;
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir) {
        return failure();
    }
    names = g_ptr_array_new();
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            g_ptr_array_add(names, g_strdup(entry->d_name));
        }
    }
    closedir(dir);
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    *namesp = (GStrv)g_ptr_array_free(g_steal_pointer(&names), FALSE);
    return 0;
}
