/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hostmemctl-domain.h"

/*
 * Theory of operation
 *
 * The shell gives us the words of its command line, and we answer with all that
 * the last one can become, a line each: the rows that parse a command line know
 * what a word is.  "@files" and "@programs" are for the shell to find.
 *
 * What a server names is offered when it is an identifier; anything else could
 * mean something to the shell.  A server that is slow has nothing to offer; and
 * nobody is asked for a password because somebody has pressed Tab.
 */

#define LIMIT_SECONDS 2

static const char bash_script[] =
    "# bash completion of hostmemctl: it knows by itself what a word can be.\n"
    "_hostmemctl()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} word words current before\n"
    "    local IFS=$' \\t\\n'\n"
    "    read -ra words <<<\"$line\"\n"
    "    [[ $line == *[[:blank:]] ]] && words+=(\"\")\n"
    "    current=${words[-1]}\n"
    "    # What bash takes for a word begins behind these.\n"
    "    before=${current%\"${current##*[$COMP_WORDBREAKS]}\"}\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r word; do\n"
    "        case $word in\n"
    "        @files*)\n"
    "            while IFS= read -r word; do\n"
    "                COMPREPLY+=(\"${word#\"$before\"}\")\n"
    "            done < <(compgen -f -P \"${word#@files}\" -- "
    "\"${current#\"${word#@files}\"}\")\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            ;;\n"
    "        @programs)\n"
    "            while IFS= read -r word; do\n"
    "                COMPREPLY+=(\"${word#\"$before\"}\")\n"
    "            done < <(compgen -c -- \"$current\")\n"
    "            ;;\n"
    "        *)\n"
    "            [[ $word == *[=:,/] ]] && compopt -o nospace 2>/dev/null\n"
    "            COMPREPLY+=(\"${word#\"$before\"}\")\n"
    "            ;;\n"
    "        esac\n"
    "    done < <(\"$1\" complete -- \"${words[@]:1}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _hostmemctl hostmemctl\n";

/* What was found on the command line, up to the word at hand. */
typedef struct {
    CtlCall call;       /* what is known of it; words are borrowed */
    GPtrArray *words;   /* (element-type utf8): the command's, borrowed */
    gboolean rest;      /* behind "--" */
    guint n_rest;       /* words of it */
    const char *prefix; /* what each candidate begins with */
    const char *word;   /* what is there, behind @prefix */
    GString *answer;
} Line;

/* Candidates */

static void offer(Line *line, const char *candidate, const char *end)
{
    if (g_str_has_prefix(candidate, line->word)) {
        g_string_append_printf(line->answer, "%s%s%s\n", line->prefix,
                               candidate, end);
    }
}

static void offer_options(Line *line, const CtlOption *rows)
{
    for (const CtlOption *row = rows; row && row->name; row++) {
        offer(line, row->name, "");
    }
}

/* Of a family the first word, once, and what it has behind that one. */
static void offer_command(Line *line, const CtlCommand *row)
{
    const char *family = line->call.family;
    gsize length = strcspn(row->name, " ");
    g_autofree char *first = g_strndup(row->name, length);

    if (family && ctl_command_is_in(row, family)) {
        offer(line, row->name + strlen(family) + 1, "");
    } else if (!family && (!row->name[length] || row == ctl_commands ||
                           !ctl_command_is_in(row - 1, first))) {
        offer(line, first, "");
    }
}

static void offer_commands(Line *line)
{
    for (const CtlCommand *row = ctl_commands; row->name; row++) {
        if (!row->hidden) {
            offer_command(line, row);
        }
    }
}

/* Types and their properties: this library's */

/* The words of a help text that stand between @before and @after. */
static void offer_of_help(Line *line, const char *help, const char *before,
                          const char *after, const char *end)
{
    g_auto(GStrv) lines = g_strsplit(help ? help : "", "\n", -1);

    for (char **at = lines; *at; at++) {
        if (g_str_has_prefix(*at, before)) {
            const char *name = *at + strlen(before);
            g_autofree char *word = g_strndup(name, strcspn(name, after));

            offer(line, word, end);
        }
    }
}

static void offer_types(Line *line, gboolean device, const char *end)
{
    g_autofree char *help = device ? hostmem_device_types_help(NULL)
                                   : hostmem_object_types_help(NULL);

    offer_of_help(line, help, device ? "name \"" : "  ", "\"", end);
}

/* "TYPE,PROPERTY=VALUE,PROPERTY" */
static void offer_line(Line *line)
{
    gboolean device = ctl_call_has(&line->call, "--device");
    const char *whole = line->word;
    const char *comma = strrchr(whole, ',');

    if (!comma) {
        offer_types(line, device, ",");
        return;
    }
    g_autofree char *type = g_strndup(whole, strcspn(whole, ","));
    g_autofree char *prefix = g_strndup(whole, comma + 1 - whole);
    g_autofree char *help = device ? hostmem_device_types_help(type)
                                   : hostmem_object_types_help(type);
    line->prefix = prefix;
    line->word = comma + 1;
    offer(line, "id", "=");
    offer_of_help(line, help, "  ", "=", "=");
}

/* What a server has */

static void offer_names(Line *line, CtlWord word, const char *of)
{
    g_autoptr(CtlPeer) peer = ctl_peer_new(&line->call, NULL);
    g_autoptr(GPtrArray) names = peer ? ctl_names_list(peer, word, of) : NULL;

    for (guint i = 0; names && i < names->len; i++) {
        offer(line, names->pdata[i], "");
    }
}

static void offer_properties(Line *line)
{
    const char *id = line->words->len ? line->words->pdata[0] : "";
    gboolean device = ctl_call_has(&line->call, "--device");
    g_autofree char *of = g_strconcat(
        device && *id != '/' ? "/machine/peripheral/" : "", id, NULL);

    offer_names(line, CTL_WORD_PROPERTY, of);
}

/* Of libvirt on this machine. */
static void offer_domains(Line *line)
{
    const char *uri = ctl_call_get(&line->call, "--connect")
                          ?: g_getenv("LIBVIRT_DEFAULT_URI");
    gboolean near = !uri || (strstr(uri, ":///") && !strchr(uri, '+'));
    g_autoptr(HostmemLibvirtConnection) connection =
        near ? ctl_domain_connect(&line->call, TRUE, NULL) : NULL;
    g_autoptr(GPtrArray) domains =
        connection ? hostmem_libvirt_connection_list(connection, NULL) : NULL;

    for (guint i = 0; domains && i < domains->len; i++) {
        const HostmemLibvirtDomain *domain = domains->pdata[i];

        if (ctl_name_is_plain(domain->name)) {
            offer(line, domain->name, "");
        }
    }
}

static void offer_uris(Line *line)
{
    offer(line, "qemu:///system", "");
    offer(line, "qemu:///session", "");
}

static void offer_addresses(Line *line)
{
    if (g_str_has_prefix(line->word, "unix:")) {
        g_string_append_printf(line->answer, "@files%sunix:\n", line->prefix);
        return;
    }
    offer(line, "unix:", "");
    offer(line, "tcp:", "");
}

/* A command, of one word or two, or a type. */
static void offer_topics(Line *line)
{
    const guint n = line->words->len;

    line->call.family = n ? line->words->pdata[0] : NULL;
    if (n < 2) {
        offer_commands(line);
    }
    if (!n) {
        offer_types(line, FALSE, "");
        offer_types(line, TRUE, "");
    }
}

static void offer_advice(Line *line)
{
    g_autoptr(GEnumClass) klass = g_type_class_ref(HOSTMEM_TYPE_ADVICE);

    for (guint i = 0; i < klass->n_values; i++) {
        offer(line, klass->values[i].value_nick, "");
    }
}

static void offer_word(Line *line, CtlWord word)
{
    switch (word) {
    case CTL_WORD_ANY:
        break;
    case CTL_WORD_ADDRESS:
        offer_addresses(line);
        break;
    case CTL_WORD_SOCKET:
        g_string_append(line->answer, "@files\n");
        break;
    case CTL_WORD_URI:
        offer_uris(line);
        break;
    case CTL_WORD_DOMAIN:
        offer_domains(line);
        break;
    case CTL_WORD_ADVICE:
        offer_advice(line);
        break;
    case CTL_WORD_RANGE:
        offer(line, "all", "");
        break;
    case CTL_WORD_SHELL:
        offer(line, "bash", "");
        break;
    case CTL_WORD_COMMAND:
        offer_topics(line);
        break;
    case CTL_WORD_LINE:
        offer_line(line);
        break;
    case CTL_WORD_PROPERTY:
        offer_properties(line);
        break;
    case CTL_WORD_OBJECT:
        offer_names(line,
                    ctl_call_has(&line->call, "--device") ? CTL_WORD_DEVICE
                                                          : CTL_WORD_OBJECT,
                    "");
        break;
    case CTL_WORD_PROGRAM:
        g_string_append(line->answer,
                        line->n_rest ? "@files\n" : "@programs\n");
        break;
    default:
        offer_names(line, word, "");
        break;
    }
}

/* Where the word at hand stands */

static void take_command(Line *line, const char *text)
{
    line->call.command = ctl_command_find_in(line->call.family, text);
    if (!line->call.command && ctl_command_is_family(text)) {
        line->call.family = text;
    }
}

/* (nullable): the row whose argument the next word is. */
static const CtlOption *take(Line *line, const char *text)
{
    const CtlOption *row =
        *text == '-' ? ctl_option_find(line->call.command, text) : NULL;
    const char *equals = strchr(text, '=');

    if (line->rest) {
        line->n_rest++;
        return NULL;
    }
    if (g_str_equal(text, "--")) {
        line->rest = TRUE;
        return NULL;
    }
    if (row) {
        g_hash_table_insert(line->call.options, (gpointer)row->name,
                            g_strdup(equals ? equals + 1 : ""));
        return ctl_option_needs_argument(row) && !equals ? row : NULL;
    }
    if (*text != '-' && !line->call.command) {
        take_command(line, text);
    } else if (*text != '-') {
        g_ptr_array_add(line->words, (gpointer)text);
    }
    return NULL;
}

/* (nullable): the row of the argument at hand. */
static const CtlArgument *argument_of(const Line *line)
{
    const CtlArgument *row = line->call.command->arguments;
    guint n = line->words->len;

    while (row && row->name &&
           (line->rest ? !(row->flags & CTL_REST)
                       : n && !(row->flags & CTL_REPEATED))) {
        n -= n > 0;
        row++;
    }
    return row && row->name && !(row->flags & CTL_REST) == !line->rest ? row
                                                                       : NULL;
}

/* But what a command has of its own. */
static void offer_common_options(Line *line)
{
    for (const CtlOption *row = ctl_options; row->name; row++) {
        if (ctl_option_find(line->call.command, row->name) == row) {
            offer(line, row->name, "");
        }
    }
}

static void offer_option(Line *line)
{
    const CtlOption *row = ctl_option_find(line->call.command, line->word);
    const char *equals = strchr(line->word, '=');

    if (row && row->argument && equals) {
        g_autofree char *prefix =
            g_strndup(line->word, equals + 1 - line->word);

        line->prefix = prefix;
        line->word = equals + 1;
        offer_word(line, row->word);
        return;
    }
    offer_common_options(line);
    offer_options(line,
                  line->call.command ? line->call.command->options : NULL);
}

static void answer(Line *line, const CtlOption *waiting)
{
    const CtlArgument *row;

    if (waiting) {
        offer_word(line, waiting->word);
    } else if (!line->rest && *line->word == '-') {
        offer_option(line);
    } else if (!line->call.command) {
        offer_commands(line);
    } else if ((row = argument_of(line))) {
        offer_word(line, row->word);
    }
}

static void on_alarm(G_GNUC_UNUSED int signum)
{
    _exit(EXIT_FAILURE);
}

int ctl_run_complete(CtlCall *call, GError **error)
{
    g_autoptr(GHashTable) options =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autoptr(GString) text = g_string_new(NULL);
    Line line = {
        .call.options = options, .words = words, .prefix = "", .answer = text};
    const CtlOption *waiting = NULL;

    signal(SIGALRM, on_alarm);
    alarm(LIMIT_SECONDS);
    for (char **word = call->rest; word[1]; word++) {
        if (waiting) {
            g_hash_table_insert(options, (gpointer)waiting->name,
                                g_strdup(*word));
            waiting = NULL;
        } else {
            waiting = take(&line, *word);
        }
    }
    line.word = call->rest[g_strv_length(call->rest) - 1];
    line.call.address = (char *)(ctl_call_get(&line.call, "--connect")
                                     ?: g_getenv("HOSTMEM_QMP"));
    answer(&line, waiting);
    return ctl_put(text->str, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ctl_run_completion(CtlCall *call, GError **error)
{
    if (!g_str_equal(call->words[0], "bash")) {
        g_set_error(error, HOSTMEM_ERROR, HOSTMEM_ERROR_INVALID,
                    "completion: '%s' is not a shell that is known here: bash",
                    call->words[0]);
        return EXIT_FAILURE;
    }
    return ctl_put(bash_script, error) ? EXIT_SUCCESS : EXIT_FAILURE;
}
