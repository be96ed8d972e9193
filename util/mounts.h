/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/types.h>

/** What mountinfo says of a file system. */
typedef struct {
    char *type;    /* "tmpfs" */
    char *source;  /* "hostmem" */
    char *options; /* of the file system itself: "rw,huge=always" */
} HmMount;

/**
 * hm_mount_find: the file system that files with this st_dev are on.
 *
 * Returns: (transfer full) (nullable): NULL when this process sees no mount of
 * it
 */
HmMount *hm_mount_find(dev_t device);
void hm_mount_free(HmMount *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmMount, hm_mount_free)

/** Whether it was mounted with an option: "huge=always". */
gboolean hm_mount_has_option(const HmMount *self, const char *option);
