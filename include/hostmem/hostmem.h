/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <hostmem/backend.h>
#include <hostmem/error.h>
#include <hostmem/host.h>
#include <hostmem/job.h>
#include <hostmem/object.h>
#include <hostmem/qmp.h>
#include <hostmem/registry.h>
#include <hostmem/thread-context.h>
