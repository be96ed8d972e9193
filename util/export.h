/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/backing.h"
#include "util/owner.h"

/**
 * HmExport: a file that others shall find by name, once its memory is ready.
 *
 * Until hm_export_publish() the file has no name, so that nobody can open
 * memory that is half there, and nothing of it stays when this process dies.
 * One thread at a time.
 */
typedef struct HmExport HmExport;

typedef struct {
    const char *path;       /* absolute; its directory is on a tmpfs, or on a
                             * hugetlbfs when @huge_page_size is given */
    guint64 size;           /* bytes, a multiple of the page size */
    gsize huge_page_size;   /* bytes; 0: base pages */
    const HmOwner *owner;   /* (nullable): whose the file will be */
    const char *owner_name; /* (nullable): for messages */
} HmExportOptions;

/**
 * hm_export_new: make the file, of mode 0600, and look whether its name is
 * free.
 * @backing: set to the file, mapped shared; its own_tmpfs tells whether the
 *     tmpfs gives huge pages by itself
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND (no such
 * directory), %HOSTMEM_ERROR_PERMISSION (it cannot be written to, or the file
 * not be given away), %HOSTMEM_ERROR_EXISTS (the name is taken),
 * %HOSTMEM_ERROR_INVALID (a name of no file; another file system, or one of
 * other pages), %HOSTMEM_ERROR_UNSUPPORTED (hugetlbfs before Linux 5.6),
 * %HOSTMEM_ERROR_NO_SPACE, %HOSTMEM_ERROR_LIMIT or %HOSTMEM_ERROR_SYSTEM;
 * nothing is left then
 */
HmExport *hm_export_new(const HmExportOptions *options, HmBacking *backing,
                        GError **error);
/**
 * hm_export_new_for_file: one more name for a file.
 * @fd: the file; it has a name already, or was made without one and never had
 *     any
 *
 * Returns: (transfer full): or NULL as hm_export_new()
 */
HmExport *hm_export_new_for_file(const char *path, int fd, GError **error);
/**
 * hm_export_adopt: a file that was published before, by somebody who is gone.
 * @fd: the file
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_NOT_FOUND (the name
 * does not lead to it any more) or the error of the look
 */
HmExport *hm_export_adopt(const char *path, int fd, GError **error);
/** Forgets it; a name that it has stays. */
void hm_export_free(HmExport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmExport, hm_export_free)

/**
 * hm_export_publish: give the file its name; once.
 * @fd: the file
 *
 * Returns: FALSE with %HOSTMEM_ERROR_EXISTS (somebody was faster),
 * %HOSTMEM_ERROR_NOT_FOUND (the directory was removed),
 * %HOSTMEM_ERROR_PERMISSION, %HOSTMEM_ERROR_NO_SPACE or %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_export_publish(HmExport *self, int fd, GError **error);

/**
 * hm_export_withdraw: remove the name, if it still leads to the file.
 *
 * What somebody has put in its place stays.  Who has the file open keeps it.
 *
 * Returns: FALSE with the error of a name that stays though it is ours
 */
gboolean hm_export_withdraw(HmExport *self, GError **error);

/** (transfer none): absolute, as it was given. */
const char *hm_export_get_path(const HmExport *self);

/**
 * hm_export_give: mode 0600, and the owner.
 * @name: of the owner, for the message
 *
 * Returns: FALSE with %HOSTMEM_ERROR_PERMISSION or %HOSTMEM_ERROR_SYSTEM
 */
gboolean hm_export_give(int fd, const HmOwner *owner, const char *name,
                        GError **error);
