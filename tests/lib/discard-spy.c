/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "discard-spy.h"

static void set_up(HmSpyFixture *f)
{
    f->source = hm_test_source_new(N_BLOCKS);
    f->log = g_string_new(NULL);
    f->a = (HmSpy){.fixture = f, .name = 'a'};
    f->b = (HmSpy){.fixture = f, .name = 'b'};
    f->c = (HmSpy){.fixture = f, .name = 'c'};
}

static void tear_down(HmSpyFixture *f)
{
    g_object_unref(f->source); /* whose listeners hear of it */
    g_string_free(f->log, TRUE);
}

HostmemDiscardSource *hm_spy_source(const HmSpyFixture *f)
{
    return HOSTMEM_DISCARD_SOURCE(f->source);
}

void hm_spy_assert_heard(HmSpyFixture *f, const char *expected)
{
    g_assert_cmpstr(f->log->str, ==, expected);
    g_string_truncate(f->log, 0);
}

void hm_spy_assert_map(const HmSpyFixture *f, const char *expected)
{
    g_autofree char *map = hm_test_source_map(f->source);

    g_assert_cmpstr(map, ==, expected);
}

void hm_spy_write(HmSpy *self, char what, guint64 offset, guint64 length)
{
    g_assert_cmpuint(offset % BLOCK, ==, 0);
    g_assert_cmpuint(length % BLOCK, ==, 0);
    g_string_append_printf(self->fixture->log, "%c%c%u:%u ", self->name, what,
                           (guint)(offset / BLOCK), (guint)(length / BLOCK));
}

void hm_spy_call_then(HmSpy *self)
{
    void (*then)(HmSpy *) = self->then;

    self->then = NULL;
    if (then) {
        then(self);
    }
}

static gboolean spy_populating(HostmemDiscardSource *source, guint64 offset,
                               guint64 length, gpointer user_data,
                               GError **error)
{
    HmSpy *self = user_data;

    g_assert_true(source == hm_spy_source(self->fixture));
    hm_spy_write(self, '+', offset, length);
    hm_spy_call_then(self);
    if (self->refuses && !self->speechless) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "%c is full",
                    self->name);
    }
    return !self->refuses;
}

static void spy_discarded(HostmemDiscardSource *source, guint64 offset,
                          guint64 length, gpointer user_data)
{
    HmSpy *self = user_data;

    g_assert_true(source == hm_spy_source(self->fixture));
    hm_spy_write(self, '-', offset, length);
    hm_spy_call_then(self);
}

static void spy_destroy(gpointer user_data)
{
    HmSpy *self = user_data;
    void (*at_last)(HmSpy *) = self->at_last;

    self->at_last = NULL;
    g_string_append_printf(self->fixture->log, "%c~ ", self->name);
    self->id = 0;
    g_assert_null(self->then);
    if (at_last) {
        at_last(self);
    }
}

static const HostmemDiscardListener spy_listener = {
    .populating = spy_populating,
    .discarded = spy_discarded,
};

gboolean hm_spy_try_add(HmSpy *self, guint64 offset, guint64 length,
                        GError **error)
{
    self->id = hostmem_discard_source_add_listener(
        hm_spy_source(self->fixture), offset, length, &spy_listener, self,
        spy_destroy, error);
    return self->id;
}

void hm_spy_add(HmSpy *self, guint first, guint n)
{
    g_autoptr(GError) error = NULL;

    hm_spy_try_add(self, first * BLOCK, n * BLOCK, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(self->id, !=, 0);
}

void hm_spy_leave(HmSpy *self)
{
    hostmem_discard_source_remove_listener(hm_spy_source(self->fixture),
                                           self->id);
}

void hm_spy_leave_other(HmSpy *self)
{
    hm_spy_leave(self->other);
}

void hm_spy_plug(HmSpyFixture *f, guint first, guint n)
{
    g_autoptr(GError) error = NULL;

    hm_test_source_plug(f->source, first, n, &error);
    g_assert_no_error(error);
}

void hm_spy_unplug(HmSpyFixture *f, guint first, guint n)
{
    g_autoptr(GError) error = NULL;

    hm_test_source_unplug(f->source, first, n, &error);
    g_assert_no_error(error);
}

static void run_case(gconstpointer data)
{
    const HmSpyCase *test = data;
    HmSpyFixture fixture;

    set_up(&fixture);
    test->func(&fixture);
    tear_down(&fixture);
}

void hm_spy_add_cases(const char *prefix, const HmSpyCase *cases, guint n)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *path = g_strconcat(prefix, cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i], run_case);
    }
}
