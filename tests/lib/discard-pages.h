/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/discard.h"

/* Eight pages that are all 'x'; for a descriptor they start at page two. */
#define N_PAGES   8
#define FILE_PAGE 2

/** Anonymous memory; @flags as of mmap(2). */
HmDiscardTarget hm_pages_map_anon(int flags);
/** A memfd. */
HmDiscardTarget hm_pages_map_file(int flags);
/** The file is all @fill behind a private mapping that is all 'x'. */
HmDiscardTarget hm_pages_map_private(char fill);
void hm_pages_unmap(HmDiscardTarget *target);
/** hm_discard_list() of one range, in bytes; of none when @length is 0. */
gboolean hm_pages_discard(const HmDiscardTarget *target, guint64 offset,
                          guint64 length, GError **error);
/** The first byte of each page, as text; '.' for 0. */
void hm_pages_assert(const HmDiscardTarget *target, const char *expected);
/** What the fake kernel was asked since its last reset. */
void hm_pages_assert_calls(const char *expected);
