/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/restore.h>

/* Somebody who keeps the descriptors of a registry, as a service manager does,
 * and gives them to the next one. */
typedef struct {
    HostmemRegistry *registry;
    GPtrArray *kept;           /* HostmemSavedFd */
    guint changes;             /* times that "state-changed" was heard */
    GCancellable *cancellable; /* (nullable) borrowed: of a restore */
} HmTestKeeper;

/** Begins with an empty registry. */
void hm_test_keeper_init(HmTestKeeper *self);
void hm_test_keeper_clear(HmTestKeeper *self);

/** Add an object or a device, which must work. */
gpointer hm_test_keeper_add(HmTestKeeper *self, const char *options);
gpointer hm_test_keeper_add_device(HmTestKeeper *self, const char *options);
/** Find one; NULL: it is not there. */
gpointer hm_test_keeper_find(HmTestKeeper *self, const char *id);

/** Save, which must work, and do what that says. */
void hm_test_keeper_save(HmTestKeeper *self);
/** The registry goes, and leaves behind what is kept; another begins. */
void hm_test_keeper_kill(HmTestKeeper *self);
/** Give a duplicate of all that is kept to the registry, as it is now. */
gboolean hm_test_keeper_try_restore(HmTestKeeper *self, GError **error);
/** Save, kill, restore: all of it must work. */
void hm_test_keeper_restart(HmTestKeeper *self);

/** (nullable): the descriptor whose name begins so, which stays kept. */
HostmemSavedFd *hm_test_keeper_get(HmTestKeeper *self, const char *prefix);
/** Keep another one instead; -1: none. */
void hm_test_keeper_replace(HmTestKeeper *self, const char *prefix, int fd);
/** (transfer full): the text of the state that is kept. */
char *hm_test_keeper_text(HmTestKeeper *self);
/** Keep another state instead, or besides when it has another name. */
void hm_test_keeper_set_text(HmTestKeeper *self, const char *name,
                             const char *text);

/** What became of a path, and a part of the reason unless that is NULL. */
void hm_test_keeper_assert(HmTestKeeper *self, const char *path,
                           HostmemRestoreStatus status, const char *part);
/** Write all over a backend of HM_TEST_ODD_SIZE bytes. */
void hm_test_fill(gpointer backend);
/** All of that is there. */
void hm_test_assert_filled(gpointer backend);
/** Serve the main context as long as there is something to do. */
void hm_test_settle(void);
