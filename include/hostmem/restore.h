/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>

G_BEGIN_DECLS

/*
 * Memory that outlives its process.
 *
 * The memory of a file, with a name or without, lives as long as somebody has a
 * descriptor of it.  A registry can write down what its objects are, and hand
 * out their descriptors; another process that gets both makes the same objects
 * on the same memory, with the same ids and properties.  Who keeps them
 * meanwhile is up to the program: a service manager, a parent, a friend.
 *
 * What survives: backends whose memory is shared (share=on) or can only be
 * read; memory-pools, with what they have lent and what is ready;
 * thread-contexts; virtio-mem devices with what is plugged; jobs, of which
 * those that were at work go on.  Private memory is lost, and what had it is
 * told.
 */

/**
 * HostmemSavedFd: a descriptor that is kept, and its name.
 * @name: printable ASCII without ':', ',' and '=', at most 255 characters
 * @fd: close-on-exec
 */
typedef struct {
    char *name;
    int fd;
} HostmemSavedFd;

/** Returns: (transfer full): @fd, (transfer full), under that name. */
HostmemSavedFd *hostmem_saved_fd_new(const char *name, int fd);
/** hostmem_saved_fd_free: closes it, unless it is -1. */
void hostmem_saved_fd_free(HostmemSavedFd *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemSavedFd, hostmem_saved_fd_free)

/** What the name of a state begins with. */
#define HOSTMEM_STATE_NAME "hostmem-state"

/**
 * HostmemSave: what whoever keeps descriptors has to do.
 * @added: (element-type HostmemSavedFd): to be kept from now on, owned
 * @state_name: the name of the new state, "hostmem-state.17"
 * @state_fd: a sealed memfd, to be kept as well; borrowed from the registry
 *     until its next save.  Neither it nor a duplicate may be closed in this
 *     process: that would end the lock which tells other processes that it is
 *     in use.
 * @removed: (element-type utf8): names that need not be kept any more, the old
 *     state first
 *
 * In this order, so that who is stopped in between leaves what can be restored.
 */
typedef struct {
    GPtrArray *added;
    char *state_name;
    int state_fd;
    GPtrArray *removed;
} HostmemSave;

/** hostmem_save_free: with the descriptors that are left in it. */
void hostmem_save_free(HostmemSave *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostmemSave, hostmem_save_free)

/**
 * hostmem_registry_save: write down what is there now.
 *
 * What changed is told by the signal "state-changed" of the registry, once a
 * turn of its main loop, before calls of that turn are answered: whoever saves
 * in its handler has saved all that anybody was told of.  Objects that are
 * still being created are not in it.
 *
 * Returns: (transfer full): the difference from the last save that succeeded,
 * or from what was restored; or NULL with %HOSTMEM_ERROR_LIMIT (RLIMIT_NOFILE,
 * RLIMIT_FSIZE), %HOSTMEM_ERROR_NO_MEMORY, %HOSTMEM_ERROR_NO_SPACE or
 * %HOSTMEM_ERROR_SYSTEM, and the last save is as good as it was
 */
HostmemSave *hostmem_registry_save(HostmemRegistry *self, GError **error);

/**
 * hostmem_registry_restore: make the objects again that were saved.
 * @fds: (element-type HostmemSavedFd): all that was kept, in any order; taken
 *     out of it, and closed where nothing needs them.  Of several states the
 *     newest that is well-formed counts.
 *
 * Before anything else is added.  What was saved is checked as what comes from
 * outside; what its memory is, is asked of the kernel.  An object that cannot
 * be made again is left out, as are those that need it; the others come: see
 * hostmem_registry_list_restored().  Populating goes on where it was.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_NOT_FOUND (no state),
 * %HOSTMEM_ERROR_INVALID (it is malformed), %HOSTMEM_ERROR_UNSUPPORTED (it is
 * of another version), %HOSTMEM_ERROR_BUSY (another process has these objects),
 * %HOSTMEM_ERROR_SYSTEM or %G_IO_ERROR_CANCELLED; nothing is there then, and
 * what is kept is good for another try
 */
gboolean hostmem_registry_restore(HostmemRegistry *self, GPtrArray *fds,
                                  GCancellable *cancellable, GError **error);
/** hostmem_registry_restore_async: the same, without waiting. */
void hostmem_registry_restore_async(HostmemRegistry *self, GPtrArray *fds,
                                    GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data);
/** Returns: as hostmem_registry_restore() */
gboolean hostmem_registry_restore_finish(HostmemRegistry *self,
                                         GAsyncResult *result, GError **error);

/**
 * HostmemRestoreStatus: what became of an object that was saved.
 * @HOSTMEM_RESTORE_RESTORED: it is there, with all that was in it
 * @HOSTMEM_RESTORE_LOST: its memory could not outlive its process
 * @HOSTMEM_RESTORE_FAILED: it could not be made again
 */
typedef enum {
    HOSTMEM_RESTORE_RESTORED,
    HOSTMEM_RESTORE_LOST,
    HOSTMEM_RESTORE_FAILED,
} HostmemRestoreStatus;

/**
 * HostmemRestored: what became of one.
 * @path: "/objects/m0"
 * @status: a #HostmemRestoreStatus
 * @reason: (nullable): why it is not there
 */
typedef struct {
    char *path;
    HostmemRestoreStatus status;
    char *reason;
} HostmemRestored;

/**
 * hostmem_registry_list_restored: what became of what was saved.
 *
 * Returns: (transfer container) (element-type HostmemRestored): empty when
 * nothing was restored; valid as long as @self
 */
GPtrArray *hostmem_registry_list_restored(HostmemRegistry *self);

/**
 * hostmem_registry_compare_restored: is this the object that was restored?
 * @options: as of hostmem_registry_add()
 * @difference: (out) (transfer full) (nullable): what a line asks for otherwise
 *     than the one that made the object, "size=2147483648 (was 1073741824)";
 *     NULL: nothing
 *
 * Returns: whether there is an object of that id that was restored
 */
gboolean hostmem_registry_compare_restored(HostmemRegistry *self,
                                           const char *options,
                                           char **difference);
/**
 * hostmem_registry_compare_restored_device: the same of a device.
 * @options: as of hostmem_registry_add_device().  Without an id, it is the
 *     next such device that was restored, each once.
 */
gboolean hostmem_registry_compare_restored_device(HostmemRegistry *self,
                                                  const char *options,
                                                  char **difference);

/**
 * hostmem_registry_set_note: have a text saved along, which
 * hostmem_registry_get_note() finds after a restore.
 * @note: (nullable): UTF-8, at most 64 KiB
 */
void hostmem_registry_set_note(HostmemRegistry *self, const char *note);
/** Returns: (transfer none) (nullable): as it was set, or restored */
const char *hostmem_registry_get_note(HostmemRegistry *self);

/**
 * hostmem_registry_leave_behind: another process will go on with what is saved.
 *
 * The last unref then closes the objects, and leaves what would go with them:
 * files, and what is in them.  Before anything is cancelled or removed.
 */
void hostmem_registry_leave_behind(HostmemRegistry *self);

G_END_DECLS
