/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/zero-trial.h"

int hm_zero_trial_add(HmZeroTrial *self, guint which, gsize bytes,
                      gint64 microseconds)
{
    double rate = (double)bytes / (double)MAX(microseconds, 1);

    g_return_val_if_fail(which < G_N_ELEMENTS(self->runs), -1);
    self->runs[which]++;
    self->best[which] = MAX(self->best[which], rate);
    if (MIN(self->runs[0], self->runs[1]) < HM_ZERO_TRIAL_RUNS) {
        return -1;
    }
    return self->best[1] > HM_ZERO_TRIAL_MARGIN * self->best[0];
}
