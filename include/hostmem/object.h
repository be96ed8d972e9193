/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/**
 * HostmemObject:
 *
 * Whatever `-object` and `object-add` create; abstract base of the backends
 * and of thread-context.  Its GObject properties carry QEMU's names and are
 * construct-only or read-only.  Construction is where things fail: use
 * g_initable_new(), or a HostmemRegistry, never g_object_new().
 *
 * What may change later changes through hostmem_object_set().
 */
#define HOSTMEM_TYPE_OBJECT (hostmem_object_get_type())
typedef struct _HostmemObject HostmemObject;
typedef struct _HostmemObjectClass HostmemObjectClass;
#define HOSTMEM_OBJECT(obj) \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_OBJECT, HostmemObject))
#define HOSTMEM_IS_OBJECT(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_OBJECT))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemObject, g_object_unref)

GType hostmem_object_get_type(void) G_GNUC_CONST;

/**
 * hostmem_object_get_id: the name it was created under.
 *
 * Returns: (transfer none) (nullable): valid as long as @self; NULL when it
 * was created without one.  Any thread.
 */
const char *hostmem_object_get_id(HostmemObject *self);

/**
 * hostmem_object_get_type_name: QEMU's name of the type.
 *
 * Returns: (transfer none): such as "memory-backend-ram".  Any thread.
 */
const char *hostmem_object_get_type_name(HostmemObject *self);

/**
 * hostmem_object_get: read a property as JSON text, as QMP's qom-get does.
 * @property: QEMU's name of it, such as "prealloc"
 *
 * Sizes are bytes.  Any thread.
 *
 * Returns: (transfer full): "true", "4096", "\"bind\"", "[0,1]"; or NULL with
 * %HOSTMEM_ERROR_NOT_FOUND (no such property) or %HOSTMEM_ERROR_PERMISSION
 * (write-only).
 */
char *hostmem_object_get(HostmemObject *self, const char *property,
                         GError **error);

/**
 * hostmem_object_set: change a property of a live object.
 * @value: as on the command line: "on", "4G", "0-3"
 *
 * May block as long as the change takes (turning "prealloc" on populates).
 * Any thread; changes of one object are served one at a time.  After a
 * failure the property has its old value.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (no such property),
 * %HOSTMEM_ERROR_INVALID (value), %HOSTMEM_ERROR_PERMISSION (it cannot change
 * after creation), or the error of the change itself.
 */
gboolean hostmem_object_set(HostmemObject *self, const char *property,
                            const char *value, GCancellable *cancellable,
                            GError **error);

/**
 * hostmem_object_hold: say that somebody depends on the object.
 *
 * A held object refuses removal with %HOSTMEM_ERROR_BUSY, and a failing
 * populate of a held backend leaves pages populated rather than discard what
 * the holder may have written.  Hold a backend before a guest, a child process
 * or a peer can write to its memory.  Any thread.
 */
void hostmem_object_hold(HostmemObject *self);

/** hostmem_object_release: undo one hostmem_object_hold().  Any thread. */
void hostmem_object_release(HostmemObject *self);

/** Returns: whether the object is held.  Any thread. */
gboolean hostmem_object_is_held(HostmemObject *self);

G_END_DECLS
