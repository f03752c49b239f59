/* SPDX-License-Identifier: Apache-2.0
 *
 * Replays a corpus: every regular file of the directories (or files) named on the command line is one input. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "re");
	uint8_t *buf;
	size_t n;

	if (!f)
		return -1;
	buf = malloc((size_t)16 << 20);
	if (!buf) {
		fclose(f);
		return -1;
	}
	n = fread(buf, 1, (size_t)16 << 20, f);
	fclose(f);
	/* An exact-size block, so a read past the end is seen by the sanitizers. */
	buf = realloc(buf, n ? n : 1);
	(void)LLVMFuzzerTestOneInput(buf, n);
	free(buf);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned replayed = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *de;
		char path[4096];

		if (!d) {
			if (replay_file(argv[i]) == 0)
				replayed++;
			continue;
		}
		while ((de = readdir(d))) {
			struct stat st;

			if (snprintf(path, sizeof(path), "%s/%s", argv[i], de->d_name) >= (int)sizeof(path))
				continue;
			if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && replay_file(path) == 0)
				replayed++;
		}
		closedir(d);
	}
	printf("%u inputs replayed\n", replayed);
	return replayed ? 0 : 1; /* an empty corpus is a broken test, not a passed one */
}
