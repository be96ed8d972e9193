/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "hostmemctl.h"

/*
 * The first word that is no option is the sub-command, or its family, and the
 * second one says which of that.  Options of all
 * sub-commands may stand anywhere, others behind their sub-command; "--" ends
 * them.  An option's argument follows it or a '='; one that may be left out
 * only a '='.
 */

#define SECONDS_MAX 86400.0

static gboolean refuse(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static gboolean refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID, message);
    return FALSE;
}

/* The program's name, and the sub-command's. */
static char *where(const CtlCall *self)
{
    const char *name = self->command ? self->command->name : self->family;

    return g_strconcat("hostmemctl", name ? " " : "", name, NULL);
}

/* Options */

/* What goes into JSON. */
static gboolean check_text(const char *text, GError **error)
{
    return g_utf8_validate(text, -1, NULL) ||
           refuse(error, "'%s' is no UTF-8", text);
}

static gboolean has_name(const CtlOption *row, const char *text, gsize length)
{
    return (strlen(row->name) == length &&
            strncmp(row->name, text, length) == 0) ||
           (row->letter && length == 2 && text[0] == '-' &&
            text[1] == row->letter);
}

static const CtlOption *find_in(const CtlOption *rows, const char *text)
{
    for (const CtlOption *row = rows; row && row->name; row++) {
        if (has_name(row, text, strcspn(text, "="))) {
            return row;
        }
    }
    return NULL;
}

const CtlOption *ctl_option_find(const CtlCommand *command, const char *text)
{
    const CtlOption *row = command ? find_in(command->options, text) : NULL;

    return row ? row : find_in(ctl_options, text);
}

/* A number below 0 is a word. */
static gboolean is_option(const char *text)
{
    return text[0] == '-' && text[1] && !g_ascii_isdigit(text[1]);
}

gboolean ctl_option_needs_argument(const CtlOption *row)
{
    return row->argument && row->argument[0] != '[';
}

/* Takes an option and, where it needs one, its argument off @argv. */
static gboolean parse_option(CtlCall *self, char ***argv, GError **error)
{
    const char *text = *(*argv)++;
    const CtlOption *row = ctl_option_find(self->command, text);
    const char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : NULL;

    if (!row) {
        g_autofree char *program = where(self);
        return refuse(error, "%.*s: invalid option; try '%s --help'",
                      (int)strcspn(text, "="), text, program);
    }
    if (!row->argument && equals) {
        return refuse(error, "%s: takes no argument", row->name);
    }
    if (ctl_option_needs_argument(row) && !value && !(value = *(*argv)++)) {
        return refuse(error, "%s: requires an argument", row->name);
    }
    g_hash_table_insert(self->options, (gpointer)row->name,
                        g_strdup(value ? value : ""));
    return !value || check_text(value, error);
}

/* Words */

static gboolean refuse_command(const CtlCall *self, const char *word,
                               GError **error)
{
    g_autofree char *program = where(self);

    return refuse(error, "%s%s%s: no such command; try '%s --help'",
                  self->family ? self->family : "", self->family ? " " : "",
                  word, program);
}

static gboolean parse_word(CtlCall *self, GPtrArray *words, const char *word,
                           GError **error)
{
    if (self->command) {
        g_ptr_array_add(words, g_strdup(word));
        return check_text(word, error);
    }
    self->command = ctl_command_find_in(self->family, word);
    if (!self->command && !self->family && ctl_command_is_family(word)) {
        self->family = word;
        return TRUE;
    }
    return self->command || refuse_command(self, word, error);
}

static gboolean takes_rest(const CtlCommand *command)
{
    const CtlArgument *row = command ? command->arguments : NULL;

    while (row && row->name && !(row->flags & CTL_REST)) {
        row++;
    }
    return row && row->name;
}

/* What follows "--". */
static gboolean parse_rest(CtlCall *self, GPtrArray *words, char **argv,
                           GError **error)
{
    if (takes_rest(self->command)) {
        self->rest = g_strdupv(argv);
        return TRUE;
    }
    for (; *argv; argv++) {
        if (!parse_word(self, words, *argv, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean parse_all(CtlCall *self, GPtrArray *words, char **argv,
                          GError **error)
{
    while (*argv) {
        if (g_str_equal(*argv, "--")) {
            return parse_rest(self, words, argv + 1, error);
        }
        if (is_option(*argv) ? !parse_option(self, &argv, error)
                             : !parse_word(self, words, *argv++, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Checks */

static gboolean refuse_missing(const CtlCall *self, const char *name,
                               GError **error)
{
    g_autofree char *program = where(self);

    return refuse(error, "%s: %.*s is missing; try '%s --help'",
                  self->command->name, (int)strcspn(name, " "), name, program);
}

/* Behind the words of a row, of which @spare may be for optional ones. */
static char **skip(const CtlArgument *row, char **word, guint *spare)
{
    if (row->flags & CTL_REST || !*word) {
        return word;
    }
    if (row->flags & CTL_OPTIONAL && (*spare)-- == 0) {
        *spare = 0;
        return word;
    }
    do {
        word++;
    } while (*word && row->flags & CTL_REPEATED);
    return word;
}

/* How many words there are beyond those that there must be. */
static guint count_spare(const CtlCall *self)
{
    guint n = g_strv_length(self->words);

    for (const CtlArgument *row = self->command->arguments; row && row->name;
         row++) {
        n -= n > 0 && !(row->flags & (CTL_OPTIONAL | CTL_REST));
    }
    return n;
}

static gboolean check_words(const CtlCall *self, GError **error)
{
    char **word = self->words;
    guint spare = count_spare(self);

    for (const CtlArgument *row = self->command->arguments; row && row->name;
         row++) {
        gboolean given =
            row->flags & CTL_REST ? self->rest && *self->rest : *word != NULL;

        if (!given && !(row->flags & CTL_OPTIONAL)) {
            return refuse_missing(self, row->name, error);
        }
        word = skip(row, word, &spare);
    }
    if (*word) {
        return refuse(error, "%s: unexpected argument '%s'",
                      self->command->name, *word);
    }
    return TRUE;
}

static gboolean is_information(const CtlCall *self)
{
    return ctl_call_has(self, "--help") || ctl_call_has(self, "--version");
}

static gboolean check(const CtlCall *self, GError **error)
{
    if (is_information(self)) {
        return TRUE;
    }
    if (!self->command) {
        g_autofree char *program = where(self);
        return refuse(error, "%s%sno command is given; try '%s --help'",
                      self->family ? self->family : "",
                      self->family ? ": " : "", program);
    }
    return check_words(self, error);
}

/* Calls */

CtlCall *ctl_call_parse(char **argv, GError **error)
{
    g_autoptr(CtlCall) self = g_new0(CtlCall, 1);
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    const char *address;

    self->options =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    if (!parse_all(self, words, *argv ? argv + 1 : argv, error)) {
        return NULL;
    }
    g_ptr_array_add(words, NULL);
    self->words = (char **)g_ptr_array_steal(words, NULL);
    address = ctl_call_has(self, "--connect") ? ctl_call_get(self, "--connect")
                                              : g_getenv("HOSTMEM_QMP");
    self->address = address && *address ? g_strdup(address) : NULL;
    if (self->address && !check_text(self->address, error)) {
        return NULL;
    }
    return check(self, error) ? g_steal_pointer(&self) : NULL;
}

void ctl_call_free(CtlCall *self)
{
    g_strfreev(self->words);
    g_strfreev(self->rest);
    g_hash_table_unref(self->options);
    g_free(self->address);
    g_free(self);
}

gboolean ctl_call_has(const CtlCall *self, const char *option)
{
    return g_hash_table_contains(self->options, option);
}

const char *ctl_call_get(const CtlCall *self, const char *option)
{
    const char *value = g_hash_table_lookup(self->options, option);

    return value && *value ? value : NULL;
}

gboolean ctl_call_get_seconds(const CtlCall *self, const char *option,
                              double min, double *seconds, GError **error)
{
    const char *text = ctl_call_get(self, option);
    char *end;
    double value;

    if (!text) {
        return TRUE;
    }
    value = g_ascii_strtod(text, &end);
    /* Also false of what is no number. */
    if (*end || end == text || !(value >= min && value <= SECONDS_MAX)) {
        return refuse(error,
                      "%s: '%s' is not a number of seconds from %g to %g",
                      option, text, min, SECONDS_MAX);
    }
    *seconds = value;
    return TRUE;
}
