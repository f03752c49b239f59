/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Order of "version-release" texts of rpm packages, as rpm itself orders them: segments of digits or letters, digits above
 * letters, "~" before everything and "^" just after the end; the release counts when the versions are equal, and only
 * when both have one. <0, 0, >0. */
int rpm_version_compare(const char *a, const char *b);
