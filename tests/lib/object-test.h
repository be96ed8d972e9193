/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/object.h>

/* What the tests of objects have in common. */

typedef struct {
    const char *path;
    void (*func)(void);
} HmTest;

/** Run the tests, each on a fake kernel that was just reset. */
int hm_test_main(int argc, char **argv, const HmTest *tests, gsize n);

/** An empty folder of this test's own, removed with what is in it. */
const char *hm_test_folder(void);

/** (transfer full): the object that `-object` would make. */
gpointer hm_test_make(const char *options);
/** It cannot be made, see hm_test_assert_error(). */
void hm_test_assert_make_fails(const char *options, gint code,
                               const char *part);
/** (transfer full): the object, or NULL with an error. */
gpointer hm_test_try_make(const char *options, GCancellable *cancellable,
                          GError **error);

/** The property reads as this JSON. */
void hm_test_assert_reads(gpointer object, const char *property,
                          const char *expected);
/** The property as a number. */
guint64 hm_test_read_number(gpointer object, const char *property);
/** Changing the property works. */
void hm_test_assert_set(gpointer object, const char *property,
                        const char *value);
/** Changing it fails with this error, and it keeps its value. */
void hm_test_assert_set_fails(gpointer object, const char *property,
                              const char *value, gint code,
                              const char *message);
/** @error is one of ours with @code whose message has @part; it is freed. */
void hm_test_assert_error(GError *error, gint code, const char *part);

/** A size that no other mapping of a process has, also under sanitizers:
 * "17412K". */
#define HM_TEST_ODD_SIZE (G_GUINT64_CONSTANT(17412) << 10)

/** Descriptors that this process has open. */
guint hm_test_count_fds(void);
/** Mappings of exactly @size bytes that this process has. */
guint hm_test_count_mappings(guint64 size);
