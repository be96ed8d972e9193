/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backends/object.h"

/*
 * What `-object` or object-add, `-device` or device_add ask for, checked: a
 * type, an id, and values for its properties.  Nothing has been made yet.
 */
typedef struct HmObjectSpec HmObjectSpec;

typedef enum {
    HM_SPEC_OBJECT, /* "qom-type" and "id" */
    HM_SPEC_DEVICE, /* "driver", and maybe "id" */
    HM_N_SPECS,
} HmSpecKind;

/**
 * hm_object_spec_from_json: check the arguments of object-add or device_add.
 *
 * Returns: NULL with %HOSTMEM_ERROR_INVALID (type, id, key, value) or
 * %HOSTMEM_ERROR_NOT_FOUND (a linked object)
 */
HmObjectSpec *hm_object_spec_from_json(HmSpecKind kind, json_t *options,
                                       const HmPropLinks *links,
                                       GError **error);
/** The same from the argument of `-object` or `-device`, in any dialect. */
HmObjectSpec *hm_object_spec_from_text(HmSpecKind kind, const char *text,
                                       const HmPropLinks *links,
                                       GError **error);
/** (transfer full): the JSON that a text stands for, not checked as a whole;
 * NULL with %HOSTMEM_ERROR_INVALID. */
json_t *hm_object_spec_parse(HmSpecKind kind, const char *text, GError **error);
/**
 * hm_object_spec_parse_with: the same of an object, and of keys of another
 * kind beside its own.
 * @rows: of those; the first one's key may be left out, as "qom-type" of an
 *     `-object`
 * @type: "qom-type" when not given
 */
json_t *hm_object_spec_parse_with(const char *text, const HmProp *rows, gsize n,
                                  const char *type, GError **error);
void hm_object_spec_free(HmObjectSpec *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HmObjectSpec, hm_object_spec_free)

HmSpecKind hm_object_spec_get_kind(const HmObjectSpec *self);
/** (nullable): NULL for a device without one. */
const char *hm_object_spec_get_id(const HmObjectSpec *self);

/** (transfer none): what was asked for, as JSON, with the type. */
json_t *hm_object_spec_get_options(const HmObjectSpec *self);

/** (transfer full): the object, still to be initialised with GInitable. */
HostmemObject *hm_object_spec_instantiate(const HmObjectSpec *self);
