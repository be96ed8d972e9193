/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discard-test.h"

/* What a source is asked; "2:3 " in the log is a run of three from block two.
 */
#define BLOCK    HM_TEST_SOURCE_BLOCK
#define N_BLOCKS 16

typedef struct {
    HmTestSource *source;
    GString *log;
} Fixture;

static void set_up(Fixture *f)
{
    f->source = hm_test_source_new(N_BLOCKS);
    f->log = g_string_new(NULL);
}

static void tear_down(Fixture *f)
{
    g_object_unref(f->source);
    g_string_free(f->log, TRUE);
}

static HostmemDiscardSource *source_of(const Fixture *f)
{
    return HOSTMEM_DISCARD_SOURCE(f->source);
}

/* What has been replayed since the last time. */
static void assert_heard(Fixture *f, const char *expected)
{
    g_assert_cmpstr(f->log->str, ==, expected);
    g_string_truncate(f->log, 0);
}

static void plug(Fixture *f, guint first, guint n)
{
    g_autoptr(GError) error = NULL;

    hm_test_source_plug(f->source, first, n, &error);
    g_assert_no_error(error);
}

/* Asking */

static void test_tells_its_shape(Fixture *f)
{
    g_assert_cmpuint(hostmem_discard_source_get_granularity(source_of(f)), ==,
                     BLOCK);
    g_assert_cmpuint(hostmem_discard_source_get_size(source_of(f)), ==,
                     N_BLOCKS * BLOCK);
}

static void assert_populated(const Fixture *f, guint64 offset, guint64 length,
                             gboolean expected)
{
    g_assert_cmpint(
        hostmem_discard_source_is_populated(source_of(f), offset, length), ==,
        expected);
}

static void test_is_populated(Fixture *f)
{
    plug(f, 2, 3);
    assert_populated(f, 2 * BLOCK, 3 * BLOCK, TRUE);
    assert_populated(f, 2 * BLOCK, 4 * BLOCK, FALSE);
    assert_populated(f, BLOCK, 2 * BLOCK, FALSE);
    assert_populated(f, 0, BLOCK, FALSE);
}

static void test_is_populated_to_the_byte(Fixture *f)
{
    plug(f, 2, 3);
    assert_populated(f, 2 * BLOCK, 1, TRUE);
    assert_populated(f, 5 * BLOCK - 1, 1, TRUE);
    assert_populated(f, 5 * BLOCK - 1, 2, FALSE);
    assert_populated(f, 2 * BLOCK - 1, 2, FALSE);
}

static void test_nothing_is_populated_beyond(Fixture *f)
{
    const guint64 end = N_BLOCKS * BLOCK;

    plug(f, 0, N_BLOCKS);
    assert_populated(f, 0, end, TRUE);
    assert_populated(f, 0, end + 1, FALSE);
    assert_populated(f, end, 1, FALSE);
    assert_populated(f, 0, 0, FALSE);
    assert_populated(f, BLOCK, G_MAXUINT64, FALSE);
    assert_populated(f, G_MAXUINT64, G_MAXUINT64, FALSE);
}

/* Replays */

static gboolean log_run(guint64 offset, guint64 length, gpointer user_data,
                        GError **error G_GNUC_UNUSED)
{
    g_string_append_printf(user_data, "%u:%u ", (guint)(offset / BLOCK),
                           (guint)(length / BLOCK));
    return TRUE;
}

static gboolean refuse_second_run(guint64 offset, guint64 length,
                                  gpointer user_data, GError **error)
{
    GString *log = user_data;

    if (log->len) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "enough");
        return FALSE;
    }
    return log_run(offset, length, log, error);
}

typedef gboolean (*ReplayFunc)(HostmemDiscardSource *self, guint64 offset,
                               guint64 length, HostmemDiscardReplay replay,
                               gpointer user_data, GError **error);

static void assert_replay(Fixture *f, ReplayFunc func, guint64 offset,
                          guint64 length, const char *expected)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(func(source_of(f), offset, length, log_run, f->log, &error));
    g_assert_no_error(error);
    assert_heard(f, expected);
}

static void assert_populated_runs(Fixture *f, guint64 offset, guint64 length,
                                  const char *expected)
{
    assert_replay(f, hostmem_discard_source_replay_populated, offset, length,
                  expected);
}

static void plug_two_runs(Fixture *f)
{
    plug(f, 2, 3);
    plug(f, 8, 2);
    plug(f, 10, 2);
}

static void test_replays_maximal_runs(Fixture *f)
{
    plug_two_runs(f);
    assert_populated_runs(f, 0, N_BLOCKS * BLOCK, "2:3 8:4 ");
    assert_replay(f, hostmem_discard_source_replay_discarded, 0,
                  N_BLOCKS * BLOCK, "0:2 5:3 12:4 ");
}

static void test_replay_clips_and_widens(Fixture *f)
{
    plug_two_runs(f);
    assert_populated_runs(f, 3 * BLOCK, 6 * BLOCK, "3:2 8:1 ");
    assert_populated_runs(f, 3 * BLOCK + 1, 1, "3:1 ");
    assert_populated_runs(f, 3 * BLOCK - 1, 2, "2:2 ");
    assert_populated_runs(f, 9 * BLOCK, G_MAXUINT64, "9:3 ");
    assert_populated_runs(f, 0, G_MAXUINT64, "2:3 8:4 ");
}

static void test_replay_of_nothing(Fixture *f)
{
    plug_two_runs(f);
    assert_populated_runs(f, 0, 0, "");
    assert_populated_runs(f, N_BLOCKS * BLOCK, BLOCK, "");
    assert_populated_runs(f, G_MAXUINT64, G_MAXUINT64, "");
    assert_populated_runs(f, 5 * BLOCK, 3 * BLOCK, "");
}

static void test_replay_stops_at_an_error(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    plug_two_runs(f);
    g_assert_false(hostmem_discard_source_replay_populated(
        source_of(f), 0, N_BLOCKS * BLOCK, refuse_second_run, f->log, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FAILED);
    assert_heard(f, "2:3 ");
}

typedef struct {
    const char *name;
    void (*func)(Fixture *f);
} Case;

static const Case cases[] = {
    {"shape", test_tells_its_shape},
    {"is-populated/blocks", test_is_populated},
    {"is-populated/bytes", test_is_populated_to_the_byte},
    {"is-populated/beyond", test_nothing_is_populated_beyond},
    {"replay/maximal-runs", test_replays_maximal_runs},
    {"replay/clips-and-widens", test_replay_clips_and_widens},
    {"replay/nothing", test_replay_of_nothing},
    {"replay/stops-at-an-error", test_replay_stops_at_an_error},
};

static void run(gconstpointer data)
{
    const Case *test = data;
    Fixture fixture;

    set_up(&fixture);
    test->func(&fixture);
    tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path =
            g_strconcat("/discard-source/", cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i], run);
    }
    return g_test_run();
}
