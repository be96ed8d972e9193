/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-mem.h>
#include "util/size.h"

/* What the tests of virtio-mem have in common: a region of 64 blocks of 2 MiB
 * at 4 GiB, unless they want another. */

#define BLOCK  (2 * HM_MIB)
#define REGION (64 * BLOCK)
#define BASE   (4 * HM_GIB)

/** (transfer full): a backend of REGION bytes: "memory-backend-ram,...". */
HostmemBackend *hm_test_memdev(const char *options);

/** Complete an object, and own it; NULL with an error. */
HostmemVirtioMem *hm_test_complete(gpointer object, GError **error);
/** (transfer full): a device on @memdev, with properties; ends with NULL. */
#define hm_test_virtio_mem(memdev, ...)                                        \
    hm_test_complete(g_object_new(HOSTMEM_TYPE_VIRTIO_MEM, "memdev", (memdev), \
                                  __VA_ARGS__),                                \
                     NULL)
/** There is no such device, see hm_test_assert_error(). */
#define hm_test_assert_no_virtio_mem(code, part, ...)                          \
    G_STMT_START                                                               \
    {                                                                          \
        GError *why_ = NULL;                                                   \
        gpointer object_ = g_object_new(HOSTMEM_TYPE_VIRTIO_MEM, __VA_ARGS__); \
        g_assert_null(hm_test_complete(object_, &why_));                       \
        hm_test_assert_error(why_, (code), (part));                            \
    }                                                                          \
    G_STMT_END

/** The answer to a request about @n blocks from the @first of the region. */
HostmemVirtioMemAnswer hm_test_ask(HostmemVirtioMem *device,
                                   HostmemVirtioMemRequestType type, gint first,
                                   guint16 n);
/** The same, and it must be this: (device, PLUG, 0, 1, ACK) */
#define hm_test_assert_answer(device, type, first, n, expected)             \
    g_assert_cmpint(                                                        \
        hm_test_ask((device), HOSTMEM_VIRTIO_MEM_##type, (first), (n)), ==, \
        HOSTMEM_VIRTIO_MEM_##expected)
/** The state of blocks; the request must be acknowledged. */
HostmemVirtioMemState hm_test_state(HostmemVirtioMem *device, guint first,
                                    guint16 n);
