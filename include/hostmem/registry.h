/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/device.h>
#include <hostmem/export-dir.h>
#include <hostmem/job.h>
#include <hostmem/object.h>

G_BEGIN_DECLS

/**
 * HostmemRegistry:
 *
 * The id -> object table behind `-object`, object-add and object-del, and the
 * devices of `-device`, device_add and device_del, whose ids are apart.  Type
 * names are QEMU's: "memory-backend-ram", "thread-context", "virtio-mem"...  An
 * option is a property of that type; a key no property declares is an error.
 *
 * Use a registry from one thread, the one that runs its GMainContext (the
 * thread-default one at creation).  The _async calls create and destroy in
 * threads of their own, so that the main loop goes on while memory is
 * populated or freed.
 *
 * The last unref drops all objects.  It cancels what is still being created
 * and returns when everything is given back; callbacks of calls under way run
 * later, when the main context does.
 *
 * Signals, in the registry's thread: "added" and "removed" (HostmemObject*),
 * devices included; "device-size-changed" (HostmemDevice*, guint64 bytes
 * plugged), of changes that follow fast the last one; "device-resize-changed"
 * (HostmemDevice*, HostmemResizeState) when a resize begins, is reached, or has
 * stalled, which is noticed within a second; "device-deleted" (const char *id,
 * nullable, const char *path) when a device that was removed is gone, and its
 * memdev free; "backend-size-changed" (HostmemBackend*, guint64 bytes), of
 * changes that follow fast the last one; "pool-low" (HostmemMemoryPool*,
 * guint64 bytes ready, guint64 low-water), as the pool's "low"; "job-changed"
 * (HostmemJob*, HostmemJobStatus) for each change of a job of its objects, in
 * order, maybe later than the change itself; "state-changed" (nothing) when
 * hostmem_registry_save() would write something else: see <hostmem/restore.h>.
 */
#define HOSTMEM_TYPE_REGISTRY (hostmem_registry_get_type())
typedef struct _HostmemRegistry HostmemRegistry;
#define HOSTMEM_REGISTRY(obj) \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_REGISTRY, HostmemRegistry))
#define HOSTMEM_IS_REGISTRY(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_REGISTRY))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemRegistry, g_object_unref)

GType hostmem_registry_get_type(void) G_GNUC_CONST;

/** Returns: (transfer full): an empty registry */
HostmemRegistry *hostmem_registry_new(void);

/**
 * hostmem_registry_set_export_dir: where an "export-path" that is a name alone
 * lies.
 * @dir: (nullable)
 *
 * Of what is added from now on.
 */
void hostmem_registry_set_export_dir(HostmemRegistry *self,
                                     HostmemExportDir *dir);

/**
 * hostmem_registry_add: create an object and wait until it is ready.
 * @options: "memory-backend-ram,id=m0,size=4G" in either of QEMU's text
 *     dialects (repeated keys and ranges, or dotted keys), or JSON when it
 *     starts with '{'
 *
 * Returns: (transfer none): the object, owned by @self; or NULL with
 * %HOSTMEM_ERROR_INVALID (syntax, type, key, value), %HOSTMEM_ERROR_EXISTS
 * (id), %HOSTMEM_ERROR_NOT_FOUND (a linked object), or the creation error of
 * the type.  After a failure the id is free again.
 */
HostmemObject *hostmem_registry_add(HostmemRegistry *self, const char *options,
                                    GCancellable *cancellable, GError **error);

/**
 * hostmem_registry_add_async: the same, without waiting.
 *
 * The id is taken at once.  While creation runs the object can be found with
 * hostmem_registry_lookup_pending(), and hostmem_registry_remove_async()
 * cancels it.  @callback runs in the registry's main context.
 */
void hostmem_registry_add_async(HostmemRegistry *self, const char *options,
                                GCancellable *cancellable,
                                GAsyncReadyCallback callback,
                                gpointer user_data);
/** Returns: (transfer none): as hostmem_registry_add() */
HostmemObject *hostmem_registry_add_finish(HostmemRegistry *self,
                                           GAsyncResult *result,
                                           GError **error);

/**
 * hostmem_registry_add_batch: create objects together, and wait until all are
 * ready.
 * @options: NULL-terminated, each as of hostmem_registry_add(); a link may
 *     point to an earlier one
 * @failed: (out) (optional): index in @options of what the error is about
 *
 * All lines are checked before anything is made.  Then each object is made in
 * turn, up to its memory being mapped, and at last the memory of all backends
 * is populated in one run: each has as many workers as its "prealloc-threads",
 * but no more of all of them run at a time than there are CPUs; memory of NUMA
 * nodes with CPUs that may be used comes first, otherwise the order of
 * @options.  The jobs of "prealloc-async" follow.
 *
 * They become ready together.  After a failure none of them is left, and what
 * was populated in files that were there before is given back.
 *
 * Returns: FALSE as hostmem_registry_add()
 */
gboolean hostmem_registry_add_batch(HostmemRegistry *self,
                                    const char *const *options,
                                    GCancellable *cancellable, guint *failed,
                                    GError **error);

/**
 * hostmem_registry_add_batch_async: the same, without waiting.
 *
 * As hostmem_registry_add_async(); to cancel one of them, or to remove it
 * meanwhile, cancels all.
 */
void hostmem_registry_add_batch_async(HostmemRegistry *self,
                                      const char *const *options,
                                      GCancellable *cancellable,
                                      GAsyncReadyCallback callback,
                                      gpointer user_data);
/** Returns: as hostmem_registry_add_batch() */
gboolean hostmem_registry_add_batch_finish(HostmemRegistry *self,
                                           GAsyncResult *result, guint *failed,
                                           GError **error);

/**
 * hostmem_registry_remove: drop an object and wait until it is gone.
 *
 * The memory of a backend is unmapped when this returns, unless the caller
 * itself still has a reference.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, or %HOSTMEM_ERROR_BUSY (held,
 * or still being created)
 */
gboolean hostmem_registry_remove(HostmemRegistry *self, const char *id,
                                 GError **error);

/**
 * hostmem_registry_remove_async: the same, without waiting.
 *
 * An object that is still being created is cancelled instead; the call ends
 * when everything it had is given back.  Meanwhile a second call ends with
 * %HOSTMEM_ERROR_NOT_FOUND, as if the object were gone.
 */
void hostmem_registry_remove_async(HostmemRegistry *self, const char *id,
                                   GAsyncReadyCallback callback,
                                   gpointer user_data);
/** Returns: as hostmem_registry_remove(), without the BUSY of creation */
gboolean hostmem_registry_remove_finish(HostmemRegistry *self,
                                        GAsyncResult *result, GError **error);

/**
 * hostmem_registry_abandon: nobody came to use an object.
 *
 * It is there as before, but when it goes outside of this process everything
 * will be as if its creation had failed: a file that it made is gone, and one
 * that was empty is empty again.  What was populated in a file that had its
 * length stays, and so does what was handed over.  For who makes several
 * things, and cannot go on without the last of them.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, or %HOSTMEM_ERROR_BUSY (still
 * being created: cancel it)
 */
gboolean hostmem_registry_abandon(HostmemRegistry *self, const char *id,
                                  GError **error);

/**
 * hostmem_registry_lookup: find a ready object by id or by "/objects/ID".
 * @type: what it must be, such as %HOSTMEM_TYPE_BACKEND
 *
 * Returns: (transfer none): or NULL with %HOSTMEM_ERROR_NOT_FOUND (id) or
 * %HOSTMEM_ERROR_INVALID (@type)
 */
gpointer hostmem_registry_lookup(HostmemRegistry *self, const char *id,
                                 GType type, GError **error);

/** Returns: (transfer none) (nullable): an object still being created */
HostmemObject *hostmem_registry_lookup_pending(HostmemRegistry *self,
                                               const char *id);

/**
 * hostmem_registry_list: every ready object, in the order of creation.
 *
 * Returns: (transfer container) (element-type HostmemObject)
 */
GPtrArray *hostmem_registry_list(HostmemRegistry *self);

/**
 * hostmem_registry_list_pending: every object and device still being created.
 *
 * Returns: (transfer container) (element-type HostmemObject)
 */
GPtrArray *hostmem_registry_list_pending(HostmemRegistry *self);

/**
 * hostmem_registry_add_device: create a device and wait until it is ready.
 * @options: "virtio-mem,id=vm0,memdev=m0,requested-size=1G" as for
 *     hostmem_registry_add(), with "driver" instead of "qom-type"; the names
 *     that QEMU has for the type on its buses, "virtio-mem-pci", and
 *     "virtio-mem-device" are the same
 *
 * A device may have no id.  It is found at "/machine/peripheral/ID", without
 * an id at "/machine/peripheral-anon/device[N]".  With "memaddr" 0 it gets the
 * lowest address from 4 GiB up where it fits.  It holds its memdev, which
 * cannot be removed while the device is being created either.
 *
 * Returns: (transfer none): the device, owned by @self; or NULL with the errors
 * of hostmem_registry_add(), or %HOSTMEM_ERROR_EXISTS (id, address),
 * %HOSTMEM_ERROR_BUSY (memdev), %HOSTMEM_ERROR_NO_SPACE (no address is left)
 */
HostmemDevice *hostmem_registry_add_device(HostmemRegistry *self,
                                           const char *options,
                                           GCancellable *cancellable,
                                           GError **error);
/** hostmem_registry_add_device_async: the same, without waiting. */
void hostmem_registry_add_device_async(HostmemRegistry *self,
                                       const char *options,
                                       GCancellable *cancellable,
                                       GAsyncReadyCallback callback,
                                       gpointer user_data);
/** Returns: (transfer none): as hostmem_registry_add_device() */
HostmemDevice *hostmem_registry_add_device_finish(HostmemRegistry *self,
                                                  GAsyncResult *result,
                                                  GError **error);

/**
 * hostmem_registry_remove_device: drop a device and wait until it is gone.
 * @id: an id, or a path
 *
 * Its memdev is free when this returns, unless the caller itself still has a
 * reference to the device.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND, or %HOSTMEM_ERROR_BUSY (see
 * hostmem_device_check_removable(); held, or still being created)
 */
gboolean hostmem_registry_remove_device(HostmemRegistry *self, const char *id,
                                        GError **error);
/**
 * hostmem_registry_remove_device_async: the same, without waiting.
 *
 * A device that is still being created is cancelled instead.
 */
void hostmem_registry_remove_device_async(HostmemRegistry *self, const char *id,
                                          GAsyncReadyCallback callback,
                                          gpointer user_data);
/** Returns: as hostmem_registry_remove_device(), without the BUSY of creation
 */
gboolean hostmem_registry_remove_device_finish(HostmemRegistry *self,
                                               GAsyncResult *result,
                                               GError **error);

/**
 * hostmem_registry_lookup_device: find a ready device by id or by path.
 *
 * Returns: (transfer none): or NULL with %HOSTMEM_ERROR_NOT_FOUND
 */
HostmemDevice *hostmem_registry_lookup_device(HostmemRegistry *self,
                                              const char *id, GError **error);

/**
 * hostmem_registry_list_devices: every ready device, in the order of creation.
 *
 * Returns: (transfer container) (element-type HostmemDevice)
 */
GPtrArray *hostmem_registry_list_devices(HostmemRegistry *self);

/**
 * hostmem_registry_list_jobs: every job of its objects that was not dismissed.
 *
 * Returns: (transfer full) (element-type HostmemJob): oldest first
 */
GPtrArray *hostmem_registry_list_jobs(HostmemRegistry *self);

/**
 * hostmem_registry_lookup_job: find a job that was not dismissed.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND
 */
HostmemJob *hostmem_registry_lookup_job(HostmemRegistry *self, const char *id,
                                        GError **error);

/**
 * hostmem_registry_cancel_all: cancel every creation and every job.
 *
 * Callbacks of creations run later, with %G_IO_ERROR_CANCELLED.
 */
void hostmem_registry_cancel_all(HostmemRegistry *self);

/**
 * hostmem_object_types_help: the text of `-object help` and of
 * `-object TYPE,help`, laid out as QEMU's.
 * @type: (nullable): QEMU's name of a type, or NULL for the list of types
 *
 * Returns: (transfer full) (nullable): lines ending in a newline; NULL when
 * there is no such type.  Any thread.
 */
char *hostmem_object_types_help(const char *type);
/**
 * hostmem_device_types_help: the same of `-device help` and of
 * `-device TYPE,help`.
 */
char *hostmem_device_types_help(const char *type);

/**
 * hostmem_object_options_to_json: what `-object` says as the arguments of
 * QMP's object-add.
 * @options: as of hostmem_registry_add()
 *
 * For clients of a server: nothing is made, and no value is checked that only
 * the server can check.  Any thread.
 *
 * Returns: (transfer full): a JSON object as text; or NULL with
 * %HOSTMEM_ERROR_INVALID (syntax, a type, key or value that this library does
 * not know; JSON must be well-formed, and is passed on as it is)
 */
char *hostmem_object_options_to_json(const char *options, GError **error);
/** hostmem_device_options_to_json: the same of `-device` and device_add. */
char *hostmem_device_options_to_json(const char *options, GError **error);

G_END_DECLS
