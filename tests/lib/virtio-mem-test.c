/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "object-test.h"
#include "virtio-mem-test.h"

HostmemBackend *hm_test_memdev(const char *options)
{
    const char *comma = strchr(options, ',');
    g_autofree char *type = comma ? g_strndup(options, (gsize)(comma - options))
                                  : g_strdup(options);
    g_autofree char *all =
        g_strdup_printf("%s,id=mem0,size=%" G_GUINT64_FORMAT "%s", type,
                        (guint64)REGION, comma ? comma : "");

    return hm_test_make(all);
}

HostmemVirtioMem *hm_test_complete(gpointer object, GError **error)
{
    g_autoptr(GObject) owned = object;
    gboolean ok = g_initable_init(G_INITABLE(owned), NULL, error);

    if (!error) {
        g_assert_true(ok);
    }
    return ok ? HOSTMEM_VIRTIO_MEM(g_steal_pointer(&owned)) : NULL;
}

static HostmemVirtioMemResponse ask(HostmemVirtioMem *device,
                                    HostmemVirtioMemRequestType type,
                                    gint first, guint16 n)
{
    HostmemVirtioMemRequest request = {
        .type = type,
        .addr = hostmem_virtio_mem_get_address(device) +
                (guint64)first * hostmem_virtio_mem_get_block_size(device),
        .nb_blocks = n,
    };
    HostmemVirtioMemResponse response;
    g_autoptr(GError) error = NULL;

    hostmem_virtio_mem_request(device, &request, &response, &error);
    g_assert_cmpint(response.answer == HOSTMEM_VIRTIO_MEM_ACK, ==, !error);
    return response;
}

HostmemVirtioMemAnswer hm_test_ask(HostmemVirtioMem *device,
                                   HostmemVirtioMemRequestType type, gint first,
                                   guint16 n)
{
    return ask(device, type, first, n).answer;
}

HostmemVirtioMemState hm_test_state(HostmemVirtioMem *device, guint first,
                                    guint16 n)
{
    HostmemVirtioMemResponse response =
        ask(device, HOSTMEM_VIRTIO_MEM_STATE, (gint)first, n);

    g_assert_cmpint(response.answer, ==, HOSTMEM_VIRTIO_MEM_ACK);
    return response.state;
}
