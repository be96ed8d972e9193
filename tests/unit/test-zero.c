/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include "util/autofd.h"
#include "util/error.h"
#include "util/os.h"
#include "util/zero-trial.h"
#include "util/zero.h"

#define FULL  0xa5
#define GUARD 256 /* bytes that must stay as they are, on each side */
#define ROOM  (64 * 1024)

/* Each length must begin at each of these, and at no other. */
static const gsize starts[] = {0, 64, 128, 192, 4096 - 64, 4096};
static const gsize lengths[] = {0,    64,        128,  192,   256,
                                320,  448,       512,  576,   4032,
                                4096, 4096 + 64, 8192, 12352, 32768};

static guint8 *buffer_new(void)
{
    guint8 *buffer = g_aligned_alloc(ROOM, 1, HM_ZERO_ALIGN);

    memset(buffer, FULL, ROOM);
    return buffer;
}

static gboolean all_are(const guint8 *at, gsize length, guint8 value)
{
    for (gsize i = 0; i < length; i++) {
        if (at[i] != value) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether @length bytes from @start are 0, and those around them are not. */
static void assert_zeroed(const guint8 *start, gsize length)
{
    g_assert_true(all_are(start - GUARD, GUARD, FULL));
    g_assert_true(all_are(start, length, 0));
    g_assert_true(all_are(start + length, GUARD, FULL));
}

/* methods */

static void test_methods_end_with_memset(void)
{
    const char *const *methods = hm_zero_methods();
    guint n = g_strv_length((char **)methods);

    g_assert_cmpstr(methods[n - 1], ==, "memset");
    g_assert_true(g_strv_contains(methods, hm_zero_method()));
}

static void test_default_zeroes(void)
{
    guint8 *buffer = buffer_new();

    hm_zero(buffer + GUARD, 4096);
    assert_zeroed(buffer + GUARD, 4096);
    g_aligned_free(buffer);
}

static void zero_everywhere(const char *method, guint8 *buffer)
{
    for (guint i = 0; i < G_N_ELEMENTS(starts); i++) {
        for (guint j = 0; j < G_N_ELEMENTS(lengths); j++) {
            guint8 *start = buffer + GUARD + starts[i];

            memset(buffer, FULL, ROOM);
            g_assert_true(hm_zero_with(method, start, lengths[j]));
            assert_zeroed(start, lengths[j]);
        }
    }
}

static void test_each_method_zeroes_what_it_is_told(void)
{
    const char *const *methods = hm_zero_methods();
    guint8 *buffer = buffer_new();

    for (guint i = 0; methods[i]; i++) {
        g_test_message("%s", methods[i]);
        zero_everywhere(methods[i], buffer);
    }
    g_aligned_free(buffer);
}

static void test_unknown_method_does_nothing(void)
{
    guint8 *buffer = buffer_new();

    g_assert_false(hm_zero_with("abacus", buffer, 4096));
    g_assert_false(hm_zero_with("", buffer, 4096));
    g_assert_true(all_are(buffer, ROOM, FULL));
    g_aligned_free(buffer);
}

static void refuse(void *addr, gsize length)
{
    g_test_expect_message("hostmem", G_LOG_LEVEL_CRITICAL, "*is_aligned*");
    hm_zero(addr, length);
    g_test_assert_expected_messages();
    g_test_expect_message("hostmem", G_LOG_LEVEL_CRITICAL, "*is_aligned*");
    g_assert_false(hm_zero_with("memset", addr, length));
    g_test_assert_expected_messages();
    g_test_expect_message("hostmem", G_LOG_LEVEL_CRITICAL, "*is_aligned*");
    g_assert_false(hm_zero_guarded(addr, length, NULL));
    g_test_assert_expected_messages();
}

static void test_unaligned_is_refused(void)
{
    guint8 *buffer = buffer_new();

    refuse(buffer + 1, 64);
    refuse(buffer + 32, 64);
    refuse(buffer, 63);
    refuse(buffer, 4096 + 8);
    g_assert_true(all_are(buffer, ROOM, FULL));
    g_aligned_free(buffer);
}

/* the choice */

static void test_the_faster_one_is_chosen(void)
{
    for (guint fast = 0; fast < 2; fast++) {
        HmZeroTrial trial = {{0}};

        for (guint i = 0; i < HM_ZERO_TRIAL_RUNS - 1; i++) {
            g_assert_cmpint(hm_zero_trial_add(&trial, 0, 1000, 100), ==, -1);
            g_assert_cmpint(hm_zero_trial_add(&trial, 1, 1000, 100), ==, -1);
        }
        g_assert_cmpint(hm_zero_trial_add(&trial, fast, 2000, 100), ==, -1);
        g_assert_cmpint(hm_zero_trial_add(&trial, !fast, 1000, 60), ==, fast);
    }
}

static void test_about_equal_ones_leave_it_at_the_first(void)
{
    HmZeroTrial trial = {{0}};
    int chosen = -1;

    for (guint i = 0; i < HM_ZERO_TRIAL_RUNS; i++) {
        hm_zero_trial_add(&trial, 1, 1050, 1);
        chosen = hm_zero_trial_add(&trial, 0, 1000, 0);
    }
    g_assert_cmpint(chosen, ==, 0);
}

static void test_disturbed_runs_do_not_count(void)
{
    HmZeroTrial trial = {{0}};
    int chosen = -1;

    for (guint i = 0; i < HM_ZERO_TRIAL_RUNS; i++) {
        hm_zero_trial_add(&trial, 0, 1000, i ? 100000 : 10);
        chosen = hm_zero_trial_add(&trial, 1, 1000, 20);
    }
    g_assert_cmpint(chosen, ==, 0);
}

static void test_large_ranges_are_zeroed_during_the_trial(void)
{
    const gsize length = HM_ZERO_TRIAL_LENGTH;
    guint8 *buffer = g_aligned_alloc(length, 1, HM_ZERO_ALIGN);

    for (guint i = 0; i < 2 * HM_ZERO_TRIAL_RUNS + 2; i++) {
        memset(buffer, FULL, length);
        hm_zero(buffer, length);
        g_assert_true(hm_is_zero(buffer, length));
        g_assert_true(g_strv_contains(hm_zero_methods(), hm_zero_method()));
    }
    g_aligned_free(buffer);
}

static gpointer zero_part(gpointer data)
{
    for (guint i = 0; i < 100; i++) {
        hm_zero(data, ROOM / 4);
    }
    return NULL;
}

static void test_threads_zero_at_once(void)
{
    guint8 *buffer = buffer_new();
    GThread *threads[4];

    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("zero", zero_part, buffer + i * ROOM / 4);
    }
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    g_assert_true(hm_is_zero(buffer, ROOM));
    g_aligned_free(buffer);
}

/* guarded: four pages of a file */

#define N_PAGES 4

typedef struct {
    gsize page;
    gsize length;
    int fd;
    guint8 *addr;
} File;

static void set_up(File *file, gconstpointer data)
{
    void *addr;

    (void)data;
    signal(SIGBUS, SIG_DFL); /* sanitizers have a handler */
    file->page = hm_os_page_size();
    file->length = N_PAGES * file->page;
    file->fd = hm_os_memfd("test", 0);
    g_assert_cmpint(file->fd, >=, 0);
    g_assert_cmpint(hm_os_truncate(file->fd, file->length), ==, 0);
    g_assert_cmpint(hm_os_map(NULL, file->length, PROT_READ | PROT_WRITE,
                              MAP_SHARED, file->fd, 0, &addr),
                    ==, 0);
    file->addr = addr;
    memset(addr, FULL, file->length);
}

static void tear_down(File *file, gconstpointer data)
{
    (void)data;
    hm_os_unmap(file->addr, file->length);
    hm_os_close(file->fd);
}

static void test_guarded_zeroes(File *file, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_true(
        hm_zero_guarded(file->addr + file->page, 2 * file->page, &error));
    g_assert_no_error(error);
    g_assert_true(all_are(file->addr, file->page, FULL));
    g_assert_true(hm_is_zero(file->addr + file->page, 2 * file->page));
    g_assert_true(all_are(file->addr + 3 * file->page, file->page, FULL));
}

static void test_guarded_nothing(File *file, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_true(hm_zero_guarded(file->addr, 0, &error));
    g_assert_no_error(error);
    g_assert_true(all_are(file->addr, file->length, FULL));
}

static void test_truncated_file_is_an_error(File *file, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *place =
        g_strdup_printf("*truncated*at offset %" G_GSIZE_FORMAT
                        " of %" G_GSIZE_FORMAT " bytes*",
                        2 * file->page, file->length);

    (void)data;
    g_assert_cmpint(hm_os_truncate(file->fd, 2 * file->page), ==, 0);
    g_assert_false(hm_zero_guarded(file->addr, file->length, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    g_assert_true(g_pattern_match_simple(place, error->message));
    g_assert_true(hm_is_zero(file->addr, 2 * file->page));
}

static void test_error_may_be_ignored(File *file, gconstpointer data)
{
    (void)data;
    g_assert_cmpint(hm_os_truncate(file->fd, 0), ==, 0);
    g_assert_false(hm_zero_guarded(file->addr, file->length, NULL));
}

static void test_works_again_after_an_error(File *file, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    g_assert_cmpint(hm_os_truncate(file->fd, file->page), ==, 0);
    g_assert_false(hm_zero_guarded(file->addr, file->length, NULL));
    g_assert_cmpint(hm_os_truncate(file->fd, file->length), ==, 0);
    memset(file->addr, FULL, file->length);
    g_assert_true(hm_zero_guarded(file->addr, file->length, &error));
    g_assert_no_error(error);
    g_assert_true(hm_is_zero(file->addr, file->length));
}

static gpointer zero_guarded(gpointer data)
{
    const File *file = data;

    for (guint i = 0; i < 100; i++) {
        g_autoptr(GError) error = NULL;

        if (!hm_zero_guarded(file->addr, file->length, &error)) {
            g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
        }
    }
    return NULL;
}

static void test_truncated_while_threads_zero(File *file, gconstpointer data)
{
    GThread *threads[2];

    (void)data;
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("zero", zero_guarded, file);
    }
    for (guint i = 0; i < 100; i++) {
        hm_os_truncate(file->fd, i % 2 ? file->length : file->page);
    }
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
}

/* The kernel lets a thread send itself what a broken DIMM would.  A timer does,
 * until it meets a thread that zeroes; before, it is nobody's. */

static guint8 *broken;

static void on_alarm(G_GNUC_UNUSED int signal_number)
{
    siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};

    info.si_addr = broken;
    syscall(SYS_rt_tgsigqueueinfo, getpid(), hm_os_thread_id(), SIGBUS, &info);
}

static void on_foreign_sigbus(G_GNUC_UNUSED int signal_number)
{
}

static void set_timer(glong microseconds)
{
    const struct itimerval timer = {
        .it_interval = {.tv_usec = microseconds},
        .it_value = {.tv_usec = microseconds},
    };

    setitimer(ITIMER_REAL, &timer, NULL);
}

static gboolean signals_are_late(void)
{
    const char *preload = g_getenv("LD_PRELOAD");

#ifdef __SANITIZE_THREAD__
    return TRUE;
#endif
    return preload && strstr(preload, "vgpreload");
}

static void test_poisoned_page_is_an_error(File *file, gconstpointer data)
{
    g_autofree char *place = g_strdup_printf(
        "*poisoned*at offset %" G_GSIZE_FORMAT " of *", file->page);
    g_autoptr(GError) error = NULL;

    (void)data;
    if (signals_are_late()) {
        g_test_skip("here no signal interrupts a thread that zeroes");
        return;
    }
    broken = file->addr + file->page;
    signal(SIGBUS, on_foreign_sigbus);
    signal(SIGALRM, on_alarm);
    set_timer(500);
    while (hm_zero_guarded(file->addr, file->length, &error)) {
    }
    set_timer(0);
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_CHANGED);
    g_assert_true(g_pattern_match_simple(place, error->message));
}

/* is zero */

static void test_zero_is_zero(void)
{
    guint8 *buffer = g_malloc0(8192);

    for (gsize start = 0; start < 70; start++) {
        for (gsize length = 0; length < 1200; length += 7) {
            g_assert_true(hm_is_zero(buffer + start, length));
        }
    }
    g_free(buffer);
}

static void test_each_other_byte_is_seen(void)
{
    gsize length = 1200;
    guint8 *buffer = g_malloc0(length + 64);

    for (gsize start = 0; start < 64; start += 13) {
        for (gsize i = 0; i < length; i++) {
            buffer[start + i] = 0x80;
            g_assert_false(hm_is_zero(buffer + start, length));
            buffer[start + i] = 0;
        }
    }
    g_free(buffer);
}

static void test_bytes_outside_do_not_count(void)
{
    guint8 buffer[1200];

    for (gsize length = 0; length <= 1100; length++) {
        memset(buffer, 1, sizeof(buffer));
        memset(buffer + 33, 0, length);
        g_assert_true(hm_is_zero(buffer + 33, length));
    }
}

static void add_guarded(const char *path, void (*test)(File *, gconstpointer))
{
    g_test_add(path, File, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zero/methods-end-with-memset",
                    test_methods_end_with_memset);
    g_test_add_func("/zero/default-zeroes", test_default_zeroes);
    g_test_add_func("/zero/each-method-zeroes-what-it-is-told",
                    test_each_method_zeroes_what_it_is_told);
    g_test_add_func("/zero/unknown-method-does-nothing",
                    test_unknown_method_does_nothing);
    g_test_add_func("/zero/unaligned-is-refused", test_unaligned_is_refused);
    g_test_add_func("/zero/trial/the-faster-one-is-chosen",
                    test_the_faster_one_is_chosen);
    g_test_add_func("/zero/trial/about-equal-ones-leave-it-at-the-first",
                    test_about_equal_ones_leave_it_at_the_first);
    g_test_add_func("/zero/trial/disturbed-runs-do-not-count",
                    test_disturbed_runs_do_not_count);
    g_test_add_func("/zero/trial/large-ranges-are-zeroed",
                    test_large_ranges_are_zeroed_during_the_trial);
    g_test_add_func("/zero/threads-zero-at-once", test_threads_zero_at_once);
    add_guarded("/zero/guarded/zeroes", test_guarded_zeroes);
    add_guarded("/zero/guarded/nothing", test_guarded_nothing);
    add_guarded("/zero/guarded/truncated-file-is-an-error",
                test_truncated_file_is_an_error);
    add_guarded("/zero/guarded/error-may-be-ignored",
                test_error_may_be_ignored);
    add_guarded("/zero/guarded/works-again-after-an-error",
                test_works_again_after_an_error);
    add_guarded("/zero/guarded/truncated-while-threads-zero",
                test_truncated_while_threads_zero);
    add_guarded("/zero/guarded/poisoned-page-is-an-error",
                test_poisoned_page_is_an_error);
    g_test_add_func("/zero/is-zero/zero", test_zero_is_zero);
    g_test_add_func("/zero/is-zero/each-other-byte-is-seen",
                    test_each_other_byte_is_seen);
    g_test_add_func("/zero/is-zero/bytes-outside-do-not-count",
                    test_bytes_outside_do_not_count);
    return g_test_run();
}
