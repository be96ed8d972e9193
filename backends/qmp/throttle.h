/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/qmp.h>
#include <jansson.h>

/**
 * HmQmpThrottle: events that may come often, one a second of each.
 *
 * The first is sent at once.  Of those that follow within a second the last
 * one is sent when the second is over, with the time of sending, so that the
 * times of a session never go back.
 */
typedef struct HmQmpThrottle HmQmpThrottle;

/** @server is borrowed. */
HmQmpThrottle *hm_qmp_throttle_new(HostmemQmpServer *server);
void hm_qmp_throttle_free(HmQmpThrottle *self);

/**
 * hm_qmp_throttle_emit: send an event, now or later.
 * @name: of the event; static
 * @key: what it is about: events with the same name and key are limited
 * @data: (transfer full)
 */
void hm_qmp_throttle_emit(HmQmpThrottle *self, const char *name,
                          const char *key, json_t *data);
/** Send what waits about @key now, about anything when it is NULL. */
void hm_qmp_throttle_flush(HmQmpThrottle *self, const char *key);
