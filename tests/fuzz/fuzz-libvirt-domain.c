/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/export/libvirt-domain.h"
#include <string.h>
#include "fuzz.h"

#define WANTED 4096

static HostmemLibvirtDomain *parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    HostmemLibvirtDomain *domain = hm_domain_parse(xml, &error);

    fuzz_check_error(domain != NULL, error);
    return domain;
}

/* A device that is written down again is a device that asks for as much. */
static void check_update(const char *device)
{
    g_autofree char *xml = g_strconcat("<domain><name>a</name><devices>",
                                       device, "</devices></domain>", NULL);
    g_autoptr(HostmemLibvirtDomain) domain = parse(xml);
    const HostmemLibvirtMemory *memory;

    g_assert_nonnull(domain);
    g_assert_cmpuint(domain->devices->len, ==, 1);
    memory = g_ptr_array_index(domain->devices, 0);
    g_assert_true(!g_str_equal(memory->model, "virtio-mem") ||
                  memory->requested == WANTED);
}

static void update(const char *xml, guint index)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *device = hm_domain_update(xml, index, WANTED, &error);

    fuzz_check_error(device != NULL, error);
    if (device) {
        check_update(device);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *xml = g_strndup((const char *)data, size);
    g_autoptr(HostmemLibvirtDomain) domain = parse(xml);
    guint index;

    if (!domain) {
        return 0;
    }
    for (guint i = 0; i < MIN(domain->devices->len, 4); i++) {
        update(xml, i);
    }
    if (hm_domain_find(domain, NULL, &index, NULL)) {
        g_assert_cmpuint(index, <, domain->devices->len);
    }
    return 0;
}
