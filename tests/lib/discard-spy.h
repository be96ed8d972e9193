/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "discard-test.h"

/*
 * Listeners with one-letter names write what they hear into one log: "a+2:3 "
 * is that a hears three blocks from block two are populating, "a-2:3 " that
 * they are discarded, "a~ " that its data was destroyed.
 */
#define BLOCK    HM_TEST_SOURCE_BLOCK
#define N_BLOCKS 16

typedef struct HmSpyFixture HmSpyFixture;
typedef struct HmSpy HmSpy;

struct HmSpy {
    HmSpyFixture *fixture;
    char name;
    guint id;
    gboolean refuses;
    gboolean speechless;          /* refuses without an error */
    void (*then)(HmSpy *self);    /* called last in each callback */
    void (*at_last)(HmSpy *self); /* called when destroyed, once */
    HmSpy *other;
};

struct HmSpyFixture {
    HmTestSource *source;
    GString *log;
    HmSpy a;
    HmSpy b;
    HmSpy c;
};

HostmemDiscardSource *hm_spy_source(const HmSpyFixture *f);
/** What has been heard since the last time. */
void hm_spy_assert_heard(HmSpyFixture *f, const char *expected);
/** What the source counts as populated. */
void hm_spy_assert_map(const HmSpyFixture *f, const char *expected);
/** Add to the log. */
void hm_spy_write(HmSpy *self, char what, guint64 offset, guint64 length);
/** Call spy->then, once. */
void hm_spy_call_then(HmSpy *self);
/** Listen to bytes. */
gboolean hm_spy_try_add(HmSpy *self, guint64 offset, guint64 length,
                        GError **error);
/** Listen to blocks. */
void hm_spy_add(HmSpy *self, guint first, guint n);
void hm_spy_leave(HmSpy *self);
/** Remove self->other. */
void hm_spy_leave_other(HmSpy *self);
void hm_spy_plug(HmSpyFixture *f, guint first, guint n);
void hm_spy_unplug(HmSpyFixture *f, guint first, guint n);

typedef struct {
    const char *name;
    void (*func)(HmSpyFixture *f);
} HmSpyCase;

/** Add tests that get a fixture each. */
void hm_spy_add_cases(const char *prefix, const HmSpyCase *cases, guint n);
