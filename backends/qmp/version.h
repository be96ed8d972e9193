/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

/**
 * hm_qmp_version_new: what query-version returns and the greeting holds.
 *
 * The version of the dialect, for clients that choose commands by QEMU's
 * version; "package" is who really speaks.
 */
static inline json_t *hm_qmp_version_new(void)
{
    return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "major", 7, "minor", 2,
                     "micro", 0, "package", "hostmem " HM_VERSION);
}
