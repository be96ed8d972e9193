/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/export/libvirt.h"
#include <hostmem/libvirt-domain.h>

/**
 * HmLibvirtEvents: what libvirt has told of a connection.
 *
 * libvirt's thread puts in, any thread takes out.  Counted, because libvirt
 * lets go of it when it likes.
 */
typedef struct HmLibvirtEvents HmLibvirtEvents;

HmLibvirtEvents *hm_libvirt_events_new(const HmLibvirt *lib);
HmLibvirtEvents *hm_libvirt_events_ref(HmLibvirtEvents *self);
void hm_libvirt_events_unref(HmLibvirtEvents *self);

/** Hear when @connection is lost, as far as its driver tells, until
 * hm_libvirt_events_forget(), which must come. */
void hm_libvirt_events_watch_close(HmLibvirtEvents *self,
                                   virConnectPtr connection);
/** Hear of domains; a second call does nothing.  FALSE with libvirt's error. */
gboolean hm_libvirt_events_listen(HmLibvirtEvents *self,
                                  virConnectPtr connection, GError **error);
/** Hear of nothing any more. */
void hm_libvirt_events_forget(HmLibvirtEvents *self, virConnectPtr connection);

/** (transfer full) (nullable): the oldest one. */
HostmemLibvirtEvent *hm_libvirt_events_take(HmLibvirtEvents *self);
/** How many there have been. */
guint64 hm_libvirt_events_count(HmLibvirtEvents *self);
/**
 * hm_libvirt_events_wait: until there have been more than @count.
 * @until_us: of g_get_monotonic_time()
 *
 * Returns: FALSE with %HOSTMEM_ERROR_SYSTEM (the connection is lost) or
 * %G_IO_ERROR_CANCELLED
 */
gboolean hm_libvirt_events_wait(HmLibvirtEvents *self, guint64 count,
                                gint64 until_us, GCancellable *cancellable,
                                GError **error);
