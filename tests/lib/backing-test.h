/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/error.h>
#include "util/backing.h"

/* For tests of files as backings, on a fresh fake kernel. */

/** A directory of a test's own, empty, and a name in it. */
typedef struct {
    char *dir;
    char *path;
} HmTestFile;

typedef struct {
    const char *name;
    void (*func)(HmTestFile *self);
} HmTestFileCase;

/** g_test_add() for each; a test may leave @path behind, nothing else. */
void hm_test_file_add(const char *prefix, const HmTestFileCase *cases, gsize n);

/** A shared mapping of an object "m0". */
HmBackingFileOptions hm_test_file_options(const char *path, guint64 size);
/** Must succeed. */
HmBacking hm_test_file_open(const HmBackingFileOptions *options);
/** Must fail with this code and part of a message. */
void hm_test_file_refused(const HmBackingFileOptions *options,
                          HostmemError code, const char *part);
void hm_test_file_make(const char *path, guint64 length);
/** Bytes; -1 when there is no such file. */
gint64 hm_test_file_length(const char *path);
