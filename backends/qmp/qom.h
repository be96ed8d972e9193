/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>
#include <jansson.h>
#include "backends/object-types.h"

/*
 * The tree of paths: containers, "/", "/objects", "/machine",
 * "/machine/peripheral" and "/machine/peripheral-anon", and in them objects and
 * devices.
 *
 * A path without a leading '/' is a partial one, the end of a whole one: "ID"
 * or "objects/ID".  It must be the end of one path only.
 */
typedef struct {
    const char *container; /* NULL: an object */
    HostmemObject *object; /* (transfer none) (nullable) */
} HmQomNode;

/** FALSE with %HM_QMP_ERROR_DEVICE_NOT_FOUND */
gboolean hm_qom_find(HostmemRegistry *registry, const char *path,
                     HmQomNode *node, GError **error);

/** The properties and children of a node, as qom-list returns them. */
json_t *hm_qom_list(HostmemRegistry *registry, const HmQomNode *node);

/** The properties of a type, described, "type" first. */
json_t *hm_qom_list_type(const HmObjectType *type);

/** A property of a node that is no object; NULL with an error without it. */
json_t *hm_qom_get_of_container(HostmemRegistry *registry,
                                const HmQomNode *node, const char *property,
                                GError **error);
