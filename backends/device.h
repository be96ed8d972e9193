/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/device.h>
#include "backends/address-space.h"
#include "backends/object.h"

struct _HostmemDevice {
    HostmemObject parent_instance;

    HmAddressSpace *space; /* (nullable): none but its own; constant */
    HmRange claimed;       /* of it; empty: nothing yet */
};

struct _HostmemDeviceClass {
    HostmemObjectClass parent_class;

    /* See the public functions; any thread. */
    gboolean (*check_removable)(HostmemDevice *self, GError **error);
    void (*reset)(HostmemDevice *self);
};

#define HOSTMEM_DEVICE_CLASS(klass) \
    (G_TYPE_CHECK_CLASS_CAST((klass), HOSTMEM_TYPE_DEVICE, HostmemDeviceClass))
#define HOSTMEM_DEVICE_GET_CLASS(obj) \
    (G_TYPE_INSTANCE_GET_CLASS((obj), HOSTMEM_TYPE_DEVICE, HostmemDeviceClass))

/** Where its addresses come from; before creation. */
void hm_device_set_space(HostmemDevice *self, HmAddressSpace *space);
/**
 * hm_device_claim: hm_address_space_claim(), once, during creation.
 *
 * The last unref of the device gives the addresses back.
 */
gboolean hm_device_claim(HostmemDevice *self, guint64 *address, guint64 size,
                         guint64 alignment, GError **error);
