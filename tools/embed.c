/* SPDX-License-Identifier: Apache-2.0
 *
 * embed NAME FILE: FILE as a C array `const unsigned char NAME[]` with its length, so that data tables travel in
 * the program and need no path at run time. Runs on the building machine. */
#include <stdio.h>

int main(int argc, char **argv)
{
	FILE *f = argc == 3 ? fopen(argv[2], "rb") : NULL;
	unsigned long n = 0;
	int c;

	if (!f) {
		fprintf(stderr, "usage: embed NAME FILE\n");
		return 2;
	}
	printf("extern const unsigned char %s[];\nextern const unsigned long %s_size;\n", argv[1], argv[1]);
	printf("const unsigned char %s[] = {", argv[1]);
	for (; (c = getc(f)) != EOF; n++)
		printf("%s%d,", n % 20 ? "" : "\n\t", c);
	printf("\n\t0\n};\nconst unsigned long %s_size = %lu;\n", argv[1], n);
	return ferror(f) || fclose(f) || fflush(stdout) ? 1 : 0;
}
