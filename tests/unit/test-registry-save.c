/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <hostmem/backend.h>
#include "keeper-test.h"
#include "object-test.h"
#include "os-fake.h"
#include "util/linux-compat.h"
#include "util/os.h"
#include "util/size.h"

#define SIZE      HM_TEST_ODD_SIZE
#define MEMFD(id) "memory-backend-memfd,size=17412K,thp=off,id=" id

/* The state */

static void assert_refused(HmTestKeeper *keeper, gint code, const char *part)
{
    g_autoptr(GPtrArray) list = NULL;
    GError *error = NULL;

    g_assert_false(hm_test_keeper_try_restore(keeper, &error));
    hm_test_assert_error(error, code, part);
    list = hostmem_registry_list_restored(keeper->registry);
    g_assert_cmpuint(list->len, ==, 0);
    g_assert_null(hm_test_keeper_find(keeper, "m0"));
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void begin_state(HmTestKeeper *keeper)
{
    hm_test_keeper_init(keeper);
    hm_test_fill(hm_test_keeper_add(keeper, MEMFD("m0")));
    hm_test_keeper_save(keeper);
    hm_test_keeper_kill(keeper);
}

static void test_state_is_sealed(void)
{
    HmTestKeeper keeper;
    int fd;

    begin_state(&keeper);
    fd = hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME)->fd;
    g_assert_cmpint(fcntl(fd, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_GROW |
                                              F_SEAL_SHRINK | F_SEAL_SEAL),
                    ==,
                    F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    g_assert_cmpint(write(fd, "x", 1), <, 0);
    hm_test_keeper_clear(&keeper);
}

static void test_no_state(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_replace(&keeper, HOSTMEM_STATE_NAME, -1);
    assert_refused(&keeper, HOSTMEM_ERROR_NOT_FOUND, "no saved state");
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_cut(void)
{
    HmTestKeeper keeper;
    g_autofree char *text = NULL;

    begin_state(&keeper);
    text = hm_test_keeper_text(&keeper);
    text[strlen(text) / 2] = '\0';
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, text);
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "JSON");
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, "");
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "0 bytes");
    hm_test_keeper_clear(&keeper);
}

static void test_state_of_another_version(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME,
                            "{\"hostmem-state\": 2}");
    assert_refused(&keeper, HOSTMEM_ERROR_UNSUPPORTED, "version 2");
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_something_else(void)
{
    static const char *const texts[] = {
        "[]",
        "{}",
        "{\"hostmem-state\": 1}",
        "{\"hostmem-state\": 1, \"generation\": -1, \"serial\": 0, "
        "\"objects\": []}",
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, "
        "\"objects\": [{}]}",
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, "
        "\"objects\": [{\"path\": \"/a\\nb\"}]}",
    };
    HmTestKeeper keeper;

    begin_state(&keeper);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, texts[i]);
        assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "saved state");
    }
    hm_test_keeper_replace(&keeper, HOSTMEM_STATE_NAME,
                           open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_refused(&keeper, HOSTMEM_ERROR_INVALID, "no file");
    hm_test_keeper_clear(&keeper);
}

/* Entries that make no sense cost nobody else anything. */
static void test_entries_that_make_no_sense(void)
{
    static const char text[] =
        "{\"hostmem-state\": 1, \"generation\": 1, \"serial\": 0, \"objects\": "
        "[{\"path\": \"/objects/a\"},"
        " {\"path\": \"/objects/b\", \"options\": {}, \"state\": {}, "
        "\"descriptors\": []},"
        " {\"path\": \"/objects/c\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"d\"}, \"state\": {}, \"descriptors\": "
        "[]},"
        " {\"path\": \"/objects/e\", \"options\": {\"qom-type\": "
        "\"memory-backend-memfd\", \"id\": \"e\", \"size\": 4096, "
        "\"prealloc-context\": \"e\"}, \"state\": {}, \"descriptors\": []},"
        " {\"path\": \"/objects/tc\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"tc\"}, \"state\": {}, \"descriptors\": "
        "[]},"
        " {\"path\": \"/objects/tc\", \"options\": {\"qom-type\": "
        "\"thread-context\", \"id\": \"tc\"}, \"state\": {}, \"descriptors\": "
        "[]}]}";
    g_autoptr(GPtrArray) list = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME, text);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    list = hostmem_registry_list_restored(keeper.registry);
    g_assert_cmpuint(list->len, ==, 6);
    hm_test_keeper_assert(&keeper, "/objects/a", HOSTMEM_RESTORE_FAILED,
                          "options");
    hm_test_keeper_assert(&keeper, "/objects/b", HOSTMEM_RESTORE_FAILED,
                          "qom-type");
    hm_test_keeper_assert(&keeper, "/objects/c", HOSTMEM_RESTORE_FAILED,
                          "path");
    hm_test_keeper_assert(&keeper, "/objects/e", HOSTMEM_RESTORE_FAILED, NULL);
    g_assert_nonnull(hm_test_keeper_find(&keeper, "tc"));
    hm_test_keeper_clear(&keeper);
}

static void test_newest_state_counts(void)
{
    HmTestKeeper keeper;
    g_autofree char *old = NULL;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_keeper_save(&keeper);
    old = hm_test_keeper_text(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m1"));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME ".1", old);
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_assert_nonnull(hm_test_keeper_find(&keeper, "m1"));
    hm_test_keeper_save(&keeper);
    g_assert_null(hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME ".1"));
    g_assert_null(hm_test_keeper_get(&keeper, HOSTMEM_STATE_NAME ".2"));
    hm_test_keeper_clear(&keeper);
}

static void test_state_that_is_broken_is_passed_over(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME ".2", "{");
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE, "*older one*");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_test_assert_expected_messages();
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

/* It is forgotten after the next save, by its name. */
static void test_name_of_a_broken_state_is_not_used_again(void)
{
    g_autoptr(HostmemSave) save = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_test_keeper_set_text(&keeper, HOSTMEM_STATE_NAME ".2", "{");
    g_test_expect_message("hostmem", G_LOG_LEVEL_MESSAGE, "*older one*");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    g_test_assert_expected_messages();
    save = hostmem_registry_save(keeper.registry, NULL);
    g_assert_cmpstr(save->state_name, ==, HOSTMEM_STATE_NAME ".3");
    g_assert_cmpuint(save->removed->len, ==, 2);
    hm_test_keeper_clear(&keeper);
}

/* Whoever was killed had handed out a descriptor, and not the state for it. */
static void test_name_without_a_state_is_not_used_again(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    g_ptr_array_add(keeper.kept,
                    hostmem_saved_fd_new("m1/1", memfd_create("m1", 0)));
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m1")));
    hm_test_keeper_restart(&keeper);
    hm_test_keeper_assert(&keeper, "/objects/m1", HOSTMEM_RESTORE_RESTORED,
                          NULL);
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m1"));
    hm_test_keeper_clear(&keeper);
}

static void test_two_processes(void)
{
    HmTestKeeper keeper;

    begin_state(&keeper);
    hm_fake_fail(HM_FAKE_LOCK, 1, EAGAIN);
    assert_refused(&keeper, HOSTMEM_ERROR_BUSY, "there can be only one");
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_keeper_clear(&keeper);
}

/* Saving */

static void assert_save(HmTestKeeper *keeper, guint added, guint removed)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(HostmemSave) save =
        hostmem_registry_save(keeper->registry, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(save->added->len, ==, added);
    g_assert_cmpuint(save->removed->len, ==, removed);
}

static void test_save_tells_what_came_and_went(void)
{
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    assert_save(&keeper, 0, 0);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_keeper_add(&keeper, MEMFD("m1"));
    assert_save(&keeper, 2, 1);
    assert_save(&keeper, 0, 1);
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    assert_save(&keeper, 1, 2);
    hm_test_keeper_clear(&keeper);
}

static void test_too_few_descriptors_are_told(void)
{
    GError *error = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_fake_set_limit(RLIMIT_NOFILE, 1234);
    hm_fake_fail(HM_FAKE_DUP, 1, EMFILE);
    g_assert_null(hostmem_registry_save(keeper.registry, &error));
    hm_test_assert_error(error, HOSTMEM_ERROR_LIMIT,
                         "Too many open files; RLIMIT_NOFILE is 1234, ");
    hm_test_keeper_clear(&keeper);
}

static void test_save_that_fails_hands_out_nothing(void)
{
    static const struct {
        HmFakeCall call;
        int err;
        gint code;
    } failures[] = {
        {HM_FAKE_WRITE, ENOSPC, HOSTMEM_ERROR_NO_SPACE},
        {HM_FAKE_WRITE, ENOMEM, HOSTMEM_ERROR_NO_MEMORY},
        {HM_FAKE_MEMFD, EMFILE, HOSTMEM_ERROR_LIMIT},
        {HM_FAKE_DUP, EMFILE, HOSTMEM_ERROR_LIMIT},
        {HM_FAKE_ADD_SEALS, EIO, HOSTMEM_ERROR_SYSTEM},
        {HM_FAKE_LOCK, ENOLCK, HOSTMEM_ERROR_SYSTEM},
    };
    HmTestKeeper keeper;
    guint fds;

    hm_test_keeper_init(&keeper);
    hm_test_keeper_add(&keeper, MEMFD("m0"));
    fds = hm_test_count_fds();
    for (guint i = 0; i < G_N_ELEMENTS(failures); i++) {
        GError *error = NULL;

        hm_fake_fail(failures[i].call, 1, failures[i].err);
        g_assert_null(hostmem_registry_save(keeper.registry, &error));
        g_assert_error(error, HOSTMEM_ERROR, failures[i].code);
        g_error_free(error);
        g_assert_cmpuint(hm_test_count_fds(), ==, fds);
    }
    hm_fake_set_limit(RLIMIT_FSIZE, 10);
    g_assert_null(hostmem_registry_save(keeper.registry, NULL));
    hm_fake_set_limit(RLIMIT_FSIZE, G_MAXUINT64);
    assert_save(&keeper, 1, 0);
    hm_test_keeper_clear(&keeper);
}

static void test_changes_are_told_once_a_turn(void)
{
    HmTestKeeper keeper;
    gpointer backend;

    hm_test_keeper_init(&keeper);
    backend = hm_test_keeper_add(&keeper, MEMFD("m0"));
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 1);
    hm_test_assert_set(backend, "merge", "off");
    hm_test_assert_set(backend, "dump", "off");
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 2);
    g_assert_true(hostmem_registry_remove(keeper.registry, "m0", NULL));
    hm_test_settle();
    g_assert_cmpuint(keeper.changes, ==, 3);
    hm_test_keeper_clear(&keeper);
}

typedef struct {
    HmTestKeeper *keeper;
    guint changes; /* when the answer came */
} Answer;

static void on_added(GObject *source, GAsyncResult *result, gpointer data)
{
    Answer *answer = data;

    g_assert_nonnull(
        hostmem_registry_add_finish(HOSTMEM_REGISTRY(source), result, NULL));
    answer->changes = answer->keeper->changes;
}

static void test_changes_are_told_before_answers(void)
{
    HmTestKeeper keeper;
    Answer answer = {&keeper, 0};

    hm_test_keeper_init(&keeper);
    hostmem_registry_add_async(keeper.registry, MEMFD("m0"), NULL, on_added,
                               &answer);
    while (!keeper.changes) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_settle();
    g_assert_cmpuint(answer.changes, ==, 1);
    hm_test_keeper_clear(&keeper);
}

/* Without waiting */

static void on_restored(GObject *source, GAsyncResult *result, gpointer data)
{
    GError **error = data;

    if (hostmem_registry_restore_finish(HOSTMEM_REGISTRY(source), result,
                                        error)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_EXISTS, "done");
    }
}

static void restore_async(HmTestKeeper *keeper, GCancellable *cancellable,
                          GError **error)
{
    g_autoptr(GPtrArray) given =
        g_ptr_array_new_with_free_func((GDestroyNotify)hostmem_saved_fd_free);

    for (guint i = 0; i < keeper->kept->len; i++) {
        const HostmemSavedFd *fd = keeper->kept->pdata[i];

        g_ptr_array_add(given, hostmem_saved_fd_new(fd->name, dup(fd->fd)));
    }
    hostmem_registry_restore_async(keeper->registry, given, cancellable,
                                   on_restored, error);
}

static void test_without_waiting(void)
{
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    restore_async(&keeper, NULL, &error);
    g_assert_nonnull(hostmem_registry_lookup_pending(keeper.registry, "m0"));
    while (!error) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_cancelled(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    g_cancellable_cancel(cancellable);
    restore_async(&keeper, cancellable, &error);
    while (!error) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_null(hm_test_keeper_find(&keeper, "m0"));
    /* It is good for another try. */
    hm_test_keeper_kill(&keeper);
    g_assert_true(hm_test_keeper_try_restore(&keeper, NULL));
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m0"));
    hm_test_keeper_clear(&keeper);
}

static void test_registry_goes_meanwhile(void)
{
    g_autoptr(GError) error = NULL;
    HmTestKeeper keeper;

    begin_state(&keeper);
    restore_async(&keeper, NULL, &error);
    hm_test_keeper_clear(&keeper);
    g_assert_nonnull(error);
    g_assert_cmpuint(hm_test_count_mappings(SIZE), ==, 0);
}

static void on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
    gboolean *done = data;

    *done =
        hostmem_registry_remove_finish(HOSTMEM_REGISTRY(source), result, NULL);
}

static void test_removal_meanwhile(void)
{
    g_autoptr(GError) error = NULL;
    gboolean done = FALSE;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m0")));
    hm_test_fill(hm_test_keeper_add(&keeper, MEMFD("m1")));
    hm_test_keeper_save(&keeper);
    hm_test_keeper_kill(&keeper);
    restore_async(&keeper, NULL, &error);
    hostmem_registry_remove_async(keeper.registry, "m0", on_removed, &done);
    while (!done) {
        g_main_context_iteration(NULL, TRUE);
    }
    hm_test_settle();
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    g_assert_null(hm_test_keeper_find(&keeper, "m0"));
    hm_test_assert_filled(hm_test_keeper_find(&keeper, "m1"));
    hm_test_keeper_save(&keeper);
    g_assert_null(hm_test_keeper_get(&keeper, "m0/"));
    hm_test_keeper_clear(&keeper);
}

/* Lines */

static void assert_compares(HmTestKeeper *keeper, const char *line,
                            const char *expected)
{
    g_autofree char *difference = NULL;

    g_assert_true(
        hostmem_registry_compare_restored(keeper->registry, line, &difference));
    g_assert_cmpstr(difference, ==, expected);
}

static void test_lines(void)
{
    g_autofree char *difference = NULL;
    HmTestKeeper keeper;

    hm_test_keeper_init(&keeper);
    hm_test_assert_set(hm_test_keeper_add(&keeper, MEMFD("m0") ",threads=2"),
                       "prealloc-threads", "3");
    hm_test_keeper_restart(&keeper);
    assert_compares(&keeper, MEMFD("m0") ",threads=2", NULL);
    assert_compares(&keeper, MEMFD("m0") ",prealloc-threads=2", NULL);
    assert_compares(&keeper,
                    "{\"qom-type\": \"memory-backend-memfd\", \"id\": \"m0\", "
                    "\"size\": 17829888, \"thp\": \"off\", \"threads\": 2}",
                    NULL);
    assert_compares(&keeper, MEMFD("m0"), "prealloc-threads=not given (was 2)");
    assert_compares(&keeper, MEMFD("m0") ",threads=2,size=16M",
                    "size=16777216 (was 17829888)");
    g_assert_false(hostmem_registry_compare_restored(keeper.registry,
                                                     MEMFD("m1"), &difference));
    hm_test_keeper_clear(&keeper);
}

int main(int argc, char **argv)
{
    static const HmTest tests[] = {
        {"/save/state/sealed", test_state_is_sealed},
        {"/save/state/none", test_no_state},
        {"/save/state/cut", test_state_that_is_cut},
        {"/save/state/version", test_state_of_another_version},
        {"/save/state/other", test_state_that_is_something_else},
        {"/save/state/entries", test_entries_that_make_no_sense},
        {"/save/state/newest", test_newest_state_counts},
        {"/save/state/broken", test_state_that_is_broken_is_passed_over},
        {"/save/state/broken-name",
         test_name_of_a_broken_state_is_not_used_again},
        {"/save/name-without-state",
         test_name_without_a_state_is_not_used_again},
        {"/save/state/two-processes", test_two_processes},
        {"/save/difference", test_save_tells_what_came_and_went},
        {"/save/too-few-descriptors", test_too_few_descriptors_are_told},
        {"/save/failure", test_save_that_fails_hands_out_nothing},
        {"/save/once-a-turn", test_changes_are_told_once_a_turn},
        {"/save/before-answers", test_changes_are_told_before_answers},
        {"/restore/async/done", test_without_waiting},
        {"/restore/async/cancelled", test_cancelled},
        {"/restore/async/registry-goes", test_registry_goes_meanwhile},
        {"/restore/async/removal", test_removal_meanwhile},
        {"/restore/lines", test_lines},
    };

    return hm_test_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
