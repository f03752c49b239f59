/* SPDX-License-Identifier: Apache-2.0
 *
 * make-view STORE TREE PROFILE: makes the view and its image; prints "<made> <view id> <image made>". */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct view_options o = { .compat32 = true, .firmware = true };
	_cleanup_(store_freep) struct store *s = NULL;
	_cleanup_(err_done) struct err e = ERR_INIT;
	json_auto_t *notes = json_array();
	char id[65] = "";
	int r, image = 0;

	if (argc != 4 || dest_profile_parse(argv[3], &o.profile) < 0)
		return 2;
	r = store_open(argv[1], false, &s, &e);
	if (r >= 0)
		r = view_build(s, argv[2], &o, id, notes, &e);
	if (r >= 0)
		image = view_image(s, id, NULL, &e);
	if (r < 0 || image < 0) {
		fprintf(stderr, "%s\n", e.reason ? e.reason : "failed");
		return 1;
	}
	for (size_t i = 0; i < json_array_size(notes); i++)
		fprintf(stderr, "note: %s\n", json_string_value(json_array_get(notes, i)));
	printf("%d %s %d\n", r, id, image);
	return 0;
}
