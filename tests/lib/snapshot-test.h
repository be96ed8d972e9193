/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/*
 * Writers at full speed, and what memory held when they were held up.
 *
 * A writer has pages of its own and writes generation after generation, each
 * to all words of one page that the generation decides.  So what its pages held
 * at any moment follows from the last generation alone.
 */

typedef struct HmTestWriter HmTestWriter;

/** Write to the pages at @addr from now on; word and page are of the kernel. */
HmTestWriter *hm_test_writer_start(void *addr, gsize length);
/** Returns: generations that are complete */
guint64 hm_test_writer_generation(HmTestWriter *self);
/** Until it has completed so many more. */
void hm_test_writer_wait(HmTestWriter *self, guint64 generations);
/** Returns: microseconds of its longest write */
gint64 hm_test_writer_longest(HmTestWriter *self);
/** Stop; @self can still be asked. */
void hm_test_writer_stop(HmTestWriter *self);
void hm_test_writer_free(HmTestWriter *self);

/**
 * Assert that @image is what the pages of a writer held at one moment, between
 * two generations; @image: as long as the writer's memory.
 */
void hm_test_writer_assert_moment(HmTestWriter *self, const void *image,
                                  guint64 earliest, guint64 latest);

/** Fill memory that may be saved at the same time: a race only for who does not
 * know that the kernel holds us up. */
void hm_test_set_memory(void *addr, guint8 value, gsize length);

/** (nullable): why memory cannot be write-protected here; for a skip. */
const char *hm_test_no_write_protect(void);
