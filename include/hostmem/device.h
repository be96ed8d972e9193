/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemDevice:
 *
 * Whatever `-device` and device_add create; abstract base of HostmemVirtioMem.
 * A HostmemObject that occupies guest physical addresses.  The devices of a
 * HostmemRegistry share one space of addresses and never overlap; a device
 * without a registry has one of its own.
 */
#define HOSTMEM_TYPE_DEVICE (hostmem_device_get_type())
typedef struct _HostmemDevice HostmemDevice;
typedef struct _HostmemDeviceClass HostmemDeviceClass;
#define HOSTMEM_DEVICE(obj) \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_DEVICE, HostmemDevice))
#define HOSTMEM_IS_DEVICE(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_DEVICE))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemDevice, g_object_unref)

GType hostmem_device_get_type(void) G_GNUC_CONST;

/**
 * hostmem_device_check_removable: could it go now?
 *
 * Nothing of it may be plugged or requested, no request may be at work, and no
 * driver may read what is unplugged.  Any thread; complete devices only.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_BUSY, in QEMU's words
 */
gboolean hostmem_device_check_removable(HostmemDevice *self, GError **error);

/**
 * hostmem_device_reset: the machine resets.
 *
 * As hostmem_virtio_mem_reset().  May take as long as discarding all of its
 * memory does.  Any thread; complete devices only.
 */
void hostmem_device_reset(HostmemDevice *self);

G_END_DECLS
