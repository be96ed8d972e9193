/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib-unix.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "hostmemctl.h"

/*
 * Theory of operation
 *
 * libedit reads characters through a function of ours, which lets the main
 * context run until there is one: so events are heard while somebody types, and
 * are printed in the place of the line, which is drawn again below them.
 *
 * While a line is edited the terminal sends no signals: Ctrl-C and Ctrl-Z are
 * keys.  Elsewhere it is as we found it.
 */

#define HISTORY_LINES    500

#define TO_START_OF_LINE "\r"
#define CLEAR_FROM_HERE  "\033[J"
#define N_LINES_UP       "\033[%zuA"
#define MAX_LISTED       200

struct CtlEdit {
    CtlPeer *peer; /* borrowed */
    CtlCompleteFunc complete;
    gpointer user_data;
    EditLine *line;
    History *history;
    char *history_path;
    const char *prompt;
    mbstate_t state; /* of a character that has come in part */
    guint resized;   /* source */
    gboolean editing;
    gboolean interrupted;
    gboolean draws; /* the terminal can */
    GError *error;  /* (nullable): of waiting */
};

static CtlEdit *self_of(EditLine *line)
{
    void *self = NULL;

    el_get(line, EL_CLIENTDATA, &self);
    return self;
}

static char *prompt_of(EditLine *line)
{
    return (char *)self_of(line)->prompt;
}

/* Input */

/* 1: there is a character; 0: it has ended; -1: it has not, nor will it. */
static int read_character(EditLine *line, wchar_t *character)
{
    CtlEdit *self = self_of(line);

    for (;;) {
        char byte;

        if (!ctl_input_wait(self->peer, STDIN_FILENO, &self->error)) {
            return -1;
        }
        gssize got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return 0;
        }
        gsize used = mbrtowc(character, &byte, 1, &self->state);
        if (used == (gsize)-2) {
            continue;
        }
        if (used == (gsize)-1) {
            memset(&self->state, 0, sizeof(self->state));
            continue;
        }
        return 1;
    }
}

/* Keys */

static unsigned char on_interrupt(EditLine *line, G_GNUC_UNUSED int key)
{
    self_of(line)->interrupted = TRUE;
    return CC_NEWLINE;
}

/* As the terminal would: all of the job.  We go last, and by a signal to this
 * thread, which does not return before we go on. */
static void suspend(void)
{
    void (*before)(int) = signal(SIGTSTP, SIG_IGN);

    kill(0, SIGTSTP);
    signal(SIGTSTP, before);
    raise(SIGTSTP);
}

static unsigned char on_suspend(EditLine *line, G_GNUC_UNUSED int key)
{
    el_set(line, EL_PREP_TERM, 0);
    suspend();
    el_set(line, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

static gsize common_length(const GPtrArray *words)
{
    const char *first = words->pdata[0];
    gsize length = strlen(first);

    for (guint i = 1; i < words->len; i++) {
        const char *word = words->pdata[i];
        gsize same = 0;

        while (same < length && word[same] == first[same]) {
            same++;
        }
        length = same;
    }
    return length;
}

/* Below the line; the rest of it is drawn again after that. */
static void list_words(const GPtrArray *words)
{
    gsize columns, lines, width = 0;
    guint shown = MIN(words->len, MAX_LISTED);

    ctl_terminal_size(STDOUT_FILENO, &columns, &lines);
    for (guint i = 0; i < shown; i++) {
        width = MAX(width, strlen(words->pdata[i]) + 2);
    }
    guint in_a_row = MAX(1, columns / width);
    for (guint i = 0; i < shown; i++) {
        printf("%s%-*s", i % in_a_row ? "" : "\r\n", (int)width,
               (const char *)words->pdata[i]);
    }
    printf("%s\r\n", shown < words->len ? "\r\n..." : "");
    fflush(stdout);
}

/* The server may take its time: meanwhile Ctrl-C is a signal. */
static GPtrArray *words_for(CtlEdit *self, const char *before, gsize *start)
{
    struct termios mode = {0};
    gboolean known = tcgetattr(STDIN_FILENO, &mode) == 0;
    struct termios with_signals = mode;
    GPtrArray *words;

    with_signals.c_lflag |= ISIG;
    if (known) {
        tcsetattr(STDIN_FILENO, TCSANOW, &with_signals);
    }
    words = self->complete(before, start, self->user_data);
    if (known) {
        tcsetattr(STDIN_FILENO, TCSANOW, &mode);
    }
    return words;
}

static unsigned char on_tab(EditLine *line, G_GNUC_UNUSED int key)
{
    CtlEdit *self = self_of(line);
    const LineInfo *info = el_line(line);
    g_autofree char *before =
        g_strndup(info->buffer, info->cursor - info->buffer);
    gsize start;
    g_autoptr(GPtrArray) words = words_for(self, before, &start);

    if (ctl_peer_is_cancelled(self->peer)) {
        return on_interrupt(line, key);
    }
    if (!words->len) {
        return CC_ERROR;
    }
    const char *first = words->pdata[0];
    gsize typed = strlen(before) - start;
    gsize common = common_length(words);
    gboolean whole = words->len == 1 && !strchr("=./", first[common - 1]);
    g_autofree char *more = g_strndup(first + typed, common - typed);
    g_autofree char *insertion = g_strconcat(more, whole ? " " : "", NULL);
    if (*insertion) {
        return el_insertstr(line, insertion) < 0 ? CC_ERROR : CC_REFRESH;
    }
    list_words(words);
    return CC_REDISPLAY;
}

static gboolean on_resized(gpointer data)
{
    CtlEdit *self = data;

    el_resize(self->line);
    return G_SOURCE_CONTINUE;
}

/* History */

/* Nothing depends on it: who cannot keep it goes without. */
static void load_history(CtlEdit *self)
{
    g_autofree char *folder =
        g_build_filename(g_get_user_state_dir(), "hostmem", NULL);
    HistEvent event;

    self->history_path = g_build_filename(folder, "history", NULL);
    g_mkdir_with_parents(folder, 0700);
    self->history = history_init();
    history(self->history, &event, H_SETSIZE, HISTORY_LINES);
    history(self->history, &event, H_SETUNIQUE, 1);
    history(self->history, &event, H_LOAD, self->history_path);
    el_set(self->line, EL_HIST, history, self->history);
}

static void save_history(CtlEdit *self)
{
    HistEvent event;

    history(self->history, &event, H_SAVE, self->history_path);
    history_end(self->history);
    g_free(self->history_path);
}

/* As in a shell, what begins with a blank is forgotten. */
static void remember(CtlEdit *self, const char *line)
{
    HistEvent event;

    if (*line && !g_ascii_isspace(*line)) {
        history(self->history, &event, H_ENTER, line);
    }
}

/* The editor */

static void bind_keys(CtlEdit *self)
{
    static const struct {
        const wchar_t *key, *name, *help;
        unsigned char (*function)(EditLine *, int);
    } rows[] = {
        {L"^I", L"hm-complete", L"Complete", on_tab},
        {L"^C", L"hm-interrupt", L"Forget the line", on_interrupt},
        {L"^Z", L"hm-suspend", L"Suspend", on_suspend},
    };

    el_set(self->line, EL_EDITOR, "emacs");
    for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
        el_wset(self->line, EL_ADDFN, rows[i].name, rows[i].help,
                rows[i].function);
        el_wset(self->line, EL_BIND, rows[i].key, rows[i].name, NULL);
    }
    el_set(self->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(self->line, EL_SETTY, "-d", "-isig", NULL);
    el_source(self->line, NULL);
}

CtlEdit *ctl_edit_new(CtlPeer *peer, CtlCompleteFunc complete,
                      gpointer user_data)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        return NULL;
    }
    setlocale(LC_CTYPE, "");
    EditLine *line = el_init("hostmemctl", stdin, stdout, stderr);
    if (!line) {
        return NULL;
    }
    CtlEdit *self = g_new0(CtlEdit, 1);

    self->peer = peer;
    self->complete = complete;
    self->user_data = user_data;
    self->line = line;
    self->draws = ctl_is_terminal(STDOUT_FILENO);
    el_set(line, EL_CLIENTDATA, self);
    el_set(line, EL_SIGNAL, 0);
    el_set(line, EL_PROMPT, prompt_of);
    el_set(line, EL_GETCFN, read_character);
    bind_keys(self);
    load_history(self);
    self->resized = g_unix_signal_add(SIGWINCH, on_resized, self);
    return self;
}

void ctl_edit_free(CtlEdit *self)
{
    g_source_remove(self->resized);
    el_end(self->line);
    save_history(self);
    g_clear_error(&self->error);
    g_free(self);
}

char *ctl_edit_read(CtlEdit *self, const char *prompt, GError **error)
{
    int count;

    self->prompt = prompt;
    self->interrupted = FALSE;
    self->editing = TRUE;
    el_reset(self->line);
    /* Who sees the prompt may press a key that is a signal otherwise. */
    el_set(self->line, EL_PREP_TERM, 1);
    const char *text = el_gets(self->line, &count);
    self->editing = FALSE;
    if (self->error) {
        g_propagate_error(error, g_steal_pointer(&self->error));
        return NULL;
    }
    if (self->interrupted) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "interrupted");
        return NULL;
    }
    if (!text) {
        printf("\n");
        return NULL;
    }
    char *line = g_strchomp(g_strdup(text));
    remember(self, line);
    return line;
}

/* In front of an event */

/* Rows from the first of the line down to the cursor. */
static gsize rows_above(CtlEdit *self)
{
    const LineInfo *info = el_line(self->line);
    g_autofree char *before =
        g_strndup(info->buffer, info->cursor - info->buffer);
    g_autofree char *valid = g_utf8_make_valid(before, -1);
    gsize columns, lines;

    ctl_terminal_size(STDOUT_FILENO, &columns, &lines);
    return (ctl_text_width(self->prompt) + ctl_text_width(valid)) / columns;
}

void ctl_edit_hide(CtlEdit *self)
{
    if (!self->editing) {
        return;
    }
    gsize rows = rows_above(self);
    if (!self->draws) {
        printf("\r\n");
        return;
    }
    printf(TO_START_OF_LINE);
    if (rows) {
        printf(N_LINES_UP, rows);
    }
    printf(CLEAR_FROM_HERE);
}

void ctl_edit_show(CtlEdit *self)
{
    if (self->editing) {
        el_set(self->line, EL_REFRESH);
    }
}
