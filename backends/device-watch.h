/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>
#include <hostmem/virtio-mem.h>

/**
 * HmDeviceWatch: emits the registry's "device-size-changed" and
 * "device-resize-changed" for a device.
 *
 * A device changes in any thread, as often as its guest likes; here at most one
 * look at it waits in the registry's main context, and tells what is true then.
 * A device has no clock: while a resize goes on, one of ours looks whether it
 * has stalled.
 */
typedef struct HmDeviceWatch HmDeviceWatch;

/** In the registry's thread; @registry and @device are borrowed. */
HmDeviceWatch *hm_device_watch_new(HostmemRegistry *registry,
                                   GMainContext *context,
                                   HostmemVirtioMem *device);
/** In the registry's thread: tell now what has not been told yet. */
void hm_device_watch_look(HmDeviceWatch *self);
/** In the registry's thread; nothing is emitted any more. */
void hm_device_watch_free(HmDeviceWatch *self);
