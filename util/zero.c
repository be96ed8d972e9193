/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <time.h>
#include "util/align.h"
#include "util/error.h"
#include "util/sigbus.h"
#include "util/zero-method.h"
#include "util/zero-trial.h"
#include "util/zero.h"

/*
 * Theory of operation
 *
 * Whether streaming stores or memset(3) are faster depends on the CPU and on
 * what the C library makes of it: on some they are twice as fast, on others
 * memset() does the same or better.  So the first large ranges of a process
 * are a trial: they are zeroed by the widest streaming stores and by memset()
 * in turns, and the clock decides: that of the thread, which stands still while
 * others have the CPU.  No work is done twice for it.
 *
 * A run that a fault has ended is not counted: nothing is owned while memory
 * is written.
 */

#define MAX_METHODS 8
#define UNDECIDED   (-1)

/* What this CPU has, in the order of the table: streaming stores first, memset
 * last. */
typedef struct {
    const HmZeroMethod *methods[MAX_METHODS];
    const char *names[MAX_METHODS + 1];
    guint n;
} Choice;

static gint decision = UNDECIDED; /* atomic: index of the method */
static gint turn;                 /* atomic */
static GMutex trial_lock;         /* guards trial */
static HmZeroTrial trial;

static gpointer choose(G_GNUC_UNUSED gpointer data)
{
    static Choice choice;
    guint n;
    const HmZeroMethod *table = hm_zero_method_table(&n);

    g_assert(n <= MAX_METHODS);
    for (guint i = 0; i < n; i++) {
        if (!table[i].is_there || table[i].is_there()) {
            choice.methods[choice.n] = &table[i];
            choice.names[choice.n] = table[i].name;
            choice.n++;
        }
    }
    return &choice;
}

static const Choice *get_choice(void)
{
    static GOnce once = G_ONCE_INIT;

    return g_once(&once, choose, NULL);
}

static const HmZeroMethod *get_method(void)
{
    return get_choice()->methods[MAX(g_atomic_int_get(&decision), 0)];
}

static void end_run(const Choice *choice, guint which, gsize length,
                    gint64 microseconds)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&trial_lock);
    int better = hm_zero_trial_add(&trial, which, length, microseconds);

    if (better >= 0) {
        g_atomic_int_set(&decision, better ? (gint)choice->n - 1 : 0);
    }
}

/* Microseconds that this thread has had a CPU. */
static gint64 cpu_time(void)
{
    struct timespec time = {0};

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

static void zero_in_trial(const Choice *choice, void *addr, gsize length)
{
    guint which = (guint)g_atomic_int_add(&turn, 1) % 2;
    gint64 start = cpu_time();

    choice->methods[which ? choice->n - 1 : 0]->zero(addr, length);
    end_run(choice, which, length, cpu_time() - start);
}

static gboolean is_aligned(const void *addr, gsize length)
{
    return hm_is_aligned((guintptr)addr | length, HM_ZERO_ALIGN);
}

void hm_zero(void *addr, gsize length)
{
    g_return_if_fail(is_aligned(addr, length));

    if (length >= HM_ZERO_TRIAL_LENGTH &&
        g_atomic_int_get(&decision) == UNDECIDED) {
        zero_in_trial(get_choice(), addr, length);
    } else {
        get_method()->zero(addr, length);
    }
}

const char *hm_zero_method(void)
{
    return get_method()->name;
}

const char *const *hm_zero_methods(void)
{
    return get_choice()->names;
}

gboolean hm_zero_with(const char *method, void *addr, gsize length)
{
    const Choice *choice = get_choice();

    g_return_val_if_fail(is_aligned(addr, length), FALSE);
    for (guint i = 0; i < choice->n; i++) {
        if (g_str_equal(choice->names[i], method)) {
            choice->methods[i]->zero(addr, length);
            return TRUE;
        }
    }
    return FALSE;
}

/* guarded */

typedef struct {
    void *addr;
    gsize length;
} Job;

static void zero_job(gpointer data)
{
    const Job *job = data;

    hm_zero(job->addr, job->length);
}

static gboolean set_fault(GError **error, int err, gsize offset, gsize length)
{
    return hm_set_error(error, HOSTMEM_ERROR_CHANGED,
                        "zeroing memory failed: %s at offset %" G_GSIZE_FORMAT
                        " of %" G_GSIZE_FORMAT " bytes",
                        err == EHWPOISON
                            ? "poisoned page"
                            : "the file was truncated, or no page could be had",
                        offset, length);
}

gboolean hm_zero_guarded(void *addr, gsize length, GError **error)
{
    Job job = {addr, length};
    void *fault = addr;

    g_return_val_if_fail(is_aligned(addr, length), FALSE);
    int r = hm_sigbus_run(zero_job, &job, addr, length, &fault);
    if (r == -EFAULT || r == -EHWPOISON) {
        return set_fault(error, -r, (guint8 *)fault - (guint8 *)addr, length);
    }
    return r == 0 || hm_set_error_errno(error, -r, "zeroing memory failed");
}

/* is zero */

typedef guint64 Vector __attribute__((vector_size(16), aligned(1)));

/* Bytes between two looks whether to go on. */
#define BLOCK 256

static gboolean is_zero_block(const guint8 *at)
{
    const Vector *vectors = (const Vector *)at;
    Vector sum = vectors[0];

    for (guint i = 1; i < BLOCK / sizeof(Vector); i++) {
        sum |= vectors[i];
    }
    return !(sum[0] | sum[1]);
}

gboolean hm_is_zero(const void *addr, gsize length)
{
    const guint8 *at = addr;
    const guint8 *end = at + length;
    guint8 rest = 0;

    for (; (gsize)(end - at) >= BLOCK; at += BLOCK) {
        if (!is_zero_block(at)) {
            return FALSE;
        }
    }
    for (; at < end; at++) {
        rest |= *at;
    }
    return !rest;
}
