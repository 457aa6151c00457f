/* SPDX-License-Identifier: MIT */
#include "common/sinter/clone.h"

enum {
    /* How many bytes read or written here take as long as one byte over the wire: an eMMC does 100 MB/s, a
     * link in the field 1 or 2. With a faster link the bar runs ahead, with a slower one it moves slowly, but
     * it moves. */
    WIRE_WEIGHT = 64,
    /* The scan's share of the whole bar, in percent. It is fixed, because how much must be downloaded is not
     * known during the scan. */
    SCAN_PERCENT = 10,
};

static double fraction(double part, double whole)
{
    return part >= whole ? 1 : whole > 0 ? part / whole : 0;
}

/* What making the image costs, so far and in all, in bytes read or written; each byte made counts 2, as it is
 * read from somewhere and written. */
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
