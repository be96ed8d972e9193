/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util/props.h"

/*
 * The shape of what commands return and events carry.
 *
 * Arguments are HmProp rows, as properties are.  Rows cannot say all that an
 * answer holds (lists of objects, objects in objects), so answers have these;
 * an argument row of kind ANY may name one as its type_name.
 */
typedef struct HmQmpType HmQmpType;

typedef enum {
    HM_QMP_BUILTIN, /* named in QEMU's schema, such as "str" */
    HM_QMP_ENUM,
    HM_QMP_ARRAY,
    HM_QMP_OBJECT,
} HmQmpTypeKind;

typedef struct {
    const char *name;
    const HmQmpType *type;
    gboolean optional;
} HmQmpMember;

struct HmQmpType {
    HmQmpTypeKind kind;
    const char *name;           /* unique; unused with ARRAY */
    const char *json_type;      /* BUILTIN: "string", "int", ... */
    const char *const *values;  /* ENUM: NULL-terminated */
    const HmQmpType *element;   /* ARRAY */
    const HmQmpMember *members; /* OBJECT: ends with one without a name */
};

extern const HmQmpType hm_qmp_type_any;
extern const HmQmpType hm_qmp_type_bool;
extern const HmQmpType hm_qmp_type_int;
extern const HmQmpType hm_qmp_type_str;

/**
 * hm_qmp_schema: what query-qmp-schema returns, made of the tables of
 * commands, events and object types.
 *
 * Returns: (transfer full)
 */
json_t *hm_qmp_schema(void);
