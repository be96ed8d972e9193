/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include "util/size.h"

/* What tests of snapshots and images of backends have in common: memory of 16
 * MiB, and the image "image" in the folder of the test. */

#define HM_TEST_IMAGE_SIZE (16 * HM_MIB)
#define HM_TEST_RAM        "memory-backend-ram,id=m0,size=16M"
#define HM_TEST_MEMFD      "memory-backend-memfd,id=m0,size=16M"

/** Whether memory can be write-protected here; else the test is skipped. */
gboolean hm_test_can_protect(void);
/** Fill three quarters of the memory, each MiB in another way. */
void hm_test_fill(HostmemBackend *backend);
void hm_test_assert_filled(HostmemBackend *backend);
/** Take a snapshot of such memory: "memory-backend-ram,...". */
void hm_test_make_image(const char *type);
/** (transfer full): a backend that is filled from the image. */
HostmemBackend *hm_test_restore(const char *type);
/** It cannot be made, see hm_test_assert_error(). */
void hm_test_assert_restore_fails(const char *type, gint code,
                                  const char *part);
