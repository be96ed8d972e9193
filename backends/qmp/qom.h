/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/registry.h>
#include <jansson.h>

/*
 * The tree of paths: "/", "/objects", "/objects/ID".
 *
 * A path without a leading '/' is a partial one: "ID" or "objects/ID".
 */
typedef enum {
    HM_QOM_ROOT,
    HM_QOM_OBJECTS,
    HM_QOM_OBJECT,
} HmQomKind;

typedef struct {
    HmQomKind kind;
    HostmemObject *object; /* (transfer none): of an OBJECT */
} HmQomNode;

/** FALSE with %HM_QMP_ERROR_DEVICE_NOT_FOUND */
gboolean hm_qom_find(HostmemRegistry *registry, const char *path,
                     HmQomNode *node, GError **error);

/** The properties and children of a node, as qom-list returns them. */
json_t *hm_qom_list(HostmemRegistry *registry, const HmQomNode *node);

/** A property of a node that is no object; NULL with an error without it. */
json_t *hm_qom_get_of_container(HostmemRegistry *registry,
                                const HmQomNode *node, const char *property,
                                GError **error);

/** (transfer full): {"name", "type"}, and what is known of a row more. */
json_t *hm_qom_describe(const char *name, const char *type,
                        const char *description);
