/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discard-spy.h"

/* Telling */

static void test_hears_what_comes_and_goes(HmSpyFixture *f)
{
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "a+2:3 ");
    hm_spy_unplug(f, 2, 1);
    hm_spy_unplug(f, 3, 2);
    hm_spy_assert_heard(f, "a-2:1 a-3:2 ");
    hm_spy_leave(&f->a);
    hm_spy_assert_heard(f, "a-0:16 a~ ");
    hm_spy_plug(f, 2, 3);
    hm_spy_assert_heard(f, "");
}

static void test_newest_hears_first(HmSpyFixture *f)
{
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    hm_spy_add(&f->c, 0, N_BLOCKS);
    hm_spy_plug(f, 0, 1);
    hm_spy_assert_heard(f, "c+0:1 b+0:1 a+0:1 ");
    hm_spy_unplug(f, 0, 1);
    hm_spy_assert_heard(f, "c-0:1 b-0:1 a-0:1 ");
}

static void test_sections_clip(HmSpyFixture *f)
{
    hm_spy_add(&f->a, 0, 4);
    hm_spy_add(&f->b, 4, 4);
    hm_spy_add(&f->c, 8, 8);
    hm_spy_plug(f, 2, 4);
    hm_spy_assert_heard(f, "b+4:2 a+2:2 ");
    hm_spy_unplug(f, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "c-8:8 b-4:4 a-0:4 ");
}

static void test_section_is_widened(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(hm_spy_try_add(&f->a, 3 * BLOCK - 1, 2, &error));
    g_assert_no_error(error);
    hm_spy_plug(f, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "a+2:2 ");
}

static void test_section_ends_with_the_memory(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(hm_spy_try_add(&f->a, 14 * BLOCK, G_MAXUINT64, &error));
    g_assert_no_error(error);
    hm_spy_plug(f, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "a+14:2 ");
}

static void assert_bad_section(HmSpyFixture *f, guint64 offset, guint64 length)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(hm_spy_try_add(&f->a, offset, length, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID);
    hm_spy_assert_heard(f, "a~ ");
}

static void test_section_without_memory_is_refused(HmSpyFixture *f)
{
    assert_bad_section(f, N_BLOCKS * BLOCK, BLOCK);
    assert_bad_section(f, G_MAXUINT64, G_MAXUINT64);
    assert_bad_section(f, 0, 0);
}

static void test_callbacks_are_optional(HmSpyFixture *f)
{
    const HostmemDiscardListener deaf = {0};
    g_autoptr(GError) error = NULL;
    guint id;

    hm_spy_plug(f, 0, 1);
    id = hostmem_discard_source_add_listener(
        hm_spy_source(f), 0, N_BLOCKS * BLOCK, &deaf, NULL, NULL, &error);
    g_assert_no_error(error);
    hm_spy_plug(f, 1, 1);
    hm_spy_unplug(f, 0, 2);
    hostmem_discard_source_remove_listener(hm_spy_source(f), id);
}

/* Veto */

static gboolean try_plug(HmSpyFixture *f, guint first, guint n, GError **error)
{
    return hm_test_source_plug(f->source, first, n, error);
}

static void test_veto_rolls_back(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->b.refuses = TRUE;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    hm_spy_add(&f->c, 0, N_BLOCKS);
    g_assert_false(try_plug(f, 2, 3, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    g_assert_cmpstr(error->message, ==,
                    "a listener refuses 12288 bytes at offset 0x2000: "
                    "b is full");
    hm_spy_assert_heard(f, "c+2:3 b+2:3 c-2:3 b-2:3 ");
    hm_spy_assert_map(f, "................");
}

static void test_roll_back_keeps_to_sections(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.refuses = TRUE;
    hm_spy_add(&f->a, 3, 1);
    hm_spy_add(&f->b, 8, 8);
    hm_spy_add(&f->c, 0, 4);
    g_assert_false(try_plug(f, 2, 3, &error));
    hm_spy_assert_heard(f, "c+2:2 a+3:1 c-2:2 a-3:1 ");
}

static void test_veto_elsewhere_is_not_asked(HmSpyFixture *f)
{
    f->a.refuses = TRUE;
    hm_spy_add(&f->a, 8, 8);
    hm_spy_plug(f, 0, 8);
    hm_spy_assert_heard(f, "");
}

static void test_veto_without_reason(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.refuses = TRUE;
    f->a.speechless = TRUE;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    g_assert_false(try_plug(f, 0, 1, &error));
    g_assert_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_BUSY);
    g_assert_false(try_plug(f, 0, 1, NULL));
}

static void test_plug_after_a_veto(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.refuses = TRUE;
    hm_spy_add(&f->a, 0, N_BLOCKS);
    g_assert_false(try_plug(f, 0, 1, &error));
    f->a.refuses = FALSE;
    hm_spy_plug(f, 0, 1);
    hm_spy_assert_heard(f, "a+0:1 a-0:1 a+0:1 ");
}

/* Late listeners */

static void plug_two_runs(HmSpyFixture *f)
{
    hm_spy_plug(f, 2, 3);
    hm_spy_plug(f, 8, 4);
    hm_spy_assert_map(f, "..###...####....");
}

static void test_late_listener_hears_what_is_there(HmSpyFixture *f)
{
    plug_two_runs(f);
    hm_spy_add(&f->a, 3, 8);
    hm_spy_assert_heard(f, "a+3:2 a+8:3 ");
    hm_spy_add(&f->b, 12, 4);
    hm_spy_assert_heard(f, "");
}

static void test_late_veto_is_not_added(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.refuses = TRUE;
    plug_two_runs(f);
    g_assert_false(hm_spy_try_add(&f->a, 0, N_BLOCKS * BLOCK, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    hm_spy_assert_heard(f, "a+2:3 a-0:16 a~ ");
    hm_spy_plug(f, 0, 1);
    hm_spy_assert_heard(f, "");
    hm_spy_assert_map(f, "#.###...####....");
}

static void then_refuse(HmSpy *self)
{
    self->refuses = TRUE;
}

static void then_refuse_next(HmSpy *self)
{
    self->then = then_refuse;
}

static void test_late_veto_in_the_middle(HmSpyFixture *f)
{
    g_autoptr(GError) error = NULL;

    f->a.then = then_refuse_next;
    plug_two_runs(f);
    g_assert_false(hm_spy_try_add(&f->a, 1 * BLOCK, 12 * BLOCK, &error));
    hm_spy_assert_heard(f, "a+2:3 a+8:4 a-1:12 a~ ");
}

/* Life */

static void add_again(HmSpy *self)
{
    hm_spy_add(self, 0, N_BLOCKS);
}

static void test_destroy_may_call_anything(HmSpyFixture *f)
{
    f->a.then = hm_spy_leave;
    f->a.at_last = add_again;
    hm_spy_add(&f->a, 0, 1);
    hm_spy_plug(f, 0, 1);
    hm_spy_assert_heard(f, "a+0:1 a-0:1 a~ a+0:1 ");
}

static void test_ids_are_not_used_again(HmSpyFixture *f)
{
    guint gone;

    hm_spy_add(&f->a, 0, N_BLOCKS);
    gone = f->a.id;
    hm_spy_leave(&f->a);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    g_assert_cmpuint(f->b.id, !=, gone);
    hostmem_discard_source_remove_listener(hm_spy_source(f), gone);
    hm_spy_assert_heard(f, "a-0:16 a~ ");
}

static void test_source_goes_first(HmSpyFixture *f)
{
    f->b.other = &f->a;
    hm_spy_plug(f, 0, 1);
    hm_spy_add(&f->a, 0, N_BLOCKS);
    hm_spy_add(&f->b, 0, N_BLOCKS);
    hm_spy_assert_heard(f, "a+0:1 b+0:1 ");
    f->b.then = hm_spy_leave_other;
    g_object_run_dispose(G_OBJECT(f->source));
    hm_spy_assert_heard(f, "b-0:16 a-0:16 a~ b~ ");
}

/* The cases */

static const HmSpyCase cases[] = {
    {"tell/comes-and-goes", test_hears_what_comes_and_goes},
    {"tell/newest-first", test_newest_hears_first},
    {"tell/sections-clip", test_sections_clip},
    {"tell/section-is-widened", test_section_is_widened},
    {"tell/section-ends-with-the-memory", test_section_ends_with_the_memory},
    {"tell/section-without-memory", test_section_without_memory_is_refused},
    {"tell/callbacks-are-optional", test_callbacks_are_optional},
    {"veto/rolls-back", test_veto_rolls_back},
    {"veto/keeps-to-sections", test_roll_back_keeps_to_sections},
    {"veto/elsewhere", test_veto_elsewhere_is_not_asked},
    {"veto/without-reason", test_veto_without_reason},
    {"veto/plug-afterwards", test_plug_after_a_veto},
    {"late/hears-what-is-there", test_late_listener_hears_what_is_there},
    {"late/veto", test_late_veto_is_not_added},
    {"late/veto-in-the-middle", test_late_veto_in_the_middle},
    {"life/destroy-may-call-anything", test_destroy_may_call_anything},
    {"life/ids", test_ids_are_not_used_again},
    {"life/source-goes-first", test_source_goes_first},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    hm_spy_add_cases("/discard-listeners/", cases, G_N_ELEMENTS(cases));
    return g_test_run();
}
