/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib-object.h>
#include <hostmem/error.h>

G_BEGIN_DECLS

/**
 * HostmemExportDir:
 *
 * A tmpfs of huge pages, mounted where other processes find memory by name:
 * the place of an "export-path" that is a name alone.  See
 * hostmem_registry_set_export_dir().
 *
 * It is mounted when it is made, and unmounted by the last unref; backends with
 * a name in it have references.  Files that somebody still has open live on
 * without a name.  Functions may be called from any thread.
 */
#define HOSTMEM_TYPE_EXPORT_DIR (hostmem_export_dir_get_type())
typedef struct _HostmemExportDir HostmemExportDir;
#define HOSTMEM_EXPORT_DIR(obj)                                 \
    (G_TYPE_CHECK_INSTANCE_CAST((obj), HOSTMEM_TYPE_EXPORT_DIR, \
                                HostmemExportDir))
#define HOSTMEM_IS_EXPORT_DIR(obj) \
    (G_TYPE_CHECK_INSTANCE_TYPE((obj), HOSTMEM_TYPE_EXPORT_DIR))
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemExportDir, g_object_unref)

GType hostmem_export_dir_get_type(void) G_GNUC_CONST;

/**
 * hostmem_export_dir_new: mount a tmpfs, or take over one that was left behind.
 * @options: "DIRECTORY[,size=SIZE]": the size limits what all files in it take
 *     together, as "8G"; without it nothing does.  A comma in the path is
 *     written twice.
 *
 * The directory must exist and be empty, and nothing be mounted on it.  Its
 * root has mode 0711: who knows a name gets to the file, whose mode decides.
 *
 * A mount that a process which was killed has left is taken over, its size as
 * it is: files that nobody has open are removed, the others stay, and a message
 * names them.
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID (syntax, no
 * directory, not empty, something else is mounted there),
 * %HOSTMEM_ERROR_NOT_FOUND (no such directory), %HOSTMEM_ERROR_BUSY (a living
 * process has it), %HOSTMEM_ERROR_PERMISSION (it takes CAP_SYS_ADMIN to mount),
 * %HOSTMEM_ERROR_UNSUPPORTED (the kernel has no huge pages for a tmpfs) or
 * %HOSTMEM_ERROR_SYSTEM; nothing is mounted then
 */
HostmemExportDir *hostmem_export_dir_new(const char *options, GError **error);

/** Returns: (transfer none): its absolute path */
const char *hostmem_export_dir_get_path(HostmemExportDir *self);

G_END_DECLS
