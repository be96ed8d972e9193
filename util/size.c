/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include "util/error.h"
#include "util/size.h"

/* Powers of 1024, in the order of the suffixes. */
static const char suffixes[] = "bkmgtpe";

/* A size cut into its parts; they point into the text. */
typedef struct {
    const char *digits;
    gsize n_digits;
    const char *fraction;
    gsize n_fraction;
    gboolean has_point;
    guint shift; /* of the suffix */
} Parts;

static gsize count_digits(const char *text)
{
    gsize n = 0;

    while (g_ascii_isdigit(text[n])) {
        n++;
    }
    return n;
}

static const char *split_suffix(const char *text, Parts *parts)
{
    const char *suffix;

    if (!*text) {
        return NULL;
    }
    suffix = strchr(suffixes, g_ascii_tolower(*text));
    if (!suffix) {
        return "the suffix is none of b, k, M, G, T, P, E";
    }
    parts->shift = 10 * (guint)(suffix - suffixes);
    return text[1] ? "there is text behind the suffix" : NULL;
}

/* Returns: why @text is no decimal size, or NULL */
static const char *split(const char *text, Parts *parts)
{
    const char *why;

    *parts = (Parts){.digits = text, .n_digits = count_digits(text)};
    text += parts->n_digits;
    parts->has_point = *text == '.';
    if (parts->has_point) {
        parts->fraction = ++text;
        parts->n_fraction = count_digits(text);
        text += parts->n_fraction;
    }
    if (!parts->n_digits && !parts->n_fraction) {
        return "it does not begin with a digit";
    }
    why = split_suffix(text, parts);
    if (!why && parts->has_point && !parts->shift) {
        why = "a fraction needs a suffix such as M";
    }
    return why;
}

/* @n digits in @base; FALSE when they exceed 64 bits. */
static gboolean parse_digits(const char *digits, gsize n, guint base,
                             guint64 *value)
{
    *value = 0;
    for (gsize i = 0; i < n; i++) {
        guint digit = (guint)g_ascii_xdigit_value(digits[i]);

        if (!g_uint64_checked_mul(value, *value, base) ||
            !g_uint64_checked_add(value, *value, digit)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Double a decimal fraction in place; returns the bit that comes out. */
static guint double_fraction(char *digits, gsize n)
{
    guint carry = 0;

    while (n--) {
        guint doubled = 2 * (guint)(digits[n] - '0') + carry;

        digits[n] = (char)('0' + doubled % 10);
        carry = doubled / 10;
    }
    return carry;
}

/* 0.DIGITS times 2^@shift, rounded half up: exact whatever their number. */
static guint64 scale_fraction(const char *digits, gsize n, guint shift)
{
    g_autofree char *rest = g_strndup(digits, n);
    guint64 scaled = 0;

    while (shift--) {
        scaled = scaled << 1 | double_fraction(rest, n);
    }
    return scaled + double_fraction(rest, n);
}

static gboolean join(const Parts *parts, guint64 *bytes)
{
    guint64 unit = G_GUINT64_CONSTANT(1) << parts->shift;
    guint64 fraction =
        scale_fraction(parts->fraction, parts->n_fraction, parts->shift);
    guint64 whole;

    return parse_digits(parts->digits, parts->n_digits, 10, &whole) &&
           g_uint64_checked_mul(&whole, whole, unit) &&
           g_uint64_checked_add(bytes, whole, fraction);
}

static const char *parse_hex(const char *digits, guint64 *bytes)
{
    gsize n = strspn(digits, "0123456789abcdefABCDEF");

    if (!n || digits[n]) {
        return "a hexadecimal number is 0x, digits and no suffix";
    }
    if (!parse_digits(digits, n, 16, bytes)) {
        return "it is 2^64 or more";
    }
    return NULL;
}

/* Returns: why @text is no size, or NULL and *@bytes */
static const char *parse(const char *text, guint64 *bytes)
{
    const char *why;
    Parts parts;

    if (*text == '-') {
        return "it is negative";
    }
    if (text[0] == '0' && g_ascii_tolower(text[1]) == 'x') {
        return parse_hex(text + 2, bytes);
    }
    why = split(text, &parts);
    if (!why && !join(&parts, bytes)) {
        why = "it is 2^64 or more";
    }
    return why;
}

gboolean hm_size_parse(const char *text, guint64 *bytes, GError **error)
{
    guint64 value = 0;
    const char *why;

    while (g_ascii_isspace(*text)) {
        text++;
    }
    why = parse(text, &value);
    if (why) {
        g_autofree char *shown = hm_error_quote(text);

        return hm_set_error(error, HOSTMEM_ERROR_INVALID,
                            "%s is not a size: %s", shown, why);
    }
    *bytes = value;
    return TRUE;
}

/* The next decimal digit of *@rest / 2^@shift; *@rest keeps what is left. */
static guint next_decimal(guint64 *rest, guint shift)
{
    guint64 scaled = *rest * 10;

    *rest = scaled & ((G_GUINT64_CONSTANT(1) << shift) - 1);
    return (guint)(scaled >> shift);
}

char *hm_size_format(guint64 bytes)
{
    static const char *const units[] = {"B",   "KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
    guint unit = (63u - (guint)__builtin_clzll(bytes | 1)) / 10;
    guint shift = 10 * unit;
    guint64 whole = bytes >> shift;
    guint64 rest = bytes & ((G_GUINT64_CONSTANT(1) << shift) - 1);
    guint tenths;
    guint hundredths;

    if (!rest) {
        return g_strdup_printf("%" G_GUINT64_FORMAT " %s", whole, units[unit]);
    }
    tenths = next_decimal(&rest, shift);
    hundredths = next_decimal(&rest, shift);
    if (!hundredths && !rest) {
        return g_strdup_printf("%" G_GUINT64_FORMAT ".%u %s", whole, tenths,
                               units[unit]);
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT ".%u%u %s", whole, tenths,
                           hundredths, units[unit]);
}
