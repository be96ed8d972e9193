/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostmemctl.h"

static const char introduction[] =
    "\n"
    "COMMAND ARGUMENT=VALUE ...      0-3,8 is a list, 4G a size, a.b=1 an "
    "inner\n"
    "                                member; text with blanks is 'in quotes'\n"
    "{\"execute\": \"COMMAND\", ...}     as QMP has it\n"
    "help COMMAND [ARGUMENT=VALUE]   what it takes\n"
    "exit, or Ctrl-D                 leave; the server goes on\n";

static const CtlColumn columns[] = {
    {"argument", FALSE},
    {"type", FALSE},
    {"optional", FALSE},
    {0},
};

static char *help_of_all(CtlSchema *schema)
{
    g_autoptr(GPtrArray) commands = ctl_schema_commands(schema);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < commands->len; i++) {
        g_autofree char *safe = ctl_text_safe(commands->pdata[i]);
        g_string_append_printf(text, "%s\n", safe);
    }
    g_string_append(text, introduction);
    return g_string_free(text, FALSE);
}

/* "bind|default", or what JSON calls it. */
static char *type_of(const CtlMember *member)
{
    g_autoptr(GPtrArray) values = ctl_member_values(member);

    if (!values->len || g_str_equal(member->kind, "boolean")) {
        return g_strdup(member->kind);
    }
    g_ptr_array_add(values, NULL);
    return g_strjoinv("|", (char **)values->pdata);
}

char *ctl_shell_help(CtlSchema *schema, char **words)
{
    if (!*words) {
        return help_of_all(schema);
    }
    g_autoptr(GHashTable) given = ctl_line_given(words + 1);
    g_autoptr(GArray) members = ctl_schema_members(schema, *words, "", given);
    g_autoptr(CtlTable) table = ctl_table_new(columns);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < members->len; i++) {
        const CtlMember *member = &g_array_index(members, CtlMember, i);

        ctl_table_add(table, (char *[]){
                                 g_strdup(member->name),
                                 type_of(member),
                                 g_strdup(member->optional ? "yes" : NULL),
                             });
    }
    ctl_table_append_to(table, text);
    return g_string_free(text, FALSE);
}
