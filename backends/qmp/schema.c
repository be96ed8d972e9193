/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "backends/fdt-options.h"
#include "backends/object-types.h"
#include "backends/qmp/command.h"
#include "backends/qmp/event.h"

/*
 * Theory of operation
 *
 * The schema is a flat list of entries that refer to each other by name.  Each
 * add_ function makes sure that there is an entry for what it is given, and
 * all that this refers to, and returns the name to refer to it by.  Names are
 * interned, so nobody owns them.
 */

#define EMPTY_OBJECT "q_empty"

const HmQmpType hm_qmp_type_any = {HM_QMP_BUILTIN, "any", "value"};
const HmQmpType hm_qmp_type_bool = {HM_QMP_BUILTIN, "bool", "boolean"};
const HmQmpType hm_qmp_type_int = {HM_QMP_BUILTIN, "int", "int"};
const HmQmpType hm_qmp_type_str = {HM_QMP_BUILTIN, "str", "string"};

static const HmQmpType type_capability = {
    .kind = HM_QMP_ENUM,
    .name = "QMPCapability",
    .values = (const char *const[]){"oob", NULL},
};

static const HmQmpType type_memory_range = {
    .kind = HM_QMP_OBJECT,
    .name = "MemoryRange",
    .members = (const HmQmpMember[]){{"offset", &hm_qmp_type_int},
                                     {"length", &hm_qmp_type_int},
                                     {0}},
};

typedef struct {
    json_t *entries;
    GHashTable *names; /* of entries; interned */
} Schema;

/* FALSE when there is an entry of that name. */
static gboolean begin(Schema *self, const char *name)
{
    return g_hash_table_add(self->names, (gpointer)name);
}

static void add_entry(Schema *self, json_t *entry)
{
    json_array_append_new(self->entries, entry);
}

static void add_member(json_t *members, const char *name, const char *type,
                       gboolean optional)
{
    json_t *member = json_pack("{s:s,s:s}", "name", name, "type", type);

    if (optional) {
        json_object_set_new(member, "default", json_null());
    }
    json_array_append_new(members, member);
}

static const char *add_object(Schema *self, const char *name, json_t *members)
{
    add_entry(self, json_pack("{s:s,s:s,s:o}", "name", name, "meta-type",
                              "object", "members", members));
    return name;
}

static const char *add_empty_object(Schema *self)
{
    const char *name = g_intern_static_string(EMPTY_OBJECT);

    return begin(self, name) ? add_object(self, name, json_array()) : name;
}

/* @values is (transfer full). */
static void add_enum(Schema *self, const char *name, json_t *values)
{
    json_t *members = json_array();
    json_t *value;
    gsize i;

    json_array_foreach(values, i, value)
    {
        json_array_append_new(members, json_pack("{s:O}", "name", value));
    }
    add_entry(self, json_pack("{s:s,s:s,s:o,s:o}", "name", name, "meta-type",
                              "enum", "members", members, "values", values));
}

static const char *add_array(Schema *self, const char *element)
{
    g_autofree char *bracketed = g_strdup_printf("[%s]", element);
    const char *name = g_intern_string(bracketed);

    if (begin(self, name)) {
        add_entry(self, json_pack("{s:s,s:s,s:s}", "name", name, "meta-type",
                                  "array", "element-type", element));
    }
    return name;
}

/* Types of answers */

static const char *add_type(Schema *self, const HmQmpType *type);

static void add_type_enum(Schema *self, const HmQmpType *type)
{
    json_t *values = json_array();

    for (guint i = 0; type->values[i]; i++) {
        json_array_append_new(values, json_string(type->values[i]));
    }
    add_enum(self, type->name, values);
}

static void add_type_object(Schema *self, const HmQmpType *type)
{
    json_t *members = json_array();

    for (const HmQmpMember *m = type->members; m->name; m++) {
        add_member(members, m->name, add_type(self, m->type), m->optional);
    }
    add_object(self, type->name, members);
}

static const char *add_type(Schema *self, const HmQmpType *type)
{
    const char *name;

    if (type->kind == HM_QMP_ARRAY) {
        return add_array(self, add_type(self, type->element));
    }
    name = g_intern_string(type->name);
    if (!begin(self, name)) {
        return name;
    }
    if (type->kind == HM_QMP_BUILTIN) {
        add_entry(self, json_pack("{s:s,s:s,s:s}", "name", name, "meta-type",
                                  "builtin", "json-type", type->json_type));
    } else if (type->kind == HM_QMP_ENUM) {
        add_type_enum(self, type);
    } else {
        add_type_object(self, type);
    }
    return name;
}

/* Types of rows */

static json_t *list_nicks(GType type)
{
    g_autoptr(GTypeClass) klass = g_type_class_ref(type);
    const GEnumClass *enum_class = G_ENUM_CLASS(klass);
    json_t *nicks = json_array();

    for (guint i = 0; i < enum_class->n_values; i++) {
        json_array_append_new(nicks,
                              json_string(enum_class->values[i].value_nick));
    }
    return nicks;
}

static const char *add_row_enum(Schema *self, const HmProp *row)
{
    g_autofree char *type_name = hm_prop_type_name(row);
    const char *name = g_intern_string(type_name);

    if (begin(self, name)) {
        add_enum(self, name, list_nicks(row->type()));
    }
    return name;
}

/* Elements of an argument that is a list; they may have rows of their own. */
typedef struct {
    const char *name; /* as the row's type_name has it */
    const HmQmpType *type;
    const HmProp *rows; /* when there is no type */
    guint n_rows;
} Element;

static const Element elements[] = {
    {"[FdtDistance]", NULL, hm_fdt_distance_rows, HM_FDT_N_DISTANCE_ROWS},
    {"[FdtTransport]", NULL, hm_fdt_transport_rows, HM_FDT_N_TRANSPORT_ROWS},
    {"[MemoryRange]", &type_memory_range},
    {"[QMPCapability]", &type_capability},
    {"[int]", &hm_qmp_type_int},
    {"[str]", &hm_qmp_type_str},
};

static void add_row(Schema *self, json_t *members, const HmProp *row);

static const char *add_element(Schema *self, const Element *element)
{
    g_autofree char *text =
        g_strndup(element->name + 1, strlen(element->name) - 2);
    const char *name = g_intern_string(text);
    json_t *members;

    if (element->type) {
        return add_type(self, element->type);
    }
    if (!begin(self, name)) {
        return name;
    }
    members = json_array();
    for (guint i = 0; i < element->n_rows; i++) {
        add_row(self, members, &element->rows[i]);
    }
    return add_object(self, name, members);
}

static const char *add_any(Schema *self, const HmProp *row)
{
    for (guint i = 0; i < G_N_ELEMENTS(elements); i++) {
        if (g_strcmp0(row->type_name, elements[i].name) == 0) {
            return add_array(self, add_element(self, &elements[i]));
        }
    }
    return add_type(self, &hm_qmp_type_any);
}

static const char *add_row_type(Schema *self, const HmProp *row)
{
    switch (row->kind) {
    case HM_PROP_BOOL:
        return add_type(self, &hm_qmp_type_bool);
    case HM_PROP_UINT32:
    case HM_PROP_SIZE:
    case HM_PROP_INT64:
        return add_type(self, &hm_qmp_type_int);
    case HM_PROP_STRING:
    case HM_PROP_LINK:
        return add_type(self, &hm_qmp_type_str);
    case HM_PROP_ENUM:
        return add_row_enum(self, row);
    case HM_PROP_IDS:
        return add_array(self, add_type(self, &hm_qmp_type_int));
    case HM_PROP_ANY:
        break;
    }
    return add_any(self, row);
}

static void add_row(Schema *self, json_t *members, const HmProp *row)
{
    add_member(members, row->name, add_row_type(self, row),
               !(row->flags & HM_PROP_REQUIRED));
}

/* object-add and device_add */

typedef struct {
    const char *name;
    const char *tag;
    const char *tag_type;
    gboolean (*makes)(const HmObjectType *type);
    gboolean unnamed; /* "id" may be left out */
} Options;

static const Options object_options = {
    "ObjectOptions", "qom-type", "ObjectType", hm_object_type_is_object, FALSE};
static const Options device_options = {"DeviceOptions", "driver", "DeviceType",
                                       hm_object_type_is_device, TRUE};

/* What the command takes besides the tag and "id", which all types have. */
static const char *add_options_of_type(Schema *self, const HmObjectType *type)
{
    g_autofree char *text = g_strdup_printf("%s-options", type->name);
    const char *name = g_intern_string(text);
    g_autoptr(GTypeClass) klass = g_type_class_ref(type->get_type());
    g_autoptr(GPtrArray) rows = hm_props_list(G_OBJECT_CLASS(klass));
    json_t *members = json_array();

    for (guint i = 0; i < rows->len; i++) {
        const HmProp *row = g_ptr_array_index(rows, i);

        if (!(row->flags & HM_PROP_READ_ONLY) &&
            !g_str_equal(row->name, "id")) {
            add_row(self, members, row);
        }
    }
    begin(self, name);
    return add_object(self, name, members);
}

static const char *add_options(Schema *self, const Options *options)
{
    const char *tag_type = g_intern_static_string(options->tag_type);
    const char *name = g_intern_static_string(options->name);
    json_t *variants = json_array();
    json_t *cases = json_array();
    json_t *members = json_array();
    guint n;
    const HmObjectType *types = hm_object_types(&n);

    for (guint i = 0; i < n; i++) {
        if (options->makes(&types[i])) {
            json_array_append_new(cases, json_string(types[i].name));
            json_array_append_new(
                variants, json_pack("{s:s,s:s}", "case", types[i].name, "type",
                                    add_options_of_type(self, &types[i])));
        }
    }
    begin(self, tag_type);
    add_enum(self, tag_type, cases);
    add_member(members, options->tag, tag_type, FALSE);
    add_member(members, "id", add_type(self, &hm_qmp_type_str),
               options->unnamed);
    begin(self, name);
    add_entry(self, json_pack("{s:s,s:s,s:o,s:s,s:o}", "name", name,
                              "meta-type", "object", "members", members, "tag",
                              options->tag, "variants", variants));
    return name;
}

/* Commands and events */

static const char *add_arguments(Schema *self, const HmQmpCommand *command)
{
    g_autofree char *text = NULL;
    const char *name;
    json_t *members;

    if (command->flags & HM_QMP_OPTIONS) {
        return add_options(self, command->flags & HM_QMP_DEVICE
                                     ? &device_options
                                     : &object_options);
    }
    if (!command->n_rows) {
        return add_empty_object(self);
    }
    text = g_strdup_printf("%s-arguments", command->name);
    name = g_intern_string(text);
    members = json_array();
    for (guint i = 0; i < command->n_rows; i++) {
        add_row(self, members, &command->rows[i]);
    }
    begin(self, name);
    return add_object(self, name, members);
}

static void add_command(Schema *self, const HmQmpCommand *command)
{
    const char *returns = command->returns ? add_type(self, command->returns)
                                           : add_empty_object(self);
    json_t *entry = json_pack(
        "{s:s,s:s,s:s,s:s}", "name", command->name, "meta-type", "command",
        "arg-type", add_arguments(self, command), "ret-type", returns);

    if (command->flags & HM_QMP_OOB) {
        json_object_set_new(entry, "allow-oob", json_true());
    }
    add_entry(self, entry);
}

static void add_event(Schema *self, const HmQmpEvent *event)
{
    add_entry(self,
              json_pack("{s:s,s:s,s:s}", "name", event->name, "meta-type",
                        "event", "arg-type", add_type(self, event->data)));
}

json_t *hm_qmp_schema(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(NULL, NULL);
    Schema self = {json_array(), names};
    guint n_commands;
    const HmQmpCommand *commands = hm_qmp_commands(&n_commands);
    guint n_events;
    const HmQmpEvent *events = hm_qmp_events(&n_events);

    for (guint i = 0; i < n_commands; i++) {
        add_command(&self, &commands[i]);
    }
    for (guint i = 0; i < n_events; i++) {
        add_event(&self, &events[i]);
    }
    return self.entries;
}
