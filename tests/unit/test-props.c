/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/props.h"

/* A type with a row of each kind, and a subclass with one more. */

typedef enum {
    COLOUR_RED,
    COLOUR_BLUE,
} Colour;

static GType colour_get_type(void)
{
    static const GEnumValue values[] = {
        {COLOUR_RED, "COLOUR_RED", "red"},
        {COLOUR_BLUE, "COLOUR_BLUE", "blue"},
        {0, NULL, NULL},
    };
    static gsize type;

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, g_enum_register_static("Colour", values));
    }
    return type;
}

typedef struct {
    GObject parent_instance;
    gboolean flag;
    gboolean tail; /* that a store of too many bytes would hit */
    guint32 count;
    guint32 after_count;
    guint64 size;
    gint64 delta;
    char *name;
    gint colour;
    char *nodes;
    GObject *friend;
    char *secret;
} Thing;
typedef GObjectClass ThingClass;

static GType thing_get_type(void);

static void get_double(gpointer object, GValue *value)
{
    Thing *self = object;

    g_value_set_uint64(value, 2 * self->size);
}

static const HmProp thing_rows[] = {
    {.name = "flag",
     .kind = HM_PROP_BOOL,
     .offset = HM_PROP_FIELD(Thing, flag),
     .def = TRUE,
     .flags = HM_PROP_LIVE,
     .description = "A flag"},
    {.name = "n", .alias_of = "count", .description = "Short for count"},
    {.name = "count",
     .kind = HM_PROP_UINT32,
     .offset = HM_PROP_FIELD(Thing, count),
     .def = 7,
     .flags = HM_PROP_NOT_ZERO,
     .description = "A count"},
    {.name = "size",
     .kind = HM_PROP_SIZE,
     .offset = HM_PROP_FIELD(Thing, size),
     .def = 4096,
     .flags = HM_PROP_REQUIRED},
    {.name = "delta",
     .kind = HM_PROP_INT64,
     .offset = HM_PROP_FIELD(Thing, delta)},
    {.name = "name",
     .kind = HM_PROP_STRING,
     .offset = HM_PROP_FIELD(Thing, name)},
    {.name = "colour",
     .kind = HM_PROP_ENUM,
     .offset = HM_PROP_FIELD(Thing, colour),
     .def = COLOUR_BLUE,
     .type = colour_get_type,
     .type_name = "Colour"},
    {.name = "host-nodes",
     .kind = HM_PROP_IDS,
     .offset = HM_PROP_FIELD(Thing, nodes),
     .max = 127},
    {.name = "friend",
     .kind = HM_PROP_LINK,
     .offset = HM_PROP_FIELD(Thing, friend),
     .type = thing_get_type,
     .type_name = "link<thing>"},
    {.name = "secret",
     .kind = HM_PROP_STRING,
     .offset = HM_PROP_FIELD(Thing, secret),
     .flags = HM_PROP_WRITE_ONLY},
    {.name = "double",
     .kind = HM_PROP_SIZE,
     .get = get_double,
     .flags = HM_PROP_READ_ONLY},
};

G_DEFINE_TYPE(Thing, thing, G_TYPE_OBJECT)

static void thing_finalize(GObject *object)
{
    hm_props_clear(object);
    G_OBJECT_CLASS(thing_parent_class)->finalize(object);
}

static void thing_class_init(ThingClass *klass)
{
    klass->finalize = thing_finalize;
    hm_props_install(klass, thing_rows, G_N_ELEMENTS(thing_rows));
}

static void thing_init(Thing *self)
{
    self->tail = 42;
    self->after_count = 42;
}

typedef struct {
    Thing parent_instance;
    char *label;
} Special;
typedef GObjectClass SpecialClass;

static const HmProp special_rows[] = {
    {.name = "label",
     .kind = HM_PROP_STRING,
     .offset = HM_PROP_FIELD(Special, label)},
    {.name = "flag",
     .kind = HM_PROP_BOOL,
     .offset = HM_PROP_FIELD(Thing, flag),
     .def = FALSE},
};

static GType special_get_type(void);
G_DEFINE_TYPE(Special, special, thing_get_type())

static void special_class_init(SpecialClass *klass)
{
    hm_props_install(klass, special_rows, G_N_ELEMENTS(special_rows));
}

static void special_init(Special *self G_GNUC_UNUSED)
{
}

static const HmProp *row(const char *name)
{
    g_autoptr(GTypeClass) klass = g_type_class_ref(thing_get_type());
    const HmProp *found = hm_props_find((GObjectClass *)klass, name);

    g_assert_nonnull(found);
    return found;
}

static void test_defaults(void)
{
    g_autoptr(GObject) object = g_object_new(thing_get_type(), NULL);
    Thing *self = (Thing *)object;

    g_assert_true(self->flag);
    g_assert_cmpuint(self->count, ==, 7);
    g_assert_cmpuint(self->size, ==, 4096);
    g_assert_cmpint(self->delta, ==, 0);
    g_assert_null(self->name);
    g_assert_cmpint(self->colour, ==, COLOUR_BLUE);
    g_assert_null(self->nodes);
    g_assert_null(self->friend);
}

static void test_fields_are_stored(void)
{
    g_autoptr(GObject) other = g_object_new(thing_get_type(), NULL);
    g_autoptr(GObject) object = g_object_new(
        thing_get_type(), "flag", FALSE, "count", 9, "size", (guint64)1 << 40,
        "delta", (gint64)-5, "name", "x", "colour", COLOUR_RED, "host-nodes",
        "0-1", "friend", other, "secret", "s", NULL);
    Thing *self = (Thing *)object;

    g_assert_false(self->flag);
    g_assert_cmpint(self->tail, ==, 42);
    g_assert_cmpuint(self->count, ==, 9);
    g_assert_cmpuint(self->after_count, ==, 42);
    g_assert_cmpuint(self->size, ==, (guint64)1 << 40);
    g_assert_cmpint(self->delta, ==, -5);
    g_assert_cmpstr(self->name, ==, "x");
    g_assert_cmpint(self->colour, ==, COLOUR_RED);
    g_assert_cmpstr(self->nodes, ==, "0-1");
    g_assert_true(self->friend == other);
    g_assert_cmpstr(self->secret, ==, "s");
}

static void test_fields_are_read(void)
{
    g_autoptr(GObject) other = g_object_new(thing_get_type(), NULL);
    g_autoptr(GObject) object = g_object_new(
        thing_get_type(), "count", 9, "name", "x", "friend", other, NULL);
    g_autofree char *name = NULL;
    g_autoptr(GObject) friend = NULL;
    gboolean flag;
    guint count;
    gint64 delta;
    gint colour;

    g_object_get(object, "flag", &flag, "count", &count, "delta", &delta,
                 "colour", &colour, "name", &name, "friend", &friend, NULL);
    g_assert_true(flag);
    g_assert_cmpuint(count, ==, 9);
    g_assert_cmpint(delta, ==, 0);
    g_assert_cmpint(colour, ==, COLOUR_BLUE);
    g_assert_cmpstr(name, ==, "x");
    g_assert_true(friend == other);
}

static void test_computed_value(void)
{
    g_autoptr(GObject) object =
        g_object_new(thing_get_type(), "size", (guint64)21, NULL);
    g_auto(GValue) value = G_VALUE_INIT;
    guint64 read;

    g_object_get(object, "double", &read, NULL);
    g_assert_cmpuint(read, ==, 42);
    hm_prop_get(row("double"), object, &value);
    g_assert_cmpuint(g_value_get_uint64(&value), ==, 42);
}

static void test_link_holds_a_reference(void)
{
    GObject *friend = g_object_new(thing_get_type(), NULL);
    GObject *object = g_object_new(thing_get_type(), "friend", friend, NULL);
    gpointer weak = friend;

    g_object_add_weak_pointer(friend, &weak);
    g_object_unref(friend);
    g_assert_nonnull(weak);
    g_object_unref(object);
    g_assert_null(weak);
}

static void assert_count(guint expected, const char *first, guint first_value,
                         const char *second, guint second_value)
{
    g_autoptr(GObject) object = g_object_new(
        thing_get_type(), first, first_value, second, second_value, NULL);

    g_assert_cmpuint(((Thing *)object)->count, ==, expected);
}

static void test_alias_stores_in_its_target(void)
{
    assert_count(3, "n", 3, "flag", TRUE);
}

static void test_alias_default_keeps_the_target(void)
{
    assert_count(3, "count", 3, "flag", TRUE);
}

static void test_alias_wins_over_target(void)
{
    assert_count(4, "n", 4, "count", 3);
    assert_count(4, "count", 3, "n", 4);
}

static void test_alias_row_is_the_targets(void)
{
    const HmProp *alias = row("n");

    g_assert_cmpstr(alias->name, ==, "n");
    g_assert_cmpstr(alias->description, ==, "Short for count");
    g_assert_cmpint(alias->kind, ==, HM_PROP_UINT32);
    g_assert_cmpuint(alias->offset, ==, HM_PROP_FIELD(Thing, count));
    g_assert_cmpuint(alias->flags, ==, HM_PROP_NOT_ZERO);
}

static void test_set_ignores_flags(void)
{
    g_autoptr(GObject) object = g_object_new(thing_get_type(), NULL);
    g_auto(GValue) value = G_VALUE_INIT;

    g_value_init(&value, G_TYPE_UINT64);
    g_value_set_uint64(&value, 77);
    hm_prop_set(row("size"), object, &value);
    g_assert_cmpuint(((Thing *)object)->size, ==, 77);
}

static void test_subclass(void)
{
    g_autoptr(GObject) object =
        g_object_new(special_get_type(), "label", "l", "count", 5, NULL);
    Special *self = (Special *)object;
    g_auto(GValue) value = G_VALUE_INIT;

    g_assert_cmpstr(self->label, ==, "l");
    g_assert_cmpuint(self->parent_instance.count, ==, 5);
    hm_prop_get(hm_props_find(G_OBJECT_GET_CLASS(object), "count"), object,
                &value);
    g_assert_cmpuint(g_value_get_uint(&value), ==, 5);
}

static void test_subclass_changes_a_default(void)
{
    g_autoptr(GObject) object = g_object_new(special_get_type(), NULL);

    g_assert_false(((Thing *)object)->flag);
    g_assert_cmpuint(hm_props_find(G_OBJECT_GET_CLASS(object), "flag")->def, ==,
                     FALSE);
}

static void test_param_flags(void)
{
    g_autoptr(GTypeClass) ref = g_type_class_ref(thing_get_type());
    GObjectClass *klass = (GObjectClass *)ref;

    g_assert_cmpint(g_object_class_find_property(klass, "size")->flags &
                        (G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY),
                    ==, G_PARAM_READWRITE | G_PARAM_CONSTRUCT_ONLY);
    g_assert_cmpint(g_object_class_find_property(klass, "double")->flags &
                        G_PARAM_READWRITE,
                    ==, G_PARAM_READABLE);
    g_assert_cmpint(g_object_class_find_property(klass, "secret")->flags &
                        G_PARAM_READWRITE,
                    ==, G_PARAM_WRITABLE);
}

static void test_find(void)
{
    g_autoptr(GTypeClass) ref = g_type_class_ref(thing_get_type());
    GObjectClass *klass = (GObjectClass *)ref;

    g_assert_true(hm_props_find(klass, "size") == row("size"));
    g_assert_nonnull(hm_props_find(klass, "host-nodes"));
    g_assert_null(hm_props_find(klass, "host_nodes"));
    g_assert_null(hm_props_find(klass, "Thing::size"));
    g_assert_null(hm_props_find(klass, "nosuch"));
    g_assert_null(hm_props_find(klass, ""));
}

static void test_list_is_sorted(void)
{
    static const char *const expected[] = {
        "colour",     "count", "delta", "double", "flag",   "friend",
        "host-nodes", "label", "n",     "name",   "secret", "size",
    };
    g_autoptr(GTypeClass) ref = g_type_class_ref(special_get_type());
    g_autoptr(GPtrArray) list = hm_props_list((GObjectClass *)ref);

    g_assert_cmpuint(list->len, ==, G_N_ELEMENTS(expected));
    for (guint i = 0; i < list->len; i++) {
        g_assert_cmpstr(((const HmProp *)list->pdata[i])->name, ==,
                        expected[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/props/defaults", test_defaults);
    g_test_add_func("/props/fields-are-stored", test_fields_are_stored);
    g_test_add_func("/props/fields-are-read", test_fields_are_read);
    g_test_add_func("/props/computed-value", test_computed_value);
    g_test_add_func("/props/link-holds-a-reference",
                    test_link_holds_a_reference);
    g_test_add_func("/props/alias-stores-in-its-target",
                    test_alias_stores_in_its_target);
    g_test_add_func("/props/alias-default-keeps-the-target",
                    test_alias_default_keeps_the_target);
    g_test_add_func("/props/alias-wins-over-target",
                    test_alias_wins_over_target);
    g_test_add_func("/props/alias-row-is-the-targets",
                    test_alias_row_is_the_targets);
    g_test_add_func("/props/set-ignores-flags", test_set_ignores_flags);
    g_test_add_func("/props/subclass", test_subclass);
    g_test_add_func("/props/subclass-changes-a-default",
                    test_subclass_changes_a_default);
    g_test_add_func("/props/param-flags", test_param_flags);
    g_test_add_func("/props/find", test_find);
    g_test_add_func("/props/list-is-sorted", test_list_is_sorted);
    return g_test_run();
}
