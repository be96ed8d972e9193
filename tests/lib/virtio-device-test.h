/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/virtio-device.h>

/*
 * A device without purpose: two queues of 8 that answer each byte with its
 * complement, and a configuration of two fields of 64 bits that are equal.
 * A request without room for an answer breaks its protocol.
 */
#define HM_TEST_DEVICE_ID       42
#define HM_TEST_DEVICE_FEATURES (1 | 4 | G_GUINT64_CONSTANT(1) << 50)
/** One of them that it refuses to work without. */
#define HM_TEST_DEVICE_NEEDED ((guint64)1)

#define HM_TYPE_TEST_DEVICE   (hm_test_device_get_type())
G_DECLARE_FINAL_TYPE(HmTestDevice, hm_test_device, HM, TEST_DEVICE, GObject)

HmTestDevice *hm_test_device_new(void);

/** Set both fields, at once; tell the driver. */
void hm_test_device_set_value(HmTestDevice *self, guint64 value, gboolean tell);
/** What the driver wrote last. */
guint64 hm_test_device_get_written(HmTestDevice *self);

/** Keep requests from being answered, or let them go on. */
void hm_test_device_hold(HmTestDevice *self, gboolean hold);
/** Wait until a request is held. */
void hm_test_device_await_held(HmTestDevice *self);

/** Say that all is well, whatever the queue says. */
void hm_test_device_set_careless(HmTestDevice *self, gboolean careless);

guint hm_test_device_get_requests(HmTestDevice *self);
guint hm_test_device_get_resets(HmTestDevice *self);
