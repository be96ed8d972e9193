/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discard-spy.h"

/* What a listener does while it is being told. */

static gboolean try_plug(HmSpyFixture *f, guint first, guint n, GError **error)
{
    return hm_test_source_plug(f->source, first, n, error);
}

static void test_leaves_in_its_own_callback(HmSpyFixture *f)
{
    f->b.then = hm_spy_leave;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, 8);
    hm_spy_add(&f->c, 0, N_BLOCKS);
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "c+2:3 b+2:3 b-0:8 a+2:3 b~ ");
    hm_spy_unplug(f, 2, 3);
    hm_spy_assert_heard(f, "c-2:3 a-2:3 ");
}

static void test_leaves_while_discarding(HmSpyFixture *f)
{
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, 8);
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "b+2:3 a+2:3 ");
    f->b.then = hm_spy_leave;
    hm_spy_unplug(f, 2, 3);
    hm_spy_assert_heard(f, "b-2:3 b-0:8 a-2:3 b~ ");
}

static void test_leaves_twice(HmSpyFixture *f)
{
    guint id;

    hm_spy_add(&f->a, 0, N_BLOCKS);
    id = f->a.id;
    f->a.then = hm_spy_leave;
    hm_spy_leave(&f->a); /* whose callback leaves again */
    hm_spy_assert_heard(f, "a-0:16 a~ ");
    hostmem_discard_source_remove_listener(hm_spy_source(f), id);
    hostmem_discard_source_remove_listener(hm_spy_source(f), 0);
    hm_spy_assert_heard(f, "");
}

static void test_removes_one_not_told_yet(HmSpyFixture *f)
{
    f->b.other = &f->a;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    f->b.then = hm_spy_leave_other;
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "b+2:3 a-0:16 a~ ");
}

static void test_removes_one_told_already(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.refuses = TRUE;
    f->a.other = &f->b;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    f->a.then = hm_spy_leave_other;
    g_assert_false(try_plug(f, 2, 3, &error));
    hm_spy_assert_heard(f, "b+2:3 a+2:3 b-0:16 a-2:3 b~ ");
}

static void test_each_removes_the_other(HmSpyFixture *f)
{
    f->a.then = hm_spy_leave_other;
    f->b.other = &f->a;
    f->a.other = &f->b;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    f->b.then = hm_spy_leave_other;
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "b+2:3 a-0:16 b-0:16 a~ b~ ");
}

static void test_vetoes_and_leaves(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->b.refuses = TRUE;
    f->b.then = hm_spy_leave;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    hm_spy_add(&f->c, 0, N_BLOCKS);
    g_assert_false(try_plug(f, 2, 3, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    hm_spy_assert_heard(f, "c+2:3 b+2:3 b-0:16 c-2:3 b~ ");
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "c+2:3 a+2:3 ");
}

static void add_other(HmSpy *self)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_spy_try_add(self->other, 0, N_BLOCKS * BLOCK, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
}

static void test_adding_in_a_callback_is_refused(HmSpyFixture *f)
{
    f->a.other = &f->b;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    f->a.then = add_other;
    hm_spy_plug(f, 0, 1);
    f->a.then = add_other;
    hm_spy_unplug(f, 0, 1);
    hm_spy_assert_heard(f, "a+0:1 b~ a-0:1 b~ ");
    hm_spy_add(&f->b, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "");
}

static void plug_more(HmSpy *self)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(try_plug(self->fixture, 8, 1, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_false(hm_test_source_unplug(self->fixture->source, 8, 1, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
}

static void test_changing_in_a_callback_is_refused(HmSpyFixture *f)
{
    hm_spy_add(&f->a, 0, N_BLOCKS);
    f->a.then = plug_more;
    hm_spy_plug(f, 0, 1);
    f->a.then = plug_more;
    hm_spy_unplug(f, 0, 1);
    hm_spy_assert_heard(f, "a+0:1 a-0:1 ");
    hm_spy_assert_map(f, "................");
}

static gboolean log_run(guint64 offset, guint64 length, gpointer user_data,
                        GError **error G_GNUC_UNUSED)
{
    hm_spy_write(user_data, '=', offset, length);
    hm_spy_call_then(user_data);
    return TRUE;
}

static void ask_the_source(HmSpy *self)
{
    HostmemDiscardSource *source = hm_spy_source(self->fixture);

    g_assert_false(hostmem_discard_source_is_populated(source, 0, BLOCK));
    g_assert_true(
        hostmem_discard_source_is_populated(source, 4 * BLOCK, BLOCK));
    g_assert_true(hostmem_discard_source_replay_populated(
        source, 0, N_BLOCKS * BLOCK, log_run, self, NULL));
}

static void test_asks_in_a_callback(HmSpyFixture *f)
{
    hm_spy_plug(f, 4, 1);
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "a+4:1 ");
    f->a.then = ask_the_source;
    hm_spy_plug(f, 0, 1);
    f->a.then = ask_the_source;
    hm_spy_unplug(f, 0, 1);
    hm_spy_assert_heard(f, "a+0:1 a=4:1 a-0:1 a=4:1 ");
}

static void test_leaves_in_a_replay(HmSpyFixture *f)
{
    hm_spy_plug(f, 4, 1);
    hm_spy_plug(f, 6, 1);
    hm_spy_add(&f->a, 0, N_BLOCKS);
    f->a.then = hm_spy_leave;
    g_assert_true(hostmem_discard_source_replay_populated(
        hm_spy_source(f), 0, N_BLOCKS * BLOCK, log_run, &f->a, NULL));
    hm_spy_assert_heard(f, "a+4:1 a+6:1 a=4:1 a-0:16 a=6:1 a~ ");
}

/* The cases */

static const HmSpyCase cases[] = {
    {"leaves", test_leaves_in_its_own_callback},
    {"leaves-while-discarding", test_leaves_while_discarding},
    {"leaves-twice", test_leaves_twice},
    {"removes-one-not-told-yet", test_removes_one_not_told_yet},
    {"removes-one-told-already", test_removes_one_told_already},
    {"each-removes-the-other", test_each_removes_the_other},
    {"vetoes-and-leaves", test_vetoes_and_leaves},
    {"adding-is-refused", test_adding_in_a_callback_is_refused},
    {"changing-is-refused", test_changing_in_a_callback_is_refused},
    {"asks", test_asks_in_a_callback},
    {"leaves-in-a-replay", test_leaves_in_a_replay},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    hm_spy_add_cases("/discard-callbacks/", cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
