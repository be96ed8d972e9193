/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

/*
 * For tests on the real kernel: what it lacks, and playing an older one.
 */

/** Skips the test, with the reason, when @ret (-errno) says so. */
gboolean hm_test_missing(gint64 ret, const char *what);

/** Run a part of a test in a child process; it fails with the child. */
void hm_test_in_child(void (*func)(void));

/**
 * hm_test_deny: in a child: system call @nr fails from now.
 * @err: positive errno
 * @arg: which argument to look at, from 0
 * @bits: only when it has all of these
 */
void hm_test_deny(int nr, guint arg, guint32 bits, int err);
