/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/os.h"

/*
 * A kernel that tests can bend.
 *
 * Linked in place of os-linux.c.  Each primitive is counted and recorded, then
 * meets, in this order: a hook, an armed failure, a pretended answer, and last
 * the real kernel.  All functions may be called from any thread; what is armed
 * holds for all threads.  A test program calls hm_fake_reset() first in each
 * test.
 *
 *     hm_fake_fail(HM_FAKE_MAP, 2, ENOMEM);        // the second map fails
 *     hm_fake_fail_advice(MADV_POPULATE_WRITE, 3, EFAULT);
 *     hm_fake_without_advice(MADV_COLLAPSE);       // an older kernel
 *     hm_fake_set_nodes(4, 2, 8 * HM_GIB);         // a NUMA host
 *     hm_fake_set_file("/proc/meminfo", "MemAvailable: 100 kB\n");
 *     g_assert_cmpuint(hm_fake_count(HM_FAKE_UNMAP), ==, 1);
 */

/* One row per primitive of util/os.h: X(CONSTANT, name). */
#define HM_FAKE_PRIMITIVES(X)                 \
    X(MAP, map)                               \
    X(UNMAP, unmap)                           \
    X(MOVE, move)                             \
    X(ADVISE, advise)                         \
    X(ADVISE_VECTOR, advise_vector)           \
    X(BIND, bind)                             \
    X(PAGE_NODES, page_nodes)                 \
    X(POPULATED, populated)                   \
    X(POPULATED_RANGES, populated_ranges)     \
    X(HUGE, huge)                             \
    X(HUGE_RANGES, huge_ranges)               \
    X(RESIDENT_RANGES, resident_ranges)       \
    X(KEPT_RANGES, kept_ranges)               \
    X(COUNT_PAGES, count_pages)               \
    X(MLOCK, mlock)                           \
    X(MUNLOCK, munlock)                       \
    X(IS_MLOCKED, is_mlocked)                 \
    X(FAULTFD_FEATURES, faultfd_features)     \
    X(FAULTFD, faultfd)                       \
    X(FAULTFD_REGISTER, faultfd_register)     \
    X(FAULTFD_UNREGISTER, faultfd_unregister) \
    X(WRITE_PROTECT, write_protect)           \
    X(FAULTFD_READ, faultfd_read)             \
    X(FAULT_MARK, fault_mark)                 \
    X(OPEN, open)                             \
    X(REOPEN, reopen)                         \
    X(CLOSE, close)                           \
    X(UNLINK, unlink)                         \
    X(MEMFD, memfd)                           \
    X(SHM, shm)                               \
    X(TMPFS, tmpfs)                           \
    X(TMPFILE, tmpfile)                       \
    X(STAT, stat)                             \
    X(STATFS, statfs)                         \
    X(IS_DAX, is_dax)                         \
    X(TRUNCATE, truncate)                     \
    X(ALLOCATE, allocate)                     \
    X(PUNCH, punch)                           \
    X(SEEK, seek)                             \
    X(ADD_SEALS, add_seals)                   \
    X(GET_SEALS, get_seals)                   \
    X(GET_MODE, get_mode)                     \
    X(DUP, dup)                               \
    X(WRITE, write)                           \
    X(WRITE_AT, write_at)                     \
    X(SYNC, sync)                             \
    X(READ_AT, read_at)                       \
    X(LOCK, lock)                             \
    X(CHMOD, chmod)                           \
    X(CHOWN, chown)                           \
    X(FLOCK, flock)                           \
    X(ONLY_USER, only_user)                   \
    X(OPEN_AT, open_at)                       \
    X(UNLINK_AT, unlink_at)                   \
    X(LINK, link)                             \
    X(ATTACH, attach)                         \
    X(DETACH, detach)                         \
    X(GET_AFFINITY, get_affinity)             \
    X(SET_AFFINITY, set_affinity)             \
    X(THREAD_ID, thread_id)                   \
    X(LOWER_PRIORITY, lower_priority)         \
    X(PAGE_SIZE, page_size)                   \
    X(NOW, now)                               \
    X(THREAD_TIME, thread_time)               \
    X(GET_LIMIT, get_limit)                   \
    X(READ_TEXT, read_text)                   \
    X(LIST_DIR, list_dir)

typedef enum {
#define HM_FAKE_ENUM(CONSTANT, name) HM_FAKE_##CONSTANT,
    HM_FAKE_PRIMITIVES(HM_FAKE_ENUM)
#undef HM_FAKE_ENUM
    HM_FAKE_N_CALLS
} HmFakeCall;

/** What a call was asked; members it has no use for are 0 or -1. */
typedef struct {
    HmFakeCall call;
    const char *path; /* interned; of open, unlink, read_text, list_dir; a
                       * name of open_at, unlink_at, link */
    void *addr;
    guint64 length; /* bytes; n of page_nodes and advise_vector */
    int fd;
    guint64 offset; /* bytes, in @fd */
    int flags;      /* of map */
    gint64 arg;     /* advice, prot, whence, seals, mode of bind, flags of open,
                     * reopen and memfd, mode, resource, thread id, priority;
                     * of faultfd the features; of write_protect whether on;
                     * of chown the uid; of link and attach the directory; of
                     * move the new length */
} HmFakeRecord;

/** Forget everything: no failures, nothing pretended, counts at 0. */
void hm_fake_reset(void);

/* failing */

/** The @nth call from now, 1 for the next, fails with @err; others do not. */
void hm_fake_fail(HmFakeCall call, guint nth, int err);
/** Every call from now fails with @err; 0: none any more. */
void hm_fake_fail_always(HmFakeCall call, int err);
/** The @nth hm_os_advise() with this advice from now fails with @err. */
void hm_fake_fail_advice(int advice, guint nth, int err);
/** A kernel that answers EINVAL to this advice, vectored too. */
void hm_fake_without_advice(int advice);

/**
 * Runs in the calling thread before the call; 0 goes on, anything else is the
 * call's result.  May call hm_os_* itself: those meet no hook.  For void
 * results and hm_os_page_size() and the like it is not asked.
 */
typedef gint64 (*HmFakeHook)(const HmFakeRecord *record, gpointer data);
/** One hook per primitive; NULL removes it. */
void hm_fake_hook(HmFakeCall call, HmFakeHook hook, gpointer data);

/* counting */

/** Calls since the last reset, failed ones included. */
guint hm_fake_count(HmFakeCall call);
guint hm_fake_count_advice(int advice);
/** The @nth call (from 1) of a primitive since the reset; FALSE: too few. */
gboolean hm_fake_get_call(HmFakeCall call, guint nth, HmFakeRecord *record);
/**
 * (transfer full): names in order, advice by number: "memfd truncate map
 * advise:14".  Without questions: stat, page_size, now, read_text and such.
 */
char *hm_fake_sequence(void);

/* another host */

/** Contents of a file; NULL: it is not there.  Directories list them. */
void hm_fake_set_file(const char *path, const char *text);
/** Nothing at or below @path is there but what set_file gives. */
void hm_fake_hide_tree(const char *path);
/**
 * hm_fake_set_nodes: a host with @n NUMA nodes of @cpus CPUs each, and @free
 * bytes of @free total each.
 *
 * hm_os_bind() then takes these nodes (EINVAL for others) and remembers,
 * hm_os_page_nodes() answers from that, and the affinity calls know CPUs 0 to
 * n * cpus - 1.
 */
void hm_fake_set_nodes(guint n, guint cpus, guint64 free);
void hm_fake_set_node_memory(guint node, guint64 total, guint64 free);
/** (transfer full) (nullable): where an address was bound to: "0,2". */
char *hm_fake_bound_to(const void *addr);
/** The pool of a page size; counts are pages.  Other pools stay. */
void hm_fake_set_huge_pool(guint64 page_size, guint64 total, guint64 free,
                           guint64 reserved);
void hm_fake_set_node_huge_pages(guint node, guint64 page_size, guint64 free);
/** What hm_os_statfs() says of every descriptor; NULL: the truth. */
void hm_fake_set_statfs(const struct statfs *fs);
/** What hm_os_get_limit() says; G_MAXUINT64: no limit. */
void hm_fake_set_limit(int resource, guint64 limit);
/** A kernel whose userfaultfd(2) has these UFFD_FEATURE_* at most. */
void hm_fake_set_fault_features(guint64 features);
/** A clock that stands at @microseconds until set again. */
void hm_fake_set_now(gint64 microseconds);
