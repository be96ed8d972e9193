/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib-object.h>

/*
 * The one table of types: QEMU's names, GTypes, parents.  "object",
 * "memory-backend" and other abstract types are listed too.  QEMU has a name
 * for each bus that a device may be on; here they are one type, and the rows
 * of the other names have the first as their parent.
 */
typedef struct {
    const char *name;
    const char *parent; /* NULL for the root */
    gboolean abstract;
    gboolean device; /* made by `-device`, not by `-object` */
    GType (*get_type)(void);
} HmObjectType;

/** The rows of the table; *@n says how many. */
const HmObjectType *hm_object_types(guint *n);
/** (nullable): by QEMU's name. */
const HmObjectType *hm_object_type_find(const char *name);
/** Whether `-object` and object-add can make it. */
gboolean hm_object_type_is_object(const HmObjectType *type);
/** Whether `-device` and device_add can make it. */
gboolean hm_object_type_is_device(const HmObjectType *type);
/** QEMU's name of a GType; GObject's where the table does not have it. */
const char *hm_object_type_name(GType type);
