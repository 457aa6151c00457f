/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone.h"

enum {
    /* A byte over the wire in bytes read or written here: an eMMC gives 100 MB/s, a link of the field 1 or 2.
     * A link that is faster makes a bar that runs ahead, and a slower one a bar that moves slowly, but it
     * moves. */
    WIRE_WEIGHT = 64,
    /* Of the whole bar, in percent. How much is to be downloaded is not known during the scan, so that it
     * cannot be weighed against it. */
    SCAN_PERCENT = 10,
};

static double fraction(double part, double whole)
{
    return part >= whole ? 1 : whole > 0 ? part / whole : 0;
}

/* What making the image costs, done and in all; every byte made is one written, and one read from somewhere.
 */
static void weigh_transfer(const struct clone_progress *progress, double *ret_done, double *ret_total)
{
    double received = (double)progress->bytes_received, planned = (double)progress->bytes_planned;
    double made = (double)(progress->bytes_copied + progress->bytes_patched + progress->bytes_fetched);
    double missing = (double)progress->image_bytes - (double)progress->bytes_kept;

    *ret_done =
        2 * (made < missing ? made : missing) + WIRE_WEIGHT * (received < planned ? received : planned);
    *ret_total = 2 * missing + WIRE_WEIGHT * planned;
}

double clone_progress_transfer_share(const struct clone_progress *progress)
{
    double done, total;

    weigh_transfer(progress, &done, &total);
    return fraction(done, total);
}

double clone_progress_percent(const struct clone_progress *progress)
{
    double done, total, image = (double)progress->image_bytes;

    if (!progress->image_bytes) /* nothing is planned yet */
        return progress->scan_total
                   ? SCAN_PERCENT * fraction((double)progress->scan_bytes, (double)progress->scan_total)
                   : 0;
    weigh_transfer(progress, &done, &total);
    return SCAN_PERCENT +
           (100 - SCAN_PERCENT) * fraction(done + (double)progress->bytes_verified, total + image);
}
