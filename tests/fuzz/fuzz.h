/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include "util/props.h"

/*
 * A fuzz target is this one function.  Linked with driver.c it is a test that
 * runs its corpus and a fixed number of mutations of it; with -Dfuzz=true under
 * clang it is a libFuzzer program as well.  What must hold is asserted.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Set exactly on failure; ours, and fit for a terminal and for JSON. */
void fuzz_check_error(gboolean ok, const GError *error);

/** Rows of every kind. */
extern const HmProp fuzz_rows[];
extern const gsize fuzz_n_rows;

/** (nullable) */
const HmProp *fuzz_find_row(const char *name, gpointer unused);
/** What the row accepts, it writes back as something it accepts. */
void fuzz_check_value(const HmProp *row, json_t *json);
