/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation
 *
 * userfaultfd(2) protects what a page table says.  Where it says nothing, yet,
 * the kernel leaves a mark: always with shared memory, with private memory
 * from Linux 6.4 on (WP_UNPOPULATED).  Before that the page has to be there,
 * and the shared zero page is one, which reading maps for little.
 *
 * Descriptors are never closed while others may use them: ending is to
 * unregister, which wakes whoever waits, and closing comes last.
 */
#include <errno.h>
#include "util/error.h"
#include "util/hostcaps.h"
#include "util/os.h"
#include "util/parallel.h"
#include "util/size.h"
#include "util/write-protect.h"

#define FEATURES_NEEDED UFFD_FEATURE_PAGEFAULT_FLAG_WP
/* Short enough that whoever waits for mmap_lock does not wait long. */
#define CHUNK (64 * HM_MIB)

static gboolean refuse(int err, GError **error)
{
    switch (err) {
    case EPERM:
    case EACCES:
        return hm_set_error(error, HOSTMEM_ERROR_PERMISSION,
                            "cannot be told of writes to memory: that needs "
                            "CAP_SYS_PTRACE, access to /dev/userfaultfd, or "
                            "vm.unprivileged_userfaultfd=1");
    case ENOSYS:
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "this kernel has no userfaultfd");
    default:
        return hm_set_error_errno(error, err,
                                  "cannot be told of writes to memory");
    }
}

static gboolean is_anonymous(const HmBacking *backing)
{
    return backing->kind == HM_MEM_ANON;
}

static gboolean check_features(guint64 has, const HmBacking *backing,
                               GError **error)
{
    if (!(has & FEATURES_NEEDED)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "this kernel cannot write-protect memory: Linux "
                            "5.7 can");
    }
    if (!is_anonymous(backing) && !(has & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "this kernel cannot write-protect %s: Linux 5.19 "
                            "can",
                            hm_mem_kind_name(backing->kind));
    }
    if (is_anonymous(backing) && !(has & UFFD_FEATURE_WP_UNPOPULATED) &&
        !hm_hostcaps_get()->populate) {
        return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                            "this kernel cannot write-protect pages that are "
                            "not there, nor map them: Linux 5.14 can");
    }
    return TRUE;
}

static int open_with_all(guint64 has)
{
    const guint64 useful =
        UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED;

    return hm_os_faultfd(FEATURES_NEEDED | (has & useful));
}

static gboolean refuse_register(int err, HmMemKind kind, GError **error)
{
    if (err != EINVAL) {
        return hm_set_error_errno(error, err, "cannot write-protect memory");
    }
    return hm_set_error(error, HOSTMEM_ERROR_UNSUPPORTED,
                        "the kernel cannot write-protect %s",
                        hm_mem_kind_name(kind));
}

gboolean hm_write_protect_init(HmWriteProtect *self, const HmBacking *backing,
                               guint8 *addr, GError **error)
{
    guint64 has = 0;
    int ret = hm_os_faultfd_features(&has);

    *self = (HmWriteProtect){
        .fd = -1,
        .addr = addr,
        .length = backing->length,
        .page_size = backing->page_size,
        .marks_absent =
            (has & UFFD_FEATURE_WP_UNPOPULATED) || !is_anonymous(backing),
    };
    if (ret < 0) {
        return refuse(-ret, error);
    }
    if (!check_features(has, backing, error)) {
        return FALSE;
    }
    self->fd = open_with_all(has);
    if (self->fd < 0) {
        return refuse(-self->fd, error);
    }
    ret = hm_os_faultfd_register(self->fd, addr, self->length);
    if (ret == 0) {
        return TRUE;
    }
    hm_os_close(self->fd);
    self->fd = -1;
    return refuse_register(-ret, backing->kind, error);
}

/* Arming */

typedef struct {
    HmWriteProtect *self;
    const HmRangeList *ranges;

    GMutex lock; /* guards what follows */
    guint index;
    guint64 done; /* bytes of range @index */
    int ret;      /* of who failed first */
} Arming;

/* Returns: FALSE when there is nothing left to do */
static gboolean next_chunk(Arming *arming, HmRange *chunk)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&arming->lock);
    const guint64 most = MAX(CHUNK, arming->self->page_size);
    const HmRange *range;

    if (arming->ret < 0 || arming->index == arming->ranges->len) {
        return FALSE;
    }
    range = hm_range_list_get(arming->ranges, arming->index);
    chunk->offset = range->offset + arming->done;
    /* No huge page is cut in two, which are aligned. */
    chunk->length =
        MIN(most - chunk->offset % most, range->length - arming->done);
    arming->done += chunk->length;
    if (arming->done == range->length) {
        arming->index++;
        arming->done = 0;
    }
    return TRUE;
}

static int arm_chunk(HmWriteProtect *self, const HmRange *chunk)
{
    guint8 *addr = self->addr + chunk->offset;
    int ret = 0;

    if (!self->marks_absent) {
        do {
            ret = hm_os_advise(addr, chunk->length, MADV_POPULATE_READ);
        } while (ret == -EINTR || ret == -EAGAIN);
    }
    return ret < 0 ? ret
                   : hm_os_write_protect(self->fd, addr, chunk->length, TRUE);
}

static void arm_main(gpointer data)
{
    Arming *arming = data;
    HmRange chunk;

    while (next_chunk(arming, &chunk)) {
        int ret = arm_chunk(arming->self, &chunk);

        g_mutex_lock(&arming->lock);
        arming->ret = arming->ret < 0 ? arming->ret : ret;
        g_mutex_unlock(&arming->lock);
    }
}

gboolean hm_write_protect_arm(HmWriteProtect *self, const HmRangeList *ranges,
                              guint threads, GError **error)
{
    Arming arming = {.self = self, .ranges = ranges};
    guint64 chunks = hm_range_list_total(ranges) / CHUNK + 1;

    g_mutex_init(&arming.lock);
    hm_parallel_run((guint)MIN(threads, chunks), "hostmem-protect", arm_main,
                    &arming);
    g_mutex_clear(&arming.lock);
    return arming.ret == 0 || hm_set_error_errno(error, -arming.ret,
                                                 "cannot write-protect memory");
}

int hm_write_protect_lift(HmWriteProtect *self, const HmRange *range)
{
    int ret = hm_os_write_protect(self->fd, self->addr + range->offset,
                                  range->length, FALSE);

    /* Then it is not registered any more, and nobody waits. */
    return g_atomic_int_get(&self->ended) ? 0 : ret;
}

int hm_write_protect_read(HmWriteProtect *self, guint64 *offsets, guint n)
{
    int found = hm_os_faultfd_read(self->fd, offsets, n);

    for (int i = 0; i < found; i++) {
        offsets[i] -= (guintptr)self->addr;
    }
    return found;
}

static void end_all(HmWriteProtect *self)
{
    if (hm_os_faultfd_unregister(self->fd, self->addr, self->length) < 0) {
        hm_os_write_protect(self->fd, self->addr, self->length, FALSE);
    }
}

void hm_write_protect_end(HmWriteProtect *self)
{
    if (self->fd >= 0 &&
        g_atomic_int_compare_and_exchange(&self->ended, 0, 1)) {
        end_all(self);
    }
}

void hm_write_protect_clear(HmWriteProtect *self)
{
    hm_write_protect_end(self);
    if (self->fd >= 0) {
        hm_os_close(self->fd); /* does what may have failed there */
        self->fd = -1;
    }
}
