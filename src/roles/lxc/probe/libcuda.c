/* SPDX-License-Identifier: Apache-2.0
 *
 * What the probe is linked against: the name libcuda.so.1 and one symbol. Tests make it answer something. */
#ifndef RESULT
#define RESULT 0
#endif

int cuInit(unsigned flags);

int cuInit(unsigned flags)
{
	return flags == 0 ? RESULT : 1;
}
