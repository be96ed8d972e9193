/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/object-types.h"
#include "backends/object.h"
#include "backends/qmp/call.h"
#include "backends/qmp/qom.h"
#include "backends/qmp/server.h"
#include "backends/registry-private.h"
#include "util/error.h"

/* The node of argument "path"; ends the call when there is none. */
static gboolean find_node(HmQmpCall *call, HmQomNode *node)
{
    HostmemRegistry *registry = hm_qmp_server_get_registry(call->server);
    g_autoptr(GError) error = NULL;

    if (!hm_qom_find(registry, hm_qmp_call_string(call, "path"), node,
                     &error)) {
        hm_qmp_call_fail(call, error);
        return FALSE;
    }
    return TRUE;
}

void hm_qmp_run_qom_list(HmQmpCall *call)
{
    HmQomNode node;

    if (find_node(call, &node)) {
        hm_qmp_call_return(
            call, hm_qom_list(hm_qmp_server_get_registry(call->server), &node));
    }
}

/* qom-get */

static json_t *get(HmQmpCall *call, HostmemObject *object, GError **error)
{
    HostmemRegistry *registry = hm_qmp_server_get_registry(call->server);

    return hm_object_get_json(object, hm_qmp_call_string(call, "property"),
                              hm_registry_links(registry), error);
}

/* A HmQmpWorkFunc. */
static json_t *measure(HmQmpCall *call, GPtrArray *objects,
                       GObject *target G_GNUC_UNUSED,
                       GCancellable *cancellable G_GNUC_UNUSED, GError **error)
{
    return get(call, g_ptr_array_index(objects, 0), error);
}

/* What is computed may ask the kernel about every page: not in the loop. */
static gboolean is_measured(HostmemObject *object, const char *property)
{
    const HmProp *row = hm_props_find(G_OBJECT_GET_CLASS(object), property);

    return row && row->get;
}

static void get_of_object(HmQmpCall *call, HostmemObject *object)
{
    g_autoptr(GError) error = NULL;
    json_t *value;

    if (is_measured(object, hm_qmp_call_string(call, "property"))) {
        hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                          hm_qmp_work_objects(object), NULL, measure);
        return;
    }
    value = get(call, object, &error);
    hm_qmp_call_end(call, value, error);
}

static json_t *get_of_container(HmQmpCall *call, const HmQomNode *node,
                                GError **error)
{
    return hm_qom_get_of_container(hm_qmp_server_get_registry(call->server),
                                   node, hm_qmp_call_string(call, "property"),
                                   error);
}

void hm_qmp_run_qom_get(HmQmpCall *call)
{
    g_autoptr(GError) error = NULL;
    json_t *value;
    HmQomNode node;

    if (!find_node(call, &node)) {
        return;
    }
    if (node.object) {
        get_of_object(call, node.object);
        return;
    }
    value = get_of_container(call, &node, &error);
    hm_qmp_call_end(call, value, error);
}

/* qom-set */

/* What a LINK is to be set to, (transfer none) (nullable).  The registry
 * belongs to its thread: it is asked before the change goes to another. */
static GObject *find_target(HmQmpCall *call, HostmemObject *object,
                            GError **error)
{
    const HmPropLinks *links =
        hm_registry_links(hm_qmp_server_get_registry(call->server));
    const HmProp *row = hm_props_find(G_OBJECT_GET_CLASS(object),
                                      hm_qmp_call_string(call, "property"));
    const char *path = hm_qmp_call_string(call, "value");

    if (!row || row->kind != HM_PROP_LINK || !path || !*path) {
        return NULL;
    }
    return links->find(path, links->data, error);
}

static GObject *give_target(const char *path G_GNUC_UNUSED, gpointer data,
                            GError **error G_GNUC_UNUSED)
{
    return data;
}

/* A HmQmpWorkFunc. */
static json_t *set(HmQmpCall *call, GPtrArray *objects, GObject *target,
                   GCancellable *cancellable, GError **error)
{
    HostmemObject *object = g_ptr_array_index(objects, 0);
    const HmPropLinks links = {.find = give_target, .data = target};

    if (!hm_object_set_json(object, hm_qmp_call_string(call, "property"),
                            hm_qmp_call_arg(call, "value"), &links, cancellable,
                            error)) {
        return NULL;
    }
    return json_object();
}

static void set_of_object(HmQmpCall *call, HostmemObject *object)
{
    g_autoptr(GError) error = NULL;
    GObject *target = find_target(call, object, &error);

    if (error) {
        hm_qmp_call_fail(call, error);
    } else {
        hm_qmp_work_start(hm_qmp_server_get_work(call->server), call,
                          hm_qmp_work_objects(object), target, set);
    }
}

static void refuse_set_of_container(HmQmpCall *call, const HmQomNode *node)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *value = get_of_container(call, node, &error);

    if (value) {
        hm_set_error(&error, HOSTMEM_ERROR_PERMISSION,
                     "Property 'container.%s' is not writable",
                     hm_qmp_call_string(call, "property"));
    }
    hm_qmp_call_fail(call, error);
}

void hm_qmp_run_qom_set(HmQmpCall *call)
{
    HmQomNode node;

    if (!find_node(call, &node)) {
        return;
    }
    if (node.object) {
        set_of_object(call, node.object);
    } else {
        refuse_set_of_container(call, &node);
    }
}

/* Types */

static gboolean implements(const HmObjectType *type, const char *ancestor)
{
    while (type && !g_str_equal(type->name, ancestor)) {
        type = type->parent ? hm_object_type_find(type->parent) : NULL;
    }
    return type != NULL;
}

static json_t *describe_type(const HmObjectType *type)
{
    json_t *entry =
        json_pack("{s:s,s:s*}", "name", type->name, "parent", type->parent);

    if (type->abstract) {
        json_object_set_new(entry, "abstract", json_true());
    }
    return entry;
}

void hm_qmp_run_qom_list_types(HmQmpCall *call)
{
    const char *ancestor = hm_qmp_call_string(call, "implements");
    gboolean abstract = json_is_true(hm_qmp_call_arg(call, "abstract"));
    json_t *list = json_array();
    guint n;
    const HmObjectType *types = hm_object_types(&n);

    for (guint i = 0; i < n; i++) {
        if ((abstract || !types[i].abstract) &&
            (!ancestor || implements(&types[i], ancestor))) {
            json_array_append_new(list, describe_type(&types[i]));
        }
    }
    hm_qmp_call_return(call, list);
}

void hm_qmp_run_qom_list_properties(HmQmpCall *call)
{
    const char *name = hm_qmp_call_string(call, "typename");
    const HmObjectType *type = hm_object_type_find(name);

    if (!type) {
        g_autofree char *quoted = hm_error_quote(name);
        g_autoptr(GError) error =
            g_error_new(HM_QMP_ERROR, HM_QMP_ERROR_DEVICE_NOT_FOUND,
                        "Class %s not found", quoted);

        hm_qmp_call_fail(call, error);
        return;
    }
    hm_qmp_call_return(call, hm_qom_list_type(type));
}
