/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/device.h"

G_DEFINE_ABSTRACT_TYPE(HostmemDevice, hostmem_device, HOSTMEM_TYPE_OBJECT)

static gboolean device_check_removable(HostmemDevice *self G_GNUC_UNUSED,
                                       GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static void device_reset(HostmemDevice *self G_GNUC_UNUSED)
{
}

static void hostmem_device_init(HostmemDevice *self G_GNUC_UNUSED)
{
}

static void hostmem_device_finalize(GObject *object)
{
    HostmemDevice *self = HOSTMEM_DEVICE(object);

    if (self->claimed.length) {
        hm_address_space_release(self->space, self->claimed.offset);
    }
    g_clear_pointer(&self->space, hm_address_space_unref);
    G_OBJECT_CLASS(hostmem_device_parent_class)->finalize(object);
}

static void hostmem_device_class_init(HostmemDeviceClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = hostmem_device_finalize;
    klass->check_removable = device_check_removable;
    klass->reset = device_reset;
}

/* Addresses */

void hm_device_set_space(HostmemDevice *self, HmAddressSpace *space)
{
    self->space = hm_address_space_ref(space);
}

gboolean hm_device_claim(HostmemDevice *self, guint64 *address, guint64 size,
                         guint64 alignment, GError **error)
{
    if (!self->space) {
        self->space = hm_address_space_new(0);
    }
    if (!hm_address_space_claim(self->space, address, size, alignment,
                                HOSTMEM_OBJECT(self)->id, error)) {
        return FALSE;
    }
    self->claimed = (HmRange){*address, size};
    return TRUE;
}

/* From outside */

gboolean hostmem_device_check_removable(HostmemDevice *self, GError **error)
{
    g_return_val_if_fail(HOSTMEM_IS_DEVICE(self), FALSE);
    g_return_val_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)), FALSE);

    return HOSTMEM_DEVICE_GET_CLASS(self)->check_removable(self, error);
}

void hostmem_device_reset(HostmemDevice *self)
{
    g_return_if_fail(HOSTMEM_IS_DEVICE(self));
    g_return_if_fail(hm_object_is_complete(HOSTMEM_OBJECT(self)));

    HOSTMEM_DEVICE_GET_CLASS(self)->reset(self);
}
