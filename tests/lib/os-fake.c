/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include "os-fake-host.h"

/* One armed failure. */
typedef struct {
    HmFakeCall call;
    gboolean any_arg;
    gint64 arg;
    guint left; /* calls until it strikes; 0: it strikes each time */
    int err;
} Failure;

typedef struct {
    HmFakeHook func;
    gpointer data;
} Hook;

/* Guarded by fake_lock; host_lock (os-fake-host.c) is never held with it. */
static GMutex fake_lock;
static GArray *failures; /* Failure */
static GArray *records;  /* HmFakeRecord */
static guint counts[HM_FAKE_N_CALLS];
static Hook hooks[HM_FAKE_N_CALLS];

/* Whether this thread is inside a hook. */
static __thread gboolean in_hook;

static const char *const call_names[] = {
#define HM_FAKE_NAME(CONSTANT, name) #name,
    HM_FAKE_PRIMITIVES(HM_FAKE_NAME)
#undef HM_FAKE_NAME
};

void hm_fake_reset(void)
{
    g_mutex_lock(&fake_lock);
    g_clear_pointer(&failures, g_array_unref);
    g_clear_pointer(&records, g_array_unref);
    for (guint i = 0; i < HM_FAKE_N_CALLS; i++) {
        counts[i] = 0;
        hooks[i] = (Hook){NULL, NULL};
    }
    g_mutex_unlock(&fake_lock);
    hm_fake_host_reset();
    hm_fake_faults_reset();
}

/* failing */

static void arm(const Failure *failure)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    if (!failures) {
        failures = g_array_new(FALSE, FALSE, sizeof(Failure));
    }
    g_array_append_vals(failures, failure, 1);
}

void hm_fake_fail(HmFakeCall call, guint nth, int err)
{
    g_assert_cmpuint(nth, >, 0);
    arm(&(Failure){call, TRUE, 0, nth, err});
}

static void disarm(HmFakeCall call)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    for (guint i = failures ? failures->len : 0; i-- > 0;) {
        if (g_array_index(failures, Failure, i).call == call) {
            g_array_remove_index(failures, i);
        }
    }
}

void hm_fake_fail_always(HmFakeCall call, int err)
{
    disarm(call);
    if (err) {
        arm(&(Failure){call, TRUE, 0, 0, err});
    }
}

void hm_fake_fail_advice(int advice, guint nth, int err)
{
    g_assert_cmpuint(nth, >, 0);
    arm(&(Failure){HM_FAKE_ADVISE, FALSE, advice, nth, err});
}

void hm_fake_without_advice(int advice)
{
    arm(&(Failure){HM_FAKE_ADVISE, FALSE, advice, 0, EINVAL});
    arm(&(Failure){HM_FAKE_ADVISE_VECTOR, FALSE, advice, 0, EINVAL});
}

void hm_fake_hook(HmFakeCall call, HmFakeHook hook, gpointer data)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    hooks[call] = (Hook){hook, data};
}

/* The errno that strikes this call, or 0; every armed failure counts it. */
static int strike(const HmFakeRecord *record)
{
    int err = 0;

    for (guint i = failures ? failures->len : 0; i-- > 0;) {
        Failure *failure = &g_array_index(failures, Failure, i);

        if (failure->call != record->call ||
            (!failure->any_arg && failure->arg != record->arg)) {
            continue;
        }
        if (!failure->left) {
            err = failure->err;
        } else if (--failure->left == 0) {
            err = failure->err;
            g_array_remove_index(failures, i);
        }
    }
    return err;
}

static void remember(const HmFakeRecord *record)
{
    if (!records) {
        records = g_array_new(FALSE, FALSE, sizeof(HmFakeRecord));
    }
    g_array_append_vals(records, record, 1);
    counts[record->call]++;
}

gboolean hm_fake_meet(const HmFakeRecord *record, gint64 *result)
{
    Hook hook;
    int err;

    if (in_hook) {
        return FALSE;
    }
    g_mutex_lock(&fake_lock);
    remember(record);
    hook = hooks[record->call];
    err = strike(record);
    g_mutex_unlock(&fake_lock);

    *result = 0;
    if (hook.func) {
        in_hook = TRUE;
        *result = hook.func(record, hook.data);
        in_hook = FALSE;
    }
    if (!*result) {
        *result = -err;
    }
    return *result != 0;
}

/* counting */

static void count_only(HmFakeCall call)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    counts[call]++;
}

guint hm_fake_count(HmFakeCall call)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    return counts[call];
}

guint hm_fake_count_advice(int advice)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);
    guint n = 0;

    for (guint i = 0; records && i < records->len; i++) {
        const HmFakeRecord *record = &g_array_index(records, HmFakeRecord, i);

        n += record->call == HM_FAKE_ADVISE && record->arg == advice;
    }
    return n;
}

gboolean hm_fake_get_call(HmFakeCall call, guint nth, HmFakeRecord *record)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);

    for (guint i = 0; records && i < records->len; i++) {
        const HmFakeRecord *at = &g_array_index(records, HmFakeRecord, i);

        if (at->call == call && --nth == 0) {
            *record = *at;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean is_question(HmFakeCall call)
{
    switch (call) {
    case HM_FAKE_PAGE_NODES:
    case HM_FAKE_POPULATED:
    case HM_FAKE_POPULATED_RANGES:
    case HM_FAKE_RESIDENT_RANGES:
    case HM_FAKE_KEPT_RANGES:
    case HM_FAKE_FAULT_MARK:
    case HM_FAKE_HUGE:
    case HM_FAKE_HUGE_RANGES:
    case HM_FAKE_COUNT_PAGES:
    case HM_FAKE_IS_MLOCKED:
    case HM_FAKE_FAULTFD_FEATURES:
    case HM_FAKE_FAULTFD_READ:
    case HM_FAKE_STAT:
    case HM_FAKE_STATFS:
    case HM_FAKE_IS_DAX:
    case HM_FAKE_ONLY_USER:
    case HM_FAKE_SEEK:
    case HM_FAKE_GET_SEALS:
    case HM_FAKE_GET_MODE:
    case HM_FAKE_GET_AFFINITY:
    case HM_FAKE_GET_LIMIT:
    case HM_FAKE_READ_TEXT:
    case HM_FAKE_LIST_DIR:
    case HM_FAKE_THREAD_TIME:
        return TRUE;
    default:
        return FALSE;
    }
}

char *hm_fake_sequence(void)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&fake_lock);
    GString *text = g_string_new(NULL);

    for (guint i = 0; records && i < records->len; i++) {
        const HmFakeRecord *record = &g_array_index(records, HmFakeRecord, i);

        if (is_question(record->call)) {
            continue;
        }
        g_string_append_printf(text, "%s%s", text->len ? " " : "",
                               call_names[record->call]);
        if (record->call == HM_FAKE_ADVISE ||
            record->call == HM_FAKE_ADVISE_VECTOR) {
            g_string_append_printf(text, ":%d", (int)record->arg);
        }
    }
    return g_string_free(text, FALSE);
}

/* memory */

int hm_os_map(void *hint, gsize length, int prot, int flags, int fd,
              guint64 offset, void **addrp)
{
    HmFakeRecord record = {.call = HM_FAKE_MAP,
                           .addr = hint,
                           .length = length,
                           .fd = fd,
                           .offset = offset,
                           .flags = flags,
                           .arg = prot};
    gint64 result;

    if (hm_fake_meet(&record, &result)) {
        return (int)result;
    }
    return hm_real_map(hint, length, prot, flags, fd, offset, addrp);
}

int hm_os_unmap(void *addr, gsize length)
{
    MEET(UNMAP, addr, length, -1, 0, 0);
    return hm_real_unmap(addr, length);
}

int hm_os_move(void *from, gsize length, void *to, gsize new_length)
{
    MEET(MOVE, from, length, -1, 0, (gint64)new_length);
    return hm_real_move(from, length, to, new_length);
}

int hm_os_advise(void *addr, gsize length, int advice)
{
    MEET(ADVISE, addr, length, -1, 0, advice);
    return hm_real_advise(addr, length, advice);
}

gssize hm_os_advise_vector(const struct iovec *ranges, gsize n, int advice)
{
    MEET(ADVISE_VECTOR, ranges, n, -1, 0, advice);
    return hm_real_advise_vector(ranges, n, advice);
}

int hm_os_bind(void *addr, gsize length, int mode, const HmIdset *nodes,
               unsigned flags)
{
    MEET(BIND, addr, length, -1, 0, mode);
    return hm_fake_host_bind(addr, length, mode, nodes, flags);
}

int hm_os_page_nodes(void *const *pages, gsize n, int *nodes)
{
    MEET(PAGE_NODES, pages, n, -1, 0, 0);
    return hm_fake_host_page_nodes(pages, n, nodes);
}

gint64 hm_os_populated(void *addr, gsize length)
{
    MEET(POPULATED, addr, length, -1, 0, 0);
    return hm_real_populated(addr, length);
}

int hm_os_populated_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    MEET(POPULATED_RANGES, addr, length, -1, 0, 0);
    return hm_real_populated_ranges(addr, length, ranges);
}

gint64 hm_os_huge(void *addr, gsize length)
{
    MEET(HUGE, addr, length, -1, 0, 0);
    return hm_real_huge(addr, length);
}

int hm_os_huge_ranges(void *addr, gsize length, HmRangeList *ranges)
{
    MEET(HUGE_RANGES, addr, length, -1, 0, 0);
    return hm_real_huge_ranges(addr, length, ranges);
}

/* files */

int hm_os_open(const char *path, int flags, mode_t mode)
{
    MEET_PATH(OPEN, path, NULL, 0, -1, 0, flags);
    return hm_real_open(path, flags, mode);
}

int hm_os_reopen(int fd, int flags)
{
    MEET(REOPEN, NULL, 0, fd, 0, flags);
    return hm_real_reopen(fd, flags);
}

int hm_os_close(int fd)
{
    HmFakeRecord record = {.call = HM_FAKE_CLOSE, .fd = fd};
    gint64 result;
    gboolean ends = hm_fake_meet(&record, &result);
    int ret = hm_real_close(fd); /* Linux closes even when it fails */

    return ends ? (int)result : ret;
}

int hm_os_unlink(const char *path)
{
    MEET_PATH(UNLINK, path, NULL, 0, -1, 0, 0);
    return hm_real_unlink(path);
}

int hm_os_memfd(const char *name, unsigned flags)
{
    MEET(MEMFD, NULL, 0, -1, 0, flags);
    return hm_real_memfd(name, flags);
}

int hm_os_shm(void)
{
    MEET(SHM, NULL, 0, -1, 0, 0);
    return hm_real_shm();
}

int hm_os_tmpfile(int dir_fd, mode_t mode)
{
    MEET(TMPFILE, NULL, 0, dir_fd, 0, mode);
    return hm_real_tmpfile(dir_fd, mode);
}

int hm_os_stat(int fd, struct stat *st)
{
    MEET(STAT, NULL, 0, fd, 0, 0);
    return hm_real_stat(fd, st);
}

int hm_os_statfs(int fd, struct statfs *fs)
{
    MEET(STATFS, NULL, 0, fd, 0, 0);
    return hm_fake_host_statfs(fd, fs);
}

int hm_os_is_dax(int fd)
{
    MEET(IS_DAX, NULL, 0, fd, 0, 0);
    return hm_real_is_dax(fd);
}

int hm_os_truncate(int fd, guint64 length)
{
    MEET(TRUNCATE, NULL, length, fd, 0, 0);
    return hm_real_truncate(fd, length);
}

int hm_os_allocate(int fd, guint64 offset, guint64 length)
{
    MEET(ALLOCATE, NULL, length, fd, offset, 0);
    return hm_real_allocate(fd, offset, length);
}

int hm_os_punch(int fd, guint64 offset, guint64 length)
{
    MEET(PUNCH, NULL, length, fd, offset, 0);
    return hm_real_punch(fd, offset, length);
}

gint64 hm_os_seek(int fd, guint64 offset, int whence)
{
    MEET(SEEK, NULL, 0, fd, offset, whence);
    return hm_real_seek(fd, offset, whence);
}

int hm_os_add_seals(int fd, int seals)
{
    MEET(ADD_SEALS, NULL, 0, fd, 0, seals);
    return hm_real_add_seals(fd, seals);
}

int hm_os_chmod(int fd, mode_t mode)
{
    MEET(CHMOD, NULL, 0, fd, 0, mode);
    return hm_real_chmod(fd, mode);
}

int hm_os_get_seals(int fd)
{
    MEET(GET_SEALS, NULL, 0, fd, 0, 0);
    return hm_real_get_seals(fd);
}

int hm_os_get_mode(int fd)
{
    MEET(GET_MODE, NULL, 0, fd, 0, 0);
    return hm_real_get_mode(fd);
}

int hm_os_dup(int fd)
{
    MEET(DUP, NULL, 0, fd, 0, 0);
    return hm_real_dup(fd);
}

int hm_os_write(int fd, const void *data, gsize length)
{
    MEET(WRITE, data, length, fd, 0, 0);
    return hm_real_write(fd, data, length);
}

int hm_os_write_at(int fd, const void *data, gsize length, guint64 offset)
{
    MEET(WRITE_AT, data, length, fd, offset, 0);
    return hm_real_write_at(fd, data, length, offset);
}

int hm_os_sync(int fd)
{
    MEET(SYNC, NULL, 0, fd, 0, 0);
    return hm_real_sync(fd);
}

gssize hm_os_read_at(int fd, void *data, gsize length, guint64 offset)
{
    MEET(READ_AT, data, length, fd, offset, 0);
    return hm_real_read_at(fd, data, length, offset);
}

int hm_os_lock(int fd, pid_t *holder)
{
    MEET(LOCK, NULL, 0, fd, 0, 0);
    return hm_real_lock(fd, holder);
}

/* this process and host */

int hm_os_get_affinity(pid_t tid, HmIdset *cpus)
{
    MEET(GET_AFFINITY, NULL, 0, -1, 0, tid);
    return hm_fake_host_get_affinity(tid, cpus);
}

int hm_os_set_affinity(pid_t tid, const HmIdset *cpus)
{
    MEET(SET_AFFINITY, NULL, 0, -1, 0, tid);
    return hm_fake_host_set_affinity(tid, cpus);
}

pid_t hm_os_thread_id(void)
{
    count_only(HM_FAKE_THREAD_ID);
    return hm_real_thread_id();
}

int hm_os_lower_priority(HmPriority priority)
{
    MEET(LOWER_PRIORITY, NULL, 0, -1, 0, priority);
    return hm_real_lower_priority(priority);
}

gsize hm_os_page_size(void)
{
    count_only(HM_FAKE_PAGE_SIZE);
    return hm_real_page_size();
}

gint64 hm_os_now(void)
{
    count_only(HM_FAKE_NOW);
    return hm_fake_host_now();
}

int hm_os_get_limit(int resource, guint64 *limit)
{
    MEET(GET_LIMIT, NULL, 0, -1, 0, resource);
    return hm_fake_host_get_limit(resource, limit);
}

int hm_os_read_text(const char *path, char **textp)
{
    MEET_PATH(READ_TEXT, path, NULL, 0, -1, 0, 0);
    return hm_fake_host_read_text(path, textp);
}

int hm_os_list_dir(const char *path, GStrv *namesp)
{
    MEET_PATH(LIST_DIR, path, NULL, 0, -1, 0, 0);
    return hm_fake_host_list_dir(path, namesp);
}
