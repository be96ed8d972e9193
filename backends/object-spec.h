/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/object.h"

/*
 * What `-object` or object-add asks for, checked: a type, an id, and values
 * for its properties.  Nothing has been made yet.
 */
typedef struct HmObjectSpec HmObjectSpec;

/**
 * hm_object_spec_from_json: check the arguments of object-add.
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID (type, id, key, value) or
 * %HOSTMEM_ERROR_NOT_FOUND (a linked object)
 */
HmObjectSpec *hm_object_spec_from_json(json_t *options,
                                       const HmPropLinks *links,
                                       GError **error);
/** The same from the argument of `-object`, in any dialect. */
HmObjectSpec *hm_object_spec_from_text(const char *text,
                                       const HmPropLinks *links,
                                       GError **error);
void hm_object_spec_free(HmObjectSpec *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmObjectSpec, hm_object_spec_free)

const char *hm_object_spec_get_id(const HmObjectSpec *self);

/** (transfer full): the object, still to be initialised with GInitable. */
HostmemObject *hm_object_spec_instantiate(const HmObjectSpec *self);
