/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/export-dir.h>

/** Another process goes on with it: it stays mounted.  Any thread. */
void hm_export_dir_leave_behind(HostmemExportDir *self);
