/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib-object.h>
#include <jansson.h>

/*
 * Properties: one row each.
 *
 * A row says everything that is known about an option.  From it come the
 * GParamSpec with its storage, the check of a JSON value, the parsing of text,
 * the help line, and the entries of qom-list-properties and
 * query-qmp-schema.  A command's arguments are rows too.
 *
 * What a GValue of a kind holds, the field it is kept in, and its JSON:
 *
 *   BOOL    gboolean   gboolean      true, false
 *   UINT32  guint      guint32       integer
 *   SIZE    guint64    guint64       integer, bytes, below 2^63
 *   INT64   gint64     gint64        integer
 *   STRING  string     char *        string
 *   ENUM    GEnum      gint          string, the value's nick
 *   IDS     string     char *        array of integers; text "0-3,8"
 *   LINK    GObject    GObject *     string, an id or "/objects/ID"
 *   ANY     -          -             any value (arguments of commands only)
 */
typedef enum {
    HM_PROP_BOOL,
    HM_PROP_UINT32,
    HM_PROP_SIZE,
    HM_PROP_INT64,
    HM_PROP_STRING,
    HM_PROP_ENUM,
    HM_PROP_IDS,
    HM_PROP_LINK,
    HM_PROP_ANY,
} HmPropKind;

typedef enum {
    HM_PROP_REQUIRED = 1 << 0,   /* must be given at creation */
    HM_PROP_READ_ONLY = 1 << 1,  /* never given, only read */
    HM_PROP_WRITE_ONLY = 1 << 2, /* given, never read back */
    HM_PROP_LIVE = 1 << 3,       /* may change after creation */
    HM_PROP_NOT_ZERO = 1 << 4,   /* 0 cannot be given */
} HmPropFlags;

typedef struct HmProp HmProp;
struct HmProp {
    const char *name;
    HmPropKind kind;
    guint flags;
    gsize offset;          /* of the field; unused with READ_ONLY and @get */
    guint64 def;           /* default: BOOL, UINT32, SIZE, INT64, ENUM */
    guint64 max;           /* UINT32, SIZE, each of IDS; 0: of the type */
    GType (*type)(void);   /* ENUM and LINK */
    const char *type_name; /* QOM's, "link<...>" too; NULL: that of the kind */
    void (*get)(gpointer object, GValue *value); /* computed at each read */
    const char *alias_of; /* that row of the table under another name; such a
                           * row has only these two and a description */
    const char *description;
};

#define HM_PROP_FIELD(Type, field) G_STRUCT_OFFSET(Type, field)

/** How a path becomes an object, and back. */
typedef struct {
    /* (transfer none); NULL with %HOSTMEM_ERROR_NOT_FOUND */
    GObject *(*find)(const char *path, gpointer data, GError **error);
    char *(*path_of)(GObject *object, gpointer data); /* (transfer full) */
    gpointer data;
} HmPropLinks;

/**
 * hm_props_install: make the GParamSpecs of a class and its get_property and
 * set_property, from rows that live as long as the process.
 *
 * What can be given is construct-only, with the row's default; an alias
 * overwrites its target only with another value than that default.
 *
 * Fields of kinds STRING and IDS are freed and LINKs are unreffed by
 * hm_props_clear(), which the class's finalize calls.
 */
void hm_props_install(GObjectClass *klass, const HmProp *rows, gsize n);
void hm_props_clear(GObject *object);

/**
 * (nullable): the row of a property, also of a parent class's.  That of an
 * alias is its target's, but for the name and what it says itself.
 */
const HmProp *hm_props_find(GObjectClass *klass, const char *name);
/** (transfer container) (element-type HmProp): all rows, sorted by name. */
GPtrArray *hm_props_list(GObjectClass *klass);

/**
 * Initialise @value with the row's GType and read the object's value.  These
 * two lock nothing.
 */
void hm_prop_get(const HmProp *row, GObject *object, GValue *value);
/** Store a value in the field, whatever the flags say; not what is computed. */
void hm_prop_set(const HmProp *row, GObject *object, const GValue *value);
/** What a GValue of the row holds. */
GType hm_prop_gtype(const HmProp *row);
/** (transfer full): QOM's name of the type: "bool", "int", "link<...>"... */
char *hm_prop_type_name(const HmProp *row);

/**
 * hm_prop_from_json: check a JSON value and turn it into a GValue.
 * @links: (nullable): needed for LINK rows
 * @value: initialised by this, untouched on failure
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID in QEMU's words ("Invalid
 * parameter type for 'x', expected: boolean", "Parameter 'x' expects uint64",
 * "Parameter 'x' does not accept value 'y'"), or what @links said
 */
gboolean hm_prop_from_json(const HmProp *row, json_t *json,
                           const HmPropLinks *links, GValue *value,
                           GError **error);
/** (transfer full): the JSON of a value; LINKs need @links. */
json_t *hm_prop_to_json(const HmProp *row, const GValue *value,
                        const HmPropLinks *links);

/**
 * hm_prop_text_to_json: the JSON value that a text stands for.
 * @texts: NULL-terminated; more than one where a list key was repeated
 *
 * Returns: (transfer full): or NULL with %HOSTMEM_ERROR_INVALID in QEMU's
 * words ("Parameter 'size' expects a size value", "Parameter 'prealloc'
 * expects 'on' or 'off'")
 */
json_t *hm_prop_text_to_json(const HmProp *row, const char *const *texts,
                             GError **error);

/** (transfer full): for a person: "on", "4 GiB", "0-3"; LINK: "set" or "". */
char *hm_prop_to_text(const HmProp *row, const GValue *value);

/**
 * hm_props_check_json: check an object of arguments against rows.
 * @rows: a table without aliases
 *
 * Every key has a row ("Parameter 'x' is unexpected"), required rows are there
 * ("Parameter 'x' is missing"), types fit; a LINK is not looked up.
 *
 * Returns: FALSE with %HOSTMEM_ERROR_INVALID
 */
gboolean hm_props_check_json(const HmProp *rows, gsize n, json_t *object,
                             GError **error);
