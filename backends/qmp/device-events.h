/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>

/**
 * HmQmpDeviceEvents: what the registry tells of its devices, as events.
 */
typedef struct HmQmpDeviceEvents HmQmpDeviceEvents;

/** Both are borrowed. */
HmQmpDeviceEvents *hm_qmp_device_events_new(HostmemQmpServer *server,
                                            HostmemRegistry *registry);
void hm_qmp_device_events_free(HmQmpDeviceEvents *self);
/** Send what waits for its second to be over: the end is near. */
void hm_qmp_device_events_flush(HmQmpDeviceEvents *self);
