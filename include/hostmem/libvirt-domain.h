/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/*
 * The memory of domains that run, on any host that libvirt reaches.  As with
 * <hostmem/libvirt.h> libvirt is loaded by the first call that needs it, and
 * every call fails with %HOSTMEM_ERROR_UNSUPPORTED without it.
 */

/**
 * HostmemLibvirtMemory: a memory device of a domain.
 * @alias: (nullable): libvirt's name of it, and the id of QEMU's device
 * @model: "virtio-mem", "dimm", "nvdimm", "virtio-pmem" or another one
 * @size: bytes, all that it can have
 * @block: bytes that are plugged and unplugged at a time; 0: not a virtio-mem
 * @requested: bytes that the guest shall have; @size when not a virtio-mem
 * @current: bytes that the guest has; @size when not a virtio-mem
 * @node: NUMA node of the guest; -1: not said
 */
typedef struct {
    char *alias;
    char *model;
    guint64 size;
    guint64 block;
    guint64 requested;
    guint64 current;
    gint node;
} HostmemLibvirtMemory;

/**
 * HostmemLibvirtDomain: what a domain has of memory.
 * @id: of this run of it; -1: it does not run
 * @memory: bytes that it was given, memory devices included
 * @current: bytes that its balloon and its devices leave it
 * @max: bytes that @memory can become by plugging; 0: no limit is configured
 * @devices: (element-type HostmemLibvirtMemory)
 */
typedef struct {
    char *name;
    char *uuid;
    gint id;
    guint64 memory;
    guint64 current;
    guint64 max;
    GPtrArray *devices;
} HostmemLibvirtDomain;

/** Any thread. */
void hostmem_libvirt_domain_free(HostmemLibvirtDomain *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemLibvirtDomain, hostmem_libvirt_domain_free)

/**
 * HostmemLibvirtEvent: something that happened to a domain.
 * @kind: "size" (of a device, the guest plugged or unplugged some of it),
 *     "balloon", "device-added", "device-removed", or what became of the
 *     domain: "defined", "undefined", "started", "suspended", "resumed",
 *     "stopped", "shutdown", "pmsuspended", "crashed"
 * @domain: its name
 * @alias: (nullable): the device that it is about
 * @size: bytes of "size" and "balloon", 0 of others
 * @time_us: when we heard of it, of g_get_real_time()
 */
typedef struct {
    const char *kind;
    char *domain;
    char *alias;
    guint64 size;
    gint64 time_us;
} HostmemLibvirtEvent;

/** Any thread. */
void hostmem_libvirt_event_free(HostmemLibvirtEvent *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemLibvirtEvent, hostmem_libvirt_event_free)

/**
 * HostmemLibvirtConnection:
 *
 * A connection to a hypervisor, by libvirt.
 *
 * Any thread, several at once.  All calls but hostmem_libvirt_connection_wait()
 * and hostmem_libvirt_connection_resize() block as long as libvirt does, which
 * may be half a minute for a domain that starts, and are not cancelled; a
 * remote host that is silent for 15 seconds has gone.
 *
 * The first connection starts a thread, which runs libvirt's event loop and
 * stays for the life of the process.  It runs no code of the user.  In a
 * process that has given libvirt an event loop before, that one is used.
 *
 * Errors name the URI.  When the connection is lost every call fails with
 * %HOSTMEM_ERROR_SYSTEM from then on: make another one.
 */
#define HOSTMEM_TYPE_LIBVIRT_CONNECTION (hostmem_libvirt_connection_get_type())
typedef struct _HostmemLibvirtConnection HostmemLibvirtConnection;
#define HOSTMEM_LIBVIRT_CONNECTION(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_LIBVIRT_CONNECTION, \
                                HostmemLibvirtConnection))
#define HOSTMEM_IS_LIBVIRT_CONNECTION(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_LIBVIRT_CONNECTION))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemLibvirtConnection, g_object_unref)

GType hostmem_libvirt_connection_get_type(void) G_GNUC_CONST;

/**
 * hostmem_libvirt_connection_new: connect.
 * @uri: (nullable): of libvirt; NULL: libvirt's default, which
 *     LIBVIRT_DEFAULT_URI in the environment may say
 * @read_only: suffices for all that is not said to need more, and may be
 *     granted to more users
 *
 * Asks nobody for a password: those of libvirt's auth.conf are used.  A
 * transport (ssh) is a program of its own, and may ask.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_UNSUPPORTED,
 * %HOSTMEM_ERROR_INVALID (no URI, or not one of libvirt's),
 * %HOSTMEM_ERROR_NOT_FOUND, %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_SYSTEM
 * (nobody is there, or libvirt has another reason), %HOSTMEM_ERROR_LIMIT (no
 * thread)
 */
HostmemLibvirtConnection *hostmem_libvirt_connection_new(const char *uri,
                                                         gboolean read_only,
                                                         GError **error);

/** Returns: (transfer none): the URI, as libvirt understood it */
const char *hostmem_libvirt_connection_get_uri(HostmemLibvirtConnection *self);

/**
 * hostmem_libvirt_connection_list: all domains that run, by name.
 *
 * Returns: (transfer full) (element-type HostmemLibvirtDomain): one that ends
 * meanwhile is left out; or NULL with whatever stands for libvirt's error, or
 * as of hostmem_libvirt_connection_get() for the XML of a domain
 */
GPtrArray *hostmem_libvirt_connection_list(HostmemLibvirtConnection *self,
                                           GError **error);

/**
 * hostmem_libvirt_connection_get: a domain that runs.
 * @name: of it, or its UUID
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND (no such
 * domain, or it does not run), %HOSTMEM_ERROR_INVALID or %HOSTMEM_ERROR_LIMIT
 * (what libvirt says of it cannot be read), or whatever stands for libvirt's
 * error
 */
HostmemLibvirtDomain *
hostmem_libvirt_connection_get(HostmemLibvirtConnection *self, const char *name,
                               GError **error);

/**
 * hostmem_libvirt_connection_execute: a QMP command of the QEMU of a domain.
 * @name: of a domain that runs, or its UUID
 * @command: QMP's name of it; without arguments
 *
 * Needs a connection that is not read-only.  libvirt notes in its log, and in
 * the domain's state, that somebody has used the monitor ("custom-monitor").
 *
 * Returns: (transfer full): JSON, QEMU's answer, untrusted, up to 4 MiB; or
 * NULL with %HOSTMEM_ERROR_UNSUPPORTED (the driver has no monitor),
 * %HOSTMEM_ERROR_PERMISSION (read-only), or as
 * hostmem_libvirt_connection_get()
 */
char *hostmem_libvirt_connection_execute(HostmemLibvirtConnection *self,
                                         const char *name, const char *command,
                                         GError **error);

/**
 * hostmem_libvirt_connection_listen: hear of events from now on.
 *
 * Those that the driver knows; with none, nothing is ever heard.  Of events
 * that nobody takes the last 1024 are kept.
 *
 * Returns: FALSE with whatever stands for libvirt's error
 */
gboolean hostmem_libvirt_connection_listen(HostmemLibvirtConnection *self,
                                           GError **error);

/**
 * hostmem_libvirt_connection_wait: take the next event.
 * @timeout_us: how long to wait for it; 0: not at all
 * @cancellable: (nullable)
 *
 * Returns: (transfer full) (nullable): NULL without an error when none came; or
 * NULL with %HOSTMEM_ERROR_SYSTEM (the connection is lost) or
 * %G_IO_ERROR_CANCELLED
 */
HostmemLibvirtEvent *
hostmem_libvirt_connection_wait(HostmemLibvirtConnection *self,
                                gint64 timeout_us, GCancellable *cancellable,
                                GError **error);

/**
 * hostmem_libvirt_connection_request: say how much of a virtio-mem its guest
 * shall have.
 * @name: of a domain that runs, or its UUID
 * @alias: (nullable): of the device; NULL when there is one alone
 * @bytes: a multiple of its block, at most its size
 *
 * Of the domain as it runs, not of what it is when it starts again.  Returns
 * when the guest was told.  Needs a connection that is not read-only.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID (@bytes, or the device is no
 * virtio-mem), %HOSTMEM_ERROR_NOT_FOUND (no such device, or several and no
 * @alias), %HOSTMEM_ERROR_PERMISSION (read-only), or as
 * hostmem_libvirt_connection_get()
 */
gboolean hostmem_libvirt_connection_request(HostmemLibvirtConnection *self,
                                            const char *name, const char *alias,
                                            guint64 bytes, GError **error);

/**
 * HostmemLibvirtProgressFunc: how far a resize is.
 * @device: as it is now
 * @first: bytes that the guest had at the start
 */
typedef void (*HostmemLibvirtProgressFunc)(const HostmemLibvirtMemory *device,
                                           guint64 first, gpointer user_data);

/**
 * hostmem_libvirt_connection_resize: the same, and wait until the guest has it.
 * @stall_us: without a change for so long it is stalled
 * @func: (nullable): called in this thread, at each look
 *
 * What was requested stays so, whatever this returns.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_TIMED_OUT (stalled; the message says how
 * far it is and what that means), %HOSTMEM_ERROR_CHANGED (somebody else has
 * requested another size), %HOSTMEM_ERROR_NOT_FOUND (the domain has ended or
 * the device was unplugged meanwhile), %HOSTMEM_ERROR_SYSTEM (the connection
 * is lost), %G_IO_ERROR_CANCELLED, or as hostmem_libvirt_connection_request()
 */
gboolean hostmem_libvirt_connection_resize(
    HostmemLibvirtConnection *self, const char *name, const char *alias,
    guint64 bytes, gint64 stall_us, HostmemLibvirtProgressFunc func,
    gpointer user_data, GCancellable *cancellable, GError **error);

G_END_DECLS
